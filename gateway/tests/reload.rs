//! A changed file while the gateway runs: a real file, the real program, real child processes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its report")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);

/// A running gateway and the file it was started with.
struct Gateway {
    child: Child,
    file: PathBuf,
    log: Arc<Mutex<Vec<Value>>>,
    public: String,
    admin: String,
}

impl Gateway {
    fn start(name: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("mcpgw-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("gateway.yaml");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-gateway"))
            .args(["--port", "0", "--admin-port", "0", "--log-format", "json", "--config"])
            .arg(&file)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().extend(serde_json::from_str::<Value>(&line));
            }
        });
        let mut gateway = Self { child, file, log, public: String::new(), admin: String::new() };
        let started = gateway.logged("started", 1);
        gateway.public = started["public"].as_str().unwrap().to_owned();
        gateway.admin = started["admin"].as_str().unwrap().to_owned();
        gateway
    }

    /// As an editor does it: another file takes the place of the one before.
    fn rewrite(&self, text: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }

    /// Waits until a message was logged so many times, and returns the last of them.
    fn logged(&self, message: &str, times: usize) -> Value {
        until(message, || {
            let log = self.log.lock();
            let mut lines = log.iter().filter(|line| line["message"] == message);
            lines.clone().nth(times - 1)?;
            lines.next_back().cloned()
        })
    }

    fn pids(&self, server: &str) -> Vec<u64> {
        let (_, _, body) = exchange(&self.public, "GET", &format!("/servers/{server}"), &[], "");
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let running = body["running"].as_array().cloned().unwrap_or_default();
        running.iter().filter_map(|it| it["pid"].as_u64()).collect()
    }

    fn is_there(&self, server: &str) -> bool {
        exchange(&self.public, "GET", &format!("/servers/{server}"), &[], "").0 == 200
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, _, text) = exchange(&self.admin, "GET", "/metrics", &[], "");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(self.file.parent().unwrap()).ok();
    }
}

/// One client session over Streamable HTTP.
#[derive(Clone)]
struct Client {
    address: String,
    path: String,
    session: String,
}

impl Client {
    fn open(gateway: &Gateway, path: &str) -> Self {
        let mut client =
            Self { address: gateway.public.clone(), path: path.to_owned(), session: String::new() };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let (status, head, body) = client.post(&request("initialize", &hello));
        assert_eq!(status, 200, "{body}");
        let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        client.session = session.unwrap().to_owned();
        client.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn post(&self, message: &Value) -> (u16, String, String) {
        let session = format!("Mcp-Session-Id: {}", self.session);
        let mut headers =
            vec!["Content-Type: application/json", "Accept: application/json, text/event-stream"];
        headers.extend((!self.session.is_empty()).then_some(session.as_str()));
        exchange(&self.address, "POST", &self.path, &headers, &message.to_string())
    }

    /// The text of the answer, whether it came alone or on a stream.
    fn ask(&self, method: &str, arguments: &Value) -> (u16, String) {
        let (status, _, body) = self.post(&request(method, arguments));
        (status, body)
    }

    fn tools(&self) -> String {
        self.ask("tools/list", &json!({})).1
    }

    /// Everything that comes on the session's own stream.
    fn listen(&self) -> Arc<Mutex<String>> {
        let heard = Arc::new(Mutex::new(String::new()));
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (path, address, session) = (&self.path, &self.address, &self.session);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Mcp-Session-Id: {session}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let text = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                text.lock().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        until("an open stream", || heard.lock().contains("200 OK").then_some(()));
        heard
    }
}

fn request(method: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments})
}

fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

