//! A real Prometheus with the configuration that is shipped, asking processes on loopback.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::edge::Folder;
use crate::http1::Request;
use crate::ports::free_port;
use crate::{Fault, until, within};

/// What is shipped.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/prometheus");

/// What is put in the place of what stands there: addresses, and shorter times.
type Change = (&'static str, String);

/// A running Prometheus; dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    _child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    folder: Folder,
}

/// A rule, as Prometheus has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name of the figure it records, or of the alert.
    pub name: String,
    /// Its expression.
    pub query: String,
    /// Whether it is an alert.
    pub is_alert: bool,
}

/// Starts one that asks this exporter, and these replicas.
///
/// # Errors
/// prometheus is missing (Debian package `prometheus`), does not start, or the configuration is
/// not of the form that can be pointed at them.
pub async fn prometheus(
    exporter: SocketAddr,
    replicas: &[SocketAddr],
) -> Result<Prometheus, Fault> {
    let folder = Folder::new()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = folder.path.join("prometheus.yml");
    fs::write(&config, pointed_at(exporter, replicas, address)?)?;
    fs::create_dir(folder.path.join("rules"))?;
    for rules in rules() {
        let name = rules.file_name().ok_or("a file has a name")?;
        fs::copy(&rules, folder.path.join("rules").join(name))?;
    }
    let said = folder.path.join("said.log");
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said)?)
        .kill_on_drop(true)
        .spawn()
        .map_err(|fault| format!("prometheus (Debian package): {fault}"))?;
    let prometheus = Prometheus { _child: child, address, folder };
    let ready = until("Prometheus is ready", || async {
        let reply = Request::new("GET", "/-/ready").reply(address).await;
        reply.is_ok_and(|it| it.status == 200)
    });
    let ready = ready.await;
    ready.map_err(|fault| format!("{fault}\n{}", prometheus.said()))?;
    Ok(prometheus)
}

/// The files of rules that are shipped.
pub fn rules() -> Vec<PathBuf> {
    let folder = fs::read_dir(Path::new(SHIPPED).join("rules"));
    let files = folder.into_iter().flatten().flatten().map(|it| it.path());
    files.filter(|it| it.extension().is_some_and(|it| it == "yml")).collect()
}

/// One of the files that are shipped.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(SHIPPED).join(name)
}

/// The configuration as it is shipped, except for where to ask and how often.
fn pointed_at(
    exporter: SocketAddr,
    replicas: &[SocketAddr],
    own: SocketAddr,
) -> Result<String, Fault> {
    let text = fs::read_to_string(shipped("prometheus.yml"))?;
    let replicas: Vec<String> = replicas.iter().map(|it| format!("\"{it}\"")).collect();
    let by_name = "    dns_sd_configs:\n      - names: [mcp-gateway]\n        type: A\n        \
                   port: 9100\n        refresh_interval: 5s\n";
    let by_address = format!("    static_configs:\n      - targets: [{}]\n", replicas.join(", "));
    let changes: [Change; 6] = [
        ("\"gateway-exporter:9091\"", format!("\"{exporter}\"")),
        (by_name, by_address),
        ("\"localhost:9090\"", format!("\"{own}\"")),
        ("scrape_interval: 15s", "scrape_interval: 2s".to_owned()),
        ("scrape_timeout: 10s", "scrape_timeout: 2s".to_owned()),
        ("evaluation_interval: 15s", "evaluation_interval: 2s".to_owned()),
    ];
    changes.iter().try_fold(text, |text, (from, to)| {
        if text.matches(from).count() != 1 {
            return Err(format!("{from:?} does not stand once in prometheus.yml").into());
        }
        Ok(text.replace(from, to))
    })
}

impl Prometheus {
    /// The series that an expression has at this moment, those left out that are no number.
    ///
    /// # Errors
    /// The expression is wrong, or Prometheus does not answer.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, Fault> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = self.ask(&path).await.map_err(|fault| format!("{expression}: {fault}"))?;
        let series = answer.pointer("/data/result").and_then(Value::as_array);
        let is_number = |it: &&Value| it.pointer("/value/1").is_some_and(|value| value != "NaN");
        Ok(series.into_iter().flatten().filter(is_number).cloned().collect())
    }

    /// Every rule it has read.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn rules(&self) -> Result<Vec<Rule>, Fault> {
        let answer = self.ask("/api/v1/rules").await?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array);
        let rules = groups.into_iter().flatten().filter_map(|it| it.get("rules")?.as_array());
        let read = |rule: &Value| {
            let text = |key| rule.get(key).and_then(Value::as_str).map(str::to_owned);
            let is_alert = text("type")? == "alerting";
            Some(Rule { name: text("name")?, query: text("query")?, is_alert })
        };
        Ok(rules.flatten().filter_map(read).collect())
    }

    /// The names of all figures it has seen.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn names(&self) -> Result<Vec<String>, Fault> {
        let answer = self.ask("/api/v1/label/__name__/values").await?;
        let names = answer.pointer("/data").and_then(Value::as_array);
        Ok(names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What it wrote to its standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path.join("said.log")).unwrap_or_default()
    }

    async fn ask(&self, path: &str) -> Result<Value, Fault> {
        let reply = within(path, Request::new("GET", path).reply(self.address)).await?;
        let answer: Value = serde_json::from_str(&reply.text())?;
        match answer.get("status").and_then(Value::as_str) {
            Some("success") => Ok(answer),
            Some(_) | None => Err(format!("Prometheus refused: {answer}").into()),
        }
    }
}

/// RFC 3986 section 2.1.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
