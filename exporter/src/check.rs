//! `--check`: everything that is configured is tried, and what is wrong is said with its mend.

use std::io::Write;
use std::sync::Arc;

use crate::probe::{ALL, Probe};
use crate::rounds::{Rounds, Watched};
use crate::settings::{Settings, StateChoice};
use crate::snapshot::Collector;
use crate::state::Access;

/// Tries everything; whether all is well.
///
/// # Errors
/// It cannot be printed.
pub(crate) async fn run(settings: &Settings, out: &mut impl Write) -> Result<bool, String> {
    let mut watched = Watched::new(settings, Access::Try);
    let prober = watched.prober();
    let probing = async {
        if let Some(prober) = &prober {
            prober.round().await;
        }
    };
    let (snapshot, ()) = tokio::join!(Box::pin(watched.round()), Box::pin(probing));
    let rounds = Arc::new(Rounds::new(prober.clone()));
    let mut findings = Vec::new();
    for it in &snapshot.replicas {
        let name = format!("replica {}", it.instance);
        findings.push(Finding::new(name, &it.fault, mend(Collector::Gateways, &it.fault)));
    }
    for (collector, report) in &snapshot.reports {
        let name = format!("{} {}", collector.name(), report.place);
        findings.push(Finding::new(name, &report.fault, mend(*collector, &report.fault)));
    }
    let found = rounds.prober().map(|it| (it.address().to_string(), it.found()));
    if let Some((place, found)) = found {
        for probe in ALL {
            let fault = found.iter().find(|(it, _)| *it == probe).map(|(_, it)| it.fault.clone());
            let fault = fault.unwrap_or_else(|| Some("it did not run".to_owned()));
            let name = format!("probe {} {place}", probe.name());
            let mend = mend_probe(probe, &fault);
            findings.push(Finding::new(name, &fault, mend));
        }
    }
    if settings.state == StateChoice::Nowhere {
        findings.push(Finding {
            name: "state none".to_owned(),
            fault: None,
            mend: "counters begin anew with the exporter; set EXPORTER_STATE to redis or a file",
        });
    }
    let wrong = findings.iter().filter(|it| it.fault.is_some()).count();
    for finding in &findings {
        finding.write(out).map_err(|fault| format!("cannot print: {fault}"))?;
    }
    let all = findings.len();
    let said = writeln!(out, "{} of {all} well", all - wrong);
    said.map_err(|fault| format!("cannot print: {fault}"))?;
    Ok(wrong == 0)
}

/// One thing that was tried.
struct Finding {
    name: String,
    fault: Option<String>,
    /// What to do; a hint where nothing is wrong.
    mend: &'static str,
}

impl Finding {
    fn new(name: String, fault: &Option<String>, mend: &'static str) -> Self {
        let mend = if fault.is_some() { mend } else { "" };
        Self { name, fault: fault.clone(), mend }
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        match &self.fault {
            None => writeln!(out, "ok    {}", self.name)?,
            Some(fault) => writeln!(out, "FAIL  {}: {fault}", self.name)?,
        }
        let kind = if self.fault.is_some() { "fix" } else { "hint" };
        if self.mend.is_empty() { Ok(()) } else { writeln!(out, "      {kind}: {}", self.mend) }
    }
}

fn mend(collector: Collector, fault: &Option<String>) -> &'static str {
    let said = fault.as_deref().unwrap_or("");
    match collector {
        Collector::Gateways if said.contains("looked up") => {
            "name the admin listener as this machine's DNS knows it: EXPORTER_GATEWAYS"
        }
        Collector::Gateways if said.contains("no connection") => {
            "start the gateway, and have its admin listener (port 9100) bound where the exporter \
             can reach it: MCP_GATEWAY_ADMIN_HOST"
        }
        Collector::Gateways => {
            "the URL has to be the gateway's admin listener (port 9100), not the clients' port"
        }
        Collector::Redis | Collector::State if is_login(said) => {
            "give the password that Redis wants: REDIS_PASSWORD_FILE or REDIS_PASSWORD"
        }
        Collector::Redis => {
            "start Redis, or mend REDIS_URL; `rediss://` where it speaks TLS, with EXPORTER_REDIS_CA"
        }
        Collector::Nginx => {
            "have nginx answer `stub_status` there, for the exporter's address: \
             EXPORTER_NGINX_STATUS"
        }
        Collector::State => {
            "make the file's folder writable for the exporter, or Redis reachable: EXPORTER_STATE"
        }
    }
}

fn is_login(said: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "uthentication", "password"].iter().any(|it| said.contains(it))
}

fn mend_probe(probe: Probe, fault: &Option<String>) -> &'static str {
    let said = fault.as_deref().unwrap_or("");
    if said.contains("looked up") || said.contains("no connection") {
        return "start what serves clients there, or name it: EXPORTER_PROBE (`none` for no probes)";
    }
    if said.contains("TLS") || said.contains("certificate") || said.contains("cannot be read") {
        return "trust the authority of the certificate (EXPORTER_PROBE_CA) and ask for a name \
                that it has (EXPORTER_PROBE_HOST)";
    }
    match probe {
        Probe::Health => "look at what /health says there, and at the gateway's log",
        Probe::Sse => "turn off buffering for /sse in every proxy on the way (proxy_buffering off)",
        Probe::WebSocket => {
            "have every proxy on the way pass on `Upgrade` and `Connection` for /ws, over HTTP/1.1"
        }
        Probe::Mcp => "look at the gateway's log: does `Host` pass, and do its servers start?",
    }
}
