//! The environment layer: which variables set what.
//!
//! The names of this gateway come first; `LOG_LEVEL`, `MCP_HOST` and the like are what scripts for
//! other gateways set, and give way to them.

use std::time::Duration;

use super::super::check::{self, Bare, Checked, parse_time};
use super::super::redis::RedisDraft;
use super::super::{Config, Fault, LogFormat, Place, Secret, Vars};
use super::given::given;
use super::otel;

/// Variables that name the file to read.
pub(super) const FILES: [&str; 3] =
    ["MCP_GATEWAY_CONFIG", "MCP_GATEWAY_REGISTRY_FILE", "MCP_REGISTRY"];

/// Variables that are read, besides [`FILES`], those of tracing and those that are [`LATER`].
const READ: [&str; 18] = [
    "MCP_GATEWAY_HOST",
    "MCP_HOST",
    "MCP_GATEWAY_PORT",
    "MCP_PORT",
    "MCP_GATEWAY_ADMIN_PORT",
    "MCP_GATEWAY_LOG_LEVEL",
    "LOG_LEVEL",
    "MCP_GATEWAY_LOG_FORMAT",
    "MCP_GATEWAY_AUTH",
    "MCP_GATEWAY_RELOAD",
    "MCP_GATEWAY_ADVERTISE_URL",
    "MCP_GATEWAY_ALLOWED_HOSTS",
    "MCP_GATEWAY_TRUSTED_PROXIES",
    "SESSION_SECRET",
    "SESSION_SECRET_FILE",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "REDIS_PASSWORD_FILE",
];

/// Variables whose values are checked and have no effect, and why.
const LATER: [(&str, Expected, &str); 4] = [
    ("MCP_GATEWAY_HEALTH_INTERVAL", Expected::Time, "does not check servers on its own"),
    ("MCP_GATEWAY_HEALTH_TIMEOUT", Expected::Time, "does not check servers on its own"),
    ("MCP_GATEWAY_DEFAULT_STRATEGY", Expected::Strategy, "spreads calls in turn (round_robin)"),
    ("MCP_GATEWAY_MAX_RETRIES", Expected::Whole, "tries each instance of a server once"),
];

/// What the value of a variable must be.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Time,
    Whole,
    Strategy,
}

/// A variable that is set and not empty: `docker-compose` sets missing ones to nothing.
pub(super) fn set(vars: &dyn Vars, name: &str) -> Option<String> {
    vars.var(name).filter(|value| !value.trim().is_empty())
}

/// Applies the environment.
pub(super) fn environment(checked: &mut Checked, vars: &dyn Vars) {
    let mut layer = Layer { vars, faults: Vec::new() };
    listeners(checked, &mut layer);
    log(&mut checked.config, &mut layer);
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_AUTH"]) {
        checked.auth_none = text.eq_ignore_ascii_case("none");
        if !checked.auth_none {
            let what = "must be `none`: this version has no other authentication";
            layer.faults.push(Fault::new(place, what));
        }
    }
    let config = &mut checked.config;
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_RELOAD"]) {
        match text.to_ascii_lowercase().parse() {
            Ok(reload) => layer.apply(config, ("reload", place), |config| config.reload = reload),
            Err(_) => layer.faults.push(Fault::new(place, "must be true or false")),
        }
    }
    if let Some((place, secret)) = layer.secret("SESSION_SECRET") {
        match check::secret_fault(&secret) {
            Some(fault) => layer.faults.push(Fault::new(place, fault)),
            None => layer.apply(config, ("session.secret", place), |config| {
                config.session.secret = Some(Secret::new(secret));
            }),
        }
    }
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_ADVERTISE_URL"]) {
        match check::replica(text.trim()) {
            Ok(url) => layer.apply(config, ("advertise_url", place), |config| {
                config.advertise_url = Some(url);
            }),
            Err(fault) => layer.faults.push(Fault::new(place, fault)),
        }
    }
    otel::apply(config, &mut layer);
    lists(config, &mut layer);
    later(config, &mut layer);
    redis(&mut checked.config, &mut checked.redis, &mut layer);
    let config = &mut checked.config;
    unknown(config, vars);
    checked.faults.append(&mut layer.faults);
}

/// The environment, while it is applied.
pub(super) struct Layer<'v> {
    vars: &'v dyn Vars,
    pub(super) faults: Vec<Fault>,
}

impl<'v> Layer<'v> {
    #[cfg(test)]
    pub(super) fn new(vars: &'v dyn Vars) -> Self {
        Self { vars, faults: Vec::new() }
    }

    /// The first of these variables that is set.
    pub(super) fn read(&self, names: &[&str]) -> Option<(Place, String)> {
        names.iter().find_map(|name| Some((place(name), set(self.vars, name)?)))
    }

    /// A secret, from its variable or from the file that the variable with `_FILE` names.
    fn secret(&mut self, name: &str) -> Option<(Place, String)> {
        given(self.vars, name).unwrap_or_else(|fault| {
            self.faults.push(fault);
            None
        })
    }

    /// The items of a list in a variable, if it is set and each of them can be read.
    fn all_of<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(Place, Vec<T>)> {
        let (place, text) = self.read(&[name])?;
        let mut items = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match read(item) {
                Ok(item) => items.push(item),
                Err(fault) => {
                    let fault = format!("{fault}, not {item:?}");
                    self.faults.push(Fault::new(place.clone(), fault));
                }
            }
        }
        Some((place, items))
    }

    pub(super) fn apply(
        &self,
        config: &mut Config,
        (path, place): (&str, Place),
        apply: impl FnOnce(&mut Config),
    ) {
        apply(config);
        config.origins.note(path, place);
    }
}

