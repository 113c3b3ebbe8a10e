//! Answers of every kind, from servers made of raw sockets.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

mod connections;

const DEADLINE: Duration = Duration::from_secs(20);

/// One request as it came over the wire.
struct Seen(String);

impl Seen {
    fn has(&self, line: &str) -> bool {
        self.0.lines().any(|seen| seen.eq_ignore_ascii_case(line))
    }
}

/// Reads one request with its body; `None` when the client has hung up.
async fn read_request(socket: &mut TcpStream) -> Option<Seen> {
    let mut text = Vec::new();
    loop {
        if socket.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
        let Some(end) = text.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if text.len() >= end + 4 + length {
            return Some(Seen(String::from_utf8(text).unwrap()));
        }
    }
}

/// Serves connections one after the other; `serve` gets each with its number.
async fn server<S, F>(serve: S) -> Target
where
    S: Fn(TcpStream, usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    crate::supervise::Tasks::new().spawn("test-server", async move {
        for number in 0.. {
            let (socket, _from) = listener.accept().await.unwrap();
            serve(socket, number).await;
        }
    });
    let url = format!("http://{address}/mcp");
    Target::new(&url, [("authorization", "Bearer token")]).unwrap()
}

/// Answers every request with the same bytes.
async fn answering(answer: &'static [u8]) -> Target {
    server(move |mut socket, _number| async move {
        while read_request(&mut socket).await.is_some() {
            socket.write_all(answer).await.unwrap();
        }
    })
    .await
}

async fn post(client: &Client, target: &Target) -> Result<Answer, HttpFault> {
    let mut target = target.clone();
    target.set(SESSION_ID, HeaderValue::from_static("abc"));
    let sending = client.post(&target, Bytes::from_static(b"{\"id\":1}"));
    timeout(DEADLINE, sending).await.expect("an answer in time")
}

async fn fault(answer: &'static [u8]) -> HttpFault {
    let client = Client::new().with_answer_limit(64);
    post(&client, &answering(answer).await).await.unwrap_err()
}

