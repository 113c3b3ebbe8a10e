//! Every method of every revision: who sends it, whether it is answered, and when it existed.

use crate::revision::Revision;

/// Who sends a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only clients.
    ClientToServer,
    /// Only servers.
    ServerToClient,
    /// Either side.
    Both,
}

/// Whether a method is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has an id and gets a response.
    Request,
    /// It has no id and gets none.
    Notification,
}

/// What the specification says about one method.
#[derive(Debug, Clone, Copy)]
struct Facts {
    name: &'static str,
    kind: Kind,
    direction: Direction,
    first: Revision,
    last: Revision,
}

/// Writes the enum and its two look-ups from one table.
macro_rules! methods {
    ($($variant:ident $name:literal $kind:ident $direction:ident $first:ident $last:ident;)+) => {
        /// A method of some revision of the protocol, or [`Other`](Method::Other).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// A method no revision knows; it is passed on under its own name.
            Other,
        }

        impl Method {
            /// Every known method, in the order of the table, without `Other`.
            pub const KNOWN: &[Method] = &[$(Method::$variant),+];

            /// The method of this name; names are compared exactly.
            pub fn of(name: &str) -> Method {
                match name {
                    $($name => Method::$variant,)+
                    _ => Method::Other,
                }
            }

            const fn facts(self) -> Option<Facts> {
                match self {
                    $(Method::$variant => Some(Facts {
                        name: $name,
                        kind: Kind::$kind,
                        direction: Direction::$direction,
                        first: Revision::$first,
                        last: Revision::$last,
                    }),)+
                    Method::Other => None,
                }
            }
        }
    };
}

// The schemas of the five revisions, with 2026-07-28's tasks extension. Requests that 2026-07-28
// keeps only as entries of `inputRequests` are not messages there, so they end with 2025-11-25.
methods! {
    Initialize "initialize" Request ClientToServer V2024_11_05 V2025_11_25;
    ServerDiscover "server/discover" Request ClientToServer V2026_07_28 V2026_07_28;
    Ping "ping" Request Both V2024_11_05 V2025_11_25;
    ToolsList "tools/list" Request ClientToServer V2024_11_05 V2026_07_28;
    ToolsCall "tools/call" Request ClientToServer V2024_11_05 V2026_07_28;
    ResourcesList "resources/list" Request ClientToServer V2024_11_05 V2026_07_28;
    ResourcesTemplatesList "resources/templates/list"
        Request ClientToServer V2024_11_05 V2026_07_28;
    ResourcesRead "resources/read" Request ClientToServer V2024_11_05 V2026_07_28;
    ResourcesSubscribe "resources/subscribe" Request ClientToServer V2024_11_05 V2025_11_25;
    ResourcesUnsubscribe "resources/unsubscribe" Request ClientToServer V2024_11_05 V2025_11_25;
    PromptsList "prompts/list" Request ClientToServer V2024_11_05 V2026_07_28;
    PromptsGet "prompts/get" Request ClientToServer V2024_11_05 V2026_07_28;
    CompletionComplete "completion/complete" Request ClientToServer V2024_11_05 V2026_07_28;
    LoggingSetLevel "logging/setLevel" Request ClientToServer V2024_11_05 V2025_11_25;
    SubscriptionsListen "subscriptions/listen" Request ClientToServer V2026_07_28 V2026_07_28;
    TasksGet "tasks/get" Request Both V2025_11_25 V2026_07_28;
    TasksResult "tasks/result" Request Both V2025_11_25 V2025_11_25;
    TasksList "tasks/list" Request Both V2025_11_25 V2025_11_25;
    TasksUpdate "tasks/update" Request ClientToServer V2026_07_28 V2026_07_28;
    TasksCancel "tasks/cancel" Request Both V2025_11_25 V2026_07_28;
    SamplingCreateMessage "sampling/createMessage"
        Request ServerToClient V2024_11_05 V2025_11_25;
    ElicitationCreate "elicitation/create" Request ServerToClient V2025_06_18 V2025_11_25;
    RootsList "roots/list" Request ServerToClient V2024_11_05 V2025_11_25;
    Initialized "notifications/initialized"
        Notification ClientToServer V2024_11_05 V2025_11_25;
    Cancelled "notifications/cancelled" Notification Both V2024_11_05 V2026_07_28;
    Progress "notifications/progress" Notification Both V2024_11_05 V2026_07_28;
    LogMessage "notifications/message" Notification ServerToClient V2024_11_05 V2026_07_28;
    ToolsListChanged "notifications/tools/list_changed"
        Notification ServerToClient V2024_11_05 V2026_07_28;
    ResourcesListChanged "notifications/resources/list_changed"
        Notification ServerToClient V2024_11_05 V2026_07_28;
    ResourcesUpdated "notifications/resources/updated"
        Notification ServerToClient V2024_11_05 V2026_07_28;
    PromptsListChanged "notifications/prompts/list_changed"
        Notification ServerToClient V2024_11_05 V2026_07_28;
    RootsListChanged "notifications/roots/list_changed"
        Notification ClientToServer V2024_11_05 V2025_11_25;
    ElicitationComplete "notifications/elicitation/complete"
        Notification ServerToClient V2025_11_25 V2025_11_25;
    TasksStatus "notifications/tasks/status" Notification Both V2025_11_25 V2025_11_25;
    Tasks "notifications/tasks" Notification ServerToClient V2026_07_28 V2026_07_28;
    SubscriptionsAcknowledged "notifications/subscriptions/acknowledged"
        Notification ServerToClient V2026_07_28 V2026_07_28;
}

