//! The gateway as an operator runs it: a binary, a file, a port.

mod servers;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use tokio::process::{Child, Command};

pub use self::servers::{odd, pooled, puppet, stdio, stdio_alone};
use crate::http1::{Reply, Request};
use crate::ports::free_port;
use crate::processes::{Footprint, Process};
use crate::{Fault, until, within};

/// The longest a stop may take: 35 s are promised, and a little for the machine.
const STOP_DEADLINE: Duration = Duration::from_secs(37);

/// Time between two looks at what it holds, and how many are taken at least.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS: u32 = 5;

/// Begins the description of a gateway.
pub fn edge() -> Builder {
    Builder::default()
}

/// A gateway that is not started yet.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    settings: Map<String, Value>,
    servers: Map<String, Value>,
    embedded: bool,
    files_max: Option<u32>,
    log: Option<PathBuf>,
    environment: Vec<(String, String)>,
    ports: Option<(u16, u16)>,
    host: Option<Ipv4Addr>,
}

impl Builder {
    /// Adds a server, as the config file has it.
    #[must_use]
    pub fn server(mut self, id: &str, server: Value) -> Self {
        self.servers.insert(id.to_owned(), server);
        self
    }

    /// Sets a top-level key of the config file.
    #[must_use]
    pub fn setting(mut self, key: &str, value: Value) -> Self {
        self.settings.insert(key.to_owned(), value);
        self
    }

    /// Without a config file: the embedded defaults and the demo server.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Lets it have so many file descriptors at the most.
    #[must_use]
    pub fn files_max(mut self, files_max: u32) -> Self {
        self.files_max = Some(files_max);
        self
    }

    /// Has it log to this file instead of one of its own.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has it listen at these ports, for clients and for operators, not at any that are free.
    #[must_use]
    pub fn ports(mut self, public: u16, admin: u16) -> Self {
        self.ports = Some((public, admin));
        self
    }

    /// Has it listen at this address of loopback instead of 127.0.0.1.
    #[must_use]
    pub fn host(mut self, host: Ipv4Addr) -> Self {
        self.host = Some(host);
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// The binary is missing, ends, or is never ready; with the last lines of its log.
    pub async fn start(self) -> Result<Edge, Fault> {
        let edge = self.spawn()?;
        let ready = until("the gateway is ready", || async {
            edge.has_ended()
                || edge.get("/health/ready").await.is_ok_and(|reply| reply.status == 200)
        })
        .await;
        match ready {
            Ok(()) if !edge.has_ended() => Ok(edge),
            Ok(()) => Err(format!("the gateway ended at once\n{}", edge.log_tail()).into()),
            Err(fault) => Err(format!("{fault}\n{}", edge.log_tail()).into()),
        }
    }

    /// Starts it and waits until it ends by itself; its exit code and its log.
    ///
    /// # Errors
    /// The binary is missing, or it does not end.
    pub async fn run_to_end(self) -> Result<(Option<i32>, String), Fault> {
        let mut edge = self.spawn()?;
        let status = within("the gateway ends", edge.child.wait()).await?;
        Ok((status.code(), edge.log_tail()))
    }

    fn spawn(mut self) -> Result<Edge, Fault> {
        let folder = Folder::new()?;
        let log = self.log.unwrap_or_else(|| folder.path.join("gateway.log"));
        let (port, admin_port) = match self.ports {
            Some(ports) => ports,
            None => (free_port()?, free_port()?),
        };
        let host = self.host.unwrap_or(Ipv4Addr::LOCALHOST);
        let gateway = binary("mcp-gateway")?;
        let mut command = match self.files_max {
            None => Command::new(gateway),
            Some(files_max) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {files_max}; exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(gateway);
                shell
            }
        };
        if !self.embedded {
            let config = folder.path.join("gateway.json");
            self.settings.insert("servers".to_owned(), Value::Object(self.servers));
            fs::write(&config, Value::Object(self.settings).to_string())?;
            command.arg("--config").arg(config);
        }
        command
            .args(["--host", &host.to_string(), "--port", &port.to_string()])
            .args(["--admin-port", &admin_port.to_string()])
            .envs(self.environment)
            .current_dir(&folder.path)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let address = SocketAddr::from((host, port));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
        let pid = child.id().ok_or("the gateway has no pid")?;
        Ok(Edge { child, pid, address, admin, folder })
    }
}

/// A running gateway; dropping it kills it.
#[derive(Debug)]
pub struct Edge {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where operators and other replicas reach it.
    pub admin: SocketAddr,
    folder: Folder,
}

impl Edge {
    /// GET, the whole answer.
    ///
    /// # Errors
    /// As [`Request::reply`].
    pub async fn get(&self, path: &str) -> Result<Reply, Fault> {
        Request::new("GET", path).reply(self.address).await
    }

    /// A folder that goes away with the gateway.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Every process it has started and that still lives.
    pub fn descendants(&self) -> Vec<Process> {
        Process::find(self.pid).map(Process::descendants).unwrap_or_default()
    }

