//! The real exporter, and its figures as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::edge::{Folder, binary};
use crate::http1::{Reply, Request};
use crate::ports::free_port;
use crate::{Fault, Outcome, until, within};

/// One that may be started again and again at one address.
#[derive(Debug)]
pub struct Builder {
    variables: BTreeMap<String, String>,
    address: SocketAddr,
    folder: Folder,
}

/// A running one; dropping it kills it.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What one scrape was given.
#[derive(Debug, Clone)]
pub struct Figures {
    /// As it came.
    pub text: String,
    /// How long it took.
    pub took: Duration,
    values: BTreeMap<String, f64>,
}

/// Counters from scrape to scrape; none of them may fall or go away.
#[derive(Debug, Default)]
pub struct Rising {
    last: BTreeMap<String, f64>,
}

/// Begins one that watches nothing but a gateway nobody finds, without probes.
///
/// # Errors
/// There is no port, or no room for its files.
pub fn exporter() -> Result<Builder, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let builder = Builder { variables: BTreeMap::new(), address, folder: Folder::new()? };
    let builder = builder.variable("EXPORTER_LISTEN", address).variable("EXPORTER_PROBE", "none");
    Ok(builder.variable("EXPORTER_GATEWAYS", "http://mcp-gateway.invalid:9100"))
}

impl Builder {
    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Display) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Watches these admin listeners.
    #[must_use]
    pub fn gateways<'a>(self, admins: impl IntoIterator<Item = &'a SocketAddr>) -> Self {
        let urls: Vec<String> = admins.into_iter().map(|it| format!("http://{it}")).collect();
        self.variable("EXPORTER_GATEWAYS", urls.join(" "))
    }

    /// A folder that stays from one run to the next.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// The binary is missing, or it does not start.
    pub async fn start(&self) -> Result<Exporter, Fault> {
        let log = File::options().create(true).append(true).open(self.folder.path.join("log"))?;
        let mut command = self.command()?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let exporter = Exporter { child, address: self.address };
        let up = until("the exporter listens", || async {
            exporter.get("/health").await.is_ok_and(|it| it.status == 200)
        });
        up.await.map_err(|fault| format!("{fault}\n{}", self.log()))?;
        Ok(exporter)
    }

    /// Runs it with this flag until it ends; its exit code, and what it printed and said.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run(&self, flag: &str) -> Result<(Option<i32>, String, String), Fault> {
        let mut command = self.command()?;
        command.arg(flag).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = within(flag, command.output()).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// What all its runs have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path.join("log")).unwrap_or_default()
    }

    fn command(&self) -> Result<Command, Fault> {
        let mut command = Command::new(binary("gateway-exporter")?);
        command.env_clear().envs(&self.variables).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }
}

impl Exporter {
    /// GET, the whole answer.
    ///
    /// # Errors
    /// As [`Request::reply`].
    pub async fn get(&self, path: &str) -> Result<Reply, Fault> {
        Request::new("GET", path).reply(self.address).await
    }

    /// Scrapes it.
    ///
    /// # Errors
    /// The answer is not 200 in the text format.
    pub async fn scrape(&self) -> Result<Figures, Fault> {
        let begun = Instant::now();
        let reply = self.get("/metrics").await?;
        let took = begun.elapsed();
        let kind = reply.header("content-type").unwrap_or_default().to_owned();
        if reply.status != 200 || !kind.starts_with("text/plain; version=0.0.4") {
            return Err(format!("{} {kind}: {}", reply.status, reply.text()).into());
        }
        Figures::read(reply.text(), took)
    }

    /// Scrapes it until `holds`; the figures that it held of.
    ///
    /// # Errors
    /// It never does; with the last figures.
    pub async fn until(
        &self,
        what: &str,
        holds: impl Fn(&Figures) -> bool,
    ) -> Result<Figures, Fault> {
        let last = parking_lot::Mutex::new(None);
        let held = until(what, || async {
            let Ok(figures) = self.scrape().await else { return false };
            let does = holds(&figures);
            *last.lock() = Some(figures);
            does
        });
        let held = held.await;
        let last = last.into_inner().ok_or("it was never scraped")?;
        held.map_err(|fault| format!("{fault}\n{}", last.text))?;
        Ok(last)
    }

