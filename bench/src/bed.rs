//! The test bed: the upstream, nginx and the gateways on free ports of the loopback interface,
//! with their configurations in a directory that goes away with it.

mod configs;
mod replicas;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::process::{Core, Placement, Process};

pub(crate) use replicas::{Replicas, has_redis};

/// How long a process may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Where each process listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// The upstream behind nginx and the gateway: HTTP, then WebSocket.
    upstream: [u16; 2],
    /// The same program on the core of what is measured.
    direct: [u16; 2],
    nginx: u16,
    gateway: u16,
    guarded: u16,
    logged: u16,
    traced: u16,
    replicas: replicas::Ports,
}

/// What a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    Nginx,
    Gateway,
    /// One that limits rates, and tells callers apart by their credentials.
    Guarded,
    /// The same, which logs every exchange.
    Logged,
    /// The same, with every call traced.
    Traced,
    /// A gateway with its sessions in Redis, all of them its own.
    Owner,
    /// Another one than that which owns the session, on the same core.
    Entry,
    /// The same, with the owner on the core of everything else.
    EntryApart,
}

/// Everything that a run starts from.
#[derive(Debug)]
pub(crate) struct Bed {
    directory: Directory,
    placement: Placement,
    programs: Programs,
    ports: Ports,
    _upstream: Process,
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    /// This program, which is the upstream too.
    pub(crate) own: PathBuf,
    /// Whether nginx can be run.
    pub(crate) has_nginx: bool,
    /// Whether Redis can be run.
    pub(crate) has_redis: bool,
}

/// A directory that ends with its owner.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's temporary directory and harms nobody.
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Bed {
    /// Writes the configurations and starts the upstream.
    pub(crate) async fn start(programs: Programs, placement: Placement) -> Result<Self> {
        let name = format!("edge-bench-{}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0)?;
        let ports = free_ports()?;
        let stdio = [shown(&programs.own)?, "upstream".to_owned(), "stdio".to_owned()];
        let stdio = placement.words(Core::Rest, &stdio);
        for (name, config) in configs::gateways(&ports, &stdio) {
            fs::write(directory.0.join(format!("{name}.json")), config)?;
        }
        fs::write(directory.0.join("nginx.conf"), configs::nginx(&ports, &shown(&directory.0)?))?;
        let words = upstream(&programs, ports.upstream)?;
        let words = placement.words(Core::Rest, &words);
        let mut process = Process::start(&words, &directory.0.join("upstream.log"))?;
        for port in ports.upstream {
            listening(&mut process, port).await?;
        }
        Ok(Self { directory, placement, programs, ports, _upstream: process })
    }

    /// Starts what clients connect to and waits until it listens; `None` when it is nginx and
    /// there is none, or one of several replicas ([`Bed::replicas`]).
    pub(crate) async fn serve(&self, via: Via) -> Result<Option<Process>> {
        let Some(mut process) = self.launch(via)? else { return Ok(None) };
        listening(&mut process, self.address(via, false).port()).await?;
        if via == Via::Direct {
            listening(&mut process, self.address(via, true).port()).await?;
        }
        Ok(Some(process))
    }

    /// As [`Bed::serve`], without the wait.
    pub(crate) fn launch(&self, via: Via) -> Result<Option<Process>> {
        let directory = &self.directory.0;
        let (words, log) = match via {
            Via::Nginx if !self.programs.has_nginx => return Ok(None),
            Via::Nginx => {
                let config = shown(&directory.join("nginx.conf"))?;
                let words = ["nginx", "-p", &shown(directory)?, "-e", "stderr", "-c", &config];
                (words.map(str::to_owned).to_vec(), "nginx.log")
            }
            Via::Owner | Via::Entry | Via::EntryApart => return Ok(None),
            Via::Direct => (upstream(&self.programs, self.ports.direct)?, "direct.log"),
            Via::Gateway => (self.gateway("gateway.json")?, "gateway.log"),
            Via::Guarded => (self.gateway("guarded.json")?, "guarded.log"),
            Via::Logged => (self.gateway("logged.json")?, "logged.log"),
            Via::Traced => (self.gateway("traced.json")?, "traced.log"),
        };
        let words = self.placement.words(Core::Measured, &words);
        Ok(Some(Process::start(&words, &directory.join(log))?))
    }

    fn gateway(&self, config: &str) -> Result<Vec<String>> {
        let config = shown(&self.directory.0.join(config))?;
        Ok(vec![shown(&self.programs.gateway)?, "--config".to_owned(), config])
    }

    /// Where to connect.
    pub(crate) fn address(&self, via: Via, is_websocket: bool) -> SocketAddr {
        let [http, websocket] = self.ports.direct;
        let port = match via {
            Via::Direct if is_websocket => websocket,
            Via::Direct => http,
            Via::Nginx => self.ports.nginx,
            Via::Gateway => self.ports.gateway,
            Via::Guarded => self.ports.guarded,
            Via::Logged => self.ports.logged,
            Via::Traced => self.ports.traced,
            Via::Owner => self.ports.replicas.owner,
            Via::Entry | Via::EntryApart => self.ports.replicas.entry,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Where sessions are opened that are then called elsewhere.
    pub(crate) fn opened_at(&self, via: Via) -> Option<SocketAddr> {
        let port = match via {
            Via::Entry => self.ports.replicas.owner,
            Via::EntryApart => self.ports.replicas.apart,
            Via::Direct | Via::Nginx | Via::Gateway | Via::Owner => return None,
            Via::Guarded | Via::Logged | Via::Traced => return None,
        };
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// Whether nginx can be run.
pub(crate) fn has_nginx() -> bool {
    let version = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn upstream(programs: &Programs, [http, websocket]: [u16; 2]) -> Result<Vec<String>> {
    let own = shown(&programs.own)?;
    let words = ["upstream".to_owned(), "http".to_owned(), http.to_string(), websocket.to_string()];
    Ok([own].into_iter().chain(words).collect())
}

/// Ports that are free now. Another program may take one before it is used; the run fails then.
fn free_ports() -> Result<Ports> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until all are known, so that they differ.
    let mut held = Vec::new();
    let mut ports = [0_u16; 13];
    for port in &mut ports {
        let listener = bind()?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    let [http, websocket, direct, direct_websocket, nginx, gateway, rest @ ..] = ports;
    let [guarded, logged, traced, redis, owner, apart, entry] = rest;
    let replicas = replicas::Ports { redis, owner, apart, entry };
    let (upstream, direct) = ([http, websocket], [direct, direct_websocket]);
    Ok(Ports { upstream, direct, nginx, gateway, guarded, logged, traced, replicas })
}

async fn listening(process: &mut Process, port: u16) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        process.check()?;
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    bail!("nobody listens on port {port} after {START_TIMEOUT:?}")
}

fn shown(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("a path that is not UTF-8")
}
