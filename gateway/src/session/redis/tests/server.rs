//! Redis servers that tests start for themselves, with ways to hurt them.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis_target::url::RedisUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::config::RedisConfig;
use crate::session::id;
use crate::session::redis::{Caps, RedisStore, Refused};
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::outlook::Outlook;

const DEADLINE: Duration = Duration::from_secs(20);

/// A `redis-server` of one test; killed, and its files removed, when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    words: Vec<String>,
    pub(super) folder: PathBuf,
}

impl Server {
    /// Starts one on a free port, with these further words on its command line.
    pub(super) async fn start(words: &[&str]) -> Self {
        Self::start_with(|_port| words.iter().map(|it| (*it).to_owned()).collect()).await
    }

    /// One that watches over the master on this port, which it calls `m`.
    pub(super) async fn sentinel(master: u16) -> Self {
        let settings = format!(
            "sentinel monitor m 127.0.0.1 {master} 1\nsentinel down-after-milliseconds m 500\n\
             sentinel failover-timeout m 3000\n"
        );
        let file = std::env::temp_dir()
            .join(format!("mcpgw-sentinel-{:016x}.conf", u64::from_be_bytes(id::random())));
        fs::write(&file, settings).unwrap();
        let words = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        Self::start_with(|_port| words.clone()).await
    }

    /// As [`start`](Self::start), with words that depend on the port.
    pub(super) async fn start_with(words: impl Fn(u16) -> Vec<String>) -> Self {
        let tag = u64::from_be_bytes(id::random());
        let folder = std::env::temp_dir().join(format!("mcpgw-redis-{tag:016x}"));
        fs::create_dir(&folder).unwrap();
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let port = free_port();
            let words = words(port);
            let child = spawn(port, &words, &folder);
            let mut server = Self { child, port, words: words.clone(), folder: folder.clone() };
            if server.answers().await {
                return server;
            }
            server.stop();
        }
        panic!("redis-server did not start");
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it at once.
    pub(super) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again, on its port and with what its folder holds.
    pub(super) async fn resume(&mut self) {
        self.child = spawn(self.port, &self.words, &self.folder);
        assert!(self.answers().await, "redis-server did not start again");
    }

    /// What it says to a command.
    pub(super) fn say(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    }

    async fn answers(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let said = self.say(&["ping"]);
            if !said.is_empty() && !said.starts_with("LOADING") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(file) = self.words.first().filter(|it| it.ends_with(".conf")) {
            drop(fs::remove_file(file));
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn spawn(port: u16, words: &[String], folder: &PathBuf) -> Child {
    let mut command = Command::new("redis-server");
    // The file of a sentinel, which is no data server, comes first.
    let is_sentinel = words.iter().any(|it| it == "--sentinel");
    command.args(words).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(if is_sentinel { [].as_slice() } else { &["--save", ""] });
    command.arg("--dir").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            panic!("`redis-server` is not installed; this test needs it (see tests/README.md)")
        }
        Err(fault) => panic!("redis-server: {fault}"),
    }
}

fn free_port() -> u16 {
    // Cluster nodes listen 10000 above their port as well.
    loop {
        let any = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = any.local_addr().unwrap().port();
        let low = port % 20_000 + 10_000;
        let pair = [low, low + 10_000].map(|it| std::net::TcpListener::bind(("127.0.0.1", it)));
        if pair.iter().all(Result::is_ok) {
            return low;
        }
    }
}

pub(super) const CAPS: Caps = Caps {
    events: crate::config::limits::session::REPLAY_EVENTS,
    bytes: crate::config::limits::session::REPLAY_BYTES,
    life: Duration::from_secs(480),
};

/// A store at an address, with what it counts.
pub(super) struct Client {
    pub(super) store: RedisStore,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: Tasks,
}

pub(super) async fn connect(url: &str) -> Result<Client, Refused> {
    connect_to(&named(url)).await
}

/// The settings that name a Redis by this URL alone.
pub(super) fn named(url: &str) -> RedisConfig {
    RedisConfig { url: RedisUrl::parse(url).unwrap(), ca_file: None }
}

pub(super) async fn connect_to(config: &RedisConfig) -> Result<Client, Refused> {
    let (tasks, metrics) = (Tasks::new(), Arc::new(Metrics::new().unwrap()));
    let store = RedisStore::connect(config, CAPS, &tasks, Arc::clone(&metrics)).await?;
    Ok(Client { store, metrics, tasks })
}

impl Client {
    /// One of its figures, over all labels that the name leaves out.
    pub(super) fn figure(&self, name: &str) -> u64 {
        let name = name.trim_end_matches('}');
        let text = String::from_utf8(self.metrics.render(&Outlook::default())).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|rest| rest.starts_with(['{', ',', '}', ' ']));
        lines.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// A way to a server on which connections can be held up without being closed.
pub(super) struct Proxy {
    pub(super) port: u16,
    pub(super) opened: Arc<AtomicU64>,
    /// Connections up to this number are held up.
    held: watch::Sender<u64>,
    tasks: Tasks,
}

impl Proxy {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (opened, tasks) = (Arc::new(AtomicU64::new(0)), Tasks::new());
        let held = watch::Sender::new(0);
        let (count, spawner, held_for) = (Arc::clone(&opened), tasks.clone(), held.clone());
        tasks.spawn("proxy", async move {
            loop {
                let accepted = spawner.token().run_until_cancelled(listener.accept()).await;
                let Some(Ok((client, _))) = accepted else { return };
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((from, to), (back, home)) = (client.into_split(), server.into_split());
                for (source, sink) in [(from, home), (back, to)] {
                    let held = held_for.subscribe();
                    let token = spawner.token().clone();
                    spawner.spawn("proxy-pump", async move {
                        token.run_until_cancelled(pump(source, sink, number, held)).await;
                    });
                }
            }
        });
        Self { port: own, opened, held, tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Nothing comes through the connections that there are; new ones work.
    pub(super) fn hold(&self) {
        self.held.send_replace(self.opened.load(Ordering::SeqCst));
    }

    /// What was held up goes on.
    pub(super) fn let_go(&self) {
        self.held.send_replace(0);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

async fn pump(
    mut source: OwnedReadHalf,
    mut sink: OwnedWriteHalf,
    number: u64,
    mut held: watch::Receiver<u64>,
) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = source.read(&mut chunk).await {
        if held.wait_for(|held| *held < number).await.is_err() {
            return;
        }
        if sink.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

/// Says one thing to whatever it is asked; where it listens.
pub(super) async fn parrot(answer: &'static str, tasks: &Tasks) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (spawner, token) = (tasks.clone(), tasks.token().clone());
    tasks.spawn("parrot", async move {
        while let Some(Ok((mut client, _))) = token.run_until_cancelled(listener.accept()).await {
            let token = token.clone();
            spawner.spawn("parrot-talk", async move {
                let mut chunk = [0; 4096];
                while let Some(Ok(1..)) = token.run_until_cancelled(client.read(&mut chunk)).await {
                    drop(client.write_all(answer.as_bytes()).await);
                }
            });
        }
    });
    port
}

/// Waits until something holds, and says how long that took.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}
