//! What the exporter watches and where it listens: flags before variables before defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use redis_target::secret::Secret;
use redis_target::url::RedisUrl;

use crate::address::Address;
use crate::cli::Arguments;
use crate::env::Vars;
use crate::redis::line::Target;

const LISTEN: &str = "127.0.0.1:9091";
const GATEWAY: &str = "http://mcp-gateway:9100";
const PROBE: &str = "https://nginx:8443";
const PROBE_EVERY: &str = "15s";

/// Bounds of the time between two probes: a session that a probe has on `/sse` waits 60 s for it.
const PROBE_EVERY_MIN: Duration = Duration::from_secs(1);
const PROBE_EVERY_MAX: Duration = Duration::from_secs(45);

/// Everything that can be set.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Names of the gateway's replicas.
    pub(crate) gateways: Vec<Address>,
    /// Their Redis.
    pub(crate) redis: Option<Target>,
    /// `stub_status`.
    pub(crate) nginx: Option<Address>,
    /// What clients use.
    pub(crate) probe: Option<Address>,
    /// `Host` there.
    pub(crate) probe_host: Option<String>,
    /// Time between two probes.
    pub(crate) probe_every: Duration,
    /// Authorities to trust, for all but Redis.
    pub(crate) ca_file: Option<PathBuf>,
    /// Where the sums are kept.
    pub(crate) state: StateChoice,
    /// What is logged; `None`: what is of use.
    pub(crate) log: Option<String>,
    /// Whether lines are JSON; `None`: when nobody looks.
    pub(crate) log_json: Option<bool>,
}

/// Where the sums are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateChoice {
    /// Nowhere.
    Nowhere,
    /// In a file.
    File(PathBuf),
    /// In Redis.
    Redis,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence that names the setting, and nothing secret.
    pub(crate) fn new(arguments: &Arguments, vars: &dyn Vars) -> Result<Self, String> {
        let of = |flag: &Option<String>, name: &str| flag.clone().or_else(|| vars.var(name));
        let listen = of(&arguments.listen, "EXPORTER_LISTEN").unwrap_or_else(|| LISTEN.to_owned());
        let wrong = "--listen (EXPORTER_LISTEN): not an address and a port, such as";
        let listen = listen.parse().map_err(|_fault| format!("{wrong} {LISTEN}"))?;
        let redis = redis(arguments, vars)?;
        let state = of(&arguments.state, "EXPORTER_STATE");
        let state = match state.as_deref() {
            None if redis.is_some() => StateChoice::Redis,
            None | Some("none") => StateChoice::Nowhere,
            Some("redis") if redis.is_some() => StateChoice::Redis,
            Some("redis") => {
                return Err("--state redis (EXPORTER_STATE): there is no --redis-url".to_owned());
            }
            Some(path) => StateChoice::File(path.into()),
        };
        let every = of(&arguments.probe_every, "EXPORTER_PROBE_EVERY");
        let every = humantime::parse_duration(every.as_deref().unwrap_or(PROBE_EVERY));
        let in_bounds = |it: &Duration| (PROBE_EVERY_MIN..=PROBE_EVERY_MAX).contains(it);
        let probe_every = every.ok().filter(in_bounds).ok_or(
            "--probe-every (EXPORTER_PROBE_EVERY): not a time from 1s to 45s, such as 15s",
        )?;
        let probe = of(&arguments.probe, "EXPORTER_PROBE").unwrap_or_else(|| PROBE.to_owned());
        let nginx = of(&arguments.nginx_status, "EXPORTER_NGINX_STATUS");
        let format = of(&arguments.log_format, "EXPORTER_LOG_FORMAT");
        Ok(Self {
            listen,
            gateways: gateways(arguments, vars)?,
            redis,
            nginx: optional(nginx, "--nginx-status (EXPORTER_NGINX_STATUS)")?,
            probe: optional(Some(probe), "--probe (EXPORTER_PROBE)")?,
            probe_host: host(of(&arguments.probe_host, "EXPORTER_PROBE_HOST"))?,
            probe_every,
            ca_file: of(&arguments.probe_ca, "EXPORTER_PROBE_CA").map(PathBuf::from),
            state,
            log: of(&arguments.log, "EXPORTER_LOG"),
            log_json: match format.as_deref() {
                None | Some("auto") => None,
                Some("json") => Some(true),
                Some("text") => Some(false),
                Some(_) => {
                    let what = "not one of `auto`, `text`, `json`";
                    return Err(format!("--log-format (EXPORTER_LOG_FORMAT): {what}"));
                }
            },
        })
    }
}