#[track_caller]
fn until<T>(what: &str, mut test: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = test() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

fn is_alive(pid: u64) -> bool {
    // A process that nobody has waited for yet is over all the same.
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|text| !text.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

const DEMO: &str = "{command: [mcp-gateway, demo-server]";

fn config(servers: &[(&str, &str)]) -> String {
    let servers: String =
        servers.iter().map(|(id, more)| format!("  {id}: {DEMO}{more}}}\n")).collect();
    format!("servers:\n{servers}")
}

#[test]
fn row_120_servers_change_come_and_go_while_the_others_go_on() {
    let pooled = ", pool_size: 1";
    let before = config(&[("stay", ""), ("change", pooled), ("gone", pooled)]);
    let gateway = Gateway::start("reload", &before);
    let client = Client::open(&gateway, "/mcp");
    for server in ["stay", "change", "gone"] {
        assert!(client.tools().contains(&format!("{server}__echo")), "{server}");
    }
    let [stay, change, gone] = ["stay", "change", "gone"].map(|server| gateway.pids(server)[0]);
    let orphan = Client::open(&gateway, "/mcp/gone");
    let heard = client.listen();

    let caller = client.clone();
    let slow = std::thread::spawn(move || {
        let count = json!({"steps": 3, "interval_ms": 700});
        caller.ask("tools/call", &json!({"name": "change__countdown", "arguments": count}))
    });
    until("a call in flight", || {
        let (_, _, body) = exchange(&gateway.public, "GET", "/servers/change", &[], "");
        body.contains("\"in_flight\":1").then_some(())
    });
    let after = config(&[("new", ""), ("change", ", pool_size: 1, prewarm: true"), ("stay", "")]);
    gateway.rewrite(&after);

    let line = gateway.logged("configuration reloaded", 1);
    assert_eq!([&line["added"], &line["changed"], &line["removed"]], ["new", "change", "gone"]);
    assert!(gateway.is_there("new") && !gateway.is_there("gone"));
    assert!(!slow.is_finished() && is_alive(change), "the old process finishes its call");
    let (status, answer) = slow.join().unwrap();
    assert!(status == 200 && answer.contains("\"result\""), "{answer}");
    until("the end of both processes", || (!is_alive(change) && !is_alive(gone)).then_some(()));
    until("the end of a session whose server is gone", || {
        (orphan.ask("ping", &json!({})).0 == 404).then_some(())
    });

    let tools = client.tools();
    assert!(tools.contains("new__echo") && tools.contains("change__echo"), "{tools}");
    assert!(!tools.contains("gone__"), "{tools}");
    let say = json!({"name": "change__echo", "arguments": {"text": "still here"}});
    assert!(client.ask("tools/call", &say).1.contains("still here"));
    assert_eq!(gateway.pids("stay"), [stay], "an untouched server keeps its process");
    assert_ne!(gateway.pids("change"), [change]);
    for list in ["tools", "prompts", "resources"] {
        let note = format!("notifications/{list}/list_changed");
        assert_eq!(heard.lock().matches(&note).count(), 1, "{note}");
    }
}

#[test]
fn row_119_a_broken_file_changes_nothing_until_it_is_mended() {
    let text = config(&[("stay", "")]);
    let gateway = Gateway::start("broken", &text);
    let client = Client::open(&gateway, "/mcp/stay");
    let stay = gateway.pids("stay");
    assert_eq!(stay.len(), 1);
    let success = "mcp_gateway_config_reload_success";
    assert_eq!(gateway.metric(success).to_string(), "1");

    gateway.rewrite("servers: {stay: {comand: x}}\nprot: 1\n");
    let what = "the configuration was not reloaded; the one before stays in force";
    let line = gateway.logged(what, 1);
    assert_eq!((&line["level"], &line["count"]), (&json!("ERROR"), &json!(2)));
    let faults = line["faults"].as_str().unwrap();
    assert!(faults.contains(":2:1: unknown setting `prot`; did you mean `port`?"), "{faults}");
    assert_eq!(gateway.metric(success).to_string(), "0");
    assert!(gateway.metric("mcp_gateway_config_last_reload_timestamp_seconds") > 1.0e9);

    let text = format!("{text}limits: {{processes: 100}}\nreload_registry: false\n");
    gateway.rewrite(&text);
    let line = gateway.logged("configuration reloaded", 1);
    assert_eq!((&line["kept"], &line["changed"]), (&json!(1), &json!("")));
    assert_eq!(gateway.metric(success).to_string(), "1");
    let what = "these settings change with the next start of the gateway";
    assert_eq!(gateway.logged(what, 1)["settings"], "limits.processes");

    // From here on the file counts only when the operator says so.
    gateway.rewrite(&format!("{text}naming: always\n"));
    let pid = Pid::from_raw(i32::try_from(gateway.child.id()).unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    assert_eq!(gateway.logged("configuration reloaded", 2)["cause"], "SIGHUP");
    assert_eq!(gateway.logged(what, 2)["settings"], "naming, limits.processes");
    assert!(client.tools().contains("echo"));
    assert_eq!(gateway.pids("stay"), stay);
}
