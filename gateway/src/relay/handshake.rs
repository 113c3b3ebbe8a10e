//! `initialize`: what the client and the server behind it agree on.

use std::sync::Arc;

use bytestring::ByteString;
use wire::edit::Edit;
use wire::json;
use wire::message::{Request, Response};
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::backend::attachment::Attachment;
use crate::config::limits::client::RETRY_LATER;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::relay::takeover::note_lists;
use crate::session::outlet::Outlet;
use crate::session::{Agreement, Transport};

impl Relay {
    /// Answers `initialize`: a single server's own words, or ours for all servers as one.
    pub(crate) fn initialize(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        request: Request,
        outlet: &Outlet,
    ) {
        let relay = self.clone();
        let (conversation, outlet) = (conversation.clone(), outlet.clone());
        let trail = outlet.trail().clone();
        let work = async move {
            match relay.agree(&conversation, &request).await {
                Ok(result) => {
                    let answer = Response::success(request.id(), &result);
                    outlet.answer(request.id(), answer.text().clone());
                }
                Err(refusal) => {
                    relay.refuse(&outlet, request.id(), &refusal);
                    // Over HTTP the next try opens a session of its own; elsewhere the client may
                    // try again, but for what was agreed on already.
                    let session = &conversation.session;
                    if session.transport == Transport::Streamable || session.agreement().is_some() {
                        relay.close(&conversation).await;
                    }
                }
            }
        };
        self.context.tasks.spawn("relay-initialize", trail.scope(work));
    }

    async fn agree(
        &self,
        conversation: &Conversation,
        request: &Request,
    ) -> Result<ByteString, Refusal> {
        let params = request.params().map(|it| request.text().slice_ref(it)).unwrap_or_default();
        let (params, revision) = negotiate(&params)?;
        let (result, revision) = match conversation.only_server() {
            Some(attachment) => greet(&attachment, &params, revision).await?,
            None => (self.own_greeting(revision), revision),
        };
        conversation.session.agree(&Agreement { revision, params });
        note_lists(&conversation.session, &result);
        // With the answer the client knows its session, which nobody can go on with but for this.
        if conversation.session.is_in_store().await {
            Ok(result)
        } else {
            let what = "the session cannot be opened: the session store is unavailable";
            Err(Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_LATER))
        }
    }

    /// What the gateway answers for all servers as one. The methods behind these capabilities are
    /// the gateway's own; a server that lacks one is left out of the merged list.
    pub(super) fn own_greeting(&self, revision: Revision) -> ByteString {
        let servers = self.backends.all();
        let servers: Vec<_> = servers.iter().map(|it| it.config.id.as_str()).collect();
        let instructions = format!(
            "This is a gateway to {} MCP server(s): {}. A name that several servers use is \
             prefixed with its server, as in server__name.",
            servers.len(),
            servers.join(", ")
        );
        let result = format!(
            concat!(
                r#"{{"protocolVersion":{},"capabilities":{{"tools":{{"listChanged":true}},"#,
                r#""resources":{{"subscribe":true,"listChanged":true}},"#,
                r#""prompts":{{"listChanged":true}},"logging":{{}},"completions":{{}}}},"#,
                r#""serverInfo":{{"name":"mcp-gateway","version":{}}},"instructions":{}}}"#
            ),
            json::quote(revision.as_str()),
            json::quote(env!("CARGO_PKG_VERSION")),
            json::quote(&instructions)
        );
        ByteString::from(result)
    }
}

/// The revision the client is met at, and its params with that revision in them.
///
/// A revision this lane does not speak is answered with the newest it does speak, which the client
/// may take or leave (MCP 2025-11-25, basic/lifecycle, "Version Negotiation").
fn negotiate(params: &ByteString) -> Result<(ByteString, Revision), Refusal> {
    let asked = json::member(params, "protocolVersion");
    let Some((part, version)) = asked.and_then(|part| Some((part, json::string(part)?))) else {
        let what = "initialize needs params.protocolVersion, such as \"2025-11-25\"";
        return Err(Refusal::new(Reason::InvalidParams, what));
    };
    if let Some(revision) = Revision::parse(&version).filter(|it| it.is_legacy()) {
        return Ok((params.clone(), revision));
    }
    let mut edit = Edit::of(params);
    edit.replace(part, json::quote(Revision::LATEST_LEGACY.as_str()));
    Ok((edit.finish(), Revision::LATEST_LEGACY))
}

/// One server's own greeting, and the revision that holds with this client.
async fn greet(
    attachment: &Attachment,
    params: &ByteString,
    asked: Revision,
) -> Result<(ByteString, Revision), Refusal> {
    let hello = attachment.source(params).await?.hello().await?;
    Ok(heard(hello, asked, attachment.server.is_shared()))
}

/// A server's greeting as a client hears it that asked for a revision. A newer one it may not know,
/// and hears its own: what a revision added is used by those only who declare that they can. An
/// older one it is told, since it may go without what that lacks, unless the server is shared and
/// was greeted by the gateway.
fn heard(hello: ByteString, asked: Revision, is_shared: bool) -> (ByteString, Revision) {
    let part = json::member(&hello, "protocolVersion").unwrap_or_default();
    let told = json::string(part).and_then(|it| Revision::parse(&it)).unwrap_or(asked);
    if told <= asked && !is_shared {
        return (hello, told);
    }
    let mut edit = Edit::of(&hello);
    edit.replace(part, json::quote(asked.as_str()));
    (edit.finish(), asked)
}

