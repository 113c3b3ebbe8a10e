//! Where messages go, and how a stream begins, with servers made of raw sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn base(url: &str) -> Target {
    Target::new(url, [("authorization", "Bearer x")]).unwrap()
}

fn resolved(url: &str, written: &str) -> String {
    resolve(&base(url), written).unwrap().uri().to_string()
}

fn refused(url: &str, written: &str) -> String {
    match resolve(&base(url), written) {
        Err(HttpFault::Protocol(what)) => what,
        other => panic!("{written}: {other:?}"),
    }
}

#[test]
fn an_address_is_resolved_against_the_configured_one() {
    let url = "http://Host:8080/a/b/sse?key=1";
    for (written, expected) in [
        ("/messages?sessionId=1", "http://Host:8080/messages?sessionId=1"),
        (" /messages?a=../b \n", "http://Host:8080/messages?a=../b"),
        ("messages", "http://Host:8080/a/b/messages"),
        ("./messages/", "http://Host:8080/a/b/messages/"),
        ("../messages", "http://Host:8080/a/messages"),
        ("../../../../messages", "http://Host:8080/messages"),
        ("?s=1", "http://Host:8080/a/b/sse?s=1"),
        ("/m?next=http://evil/", "http://Host:8080/m?next=http://evil/"),
        ("/m:1#part", "http://Host:8080/m:1"),
        ("http://host:8080/m?s=1", "http://Host:8080/m?s=1"),
        ("HTTP://HOST:8080", "http://Host:8080/"),
        ("//host:8080/m", "http://Host:8080/m"),
    ] {
        assert_eq!(resolved(url, written), expected, "{written}");
    }
    assert_eq!(resolved("https://h/sse", "https://h:443/m"), "https://h/m");
    assert_eq!(resolved("http://h:80/sse", "http://h/m"), "http://h:80/m");
    assert_eq!(resolved("http://[::1]:9/sse", "http://[::1]:9/m"), "http://[::1]:9/m");
    let post = resolve(&base(url), "/m").unwrap();
    assert_eq!(post.headers().get("authorization").unwrap(), "Bearer x");
}

#[test]
fn another_origin_is_refused_and_the_session_in_it_is_not_shown() {
    let url = "http://host:8080/sse";
    for written in [
        "http://evil:8080/m?sessionId=42",
        "http://host:8081/m?sessionId=42",
        "https://host:8080/m?sessionId=42",
        "http://host/m?sessionId=42",
        "//evil/m?sessionId=42",
        "http://host:8080@evil/m?sessionId=42",
        "http://me@host:8080/m?sessionId=42",
        "ftp://host:8080/m?sessionId=42",
    ] {
        let what = refused(url, written);
        assert!(what.contains("is not the configured http://host:8080"), "{written}: {what}");
        assert!(!what.contains("42"), "{what}");
    }
    assert!(refused(url, "").contains("empty or too long"));
    assert!(refused(url, &format!("/{}", "x".repeat(ENDPOINT_BYTES))).contains("too long"));
    assert!(refused(url, "/a b").contains("path"));
    assert!(refused(url, "javascript:alert(1)").contains("unusable address"));
    assert!(refused(url, "mailto:x").contains("unusable address"));
}

/// Answers one request with `answer` and holds the connection until the client lets go.
async fn opened(answer: &'static str) -> Result<(Target, Messages), HttpFault> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sse", listener.local_addr().unwrap());
    crate::supervise::Tasks::new().spawn("test-server", async move {
        let (mut socket, _from) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("GET /sse HTTP/1.1"), "{head}");
        assert!(head.contains("accept: text/event-stream"), "{head}");
        assert!(head.contains("authorization: Bearer x"), "{head}");
        socket.write_all(answer.as_bytes()).await.unwrap();
        if !answer.contains("\r\n\r\n:end") {
            let _end: Result<usize, _> = socket.read(&mut [0; 1]).await;
        }
    });
    let client = Client::new().with_answer_limit(64);
    timeout(DEADLINE, open(&client, &base(&url))).await.expect("an answer in time")
}

macro_rules! stream {
    ($events:expr) => {
        concat!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", $events)
    };
}

#[tokio::test]
async fn messages_are_told_from_other_events() {
    let (post, mut messages) = opened(stream!(
        ": hello\n\nevent: endpoint\ndata: /m?s=1\n\nevent: message\ndata: 1\n\n\
         event: ping\ndata: x\n\nevent: endpoint\ndata: http://evil/\n\ndata:\n\ndata: 2\n\n\
         data: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n\
         data: 3\n\n"
    ))
    .await
    .unwrap();
    assert_eq!(post.uri().path_and_query().unwrap(), "/m?s=1");
    assert_eq!(messages.next().await.unwrap().unwrap(), "1");
    assert_eq!(messages.next().await.unwrap().unwrap(), "2");
    assert_eq!(messages.next().await.unwrap().unwrap_err(), HttpFault::TooLarge);
    assert_eq!(messages.next().await.unwrap().unwrap(), "3");
}

#[tokio::test]
async fn what_is_no_http_sse_server_is_told() {
    let fault = |result: Result<(Target, Messages), HttpFault>| result.unwrap_err().to_string();
    let foreign = opened(stream!("event: endpoint\ndata: http://127.0.0.1:1/m\n\n")).await;
    assert!(fault(foreign).contains("messages go to no other origin"));
    let short = opened(stream!(":end\n\n")).await;
    assert!(fault(short).contains("without an `endpoint` event"));
    let none = opened("HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await;
    assert!(fault(none).contains("no event stream"));
    let lost = opened("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await;
    assert!(fault(lost).contains("status 404"));
    let json =
        opened("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n").await;
    assert!(fault(json).contains("text/html"));
}
