//! Subscriptions and news of lists: one listen at a time, and nothing missed in between.

use std::time::Instant;

use super::*;
use crate::bridge::down::listening::{Act, Listening};
use crate::bridge::listen::Filter;
use crate::config::limits::bridge::{ACKNOWLEDGE_WAIT, LISTEN_WAIT, LISTEN_WAIT_MAX};

fn filter(uris: &[&str]) -> Filter {
    Filter {
        tools: true,
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        ..Filter::default()
    }
}

fn acknowledgement(notifications: Option<&str>) -> Notification {
    let params = notifications.map(|it| format!(r#"{{"notifications":{it}}}"#));
    Notification::new("notifications/subscriptions/acknowledged", params.as_deref())
}

fn yes(number: u64) -> Act {
    Act::Answer(Response::success(&Id::number(number), "{}"))
}

/// A listen for these resources that the server has acknowledged, under number 1.
fn listening(uris: &[&str], now: Instant) -> Listening {
    let mut listening = Listening::default();
    assert_eq!(listening.want(Some(filter(uris)), now), [Act::Open(1, filter(uris))]);
    assert_eq!(listening.acknowledged(1, &acknowledgement(None)), []);
    listening
}

#[test]
fn down_a_listen_says_what_the_session_needs() {
    let mut client = client();
    assert_eq!(client.filter().unwrap().as_json(), r#"{"toolsListChanged":true}"#);
    for uri in ["b\\\"", "a"] {
        let subscribe = request("resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#));
        assert!(matches!(client.take(subscribe), Taken::Subscribe(_)));
    }
    let wanted = client.filter().unwrap();
    let json = r#"{"toolsListChanged":true,"resourceSubscriptions":["a","b\""]}"#;
    assert_eq!(wanted.as_json(), json);
    let params = client.listen_params(&wanted);
    assert_eq!(json::member(&params, "notifications"), Some(json));
    let version = ["_meta", "io.modelcontextprotocol/protocolVersion"];
    assert_eq!(json::path(&params, &version), Some("\"2026-07-28\""));
    answered(&mut client, "resources/unsubscribe", r#"{"uri":"b\""}"#);
    assert_eq!(client.filter(), Some(filter(&["a"])));
}

#[test]
fn down_subscriptions_without_a_uri_or_too_many_are_refused() {
    let mut client = client();
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        assert_eq!(code(&answered(&mut client, method, r#"{"uri":1}"#)), Some(-32602));
    }
    for n in 0..1024 {
        let one = request("resources/subscribe", &format!(r#"{{"uri":"{n}"}}"#));
        assert!(matches!(client.take(one), Taken::Subscribe(_)));
    }
    let more = answered(&mut client, "resources/subscribe", r#"{"uri":"more"}"#);
    assert_eq!(code(&more), Some(-31006));
    let same = request("resources/subscribe", r#"{"uri":"5"}"#);
    assert!(matches!(client.take(same), Taken::Subscribe(_)));
}

#[test]
fn down_news_come_without_the_name_of_the_listen_and_only_if_wanted() {
    let mut client = client();
    let hear = |client: &Client, method: &str, params: &str| {
        let heard = client.hear(&note(method, params))?;
        let Ok(Message::Notification(note)) = Message::parse(heard, &JsonLimits::default()) else {
            panic!("no note");
        };
        Some(note.params().map(ToOwned::to_owned).unwrap_or_default())
    };
    let id = r#""io.modelcontextprotocol/subscriptionId":"listen/1""#;
    let tools = "notifications/tools/list_changed";
    let bare = format!(r#"{{"_meta":{{{id}}}}}"#);
    assert_eq!(hear(&client, tools, &bare).as_deref(), Some("{}"));
    let more = format!(r#"{{"_meta":{{"x":1,{id}}}}}"#);
    assert_eq!(hear(&client, tools, &more).as_deref(), Some(r#"{"_meta":{"x":1}}"#));
    assert_eq!(hear(&client, "notifications/prompts/list_changed", &bare), None, "not offered");
    assert_eq!(hear(&client, "notifications/message", &bare), None);
    let updated = "notifications/resources/updated";
    let of_a = r#"{"uri":"a"}"#;
    assert_eq!(hear(&client, updated, of_a), None);
    client.take(request("resources/subscribe", of_a));
    assert_eq!(hear(&client, updated, of_a).as_deref(), Some(of_a));
    client.take(request("resources/unsubscribe", of_a));
    assert_eq!(hear(&client, updated, of_a), None, "it is on its way no more");
}

#[test]
fn down_a_subscription_is_confirmed_when_the_new_listen_is_acknowledged() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.subscribe(Id::number(8), "a".to_owned());
    assert_eq!(listening.want(Some(filter(&["a"])), now), [Act::Open(2, filter(&["a"]))]);
    assert_eq!(listening.acknowledged(1, &acknowledgement(None)), [], "that was another");
    assert_eq!(listening.acknowledged(2, &acknowledgement(None)), [Act::Close(1), yes(8)]);
    listening.subscribe(Id::number(9), "a".to_owned());
    assert_eq!(listening.want(Some(filter(&["a"])), now), [yes(9)], "it is open already");
}

#[test]
fn down_what_changes_meanwhile_replaces_the_listen_that_is_not_open_yet() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.subscribe(Id::number(8), "a".to_owned());
    listening.want(Some(filter(&["a"])), now);
    listening.subscribe(Id::number(9), "b".to_owned());
    let both = filter(&["a", "b"]);
    let acts = listening.want(Some(both.clone()), now);
    assert_eq!(acts, [Act::Close(2), Act::Open(3, both)]);
    assert_eq!(listening.acknowledged(3, &acknowledgement(None)), [Act::Close(1), yes(8), yes(9)]);
    assert_eq!(listening.want(None, now), [Act::Close(3)]);
    assert_eq!(listening.due(), None);
}

#[test]
fn down_a_subscription_taken_back_meanwhile_is_confirmed() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.subscribe(Id::number(8), "a".to_owned());
    listening.want(Some(filter(&["a"])), now);
    assert_eq!(listening.want(Some(filter(&[])), now), [Act::Close(2), yes(8)]);
}

#[test]
fn down_a_subscription_the_server_leaves_out_is_refused() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.subscribe(Id::number(8), "a".to_owned());
    listening.subscribe(Id::number(9), "b".to_owned());
    listening.want(Some(filter(&["a", "b"])), now);
    let taken = acknowledgement(Some(r#"{"resourceSubscriptions":["a"]}"#));
    let acts = listening.acknowledged(2, &taken);
    let [Act::Close(1), first, Act::Answer(refused), Act::Forget(forgotten)] = acts.as_slice()
    else {
        panic!("{acts:?}");
    };
    assert_eq!((first, forgotten.as_str()), (&yes(8), "b"));
    assert_eq!((refused.id_text(), code(refused)), (Some("9"), Some(-32602)));
}

#[test]
fn down_a_listen_that_the_server_refuses_fails_the_subscription_and_is_left_for_a_while() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.subscribe(Id::number(8), "a".to_owned());
    listening.want(Some(filter(&["a"])), now);
    let acts = listening.refused(2, r#"{"code":-32601,"message":"no"}"#, now);
    let [Act::Answer(refused), Act::Forget(uri)] = acts.as_slice() else { panic!("{acts:?}") };
    assert_eq!((code(refused), uri.as_str()), (Some(-32601), "a"));
    assert_eq!(listening.want(Some(filter(&[])), now), [], "the first is still open");
    let mut other = Listening::default();
    other.want(Some(filter(&[])), now);
    assert_eq!(other.refused(1, "{}", now), []);
    assert_eq!(other.due(), Some(now + LISTEN_WAIT_MAX));
}

#[test]
fn down_a_listen_that_ends_is_opened_again_ever_later() {
    let mut now = Instant::now();
    let mut listening = listening(&["a"], now);
    let mut pauses = Vec::new();
    for number in 1..10 {
        listening.ended(number, now);
        listening.ended(number, now);
        let due = listening.due().unwrap();
        pauses.push((due - now).as_secs());
        assert_eq!(listening.wake(now), [], "not before it is due");
        now = due;
        assert_eq!(listening.wake(now), [Act::Open(number + 1, filter(&["a"]))]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(listening.acknowledged(10, &acknowledgement(None)), [Act::Missed]);
    listening.ended(10, now);
    assert_eq!(listening.due(), Some(now + LISTEN_WAIT), "it had come off");
}

#[test]
fn down_a_listen_that_is_not_acknowledged_in_time_is_opened_again() {
    let now = Instant::now();
    let mut listening = Listening::default();
    listening.want(Some(filter(&[])), now);
    let due = listening.due().unwrap();
    assert_eq!(due - now, ACKNOWLEDGE_WAIT);
    assert_eq!(listening.wake(now), []);
    assert_eq!(listening.wake(due), [Act::Close(1)]);
    let again = listening.due().unwrap();
    assert_eq!(listening.wake(again), [Act::Open(2, filter(&[]))]);
    assert_eq!(listening.acknowledged(1, &acknowledgement(None)), [], "too late");
}

#[test]
fn down_a_change_is_not_held_up_by_the_pause_before_another_try() {
    let now = Instant::now();
    let mut listening = listening(&[], now);
    listening.ended(1, now);
    assert_eq!(listening.want(Some(filter(&[])), now), [], "the same waits");
    let acts = listening.want(Some(filter(&["a"])), now);
    assert_eq!(acts, [Act::Open(2, filter(&["a"]))]);
}
