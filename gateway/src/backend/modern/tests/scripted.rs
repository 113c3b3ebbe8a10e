//! A server made of raw sockets that answers each request as a test says.

use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server does with one request.
pub(super) enum Play {
    Answer(String),
    /// Says this, and no more.
    Hang(String),
    HangUp,
    /// Says these, with a pause before each.
    Slowly(Vec<String>),
}

/// What the server has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: Mutex<Vec<String>>,
    pub(super) connections: AtomicUsize,
    /// Clients that hung up while they were owed something.
    pub(super) left: AtomicUsize,
}

impl Seen {
    pub(super) fn methods(&self) -> Vec<String> {
        let body = |it: &String| it.split("\r\n\r\n").nth(1).map(str::to_owned);
        let requests = self.requests.lock();
        let bodies: Vec<_> = requests.iter().filter_map(body).collect();
        bodies
            .iter()
            .map(|it| json::string(json::member(it, "method").unwrap()).unwrap().into())
            .collect()
    }

    pub(super) fn last(&self) -> String {
        self.requests.lock().last().cloned().unwrap_or_default()
    }

    pub(super) fn count(count: &AtomicUsize) -> usize {
        count.load(Ordering::Relaxed)
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Reads one request; `None` when the client has hung up.
async fn read(socket: &mut TcpStream) -> Option<String> {
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
            return Some(String::from_utf8(text).unwrap());
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    seen: Arc<Seen>,
    play: impl Fn(&str, usize) -> Play + Send + Sync + 'static,
) {
    add(&seen.connections);
    while let Some(request) = read(&mut socket).await {
        let number = seen.requests.lock().len();
        seen.requests.lock().push(request.clone());
        match play(&request, number) {
            Play::Answer(text) => socket.write_all(text.as_bytes()).await.unwrap(),
            Play::Hang(text) => {
                socket.write_all(text.as_bytes()).await.unwrap();
                if read(&mut socket).await.is_none() {
                    add(&seen.left);
                }
                return;
            }
            Play::HangUp => return,
            Play::Slowly(parts) => {
                for part in parts {
                    tokio::time::sleep(PAUSE).await;
                    socket.write_all(part.as_bytes()).await.unwrap();
                }
            }
        }
    }
}

/// A server that answers each request as `play` says, which gets it with its number.
pub(super) async fn script(
    play: impl Fn(&str, usize) -> Play + Clone + Send + Sync + 'static,
) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let of_server = seen.clone();
    let tasks = Tasks::new();
    tasks.clone().spawn("test-server", async move {
        loop {
            let (socket, _from) = listener.accept().await.unwrap();
            tasks.spawn("test-connection", serve(socket, of_server.clone(), play.clone()));
        }
    });
    (url, seen)
}

pub(super) fn http(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

pub(super) fn result(id: &str, result: &str) -> Play {
    let response = Response::success(&Id::parse(id).unwrap(), result);
    Play::Answer(http("200 OK", "application/json", response.text()))
}

pub(super) fn error(status: &str, id: &str, code: i64) -> Play {
    let response = Response::failure(Id::parse(id).as_ref(), code, "no", None);
    Play::Answer(http(status, "application/json", response.text()))
}

/// An event stream of these messages; whole, or open for ever.
pub(super) fn events(messages: &[&str], is_whole: bool) -> String {
    let chunks: String = messages.iter().map(|it| chunk(it)).collect();
    format!("{}{chunks}{}", head(), if is_whole { end() } else { String::new() })
}

/// How a stream begins.
pub(super) fn head() -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    format!("{head}\r\n\r\n")
}

/// One event of it.
pub(super) fn chunk(message: &str) -> String {
    let event = format!("data: {message}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// How it ends.
pub(super) fn end() -> String {
    "0\r\n\r\n".to_owned()
}

/// An address nobody listens at.
pub(super) async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/mcp", listener.local_addr().unwrap())
}
