//! `subscriptions/listen` on a legacy server: which of its notifications a client asked for.
//!
//! A legacy server says that its lists changed to everybody, and of resources it tells whoever
//! subscribed. A listening client opts in to each, and finds its own id in everything it is told
//! (MCP 2026-07-28, basic/utilities/subscriptions).

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytestring::ByteString;
use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Response};
use wire::method::Method;
use wire::modern::SUBSCRIPTION_ID;
use wire::refusal::{Reason, Refusal};

/// The capability of a server that runs calls of tools as tasks.
const TASKS: &str = "tasks.requests.tools.call";

/// What a client wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `notifications/tools/list_changed`
    pub tools: bool,
    /// `notifications/prompts/list_changed`
    pub prompts: bool,
    /// `notifications/resources/list_changed`
    pub resources: bool,
    /// `notifications/resources/updated` of these.
    pub uris: BTreeSet<String>,
    /// `notifications/tasks` of these.
    pub task_ids: BTreeSet<String>,
}

impl Filter {
    /// Reads `params.notifications`.
    ///
    /// # Errors
    /// `INVALID_PARAMS`: it is missing or no object, or a member is of the wrong kind.
    pub fn of(params: Option<&str>) -> Result<Self, Refusal> {
        let wanted = params.and_then(|it| json::member(it, "notifications"));
        let Some(wanted) = wanted.filter(|it| json::is_object(it)) else {
            return Err(wrong("needs params.notifications, an object"));
        };
        let flag = |key: &str| match json::member(wanted, key).map(str::trim) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(&format!("takes true or false for notifications.{key}"))),
        };
        let texts = |key: &str| {
            let list = json::member(wanted, key).unwrap_or("[]");
            let each = || json::elements(list).map(|text| json::string(text).map(Cow::into_owned));
            let texts = json::is_array(list).then(|| each().collect::<Option<_>>()).flatten();
            texts.ok_or_else(|| wrong(&format!("takes a list of strings for notifications.{key}")))
        };
        Ok(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris: texts("resourceSubscriptions")?,
            task_ids: texts("taskIds")?,
        })
    }

    /// The part of it that a server with these capabilities can be held to.
    #[must_use]
    pub fn supported(self, offers: impl Fn(&str) -> bool) -> Self {
        Self {
            tools: self.tools && offers("tools.listChanged"),
            prompts: self.prompts && offers("prompts.listChanged"),
            resources: self.resources && offers("resources.listChanged"),
            uris: if offers("resources.subscribe") { self.uris } else { BTreeSet::new() },
            task_ids: if offers(TASKS) { self.task_ids } else { BTreeSet::new() },
        }
    }

    /// Whether a notification is one of those asked for.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else may be said there")]
    pub fn admits(&self, note: &Notification) -> bool {
        match note.method() {
            Method::ToolsListChanged => self.tools,
            Method::PromptsListChanged => self.prompts,
            Method::ResourcesListChanged => self.resources,
            Method::ResourcesUpdated => {
                let uri = note.params().and_then(|it| json::string(json::member(it, "uri")?));
                uri.is_some_and(|uri| self.uris.contains(uri.as_ref()))
            }
            Method::TasksStatus => {
                let id = note.params().and_then(|it| json::string(json::member(it, "taskId")?));
                id.is_some_and(|id| self.task_ids.contains(id.as_ref()))
            }
            _ => false,
        }
    }

    /// As `params.notifications` has it.
    pub fn as_json(&self) -> String {
        let mut members: Vec<String> = Vec::new();
        for (key, is_set) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            members.extend(is_set.then(|| format!("{}:true", json::quote(key))));
        }
        for (key, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.task_ids)] {
            let texts: Vec<_> = texts.iter().map(|text| json::quote(text)).collect();
            if !texts.is_empty() {
                members.push(format!("{}:[{}]", json::quote(key), texts.join(",")));
            }
        }
        format!("{{{}}}", members.join(","))
    }

    /// The first message of the subscription `id`: what of it is accepted.
    pub fn acknowledgement(&self, id: &Id) -> Notification {
        let params = format!(
            "{{\"notifications\":{},\"_meta\":{{{}:{id}}}}}",
            self.as_json(),
            json::quote(SUBSCRIPTION_ID)
        );
        Notification::new(Method::SubscriptionsAcknowledged.name(), Some(&params))
    }
}

/// The notification as one of the subscription `id`.
pub fn tagged(note: &Notification, id: &Id) -> ByteString {
    let tag = || format!("{{{}:{id}}}", json::quote(SUBSCRIPTION_ID));
    let Some(params) = note.params() else {
        let params = format!("{{\"_meta\":{}}}", tag());
        return Notification::new(note.method_name(), Some(&params)).text().clone();
    };
    let mut edit = Edit::of(note.text());
    match json::member(params, "_meta").filter(|meta| json::is_object(meta)) {
        Some(meta) => edit.insert_member(meta, SUBSCRIPTION_ID, id.as_str()),
        None => edit.insert_member(params, "_meta", &tag()),
    }
    edit.finish()
}

