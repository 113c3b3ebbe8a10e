//! A real redis-server, which a test may stop, kill, and start again empty or with its data.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::edge::Folder;
use crate::ports::free_port;
use crate::{Fault, until, within};

/// A running Redis; dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    folder: Folder,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Starts one that is empty. What is written survives [`Redis::kill`], not [`Redis::clear`].
///
/// # Errors
/// redis-server is missing (Debian package `redis-server`) or does not start.
pub async fn redis() -> Result<Redis, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut redis = Redis { child: None, folder: Folder::new()?, address };
    redis.start().await?;
    Ok(redis)
}

impl Redis {
    /// Its address, as the configuration has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it again after [`Redis::kill`], with what it had written down.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self) -> Result<(), Fault> {
        let log = self.folder.path.join("redis.log");
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", "yes", "--appendfsync", "no"])
            .args(["--daemonize", "no", "--dir"])
            .arg(&self.folder.path)
            .stdin(Stdio::null())
            .stdout(File::options().create(true).append(true).open(&log)?)
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn();
        self.child =
            Some(child.map_err(|fault| format!("redis-server (Debian package): {fault}"))?);
        let answers = until("Redis answers", || async { ping(self.address).await }).await;
        let said = fs::read_to_string(&log).unwrap_or_default();
        answers.map_err(|fault| format!("{fault}\n{said}").into())
    }

    /// Kills it, as a machine that fails does.
    ///
    /// # Errors
    /// It does not end.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        within("Redis ends", child.kill()).await
    }

    /// Kills it and starts it again with nothing.
    ///
    /// # Errors
    /// It does not end or start.
    pub async fn clear(&mut self) -> Result<(), Fault> {
        self.kill().await?;
        fs::remove_dir_all(&self.folder.path)?;
        fs::create_dir_all(&self.folder.path)?;
        self.start().await
    }

    /// Stops it; its connections stay open.
    ///
    /// # Errors
    /// It is gone.
    pub fn pause(&self) -> Result<(), Fault> {
        self.signal(Signal::SIGSTOP)
    }

    /// Has it go on after [`Redis::pause`].
    ///
    /// # Errors
    /// It is gone.
    pub fn go_on(&self) -> Result<(), Fault> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Fault> {
        let pid = self.child.as_ref().and_then(Child::id).ok_or("Redis is gone")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }
}

async fn ping(address: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(address).await else { return false };
    let mut answer = [0; 5];
    socket.write_all(b"PING\r\n").await.is_ok()
        && socket.read_exact(&mut answer).await.is_ok()
        && &answer == b"+PONG"
}
