//! The effective configuration as a flat list of settings under their canonical names: what
//! `config show` prints, what the schema calls the defaults, and what a reload compares.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::{
    CallerBy, Config, EraChoice, HttpConfig, Isolation, Lists, LogFormat, Naming, Origins,
    OwnerLoss, Place, Rate, RateLimit, Secret, ServerConfig, ServerKind, StdioConfig,
};

/// What is shown instead of a secret.
pub const VEIL: &str = "***";

/// One setting with its effective value. Its `Debug` shows the path only.
#[derive(Clone, PartialEq)]
pub struct Setting {
    /// The names that lead to it, as in `servers`, `demo`, `command`.
    pub path: Vec<String>,
    value: Value,
    shown: Value,
}

impl Setting {
    /// The path as one name, such as `limits.processes`.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(".")
    }

    /// The value without its secrets.
    #[must_use]
    pub fn shown(&self) -> &Value {
        &self.shown
    }

    /// Where the value came from, for people.
    #[must_use]
    pub fn origin(&self, origins: &Origins) -> String {
        let place = origins.of(&self.name()).or_else(|| {
            // A value inside a map stands where the map does when nothing else is known of it.
            let above = self.path.split_last().map(|(_, above)| above.join("."))?;
            let is_map = above.ends_with(".env") || above.ends_with(".headers");
            origins.of(&above).filter(|_| is_map)
        });
        match place {
            None => "default".to_owned(),
            Some(Place { source, position: None }) if source.starts_with("--") => {
                format!("command line {source}")
            }
            Some(Place { source, position: Some((line, _)) }) => format!("{source}:{line}"),
            Some(Place { source, position: None }) => source.clone(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.name()).finish()
    }
}

impl Config {
    /// Every setting, in the order of the example file.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut list = List { settings: Vec::new(), origins: &self.origins };
        list.gateway(self);
        self.servers.iter().for_each(|server| list.server(server));
        list.settings
    }

    /// The names of the settings that differ between two configurations, servers left out.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let own = |config: &Self| {
            let settings = config.settings().into_iter();
            settings.filter(|it| it.path.first().is_none_or(|top| top != "servers"))
        };
        let pairs = own(self).zip(own(other).collect::<Vec<_>>());
        pairs.filter(|(one, two)| one.value != two.value).map(|(one, _)| one.name()).collect()
    }
}

struct List<'o> {
    settings: Vec<Setting>,
    origins: &'o Origins,
}