fn gateways(arguments: &Arguments, vars: &dyn Vars) -> Result<Vec<Address>, String> {
    let listed = match &arguments.gateway[..] {
        [] => vars.var("EXPORTER_GATEWAYS").unwrap_or_else(|| GATEWAY.to_owned()),
        given => given.join(","),
    };
    let urls = listed.split([',', ' ', '\n']).filter(|it| !it.is_empty());
    let wrong = |fault| format!("--gateway (EXPORTER_GATEWAYS): {fault}");
    let all: Vec<_> = urls.map(Address::parse).collect::<Result<_, _>>().map_err(wrong)?;
    if all.is_empty() { Err(wrong("no URL".to_owned())) } else { Ok(all) }
}

fn optional(url: Option<String>, name: &str) -> Result<Option<Address>, String> {
    let url = url.filter(|it| it != "none");
    let address = url.map(|it| Address::parse(&it)).transpose();
    address.map_err(|fault| format!("{name}: {fault}"))
}

fn host(name: Option<String>) -> Result<Option<String>, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    match name {
        Some(name) if !name.chars().all(is_plain) => {
            Err("--probe-host (EXPORTER_PROBE_HOST): not a host's name".to_owned())
        }
        other => Ok(other),
    }
}

fn redis(arguments: &Arguments, vars: &dyn Vars) -> Result<Option<Target>, String> {
    let url = arguments.redis_url.clone().or_else(|| vars.var("REDIS_URL"));
    let Some(url) = url.filter(|it| it != "none") else { return Ok(None) };
    let url = RedisUrl::parse(&url);
    let mut url = url.map_err(|fault| format!("--redis-url (REDIS_URL): {fault}"))?;
    let password_file = vars.var("REDIS_PASSWORD_FILE").map(PathBuf::from);
    let password = vars.var("REDIS_PASSWORD").map(Secret::new);
    if password.is_some() && password_file.is_some() {
        return Err("REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set; take one".to_owned());
    }
    url.password = password.or(url.password);
    let ca_file = arguments.redis_ca.clone().or_else(|| vars.var("EXPORTER_REDIS_CA"));
    Ok(Some(Target { url, ca_file: ca_file.map(PathBuf::from), password_file }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;

    fn read(flags: &[&str], vars: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments = Arguments::try_parse_from([&["gateway-exporter"], flags].concat());
        let arguments = arguments.map_err(|fault| fault.to_string())?;
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::new(&arguments, &vars.iter().map(own).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn without_anything_it_watches_the_stack() {
        let settings = read(&[], &[("REDIS_URL", "")]).unwrap();
        assert_eq!(settings.listen.to_string(), LISTEN);
        assert_eq!(settings.gateways, [Address::parse(GATEWAY).unwrap()]);
        assert_eq!(settings.probe, Some(Address::parse(PROBE).unwrap()));
        assert_eq!(settings.state, StateChoice::Nowhere);
        assert!(settings.redis.is_none() && settings.nginx.is_none());
    }

    #[test]
    fn flags_prevail_over_variables() {
        let vars = [
            ("EXPORTER_GATEWAYS", "http://a:1, http://b:2"),
            ("REDIS_URL", "redis://:hunter2@r"),
            ("EXPORTER_PROBE", "none"),
            ("EXPORTER_LISTEN", "0.0.0.0:1"),
        ];
        let settings = read(&["--listen", "127.0.0.1:2"], &vars).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.gateways.len(), 2);
        assert_eq!(settings.state, StateChoice::Redis);
        assert!(settings.probe.is_none());
        let settings = read(&["--gateway", "http://c:3", "--state", "sums.json"], &vars).unwrap();
        assert_eq!(settings.gateways.len(), 1);
        assert_eq!(settings.state, StateChoice::File("sums.json".into()));
    }

    #[test]
    fn a_fault_names_its_setting_and_nothing_secret() {
        for (vars, named) in [
            (&[("EXPORTER_LISTEN", "hunter2")][..], "EXPORTER_LISTEN"),
            (&[("EXPORTER_GATEWAYS", "http://u:hunter2@h")], "EXPORTER_GATEWAYS"),
            (&[("REDIS_URL", "http://:hunter2@h")], "REDIS_URL"),
            (&[("EXPORTER_STATE", "redis")], "EXPORTER_STATE"),
            (&[("EXPORTER_PROBE_EVERY", "1h")], "EXPORTER_PROBE_EVERY"),
            (&[("EXPORTER_PROBE_HOST", "hunter2\r\n")], "EXPORTER_PROBE_HOST"),
            (&[("EXPORTER_LOG_FORMAT", "hunter2")], "EXPORTER_LOG_FORMAT"),
            (
                &[
                    ("REDIS_URL", "redis://r"),
                    ("REDIS_PASSWORD", "hunter2"),
                    ("REDIS_PASSWORD_FILE", "f"),
                ],
                "REDIS_PASSWORD_FILE",
            ),
        ] {
            let fault = read(&[], vars).err().unwrap();
            assert!(fault.contains(named) && !fault.contains("hunter2"), "{fault}");
        }
    }
}