    /// Stops it as an operator does; how it ended, and how long that took.
    ///
    /// # Errors
    /// It is gone, or does not end.
    pub async fn stop(self) -> Result<(ExitStatus, Duration), Fault> {
        let begun = Instant::now();
        let status = self.end_by(Signal::SIGTERM).await?;
        Ok((status, begun.elapsed()))
    }

    /// Ends it by a signal; how it ended.
    ///
    /// # Errors
    /// It is gone, or does not end.
    pub async fn end_by(mut self, signal: Signal) -> Result<ExitStatus, Fault> {
        let pid = self.child.id().ok_or("the exporter is gone")?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        within("the exporter ends", self.child.wait()).await
    }

    /// Kills it, as a machine that fails does.
    ///
    /// # Errors
    /// It does not end.
    pub async fn kill(mut self) -> Outcome {
        within("the exporter ends", self.child.kill()).await
    }
}

impl Figures {
    /// Reads what was printed.
    ///
    /// # Errors
    /// A sample has no value, or comes twice.
    pub fn read(text: String, took: Duration) -> Result<Self, Fault> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|it| !it.starts_with('#')) {
            let (series, value) =
                line.rsplit_once(' ').ok_or_else(|| format!("no value: {line}"))?;
            if values.insert(series.to_owned(), value.parse()?).is_some() {
                return Err(format!("{series} comes twice").into());
            }
        }
        Ok(Self { text, took, values })
    }

    /// One series.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// One series.
    ///
    /// # Errors
    /// There is none; with all there are.
    pub fn wanted(&self, series: &str) -> Result<f64, Fault> {
        self.value(series).ok_or_else(|| format!("no {series}\n{}", self.text).into())
    }

    /// The series of one name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let is_named = |series: &str| series.split('{').next() == Some(name);
        let named = self.values.iter().filter(move |(series, _)| is_named(series));
        named.map(|(series, value)| (series.as_str(), *value))
    }

    /// Has Prometheus' own tool look at them.
    ///
    /// # Errors
    /// It finds something, or is missing (Debian package `prometheus`).
    pub async fn check(&self) -> Outcome {
        let mut tool = Command::new("promtool");
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        tool.stderr(Stdio::piped()).kill_on_drop(true);
        let mut tool =
            tool.spawn().map_err(|fault| format!("promtool (package prometheus): {fault}"))?;
        let mut input = tool.stdin.take().ok_or("promtool takes no input")?;
        within("promtool reads", input.write_all(self.text.as_bytes())).await?;
        drop(input);
        let output = within("promtool ends", tool.wait_with_output()).await?;
        let said = [output.stdout, output.stderr].concat();
        if output.status.success() && said.is_empty() {
            return Ok(());
        }
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said)).into())
    }

    /// Every series of a counter or a histogram of the gateway.
    fn rising(&self) -> BTreeMap<String, f64> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let kinds: BTreeMap<&str, &str> = types.filter_map(|it| it.split_once(' ')).collect();
        let rises = |series: &str| {
            let name = series.split('{').next().unwrap_or_default();
            let stems = ["", "_bucket", "_sum", "_count"].iter();
            let mut names = stems.filter_map(|it| name.strip_suffix(it));
            name.starts_with("mcp_gateway_")
                && names.any(|it| matches!(kinds.get(it), Some(&"counter" | &"histogram")))
        };
        let all = self.values.iter().filter(|(series, _)| rises(series));
        all.map(|(series, value)| (series.clone(), *value)).collect()
    }
}

impl Rising {
    /// Takes the next scrape in.
    ///
    /// # Errors
    /// A counter fell or is gone.
    pub fn take(&mut self, figures: &Figures) -> Outcome {
        let next = figures.rising();
        for (series, last) in &self.last {
            match next.get(series) {
                None => return Err(format!("{series} is gone\n{}", figures.text).into()),
                Some(value) if value < last => {
                    return Err(format!("{series} fell from {last} to {value}").into());
                }
                Some(_) => {}
            }
        }
        self.last = next;
        Ok(())
    }
}