impl List<'_> {
    fn put(&mut self, path: &[&str], value: impl Into<Value>) {
        let value = value.into();
        self.put_veiled(path, value.clone(), value);
    }

    fn put_secret(&mut self, path: &[&str], secret: &Secret) {
        self.put_veiled(path, secret.expose().into(), VEIL.into());
    }

    fn put_veiled(&mut self, path: &[&str], value: Value, shown: Value) {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        self.settings.push(Setting { path, value, shown });
    }

    fn gateway(&mut self, config: &Config) {
        self.put(&["host"], config.listen.host.to_string());
        self.put(&["port"], config.listen.port);
        self.put(&["admin_port"], config.admin_port);
        self.put(&["log_level"], config.log.level.as_str());
        self.put(&["log_format"], log_format(config.log.format));
        self.put(&["public_prefix"], config.public_prefix.as_str());
        self.put(&["allowed_hosts"], config.allowed_hosts.clone());
        let proxies: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        self.put(&["trusted_proxies"], proxies);
        self.put(&["naming"], naming(config.naming));
        self.put(&["reload"], config.reload);
        let cors = &config.cors;
        let star = cors.any_origin.then(|| "*".to_owned());
        let origins: Vec<String> = star.into_iter().chain(cors.origins.iter().cloned()).collect();
        self.put(&["cors", "enabled"], cors.enabled);
        self.put(&["cors", "origins"], origins);
        self.put(&["cors", "credentials"], cors.credentials);
        let session = &config.session;
        match &session.secret {
            Some(secret) => self.put_secret(&["session", "secret"], secret),
            None => self.put(&["session", "secret"], Value::Null),
        }
        self.put(&["session", "idle_timeout"], time(session.idle_timeout));
        self.put(&["session", "resume_window"], time(session.resume_window));
        self.put(&["session", "max_age"], time(session.max_age));
        self.put(&["session", "max_sessions"], session.max_sessions);
        self.put(&["session", "max_per_principal"], session.max_per_principal);
        self.redis(config);
        self.rate_limit(&config.rate_limit);
        self.put(&["advertise_url"], config.advertise_url.clone());
        self.tracing(config);
        self.limits(config);
    }

    fn tracing(&mut self, config: &Config) {
        let tracing = &config.tracing;
        self.put(&["tracing", "endpoint"], tracing.endpoint.clone());
        for (name, value) in &tracing.headers {
            self.put_secret(&["tracing", "headers", name], value);
        }
        self.put(&["tracing", "service_name"], tracing.service_name.as_str());
        for (name, value) in &tracing.attributes {
            self.put(&["tracing", "attributes", name], value.as_str());
        }
        self.put(&["tracing", "sampler"], tracing.sampler.name());
        self.put(&["tracing", "sample_ratio"], tracing.ratio);
    }

    fn redis(&mut self, config: &Config) {
        let redis = config.redis.as_ref();
        self.put(&["redis", "url"], redis.map(|it| it.url.to_string()));
        self.put(&["redis", "username"], redis.and_then(|it| it.url.username.clone()));
        match redis.and_then(|it| it.url.password.as_ref()) {
            Some(password) => self.put_secret(&["redis", "password"], password),
            None => self.put(&["redis", "password"], Value::Null),
        }
        let path = redis.and_then(|it| it.ca_file.as_ref()).map(|it| it.display().to_string());
        self.put(&["redis", "ca_file"], path);
    }

    fn rate_limit(&mut self, limit: &RateLimit) {
        self.put(&["rate_limit", "enabled"], limit.enabled);
        self.rate(&["rate_limit"], ["max", "window", "burst"], &limit.caller);
        self.put(&["rate_limit", "by"], caller_by(limit.by));
        let names = ["address_max", "address_window", "address_burst"];
        self.rate(&["rate_limit"], names, &limit.address);
        let exempt: Vec<String> = limit.exempt.iter().map(ToString::to_string).collect();
        self.put(&["rate_limit", "exempt"], exempt);
        for tool in &limit.tools {
            let at = ["rate_limit", "tools", tool.pattern.as_str()];
            self.rate(&at, ["max", "window", "burst"], &tool.rate);
        }
    }

    fn rate(&mut self, at: &[&str], names: [&str; 3], rate: &Rate) {
        let values: [Value; 3] = [rate.max.into(), time(rate.window), rate.burst.into()];
        for (name, value) in names.into_iter().zip(values) {
            self.put(&[at, &[name]].concat(), value);
        }
    }

    fn limits(&mut self, config: &Config) {
        let limits = &config.limits;
        for (name, value) in [
            ("body_bytes", bytes(limits.body_bytes)),
            ("line_bytes", bytes(limits.line_bytes)),
            ("json_depth", limits.json.depth.into()),
            ("json_keys", limits.json.keys.into()),
            ("connections", limits.connections.into()),
            ("header_timeout", time(limits.header_timeout)),
            ("body_timeout", time(limits.body_timeout)),
            ("in_flight_per_session", limits.in_flight_per_session.into()),
            ("replay_events", limits.replay_events.into()),
            ("replay_bytes", bytes(limits.replay_bytes)),
            ("queue_events", limits.queue_events.into()),
            ("queue_bytes", bytes(limits.queue_bytes)),
            ("processes", limits.processes.into()),
        ] {
            self.put(&["limits", name], value);
        }
    }

    fn server(&mut self, server: &ServerConfig) {
        let at = |name| ["servers", server.id.as_str(), name];
        self.put(&at("type"), server.kind.name());
        self.put(&at("description"), server.description.clone());
        self.put(&at("enabled"), server.enabled);
        match &server.kind {
            ServerKind::Stdio(stdio) => self.stdio(&server.id, stdio),
            ServerKind::Http(http) | ServerKind::Sse(http) | ServerKind::WebSocket(http) => {
                self.http(&server.id, http);
            }
            ServerKind::Unsupported { .. } => {}
        }
        self.put(&at("era"), era(server.era));
        self.put(&at("start_timeout"), time(server.start_timeout));
        self.put(&at("call_timeout"), time(server.call_timeout));
        self.put(&at("call_timeout_max"), time(server.call_timeout_max));
        self.put(&at("on_owner_loss"), owner_loss(server.on_owner_loss));
    }

    fn stdio(&mut self, id: &str, stdio: &StdioConfig) {
        let at = |name| ["servers", id, name];
        let shown = self.command(id, &stdio.argv);
        self.put_veiled(&at("command"), stdio.argv.clone().into(), shown.into());
        for (name, value) in &stdio.env {
            // Whatever it is called: a server's environment is where its keys are kept.
            self.put_secret(&["servers", id, "env", name], &Secret::new(value));
        }
        let cwd = stdio.cwd.as_ref().map(|path| path.display().to_string());
        self.put(&at("cwd"), cwd);
        self.put(&at("isolation"), isolation(stdio.isolation));
        if stdio.isolation == Isolation::Pooled {
            self.put(&at("pool_size"), stdio.pool_size);
        }
        self.put(&at("prewarm"), stdio.prewarm);
        self.put(&at("lists"), lists(stdio.lists));
        self.put(&at("max_processes"), stdio.max_processes);
        self.put(&at("idle_timeout"), stdio.idle_timeout.map_or_else(|| "never".into(), time));
    }

    /// The words of a command; those that come out of a variable, follow a flag such as
    /// `--api-key`, or hold one, are not shown.
    fn command(&self, id: &str, argv: &[String]) -> Vec<String> {
        let mut after_flag = false;
        let word = |(index, word): (usize, &String)| {
            let veiled = self.origins.is_veiled(&format!("servers.{id}.command[{index}]"));
            let name = word.split('=').next().unwrap_or_default();
            let telling = word.starts_with('-') && is_telling(name);
            let shown = if veiled || after_flag {
                VEIL.to_owned()
            } else if (telling || is_telling(name)) && word.contains('=') {
                format!("{name}={VEIL}")
            } else {
                word.clone()
            };
            after_flag = telling && !word.contains('=');
            shown
        };
        argv.iter().enumerate().map(word).collect()
    }

    fn http(&mut self, id: &str, http: &HttpConfig) {
        let shown = http.instances.iter().enumerate().map(|(index, url)| {
            let veiled = self.origins.is_veiled(&format!("servers.{id}.instances[{index}]"));
            match url.split_once('?') {
                _ if veiled => VEIL.to_owned(),
                Some((before, _)) => format!("{before}?{VEIL}"),
                None => url.clone(),
            }
        });
        let shown: Vec<String> = shown.collect();
        self.put_veiled(&["servers", id, "instances"], http.instances.clone().into(), shown.into());
        for (name, value) in &http.headers {
            self.put_secret(&["servers", id, "headers", name], value);
        }
    }
}