#[tokio::test]
async fn a_json_answer_is_read_whole_and_the_request_is_as_the_specification_says() {
    let target = server(|mut socket, _number| async move {
        let seen = read_request(&mut socket).await.unwrap();
        assert!(seen.has("POST /mcp HTTP/1.1"));
        assert!(seen.has("accept: application/json, text/event-stream"));
        assert!(seen.has("content-type: application/json"));
        assert!(seen.has("authorization: Bearer token"));
        assert!(seen.0.to_ascii_lowercase().contains("host: 127.0.0.1:"));
        assert!(seen.has("mcp-session-id: abc"));
        assert!(seen.has("content-length: 8"));
        assert!(seen.has("{\"id\":1}"));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
             Mcp-Session-Id: s-1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a";
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(b"\r\n4\r\n\":1}\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    let answer = post(&Client::new(), &target).await.unwrap();
    assert_eq!(answer.session_id.as_deref(), Some("s-1"));
    assert!(matches!(answer.kind, AnswerKind::Json(text) if text == "{\"a\":1}"));
}

#[tokio::test]
async fn a_stream_split_anywhere_yields_its_events() {
    let target = server(|mut socket, _number| async move {
        read_request(&mut socket).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let events =
            ":hello\nretry: 700\nid: e-1\ndata:\n\nid: e-2\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n";
        for byte in head.bytes().chain(events.bytes()) {
            socket.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    let AnswerKind::Stream(mut stream) = post(&Client::new(), &target).await.unwrap().kind else {
        panic!("a stream");
    };
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_deref(), &*first.data), (Some("e-1"), ""));
    let second = stream.next().await.unwrap().unwrap();
    assert_eq!((second.id.as_deref(), &*second.data), (Some("e-2"), "{\"a\":\n1}"));
    assert_eq!(stream.last_event_id(), Some("e-2"));
    assert_eq!(stream.retry_ms(), Some(700));
    assert!(stream.next().await.is_none());
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_lost() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
    let target = server(move |mut socket, _number| async move {
        read_request(&mut socket).await.unwrap();
        socket.write_all(head).await.unwrap();
    })
    .await;
    let AnswerKind::Stream(mut stream) = post(&Client::new(), &target).await.unwrap().kind else {
        panic!("a stream");
    };
    assert_eq!(stream.next().await.unwrap().unwrap().data, "1");
    assert!(matches!(stream.next().await, Some(Err(HttpFault::Lost(_)))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_event_beyond_the_limit_is_skipped() {
    let target = server(|mut socket, _number| async move {
        read_request(&mut socket).await.unwrap();
        let text = format!("data: {}\n\ndata: 2\n\n", "x".repeat(1000));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        socket.write_all((head.to_owned() + &text).as_bytes()).await.unwrap();
    })
    .await;
    let client = Client::new().with_answer_limit(100);
    let AnswerKind::Stream(mut stream) = post(&client, &target).await.unwrap().kind else {
        panic!("a stream");
    };
    assert_eq!(stream.next().await, Some(Err(HttpFault::TooLarge)));
    assert_eq!(stream.next().await.unwrap().unwrap().data, "2");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_status_that_is_no_success_comes_with_its_body() {
    let not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone";
    let body = Bytes::from_static(b"gone");
    let wanted = HttpFault::Status { code: 404, body, retry_after: None };
    assert_eq!(fault(not_found).await, wanted);
    let busy = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let retry_after = Some(Duration::from_secs(7));
    let wanted = HttpFault::Status { code: 429, body: Bytes::new(), retry_after };
    assert_eq!(fault(busy).await, wanted);
}

#[tokio::test]
async fn the_body_of_a_fault_is_cut() {
    let target = server(|mut socket, _number| async move {
        read_request(&mut socket).await.unwrap();
        let head = "HTTP/1.1 500 Oh\r\ncontent-length: 200000\r\n\r\n";
        socket.write_all((head.to_owned() + &"x".repeat(200_000)).as_bytes()).await.unwrap();
    })
    .await;
    let fault = post(&Client::new(), &target).await.unwrap_err();
    let HttpFault::Status { code: 500, body, .. } = fault else { panic!("{fault:?}") };
    assert_eq!(body.len(), 64 * 1024);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let wanted = HttpFault::Status { code: 307, body: Bytes::new(), retry_after: None };
    assert_eq!(fault(moved).await, wanted);
}

#[tokio::test]
async fn answers_that_are_not_mcp_are_refused() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>";
    assert!(matches!(fault(page).await, HttpFault::Protocol(told) if told.contains("text/html")));
    let packed = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
        content-encoding: gzip\r\ncontent-length: 4\r\n\r\n....";
    assert!(matches!(fault(packed).await, HttpFault::Protocol(told) if told.contains("gzip")));
    let session = b"HTTP/1.1 202 Accepted\r\nmcp-session-id: a b\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(fault(session).await, HttpFault::Protocol(told) if told.contains("session")));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused_announced_or_not() {
    let announced =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 65\r\n\r\n";
    assert_eq!(fault(announced).await, HttpFault::TooLarge);
    let chunked = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\n\r\n\
        28\r\n0123456789012345678901234567890123456789\r\n\
        28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n";
    assert_eq!(fault(chunked).await, HttpFault::TooLarge);
}

#[tokio::test]
async fn nobody_listening_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let target = Target::new(&url, []).unwrap();
    let fault = post(&Client::new(), &target).await.unwrap_err();
    let HttpFault::NotSent(told) = fault else { panic!("{fault:?}") };
    assert!(told.contains("onnection refused"), "{told}");
    let asked = Client::new().get_stream(&target, None).await;
    assert!(matches!(asked, Err(HttpFault::NotSent(_))));
}

#[tokio::test]
async fn a_host_that_does_not_greet_means_not_sent() {
    let target = server(|socket, _number| async move {
        // TLS never gets its first answer.
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let url = format!("https://{}/mcp", target.authority());
    let mut client = Client::new();
    client.connect_timeout = Duration::from_millis(100);
    let fault = post(&client, &Target::new(&url, []).unwrap()).await.unwrap_err();
    assert!(matches!(fault, HttpFault::NotSent(told) if told.contains("no connection within")));
}

#[tokio::test]
async fn plain_text_where_tls_was_expected_means_not_sent() {
    let plain = server(|mut socket, _number| async move {
        drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    })
    .await;
    let url = format!("https://{}/mcp", plain.authority());
    let fault = post(&Client::new(), &Target::new(&url, []).unwrap()).await.unwrap_err();
    assert!(matches!(fault, HttpFault::NotSent(_)), "{fault:?}");
}

#[tokio::test]
async fn a_get_opens_the_stream_where_there_is_one() {
    let target = server(|mut socket, number| async move {
        let seen = read_request(&mut socket).await.unwrap();
        assert!(seen.has("GET /mcp HTTP/1.1"));
        assert!(seen.has("accept: text/event-stream"));
        assert_eq!(seen.has("last-event-id: e-9"), number == 0);
        let answer = match number {
            0 => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
            1 => "HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            _ => "HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        };
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let client = Client::new();
    let mut stream = client.get_stream(&target, Some("e-9")).await.unwrap().unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().data, "1");
    assert!(client.get_stream(&target, None).await.unwrap().is_none());
    let gone = client.get_stream(&target, None).await;
    assert!(matches!(gone, Err(HttpFault::Status { code: 404, .. })));
    let bad = client.get_stream(&target, Some("a\nb")).await;
    assert!(matches!(bad, Err(HttpFault::Protocol(_))));
}

#[tokio::test]
async fn a_delete_takes_unknown_and_forbidden_for_done() {
    let target = server(|mut socket, number| async move {
        let seen = read_request(&mut socket).await.unwrap();
        assert!(seen.has("DELETE /mcp HTTP/1.1"));
        let status = [200, 404, 405, 500].get(number).unwrap();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let client = Client::new();
    for _ in 0..3 {
        assert_eq!(client.delete(&target).await, Ok(()));
    }
    let failed = client.delete(&target).await;
    assert!(matches!(failed, Err(HttpFault::Status { code: 500, .. })));
}