impl Method {
    /// The name on the wire; `other` for [`Other`](Method::Other), which suits a metric's label.
    pub const fn name(self) -> &'static str {
        match self.facts() {
            Some(facts) => facts.name,
            None => "other",
        }
    }

    /// Who sends it. An unknown method may be anybody's.
    pub const fn direction(self) -> Direction {
        match self.facts() {
            Some(facts) => facts.direction,
            None => Direction::Both,
        }
    }

    /// Whether it is answered; unknown for [`Other`](Method::Other).
    pub const fn kind(self) -> Option<Kind> {
        match self.facts() {
            Some(facts) => Some(facts.kind),
            None => None,
        }
    }

    /// Whether a client may send it.
    pub fn sent_by_client(self) -> bool {
        self.direction() != Direction::ServerToClient
    }

    /// Whether a server may send it.
    pub fn sent_by_server(self) -> bool {
        self.direction() != Direction::ClientToServer
    }

    /// The first and last revision it exists in; unknown for [`Other`](Method::Other).
    pub fn revisions(self) -> Option<(Revision, Revision)> {
        self.facts().map(|facts| (facts.first, facts.last))
    }

    /// Whether it exists in a revision; never true of [`Other`](Method::Other).
    pub fn exists_in(self, revision: Revision) -> bool {
        self.revisions().is_some_and(|(first, last)| (first..=last).contains(&revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for method in Method::KNOWN {
            assert_eq!(Method::of(method.name()), *method);
            let (first, last) = method.revisions().unwrap();
            assert!(first <= last);
        }
        assert_eq!(Method::of("Tools/Call"), Method::Other);
        assert_eq!(Method::of("other"), Method::Other);
    }

    #[test]
    fn notifications_are_those_named_so() {
        for method in Method::KNOWN {
            let named_so = method.name().starts_with("notifications/");
            assert_eq!(method.kind() == Some(Kind::Notification), named_so, "{method:?}");
        }
        assert_eq!(Method::Other.kind(), None);
    }

    #[test]
    fn the_stateless_revision_drops_what_needed_a_session() {
        for name in [
            "initialize",
            "notifications/initialized",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "notifications/roots/list_changed",
            "notifications/elicitation/complete",
            "sampling/createMessage",
        ] {
            assert!(!Method::of(name).exists_in(Revision::V2026_07_28), "{name}");
            assert!(Method::of(name).exists_in(Revision::LATEST_LEGACY), "{name}");
        }
        let server_requests = Method::KNOWN.iter().filter(|method| {
            method.kind() == Some(Kind::Request)
                && method.direction() == Direction::ServerToClient
                && method.exists_in(Revision::V2026_07_28)
        });
        assert_eq!(server_requests.count(), 0);
    }

    #[test]
    fn directions_tell_who_may_send() {
        assert!(Method::Initialize.sent_by_client() && !Method::Initialize.sent_by_server());
        assert!(!Method::RootsList.sent_by_client() && Method::RootsList.sent_by_server());
        assert!(Method::Ping.sent_by_client() && Method::Ping.sent_by_server());
        assert!(Method::Other.sent_by_client() && Method::Other.sent_by_server());
    }
}