#[cfg(test)]
mod tests {
    use wire::json::JsonLimits;
    use wire::message::Message;
    use wire::refusal::Dispatched;

    use super::*;
    use crate::relay::fixture::{self, rest};
    use crate::session::Streams as _;
    use crate::session::fixture::{Distant, texts};
    use crate::session::outlet::Reader;
    use crate::session::principal::Principal;

    fn params(version: &str) -> ByteString {
        let text = format!(
            "{{ \"capabilities\":{{\"x\":[1.0,\"\\u00e4\"]}},\n\"protocolVersion\" : {version}, \
             \"clientInfo\":{{\"name\":\"2026-07-28\",\"version\":\"1\"}}, \"unknown\":null }}"
        );
        ByteString::from(text)
    }

    #[test]
    fn every_legacy_revision_is_met_as_asked() {
        for revision in Revision::ALL.into_iter().filter(|it| it.is_legacy()) {
            let asked = params(&json::quote(revision.as_str()));
            assert_eq!(negotiate(&asked).unwrap(), (asked, revision));
        }
    }

    #[test]
    fn any_other_revision_is_replaced_and_nothing_else() {
        for version in ["2026-07-28", "2099-01-01", "1.0", "", "2025-11-25 ", "\u{e4}\"\\"] {
            let (met, revision) = negotiate(&params(&json::quote(version))).unwrap();
            assert_eq!(revision, Revision::V2025_11_25);
            assert_eq!(met, params("\"2025-11-25\""), "asked for {version:?}");
        }
    }

    #[test]
    fn an_escaped_revision_is_the_same_revision() {
        let asked = params("\"2025\\u002d06-18\"");
        assert_eq!(negotiate(&asked).unwrap(), (asked, Revision::V2025_06_18));
    }

    #[test]
    fn params_without_a_revision_are_refused() {
        let nested = r#"{"clientInfo":{"protocolVersion":"2025-06-18"}}"#;
        let wrong_case = r#"{"protocolversion":"2025-06-18"}"#;
        let wrong: Vec<_> = ["null", "20250618", "[\"2025-06-18\"]", "{}", "true"]
            .map(|it| params(it).to_string())
            .into_iter()
            .chain(["", "{}", nested, wrong_case].map(str::to_owned))
            .collect();
        for text in wrong {
            let refusal = negotiate(&ByteString::from(text.as_str())).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidParams, "{text}");
            assert_eq!(refusal.dispatched, Dispatched::No, "{text}");
        }
    }

    #[test]
    fn no_client_is_told_of_a_revision_newer_than_its_own() {
        let legacy = || Revision::ALL.into_iter().filter(|it| it.is_legacy());
        for (server, client) in legacy().flat_map(|it| legacy().map(move |other| (it, other))) {
            let hello = |revision: Revision| {
                let text = format!(r#"{{ "protocolVersion":"{revision}", "x":[1.0] }}"#);
                ByteString::from(text)
            };
            let met = server.min(client);
            assert_eq!(heard(hello(server), client, false), (hello(met), met));
            assert_eq!(heard(hello(server), client, true), (hello(client), client));
        }
    }

    /// Has a client open a session with all servers, and sends its `initialize`.
    async fn begin(relay: &Arc<Relay>, transport: Transport) -> (Arc<Conversation>, Reader) {
        let opened = relay.open(Principal::anonymous(), transport, None).await;
        let conversation = opened.unwrap();
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"initialize",
            "params":{"protocolVersion":"2025-11-25"}}"#;
        let message = Message::parse(ByteString::from(text), &JsonLimits::default());
        let Ok(Message::Request(request)) = message else { panic!("a request") };
        // Of a stream that is not kept, on which an answer is read at once.
        let (outlet, reader) = conversation.session.open_stream(1);
        relay.accept(&conversation, request, &outlet);
        (conversation, reader)
    }

    /// Tries to write what the session has to keep, as the scribe does.
    async fn write(relay: &Relay) {
        let session = relay.sessions.scribe().next().unwrap();
        relay.sessions.scribe().write(session).await;
    }

    async fn go_on() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn initialize_is_answered_when_the_store_has_what_was_agreed_on() {
        let store = Arc::new(Distant::new());
        let relay = Arc::new(fixture::relay(store.clone()));
        let (conversation, mut reader) = begin(&relay, Transport::Streamable).await;
        go_on().await;
        let session = &conversation.session;
        assert!(session.agreement().is_some() && texts(&mut reader).is_empty());
        write(&relay).await;
        rest(&relay).await;
        let listed = store.listed(session.key).await.unwrap();
        assert_eq!(listed.record.revision.as_deref(), Some("2025-11-25"));
        assert!(texts(&mut reader).iter().any(|it| it.contains("\"result\"")));
    }

    #[tokio::test]
    async fn initialize_is_refused_without_the_store_and_leaves_no_session() {
        for transport in [Transport::Streamable, Transport::Sse, Transport::WebSocket] {
            let store = Arc::new(Distant::new());
            let relay = Arc::new(fixture::relay(store.clone()));
            let (conversation, mut reader) = begin(&relay, transport).await;
            store.set_away(true);
            go_on().await;
            write(&relay).await;
            rest(&relay).await;
            let refused = Reason::StoreUnavailable.code().to_string();
            assert!(texts(&mut reader).iter().any(|it| it.contains(&refused)), "{transport:?}");
            assert!(conversation.session.closed().is_cancelled(), "it was agreed on already");
        }
    }
}