/// Lists, whose items stand between commas; each takes the place of the file's.
fn lists(config: &mut Config, layer: &mut Layer<'_>) {
    if let Some((place, hosts)) = layer.all_of("MCP_GATEWAY_ALLOWED_HOSTS", check::host_name) {
        layer.apply(config, ("allowed_hosts", place), |config| config.allowed_hosts = hosts);
    }
    if let Some((place, proxies)) = layer.all_of("MCP_GATEWAY_TRUSTED_PROXIES", check::proxy) {
        layer.apply(config, ("trusted_proxies", place), |it| it.trusted_proxies = proxies);
    }
}

pub(super) fn place(name: &str) -> Place {
    Place::outside(format!("environment variable {name}"))
}

fn listeners(checked: &mut Checked, layer: &mut Layer<'_>) {
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_HOST", "MCP_HOST"]) {
        checked.host = Some(place.clone());
        match check::host(&text) {
            Some(host) => {
                layer.apply(&mut checked.config, ("host", place), |it| it.listen.host = host);
            }
            None => layer.faults.push(Fault::new(place, format!("must be {}", check::HOST))),
        }
    }
    let config = &mut checked.config;
    for (path, names) in [
        ("port", ["MCP_GATEWAY_PORT", "MCP_PORT"].as_slice()),
        ("admin_port", ["MCP_GATEWAY_ADMIN_PORT"].as_slice()),
    ] {
        let Some((place, text)) = layer.read(names) else { continue };
        if is_service_link(&text) {
            let what = "was set by Kubernetes for a service of that name, and is ignored; set \
                        `enableServiceLinks: false` in the pod to be rid of it";
            config.warnings.push(Fault::new(place, what));
            continue;
        }
        match text.trim().parse::<u16>() {
            Ok(port) => layer.apply(config, (path, place), |config| match path {
                "port" => config.listen.port = port,
                _ => config.admin_port = port,
            }),
            Err(_) => {
                let what = "must be a port from 1 to 65535, or 0 for any free one";
                layer.faults.push(Fault::new(place, what));
            }
        }
    }
}

/// Kubernetes gives every pod `{SERVICE}_PORT=tcp://10.0.0.1:80` for each service; one that is
/// called `mcp-gateway` meets the name of our own variable.
fn is_service_link(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
}

fn log(config: &mut Config, layer: &mut Layer<'_>) {
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_LOG_LEVEL", "LOG_LEVEL"]) {
        match check::level(&text) {
            Ok(level) => layer.apply(config, ("log_level", place), |it| it.log.level = level),
            Err(expected) => {
                layer.faults.push(Fault::new(place, format!("must be {expected}")));
            }
        }
    }
    if let Some((place, text)) = layer.read(&["MCP_GATEWAY_LOG_FORMAT"]) {
        let format = match text.to_ascii_lowercase().as_str() {
            "auto" => Some(LogFormat::Auto),
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        match format {
            Some(format) => {
                layer.apply(config, ("log_format", place), |it| it.log.format = format);
            }
            None => layer.faults.push(Fault::new(place, "must be one of auto, text, json")),
        }
    }
}

fn redis(config: &mut Config, draft: &mut RedisDraft, layer: &mut Layer<'_>) {
    if let Some((place, url)) = layer.read(&["REDIS_URL"]) {
        config.origins.note("redis.url", place.clone());
        draft.url = Some((Secret::new(url.trim()), place));
    }
    if let Some((place, password)) = layer.secret("REDIS_PASSWORD") {
        config.origins.note("redis.password", place.clone());
        if draft.url.is_none() {
            let what = "has no effect: no Redis is named, by REDIS_URL or `redis.url`";
            config.warnings.push(Fault::new(place, what));
        } else {
            draft.password = Some(Secret::new(password));
        }
    }
}

fn later(config: &mut Config, layer: &mut Layer<'_>) {
    for (name, expected, what) in LATER {
        let Some((place, text)) = layer.read(&[name]) else { continue };
        match expected.fault(text.trim()) {
            Some(fault) => layer.faults.push(Fault::new(place, fault)),
            None => config.warnings.push(Fault::new(place, format!("this version {what}"))),
        }
    }
}

/// A misspelt variable would otherwise be passed over in silence. It is no fault, because what
/// other programs set is not ours to refuse.
fn unknown(config: &mut Config, vars: &dyn Vars) {
    let known: Vec<&str> = FILES.into_iter().chain(READ).chain(LATER.map(|it| it.0)).collect();
    for name in vars.all().keys().filter(|name| name.starts_with("MCP_GATEWAY_")) {
        let service = ["MCP_GATEWAY_SERVICE_", "MCP_GATEWAY_PORT_"];
        if known.contains(&name.as_str()) || service.iter().any(|it| name.starts_with(it)) {
            continue;
        }
        let near = check::suggestion(name, known.iter().copied());
        let what = format!("is not read by the gateway{near}");
        config.warnings.push(Fault::new(place(name), what));
    }
}

impl Expected {
    fn fault(self, text: &str) -> Option<String> {
        let (holds, what) = match self {
            Self::Time => {
                let time = parse_time(text, Bare::Seconds).filter(|it| *it > Duration::ZERO);
                (time.is_some(), "a time greater than zero such as 30 or \"30s\"".to_owned())
            }
            Self::Whole => (text.parse::<u32>().is_ok(), "a whole number".to_owned()),
            Self::Strategy => {
                let word = text.to_ascii_lowercase().replace('-', "_");
                let all = check::STRATEGIES;
                (all.contains(&word.as_str()), format!("one of {}", all.join(", ")))
            }
        };
        (!holds).then(|| format!("must be {what}"))
    }
}
