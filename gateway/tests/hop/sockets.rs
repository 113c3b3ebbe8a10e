//! A WebSocket that can be resumed, at several gateways; and what an operator sees of its session.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::caller::{Caller, upgrade};
use crate::gateway::{DEADLINE, Line, eventually, message, post};
use crate::{Replica, SECRET, ask, countdown, echo, open, pair, say, store};

/// The same call in revision 2026-07-28.
fn alone(call: &str) -> String {
    let meta = concat!(
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
        r#""io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"#,
        r#""io.modelcontextprotocol/clientCapabilities":{}"#
    );
    match call.split_once(r#""_meta":{"#) {
        Some((head, rest)) => format!("{head}{meta},{rest}"),
        None => call.replacen(r#""params":{"#, &format!(r#""params":{{{meta}}},"#), 1),
    }
}

/// The status a request to resume is answered with.
fn status(address: SocketAddr, query: &str) -> String {
    let mut line = Line::open(address);
    line.send(&upgrade(query));
    line.read_until("\r\n").split(' ').nth(1).unwrap().to_owned()
}

fn sessions(replica: &Replica) -> Vec<Value> {
    let answer = ask(replica.admin, "GET /internal/sessions", "");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let list: Value = serde_json::from_str(body).unwrap();
    list.get("sessions").and_then(Value::as_array).unwrap().clone()
}

fn word<'a>(session: &'a Value, name: &str) -> &'a str {
    session.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_websocket_comes_back_to_another_replica() {
    let (one, other) = pair();
    let mut caller = Caller::open(one.public);
    for round in 0..4_u32 {
        let first = 10 * (round + 1);
        caller.say(&echo(first, "before"));
        assert_eq!(caller.answered(), u64::from(first));
        caller.say(&echo(first + 2, "missed"));
        caller.say(&countdown(first + 1, 2));
        let mut seen = Vec::new();
        // The first progress says that both were taken in; the rest is said to nobody.
        loop {
            let message = caller.next();
            match message.get("id").and_then(Value::as_u64) {
                Some(id) => seen.push(id),
                None => break,
            }
        }
        let query = caller.query();
        let at = if round % 2 == 0 { &other } else { &one };
        caller = Caller::connect(at.public, &query);
        while seen.len() < 2 {
            seen.push(caller.answered());
        }
        seen.sort_unstable();
        assert_eq!(seen, [first + 1, first + 2].map(u64::from));
        assert!(!caller.has_gap);
    }
    let hops = other.figure("mcp_gateway_hops_total{outcome=\"answered\"}");
    assert!(hops >= 2.0, "{hops}");
    let (event, session) = caller.mark.split_once('.').unwrap();
    let guess = format!("{event}.{}", session.chars().rev().collect::<String>());
    for (mark, received, expected) in [
        (caller.mark.as_str(), "999999999", "400"),
        (event, "0", "400"),
        (guess.as_str(), "0", "404"),
    ] {
        let query = format!("resume={mark}&received={received}");
        assert_eq!(status(other.public, &query), expected, "{query}");
    }
}

