//! A gateway of one's own, and lines to it that are read byte by byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#
);

/// A gateway on free ports, in a directory of its own, with its built-in demo server.
pub(crate) struct Gateway {
    child: Child,
    directory: PathBuf,
    pub(crate) public: SocketAddr,
}

/// A connection to a gateway.
pub(crate) struct Line(pub(crate) TcpStream);

impl Gateway {
    /// Starts one with `settings` besides the built-in configuration's, in YAML.
    pub(crate) fn start(settings: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mcpgw-surface-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let program = env!("CARGO_BIN_EXE_mcp-gateway");
        let servers = format!("servers: {{demo: {{command: {program:?}, args: [demo-server]}}}}");
        std::fs::write(directory.join("g.yaml"), format!("{settings}\n{servers}\n")).unwrap();
        let line = "-c g.yaml --port 0 --admin-port 0 --log-format json --log-level info";
        let mut command = Command::new(program);
        command.args(line.split(' ')).current_dir(&directory).env_clear();
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        let started =
            log.by_ref().inspect(|line| heard.push(line.clone())).find_map(|line| address(&line));
        let public = started.unwrap_or_else(|| panic!("it did not start: {heard:?}"));
        std::thread::spawn(move || log.for_each(drop));
        Self { child, directory, public }
    }

    /// How many sessions are open.
    pub(crate) fn sessions(&self) -> u64 {
        let answer = self.ask("GET /health", "");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        document.get("sessions").and_then(serde_json::Value::as_u64).unwrap()
    }

    /// Sends a request without a body on a connection of its own; the whole answer.
    pub(crate) fn ask(&self, request: &str, headers: &str) -> String {
        let mut line = Line::open(self.public);
        let head = "Host: localhost\r\nConnection: close\r\n";
        line.send(&format!("{request} HTTP/1.1\r\n{head}{headers}\r\n"));
        line.read_to_end()
    }

    /// Opens a session; its id.
    pub(crate) fn initialize(&self, request: &str) -> String {
        initialize(self.public, request)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// The status it ended with.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|it| it.code())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

impl Line {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Sends to a gateway that may have closed the connection already.
    pub(crate) fn try_send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).ok();
    }

    /// Reads byte by byte until `end` was read, and not further.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(end.as_bytes()) {
            let one = self.0.read_exact(&mut byte);
            assert!(one.is_ok(), "no {end:?} after {:?}", String::from_utf8_lossy(&read));
            read.extend(byte);
        }
        String::from_utf8(read).unwrap()
    }

    /// All there is to come; a reset ends it like an orderly end.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let mut part = [0; 4096];
        loop {
            match read_part(&mut self.0, &mut part) {
                Ok(0) => break,
                Ok(count) => read.extend(part.iter().take(count)),
                Err(fault) if fault.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(fault) => panic!("{fault} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    /// What comes at once.
    pub(crate) fn read_some(&mut self) -> String {
        let mut part = [0; 4096];
        let count = read_part(&mut self.0, &mut part).unwrap_or_default();
        String::from_utf8(part.into_iter().take(count).collect()).unwrap()
    }

    /// Nothing comes for so long, not even the end.
    pub(crate) fn assert_rests(&mut self, span: Duration) {
        self.0.set_read_timeout(Some(span)).unwrap();
        let read = read_part(&mut self.0, &mut [0; 1]);
        let fault = read.expect_err("it was to rest").kind();
        assert_eq!(fault, std::io::ErrorKind::WouldBlock, "it was to rest");
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
    }
}

/// One read. The end of a child wakes one that has a deadline, whatever its signal's handler asks
/// for (`man 7 signal`, "Interruption of system calls").
fn read_part(stream: &mut TcpStream, part: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(part) {
            Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Polls until it is so.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not come about in {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A JSON-RPC request.
pub(crate) fn message(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// A POST as clients of Streamable HTTP send it.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Opens a session; its id.
pub(crate) fn initialize(address: SocketAddr, request: &str) -> String {
    let mut line = Line::open(address);
    line.send(&post("/mcp", "", request));
    let head = line.read_until("\r\n\r\n");
    let (_, rest) = head.split_once("mcp-session-id: ").unwrap_or_else(|| panic!("{head}"));
    let (id, _) = rest.split_once("\r\n").unwrap();
    if head.contains("text/event-stream") {
        line.read_until("\"result\"");
    }
    id.to_owned()
}

/// A WebSocket whose handshake is done.
pub(crate) fn websocket(address: SocketAddr) -> Line {
    let mut line = Line::open(address);
    line.send(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = line.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    line
}

/// The public address that a log line tells of.
fn address(line: &str) -> Option<SocketAddr> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = entry.get("fields").unwrap_or(&entry);
    fields.get("public")?.as_str()?.parse().ok()
}
