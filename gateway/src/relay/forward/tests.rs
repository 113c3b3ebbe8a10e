//! Calls of tools that are limited: for whom they count, and what becomes of them meanwhile.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use wire::id::Id;
use wire::refusal::Reason;
use wire::revision::Revision;

use super::*;
use crate::config::{Rate, RateLimit, ToolRate};
use crate::relay::fixture::{self, rest};
use crate::session::fixture::{Distant, texts};
use crate::session::memory::MemoryStore;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::store::Store;
use crate::session::{Agreement, Streams as _, Transport};

const HOUR: Duration = Duration::from_hours(1);

/// A relay with one call of its tools an hour for everybody.
fn relay(store: Arc<dyn Store>) -> Arc<Relay> {
    let rate = Rate { max: 1, window: HOUR, burst: 1 };
    let tools = vec![ToolRate { pattern: "s/*".to_owned(), rate }];
    let limit = RateLimit { enabled: true, tools, ..RateLimit::default() };
    Arc::new(fixture::relay(store).limited(&limit))
}

async fn conversation(relay: &Relay) -> Arc<Conversation> {
    let opened = relay.open(Principal::anonymous(), Transport::Streamable, Some("s")).await;
    let conversation = opened.unwrap();
    let agreement = Agreement { revision: Revision::V2025_11_25, params: "{}".into() };
    conversation.session.agree(&agreement);
    conversation
}

/// Calls a tool for whoever comes from this address, or for somebody who is not limited.
fn call(
    relay: &Arc<Relay>,
    conversation: &Arc<Conversation>,
    id: i64,
    from: Option<u8>,
) -> (Outlet, Reader) {
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t"}}}}"#);
    let message = Message::parse(ByteString::from(text), &JsonLimits::default());
    let Ok(Message::Request(request)) = message else { panic!("a request") };
    let address = |it| Caller::Address(IpAddr::V4(Ipv4Addr::new(203, 0, 113, it)));
    let (outlet, reader) = conversation.session.open_stream(1);
    let outlet = outlet.counting_for(from.map(address));
    relay.accept(conversation, request, &outlet);
    (outlet, reader)
}

fn is_limited(reader: &mut Reader) -> bool {
    texts(reader).iter().any(|it| it.contains(&Reason::RateLimited.code().to_string()))
}

#[tokio::test]
async fn a_call_that_ends_while_it_is_counted_reaches_no_server() {
    let relay = relay(Arc::new(Distant::new()));
    let conversation = conversation(&relay).await;
    let (outlet, mut reader) = call(&relay, &conversation, 1, Some(1));
    assert_eq!(conversation.session.in_flight(), 1, "the store is asked");
    let gone = Refusal::new(Reason::OutcomeUnknown, "the session was given back");
    outlet.refuse(&Id::number(1), &gone);
    rest(&relay).await;
    assert_eq!(relay.backends.get("s").unwrap().starts(), 0);
    assert_eq!(texts(&mut reader).len(), 1, "it was answered once");
    let (_, mut reader) = call(&relay, &conversation, 2, Some(1));
    rest(&relay).await;
    assert!(is_limited(&mut reader), "it has counted");
}

#[tokio::test]
async fn a_call_counts_for_whoever_makes_it() {
    let relay = relay(Arc::new(Distant::new()));
    let conversation = conversation(&relay).await;
    let speakers = [Some(1), None, Some(2), Some(1), None, Some(2)];
    let called = (1..).zip(speakers).map(|(id, from)| call(&relay, &conversation, id, from));
    let mut called: Vec<_> = called.collect();
    rest(&relay).await;
    let limited: Vec<_> = called.iter_mut().map(|(_, reader)| is_limited(reader)).collect();
    assert_eq!(limited, [false, false, false, true, false, true]);
}

#[tokio::test]
async fn without_a_shared_store_nothing_waits_for_a_limit() {
    let relay = relay(Arc::new(MemoryStore::alone()));
    let conversation = conversation(&relay).await;
    call(&relay, &conversation, 1, Some(1));
    let (_, mut reader) = call(&relay, &conversation, 2, Some(1));
    assert!(is_limited(&mut reader));
}