/// The answer that ends the subscription `id` (same page, "Ending a Subscription").
pub fn completion(id: &Id) -> Response {
    let result = format!(
        "{{\"resultType\":\"complete\",\"_meta\":{{{}:{id}}}}}",
        json::quote(SUBSCRIPTION_ID)
    );
    Response::success(id, &result)
}

fn wrong(what: &str) -> Refusal {
    Refusal::new(Reason::InvalidParams, format!("subscriptions/listen {what}"))
}

#[cfg(test)]
mod tests {
    use wire::message::Message;

    use super::*;

    fn note(text: &str) -> Notification {
        match Message::parse(text, &json::JsonLimits::default()).unwrap() {
            Message::Notification(note) => note,
            Message::Request(_) | Message::Response(_) => panic!("{text} is no notification"),
        }
    }

    fn filter(notifications: &str) -> Result<Filter, Refusal> {
        Filter::of(Some(&format!("{{\"notifications\":{notifications}}}")))
    }

    #[test]
    fn up_listen_reads_what_is_wanted() {
        let all = filter(r#"{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}"#).unwrap();
        assert!(all.tools && !all.prompts && !all.resources);
        assert_eq!(all.uris, ["a:b".to_owned()].into());
        assert_eq!(filter("{}").unwrap(), Filter::default());
        for wrong in ["[]", r#"{"toolsListChanged":1}"#, r#"{"resourceSubscriptions":[1]}"#] {
            assert_eq!(filter(wrong).unwrap_err().reason, Reason::InvalidParams, "{wrong}");
        }
        assert_eq!(Filter::of(None).unwrap_err().reason, Reason::InvalidParams);
    }

    #[test]
    fn up_listen_acknowledges_what_the_server_has() {
        let wanted = filter(
            r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["x"]}"#,
        );
        let accepted = wanted.unwrap().supported(|it| it != "prompts.listChanged");
        let text = accepted.acknowledgement(&Id::parse("\"s\"").unwrap()).text().clone();
        assert_eq!(
            text,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\
             \"params\":{\"notifications\":{\"toolsListChanged\":true,\
             \"resourceSubscriptions\":[\"x\"]},\
             \"_meta\":{\"io.modelcontextprotocol/subscriptionId\":\"s\"}}}"
        );
    }

    #[test]
    fn up_listen_passes_only_what_was_asked_for() {
        let filter = filter(r#"{"toolsListChanged":true,"resourceSubscriptions":["x"]}"#).unwrap();
        let says = |method: &str, params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}"{params}}}"#);
            filter.admits(&note(&text))
        };
        assert!(says("tools/list_changed", ""));
        assert!(!says("prompts/list_changed", ""));
        assert!(says("resources/updated", r#","params":{"uri":"x"}"#));
        assert!(!says("resources/updated", r#","params":{"uri":"y"}"#));
        assert!(!says("message", r#","params":{}"#));
    }

    #[test]
    fn up_listen_tells_of_tasks_by_their_ids() {
        let filter = filter(r#"{"taskIds":["a","b"]}"#).unwrap();
        assert_eq!(filter.as_json(), r#"{"taskIds":["a","b"]}"#);
        let status = |id: &str| {
            let params = format!(r#"{{"taskId":"{id}","status":"working"}}"#);
            Notification::new("notifications/tasks/status", Some(&params))
        };
        assert!(filter.admits(&status("a")) && !filter.admits(&status("c")));
        assert_eq!(
            filter.clone().supported(|it| it != "tasks.requests.tools.call").task_ids.len(),
            0
        );
        assert_eq!(filter.clone().supported(|_| true), filter);
    }

    #[test]
    fn up_listen_names_the_subscription_in_each_note() {
        let id = Id::number(7);
        let plain = note(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
        let key = r#"{"io.modelcontextprotocol/subscriptionId":7}"#;
        assert_eq!(json::path(&tagged(&plain, &id), &["params", "_meta"]), Some(key));
        let params = r#"{"uri":"x","_meta":{"a":1}}"#;
        let full = Notification::new("notifications/resources/updated", Some(params));
        let tagged = tagged(&full, &id);
        assert_eq!(json::path(&tagged, &["params", "uri"]), Some("\"x\""));
        assert_eq!(
            json::path(&tagged, &["params", "_meta"]),
            Some(r#"{"a":1,"io.modelcontextprotocol/subscriptionId":7}"#)
        );
    }
}