/// What a client says before it has read that its socket is closed is not lost, when the owner of
/// its session stops and when the replica does that joins them; whatever code its library answers.
#[test]
fn what_is_said_into_a_closing_websocket_is_served() {
    for (is_joined, answer) in [(false, 1012), (true, 1012), (false, 1000)] {
        let (one, other) = pair();
        let mut caller = Caller::open(one.public);
        if is_joined {
            caller = Caller::connect(other.public, &caller.query());
        }
        let (leaves, stays) = if is_joined { (&other, &one) } else { (&one, &other) };
        let stopped = leaves.stop();
        assert_eq!(caller.close_code(), 1012);
        // It is answered where an answer can be written, and ends nothing.
        caller.say(r#"{"type":"ping"}"#);
        caller.say(&echo(7, "crossed"));
        let query = caller.query();
        caller.take_leave(answer);
        let caller = Caller::come_back_for(7, stays.public, &query);
        assert!(!caller.has_gap);
        let stopped = stopped.recv_timeout(DEADLINE).unwrap();
        assert_eq!((stopped.unfinished_calls, stopped.unfinished_tasks), (0, 0));
    }
}

/// Calls of revision 2026-07-28 end with their socket, so the stop of the session's owner waits for
/// them, and so does that of the replica that joins them. None is begun any more where it stops.
#[test]
fn calls_that_stand_alone_are_answered_before_their_socket_is_closed() {
    for is_joined in [false, true] {
        let (one, other) = pair();
        let mut caller = Caller::open(one.public);
        if is_joined {
            caller = Caller::connect(other.public, &caller.query());
        }
        let (leaves, stays) = if is_joined { (&other, &one) } else { (&one, &other) };
        let query = caller.query();
        // It outlives the notice of the stop, after which sockets are closed.
        caller.say(&alone(&countdown(7, 50)));
        while caller.frame().pointer("/params/progress").is_none() {}
        let stopped = leaves.stop();
        // It takes in no one else once its notice is over; the owner that stays is not stopped.
        eventually(|| is_joined || TcpStream::connect(leaves.public).is_err());
        caller.say(&alone(&echo(8, "late")));
        let mut answers = BTreeMap::new();
        while answers.len() < 2 {
            let answer = caller.frame();
            answers.extend(answer.get("id").and_then(Value::as_u64).map(|id| (id, answer)));
        }
        assert!(answers[&7].get("result").is_some(), "{answers:?}");
        // The owner that stays takes it in: this socket is the session's until it is left.
        let refused = answers[&8].pointer("/error/data/retryable");
        assert_eq!(refused, (!is_joined).then_some(&Value::from(true)), "{answers:?}");
        assert_eq!(caller.close_code(), 1012);
        caller.take_leave(1012);
        let mut caller = Caller::connect(stays.public, &query);
        caller.say(&echo(9, "afterwards"));
        assert_eq!((caller.answered(), caller.has_gap), (9, false));
        let stopped = stopped.recv_timeout(DEADLINE).unwrap();
        assert_eq!((stopped.unfinished_calls, stopped.unfinished_tasks), (0, 0));
    }
}

/// A client that does not answer the close holds up neither the stop nor another's session, and its
/// session is not claimed while it may still speak here.
#[test]
fn a_websocket_that_is_not_left_is_waited_for_and_not_for_long() {
    let (one, other) = pair();
    let mut silent = Caller::open(one.public);
    let session = open(one.public);
    let begun = Instant::now();
    let stopped = one.stop();
    assert_eq!(silent.close_code(), 1012);
    let query = silent.query();
    let connecting = thread::spawn(move || Caller::connect(other.public, &query).query());
    let answer = say(other.public, &session, &echo(2, "elsewhere"));
    assert!(answer.contains("elsewhere") && begun.elapsed() < Duration::from_secs(3), "{answer}");
    silent.say(&echo(3, "late"));
    stopped.recv_timeout(DEADLINE).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(connecting.join().unwrap().contains("resume="));
}

#[test]
fn a_websocket_survives_its_owner() {
    let store = store();
    let (mut one, other) = (Replica::start(&store, SECRET), Replica::start(&store, SECRET));
    let mut caller = Caller::open(one.public);
    caller.say(&echo(2, "before"));
    assert_eq!(caller.answered(), 2);
    caller.say(&countdown(3, 1_000));
    // Its first progress says that it was taken in and written down.
    while caller.next().get("method").is_none() {}
    let query = caller.query();
    one.kill();
    let mut caller = Caller::connect(other.public, &query);
    let lost = caller.answer();
    assert_eq!(lost.get("id"), Some(&Value::from(3)));
    assert_eq!(lost.pointer("/error/code"), Some(&Value::from(-31002)), "{lost}");
    for id in 4..8 {
        caller.say(&echo(id, "after"));
        assert_eq!(caller.answered(), u64::from(id));
        // Places were left out at the change of owner, and the count is right all the same.
        let query = caller.query();
        caller = Caller::connect(other.public, &query);
    }
    caller.say(&message(9, "ping", "{}"));
    assert_eq!(caller.answered(), 9);
    assert!(!caller.has_gap);
}

#[test]
fn an_operator_sees_and_ends_sessions_at_any_replica() {
    let (one, other) = pair();
    let caller = Caller::open(one.public);
    let all = sessions(&other);
    let [session] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (word(session, "transport"), word(session, "revision")),
        ("websocket", "2025-11-25")
    );
    assert_eq!(session.get("isHere"), Some(&Value::from(false)));
    let own = sessions(&one);
    assert_eq!(own[0].get("isHere"), Some(&Value::from(true)));
    let key = word(session, "key");
    assert_eq!((word(&own[0], "key"), word(&own[0], "owner")), (key, word(session, "owner")));
    let answer = ask(other.admin, &format!("GET /internal/sessions/{key}"), "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"notes\""), "{answer}");
    let (_, id) = caller.mark.split_once('.').unwrap();
    assert!(!answer.contains(id), "an id is shown");
    let answer = ask(other.admin, &format!("DELETE /internal/sessions/{key}"), "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(word(session, "owner")), "{answer}");
    for replica in [&one, &other] {
        eventually(|| sessions(replica).is_empty());
        assert_eq!(status(replica.public, &caller.query()), "404");
    }
    let answer = ask(other.admin, &format!("DELETE /internal/sessions/{key}"), "");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[test]
fn an_operator_ends_the_session_of_a_replica_that_is_gone() {
    let (mut one, other) = pair();
    let caller = Caller::open(one.public);
    let all = sessions(&other);
    let key = word(&all[0], "key").to_owned();
    one.kill();
    let end = || ask(other.admin, &format!("DELETE /internal/sessions/{key}"), "");
    let answer = end();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("does not answer"), "{answer}");
    // Its lease has to run out first: it might live, and write the session down once more.
    eventually(|| end().starts_with("HTTP/1.1 200"));
    assert_eq!(status(other.public, &caller.query()), "404");
}

#[test]
fn a_replica_that_stops_has_others_open_sockets() {
    let (one, other) = pair();
    let busy = open(one.public);
    let mut call = Line::open(one.public);
    let headers = format!("Mcp-Session-Id: {busy}\r\n");
    call.send(&post("/mcp", &headers, &countdown(2, 30)));
    call.read_until("notifications/progress");
    let stopped = one.stop();
    let is_other = |session: &Value| word(session, "transport") == "websocket";
    let at_other =
        || sessions(&other).iter().filter(|it| is_other(it) && it["isHere"] == true).count();
    // It may not know yet of what it said itself.
    eventually(|| {
        open(one.public);
        one.figure("mcp_gateway_hops_total{outcome=\"answered\"}") > 0.0
    });
    eventually(|| {
        let mut caller = Caller::open(one.public);
        caller.say(&echo(2, "there"));
        assert_eq!(caller.answered(), 2);
        at_other() > 0
    });
    call.read_until("\"result\"");
    let stopped = stopped.recv_timeout(DEADLINE).unwrap();
    assert_eq!(stopped.unfinished_calls, 0);
}