/// Whether a flag or variable is called as if its value were a secret.
pub(super) fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = ["token", "secret", "password", "passwd", "key", "credential", "auth", "header"];
    words.iter().any(|word| name.contains(word))
}

fn time(time: Duration) -> Value {
    humantime::format_duration(time).to_string().into()
}

fn bytes(bytes: usize) -> Value {
    for (unit, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale).into();
        }
    }
    bytes.into()
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

fn naming(naming: Naming) -> &'static str {
    match naming {
        Naming::Auto => "auto",
        Naming::Always => "always",
        Naming::Never => "never",
    }
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Session => "session",
        Isolation::Principal => "principal",
        Isolation::Pooled => "pooled",
    }
}

fn era(era: EraChoice) -> &'static str {
    match era {
        EraChoice::Auto => "auto",
        EraChoice::Legacy => "legacy",
        EraChoice::Modern => "modern",
    }
}

fn owner_loss(loss: OwnerLoss) -> &'static str {
    match loss {
        OwnerLoss::Reinitialize => "reinitialize",
        OwnerLoss::End => "end",
    }
}

fn caller_by(by: CallerBy) -> &'static str {
    match by {
        CallerBy::Address => "address",
        CallerBy::Credential => "credential",
    }
}

fn lists(lists: Lists) -> &'static str {
    match lists {
        Lists::Shared => "shared",
        Lists::Session => "session",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::check::check_text;
    use super::super::{Config, Overrides, load};

    fn config(text: &str) -> Config {
        let key = BTreeMap::from([("KEY".to_owned(), "hidden-0".to_owned())]);
        check_text(text, &key)
    }

    #[test]
    fn no_secret_is_shown_wherever_it_stands() {
        let config = config(
            r#"
session: {secret: hidden-1-hidden-1-hidden-1-hidden-1}
servers:
  a: {command: "x --api-key hidden-2 --token=hidden-3 ${KEY} KEY=hidden-4 -v", env: {A: hidden-5}}
  b: {url: "https://h/mcp?key=hidden-6", headers: {X: hidden-7}}
  c: {instances: ["https://h/${KEY}", "https://h/plain"]}
"#,
        );
        let shown: Vec<String> =
            config.settings().iter().map(|it| format!("{} {}", it.name(), it.shown())).collect();
        let all = shown.join("\n");
        assert!(!all.contains("hidden"), "{all}");
        for line in [
            r#"servers.a.command ["x","--api-key","***","--token=***","***","KEY=***","-v"]"#,
            r#"servers.a.env.A "***""#,
            r#"servers.b.instances ["https://h/mcp?***"]"#,
            r#"servers.b.headers.x "***""#,
            r#"servers.c.instances ["***","https://h/plain"]"#,
            r#"session.secret "***""#,
        ] {
            assert!(shown.iter().any(|it| it == line), "{line} in\n{all}");
        }
        assert!(!format!("{:?}", config.settings()).contains("hidden"));
    }

    #[test]
    fn every_value_tells_where_it_came_from() {
        let path = std::env::temp_dir().join(format!("mcpgw-origin-{}.yaml", std::process::id()));
        let text = "gateway:\n  port: 1\nsession:\n  idleTimeoutMs: 5000\nservers:\n  \
                    a:\n    command: x\n    pool_size: 2\n    env_vars:\n      A: b\n    \
                    disabled: true\n";
        std::fs::write(&path, text).unwrap();
        let vars = [("LOG_LEVEL", "warn"), ("MCP_GATEWAY_PORT", "2"), ("MCP_HOST", "127.0.0.2")];
        let vars: BTreeMap<String, String> =
            vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let overrides =
            Overrides { config: Some(path.clone()), port: Some(3), ..Overrides::default() };
        let config = load(&overrides, &vars).unwrap();
        let origins: BTreeMap<String, String> =
            config.settings().iter().map(|it| (it.name(), it.origin(&config.origins))).collect();
        let file = |line: usize| format!("{}:{line}", path.display());
        for (name, origin) in [
            ("port", "command line --port".to_owned()),
            ("host", "environment variable MCP_HOST".to_owned()),
            ("log_level", "environment variable LOG_LEVEL".to_owned()),
            ("admin_port", "default".to_owned()),
            ("session.idle_timeout", file(4)),
            ("servers.a.type", file(7)),
            ("servers.a.isolation", file(8)),
            ("servers.a.env.A", file(10)),
            ("servers.a.enabled", file(11)),
            ("servers.a.prewarm", "default".to_owned()),
        ] {
            assert_eq!(origins[name], origin, "{name}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn settings_that_differ_are_named_and_servers_are_not_among_them() {
        let old = config(
            "port: 1\nsession: {secret: abcdefgh12345678abcdefgh12345678}\n\
             servers: {a: {command: x}}",
        );
        let new = config(
            "port: 2\nsession: {secret: abcdefgh12345678abcdefgh12345679}\n\
             servers: {b: {command: x}}",
        );
        assert_eq!(old.differing(&new), ["port", "session.secret"]);
        assert_eq!(old.differing(&old), Vec::<String>::new());
    }
}
