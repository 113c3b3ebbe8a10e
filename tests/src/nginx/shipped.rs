//! The nginx that is shipped: its own templates, filled in by its own entrypoint, on free ports.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::dns::{Dns, dns};
use crate::edge::Folder;
use crate::http1::Request;
use crate::ports::free_port;
use crate::tls::{Tunnel, make_certificate, tunnel};
use crate::{Fault, until, within};

const ENTRYPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../nginx/entrypoint.sh");

/// One that is not started yet.
#[derive(Debug)]
pub struct Builder {
    variables: BTreeMap<String, String>,
    named: Option<Ipv4Addr>,
    user: Option<u32>,
    folder: Folder,
}

/// Begins one in front of this gateway, or of several separated by spaces. One of this machine
/// has a name, as in the stack.
///
/// # Errors
/// There is no port, or no room for its files.
pub fn shipped(upstream: impl Display) -> Result<Builder, Fault> {
    let folder = Folder::new()?;
    for name in ["conf.d", "ssl", "run"] {
        fs::create_dir(folder.path.join(name))?;
    }
    let at = |name: &str| folder.path.join(name).display().to_string();
    make_certificate(&folder.path.join("tls.crt"), &folder.path.join("tls.key"))?;
    let mut upstream = upstream.to_string();
    let named = upstream.parse::<SocketAddrV4>().ok();
    if let Some(address) = named {
        upstream = format!("mcp-gateway.internal:{}", address.port());
    }
    let variables = [
        ("GATEWAY_UPSTREAM", upstream),
        ("LISTEN_ADDRESS", Ipv4Addr::LOCALHOST.to_string()),
        ("HTTP_PORT", free_port()?.to_string()),
        ("HTTPS_PORT", free_port()?.to_string()),
        ("STATUS_PORT", free_port()?.to_string()),
        ("RESOLVER", Ipv4Addr::LOCALHOST.to_string()),
        ("RUN_DIR", at("run")),
        ("CONF_DIR", at("conf.d")),
        ("SSL_DIR", at("ssl")),
        ("TLS_CERT", at("tls.crt")),
        ("TLS_KEY", at("tls.key")),
        ("ACCESS_LOG", at("run/access.log")),
        ("PATH", path()?),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(Builder { variables, named: named.map(|it| *it.ip()), user: None, folder })
}

/// Where programs are found; nothing else of this process's environment is passed on.
///
/// # Errors
/// There is no `PATH`.
#[expect(clippy::disallowed_methods, reason = "no gateway's settings are read here")]
pub fn path() -> Result<String, Fault> {
    Ok(std::env::var("PATH")?)
}

impl Builder {
    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Display) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Runs it as this user, who may do nothing that others may not. Only root can.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// The folder it may have files in; `conf.d` and `ssl` are an operator's.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Has the entrypoint check what it was told; its exit code, what it said, and the folder.
    ///
    /// # Errors
    /// It is missing, or does not end.
    pub async fn check(self) -> Result<(Option<i32>, String, Folder), Fault> {
        let mut command = self.command();
        command.arg("--check").stdin(Stdio::null()).kill_on_drop(true);
        let output = within("the check", command.output()).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), said, self.folder))
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// nginx or envsubst is missing (Debian packages `nginx-light`, `gettext-base`), or it does
    /// not start; with what it said.
    pub async fn start(mut self) -> Result<Shipped, Fault> {
        let mut names = None;
        if let Some(address) = self.named {
            let server = dns(&[address]).await?;
            self = self.variable("RESOLVER", server.address);
            names = Some(server);
        }
        let here = &self.folder.path;
        if let Some(user) = self.user {
            for name in ["", "run", "tls.crt", "tls.key"] {
                chown(here.join(name), Some(user), Some(user))?;
            }
        }
        let output = here.join("output.log");
        let (stdout, stderr) = (File::create(&output)?, File::create(here.join("said.log"))?);
        if let Some(user) = self.user {
            chown(&output, Some(user), Some(user))?;
        }
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|fault| format!("{ENTRYPOINT}: {fault}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id().ok_or("it has no pid")?)?);
        let address = |name: &str| -> Result<SocketAddr, Fault> {
            let port = self.variables.get(name).map(String::as_str).unwrap_or_default();
            Ok((Ipv4Addr::LOCALHOST, port.parse().unwrap_or(0)).into())
        };
        let (http, https) = (address("HTTP_PORT")?, address("HTTPS_PORT")?);
        let status = address("STATUS_PORT")?;
        let certificate = here.join("tls.crt");
        let folder = self.folder;
        let shipped =
            Shipped { child, pid, http, https, status, certificate, folder, _names: names };
        // Its check listens too, for a moment, and answers nobody.
        let ready = until("nginx answers", || async {
            Request::new("GET", "/_edge/ready").reply(http).await.is_ok()
        });
        ready.await.map_err(|fault| format!("{fault}\n{}", shipped.said()))?;
        Ok(shipped)
    }

    fn command(&self) -> Command {
        let mut command = match self.user {
            None => Command::new(ENTRYPOINT),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={user}"), format!("--regid={user}")])
                    .args(["--clear-groups", "--no-new-privs", "--bounding-set=-all"])
                    .args(["--inh-caps=-all", ENTRYPOINT]);
                command
            }
        };
        command.env_clear().envs(&self.variables).current_dir("/");
        command
    }
}

/// A running one; dropping it stops it.
#[derive(Debug)]
pub struct Shipped {
    child: Child,
    pid: Pid,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it speaks HTTPS.
    pub https: SocketAddr,
    /// Where it tells its figures.
    pub status: SocketAddr,
    /// The certificate it has unless a test gave it another.
    pub certificate: PathBuf,
    folder: Folder,
    _names: Option<Dns>,
}

impl Shipped {
    /// A way to it over TLS, for clients that speak none.
    ///
    /// # Errors
    /// There is no port.
    pub async fn over_tls(&self) -> Result<Tunnel, Fault> {
        tunnel(self.https, &self.certificate).await
    }

    /// The lines of its access log.
    ///
    /// # Errors
    /// One of them is not JSON.
    pub fn lines(&self) -> Result<Vec<Value>, Fault> {
        let parse = |line: &str| serde_json::from_str(line).map_err(|it| format!("{it}: {line}"));
        let lines: Result<Vec<Value>, String> = self.log().lines().map(parse).collect();
        Ok(lines?)
    }

    /// Its access log.
    pub fn log(&self) -> String {
        let log = self.read("run/access.log");
        // That of the question whether it is ready is no test's.
        let lines = log.lines().filter(|line| !line.contains("\"path\":\"/_edge/ready\""));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// What it wrote to its standard output.
    pub fn output(&self) -> String {
        self.read("output.log")
    }

    /// What it wrote to its standard error.
    pub fn said(&self) -> String {
        self.read("said.log")
    }

    /// One of its files, empty if there is none.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Sends a signal to its first process.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Fault> {
        Ok(kill(self.pid, signal)?)
    }

    /// Waits until it has ended by itself; its exit code.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Result<Option<i32>, Fault> {
        Ok(within("nginx ends", self.child.wait()).await?.code())
    }
}

impl Drop for Shipped {
    /// Its first process has to end the others, so it is not killed.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _gone = kill(self.pid, Signal::SIGTERM);
        }
    }
}