    /// A figure it publishes: the sum over all its labels, or that of the labels in the name.
    ///
    /// # Errors
    /// The admin listener does not answer, or there is no such figure.
    pub async fn figure(&self, name: &str) -> Result<u64, Fault> {
        let text = Request::new("GET", "/metrics").reply(self.admin).await?.text();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let of_name = series == name || series.strip_prefix(name)?.starts_with('{');
            of_name.then(|| value.parse::<u64>().ok())?
        });
        let values: Vec<u64> = values.collect();
        if values.is_empty() {
            Err(format!("no figure {name}").into())
        } else {
            Ok(values.iter().sum())
        }
    }

    /// What it holds of the system's.
    ///
    /// # Errors
    /// It is gone.
    pub fn footprint(&self) -> Result<Footprint, Fault> {
        Footprint::of(self.pid)
    }

    /// Waits until no session and no exchange with a client is left, and it holds no more files
    /// and processes than at `base`; what it holds then.
    ///
    /// # Errors
    /// Something stays; the fault shows what.
    pub async fn at_rest(&self, base: Option<Footprint>) -> Result<Footprint, Fault> {
        let mut least: Option<Footprint> = None;
        let mut looks = 0_u32;
        let waited = within("everything has ended", async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let now = self.footprint()?;
                let gauges = ["mcp_gateway_sessions", "mcp_gateway_active_connections"];
                let open = try_join_all(gauges.map(|name| self.figure(name))).await?;
                if open.into_iter().any(|open| open > 0) {
                    continue;
                }
                // A connection of the look before may still be there: the least of some counts.
                looks = looks.saturating_add(1);
                let known = least.get_or_insert(now);
                known.files = known.files.min(now.files);
                known.children = known.children.min(now.children);
                known.resident_kib = now.resident_kib;
                known.peak_kib = now.peak_kib;
                let is_less = base.is_none_or(|base| {
                    known.files <= base.files && known.children <= base.children
                });
                if is_less && looks >= LOOKS {
                    return Ok::<_, Fault>(*known);
                }
            }
        })
        .await;
        waited.map_err(|fault| {
            let now = self.footprint();
            format!("{fault}: least {least:?}, now {now:?}, before {base:?}\n{}", self.log_tail())
                .into()
        })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Fault> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid)?), signal)?)
    }

    /// Waits for its end after a signal; how it ended and how long that took.
    ///
    /// # Errors
    /// It does not end within the 35 s that are promised.
    pub async fn ended(&mut self) -> Result<(ExitStatus, Duration), Fault> {
        let begun = Instant::now();
        let status = tokio::time::timeout(STOP_DEADLINE, self.child.wait())
            .await
            .map_err(|_elapsed| format!("it did not end within {STOP_DEADLINE:?}"))??;
        Ok((status, begun.elapsed()))
    }

    /// How many connections to it are open.
    pub fn connections(&self) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let own = format!(":{:04X}", self.address.port());
        let rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        // The second field is the local address, the fourth the state: 01 is established.
        rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&own)))
            .filter(|row| row.get(3) == Some(&"01"))
            .count()
    }

    /// Itself, as `/proc` knows it.
    ///
    /// # Errors
    /// It has ended.
    pub fn process(&self) -> Result<Process, Fault> {
        Ok(Process::find(self.pid).ok_or("the gateway has ended")?)
    }

    /// The events of its log that have this name, oldest first.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.folder.path.join("gateway.log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.get("event").and_then(Value::as_str) == Some(name)).collect()
    }

    /// The same, once there are so many: the log is written beside what it tells of. In the end, as
    /// many as there are.
    pub async fn logged(&self, name: &str, count: usize) -> Vec<Value> {
        let _fewer = until("it is logged", || async { self.events(name).len() >= count }).await;
        self.events(name)
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path.join("gateway.log")).unwrap_or_default()
    }

    /// The most memory it has ever held, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn peak_bytes(&self) -> Result<u64, Fault> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|text| text.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no VmHWM")?.parse::<u64>()? << 10)
    }

    /// The end of its log, for the report of a failed test.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().map(|line| format!("  | {line}\n")).collect()
    }

    fn has_ended(&self) -> bool {
        Process::find(self.pid).is_none()
    }
}

impl From<&Edge> for SocketAddr {
    fn from(edge: &Edge) -> Self {
        edge.address
    }
}

/// A binary beside the running test, where `cargo build --workspace --bins` leaves it.
///
/// # Errors
/// It was not built.
pub fn binary(name: &str) -> Result<PathBuf, Fault> {
    let test = std::env::current_exe()?;
    // A test is one folder below the binaries, and a binary beside them.
    let folders = [test.parent(), test.parent().and_then(Path::parent)];
    let found = folders.into_iter().flatten().map(|it| it.join(name)).find(|it| it.is_file());
    Ok(found.ok_or_else(|| format!("{name} is missing: cargo build --workspace --bins"))?)
}

/// A folder of its own for one process, removed with it.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// The disk is full, or may not be written to.
    pub fn new() -> Result<Self, Fault> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("edge-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}
