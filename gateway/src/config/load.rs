//! Loading: command line, environment and file, in that order of precedence.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::check::{self, Checked, check};
use super::tree::Syntax;
use super::{Config, Fault, Faults, LogFormat, Place, Vars};
use crate::config::limits::gateway::CONFIG_FILE_BYTES;

mod environment;
mod given;
mod otel;

pub use self::given::given;
use environment::{environment, set};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "config/gateway.json";

/// What the command line says; it wins over everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The file to read (`--config`).
    pub config: Option<PathBuf>,
    /// `--host`.
    pub host: Option<IpAddr>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--admin-port`.
    pub admin_port: Option<u16>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--auth none`: bound to anything but loopback without authentication, knowingly.
    pub auth_none: bool,
}

/// Reads the configuration.
///
/// # Errors
/// Every fault of the file, the environment and the command line at once.
pub fn load(overrides: &Overrides, vars: &dyn Vars) -> Result<Config, Faults> {
    let named = overrides
        .config
        .clone()
        .or_else(|| environment::FILES.iter().find_map(|name| set(vars, name)).map(PathBuf::from));
    let path = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
    let mut checked = match &path {
        Some(path) => read(path, vars),
        None => Checked { config: Config::embedded(), ..Checked::default() },
    };
    checked.config.source = path;
    settle(checked, overrides, vars)
}

/// Reads the configuration from the bytes of a file named `path`, which is not opened: its name
/// tells the language and is what faults are reported under.
///
/// # Errors
/// Every fault of the bytes and the environment at once.
pub fn parse(path: &Path, bytes: &[u8], vars: &dyn Vars) -> Result<Config, Faults> {
    let mut checked = understand(path, bytes, vars);
    checked.config.source = Some(path.to_owned());
    settle(checked, &Overrides::default(), vars)
}

/// Puts environment and command line over what the file said, and judges the whole.
fn settle(mut checked: Checked, overrides: &Overrides, vars: &dyn Vars) -> Result<Config, Faults> {
    environment(&mut checked, vars);
    command_line(&mut checked, overrides);
    whole(&mut checked);
    match checked.faults.is_empty() {
        true => Ok(checked.config),
        false => Err(Faults(checked.faults)),
    }
}

/// Nothing but a fault of a file.
fn failed(path: &Path, position: Option<(usize, usize)>, message: impl Into<String>) -> Checked {
    let place = Place { source: path.display().to_string(), position };
    Checked { faults: vec![Fault::new(place, message)], ..Checked::default() }
}

/// Reads and checks a file.
fn read(path: &Path, vars: &dyn Vars) -> Checked {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(CONFIG_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let missing = error.kind() == ErrorKind::NotFound;
        let message = if missing {
            "there is no such file; `mcp-gateway example` prints one to begin with".to_owned()
        } else if path.is_dir() {
            "this is a directory; name a file in it".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        return failed(path, None, message);
    }
    understand(path, &bytes, vars)
}

/// Checks the bytes of a file.
fn understand(path: &Path, bytes: &[u8], vars: &dyn Vars) -> Checked {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > CONFIG_FILE_BYTES) {
        return failed(path, None, "larger than 1 MiB; is this the configuration?");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let on = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let column = String::from_utf8_lossy(on).chars().count() + 1;
            let what = "not UTF-8 from here on; save the file as UTF-8";
            return failed(path, Some((line(before), column)), what);
        }
    };
    if text.trim().is_empty() {
        return failed(path, None, check::EMPTY);
    }
    check(&path.display().to_string(), text, syntax(path, text), vars)
}

/// The language by the name of the file, else by its first character.
fn syntax(path: &Path, text: &str) -> Syntax {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "json" => Syntax::Json,
        "yaml" | "yml" => Syntax::Yaml,
        _ if text.trim_start().starts_with('{') => Syntax::Json,
        _ => Syntax::Yaml,
    }
}

fn command_line(checked: &mut Checked, overrides: &Overrides) {
    let config = &mut checked.config;
    if let Some(host) = overrides.host {
        config.listen.host = host;
        checked.host = Some(Place::outside("--host"));
    }
    config.listen.port = overrides.port.unwrap_or(config.listen.port);
    config.admin_port = overrides.admin_port.unwrap_or(config.admin_port);
    config.log.format = overrides.log_format.unwrap_or(config.log.format);
    checked.auth_none |= overrides.auth_none;
    for (name, given) in [
        ("host", overrides.host.is_some()),
        ("port", overrides.port.is_some()),
        ("admin_port", overrides.admin_port.is_some()),
        ("log_level", overrides.log_level.is_some()),
        ("log_format", overrides.log_format.is_some()),
    ] {
        if given {
            let flag = name.replace('_', "-");
            config.origins.note(name, Place::outside(format!("--{flag}")));
        }
    }
    if let Some(level) = &overrides.log_level {
        match check::level(level) {
            Ok(level) => checked.config.log.level = level,
            Err(expected) => {
                let place = Place::outside("--log-level");
                checked.faults.push(Fault::new(place, format!("must be {expected}")));
            }
        }
    }
}

/// What can only be judged when everything is known.
fn whole(checked: &mut Checked) {
    redis(checked);
    let Config { listen, admin_port, source, .. } = &checked.config;
    if !listen.host.is_loopback() && !checked.auth_none {
        let place = checked.host.clone().unwrap_or_else(|| Place::outside("--host"));
        let host = listen.host;
        let what = format!("{host} can be reached from other machines, and nothing asks who calls");
        let remedy = "write `\"auth\": \"none\"` in the file (or --auth none, or \
                      MCP_GATEWAY_AUTH=none) if that is meant, else use 127.0.0.1";
        checked.faults.push(Fault::new(place, format!("{what}; {remedy}")));
    }
    if listen.port == *admin_port && listen.port != 0 {
        let place = Place::outside(
            source.as_ref().map_or_else(|| "--port".to_owned(), |path| path.display().to_string()),
        );
        let what = format!("`port` and `admin_port` are both {admin_port}; change one");
        checked.faults.push(Fault::new(place, what));
    }
    // What the file says comes first, from top to bottom.
    let order = |fault: &Fault| fault.place.position.unwrap_or((usize::MAX, 0));
    checked.faults.sort_by_key(order);
}

/// The shared store, from all that was said of it.
fn redis(checked: &mut Checked) {
    match mem::take(&mut checked.redis).finish() {
        Ok(None) => {}
        Ok(Some((redis, place))) => {
            checked.config.redis = Some(redis);
            if checked.config.session.secret.is_none() {
                let what = "replicas that share a Redis need a `session.secret` (or \
                            SESSION_SECRET), the same for all; make one with `openssl rand -hex \
                            32`";
                checked.faults.push(Fault::new(place, what));
            }
        }
        Err(fault) => checked.faults.push(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::{Config, Faults, LogFormat, ServerKind};
    use super::{Overrides, load};

    /// A file of its own that is removed afterwards.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
            let name = format!("mcpgw-load-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    fn vars(set: &[(&str, &str)]) -> BTreeMap<String, String> {
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(path: &Path, set: &[(&str, &str)]) -> Result<Config, Faults> {
        let config = Some(path.to_owned());
        load(&Overrides { config, ..Overrides::default() }, &vars(set))
    }

    /// Every fault without the name of the file.
    fn faults(file: &Written, set: &[(&str, &str)]) -> Vec<String> {
        let path = file.0.display().to_string();
        let faults = read(&file.0, set).unwrap_err().0;
        faults.iter().map(|fault| fault.to_string().replace(&path, "f")).collect()
    }

    #[test]
    fn without_a_file_the_demo_is_served_on_loopback() {
        let config = load(&Overrides::default(), &vars(&[])).unwrap();
        assert_eq!((config.listen.port, config.admin_port), (3000, 9100));
        assert!(config.listen.host.is_loopback() && config.source.is_none());
        let [demo] = config.servers.as_slice() else { panic!("one server") };
        let ServerKind::Stdio(stdio) = &demo.kind else { panic!("a stdio server") };
        assert_eq!(stdio.argv[1], "demo-server");
    }

    #[test]
    fn the_command_line_wins_over_the_environment_over_the_file() {
        let text = "port: 1\nadmin_port: 11\nlog_level: error\nlog_format: json\n";
        let file = Written::new("order.yaml", text);
        let set = [
            ("MCP_GATEWAY_CONFIG", file.0.to_str().unwrap()),
            ("MCP_GATEWAY_PORT", "2"),
            ("MCP_GATEWAY_LOG_LEVEL", "WARNING"),
            ("LOG_LEVEL", "trace"),
            ("MCP_GATEWAY_ADMIN_PORT", ""),
            ("SESSION_SECRET", "0123456789abcdef0123456789abcdef"),
            ("REDIS_URL", "redis://h"),
        ];
        let overrides = Overrides { port: Some(3), ..Overrides::default() };
        let config = load(&overrides, &vars(&set)).unwrap();
        assert_eq!((config.listen.port, config.admin_port), (3, 11));
        assert_eq!((config.log.level.as_str(), config.log.format), ("warn", LogFormat::Json));
        assert_eq!(config.session.secret.unwrap().expose(), "0123456789abcdef0123456789abcdef");
        assert_eq!(config.redis.unwrap().url.to_string(), "redis://h:6379/0");
    }

    #[test]
    fn a_redis_is_put_together_from_file_and_environment() {
        let secret = ("SESSION_SECRET", "0123456789abcdef0123456789abcdef");
        let text = "redis: {url: \"redis://ann:p1@a\", user: bob, password: p2}\n\
                    advertiseUrl: http://10.0.0.7:9100/\n";
        let file = Written::new("redis.yaml", text);
        let config = read(&file.0, &[secret]).unwrap();
        assert_eq!(config.advertise_url.as_deref(), Some("http://10.0.0.7:9100"));
        let redis = config.redis.unwrap().url;
        assert_eq!(redis.username.as_deref(), Some("bob"));
        assert_eq!(redis.password.unwrap().expose(), "p2");
        let set = [secret, ("REDIS_URL", "rediss://h:1/2"), ("REDIS_PASSWORD", "p3")];
        let config = read(&file.0, &set).unwrap();
        assert_eq!(config.redis.as_ref().unwrap().url.password.as_ref().unwrap().expose(), "p3");
        let shown: Vec<_> = config.settings().iter().map(|it| it.shown().to_string()).collect();
        assert!(shown.contains(&"\"rediss://h:1/2\"".to_owned()), "{shown:?}");
        assert!(!shown.iter().any(|it| it.contains("p3")), "{shown:?}");
        let origins = config.settings().into_iter().filter(|it| it.name() == "redis.url");
        let origins: Vec<_> = origins.map(|it| it.origin(&config.origins)).collect();
        assert_eq!(origins, ["environment variable REDIS_URL"]);
    }

    #[test]
    fn lists_in_the_environment_take_the_place_of_the_files() {
        let text = "allowed_hosts: [a.example]\ntrusted_proxies: [10.0.0.1, proxy]\n";
        let file = Written::new("lists.yaml", text);
        let told = |set: &[(&str, &str)]| {
            let config = read(&file.0, set).unwrap();
            let settings = config.settings();
            let lists = ["allowed_hosts", "trusted_proxies"].map(|name| {
                let setting = settings.iter().find(|it| it.name() == name).unwrap();
                setting.shown().to_string()
            });
            lists.join(" ")
        };
        assert_eq!(told(&[]), r#"["a.example"] ["10.0.0.1","proxy"]"#);
        let set = [
            ("MCP_GATEWAY_ALLOWED_HOSTS", "B.example:8443, localhost,"),
            ("MCP_GATEWAY_TRUSTED_PROXIES", "nginx,::ffff:10.0.0.0/104 , fd00::/8"),
        ];
        let all = r#"["b.example:8443","localhost"] ["nginx","10.0.0.0/8","fd00::/8"]"#;
        assert_eq!(told(&set), all);
        let set = [
            ("MCP_GATEWAY_ALLOWED_HOSTS", "b.example,*"),
            ("MCP_GATEWAY_TRUSTED_PROXIES", "nginx,::/0"),
        ];
        let lines = faults(&file, &set);
        let starts = [
            "environment variable MCP_GATEWAY_ALLOWED_HOSTS: an allowed host is a name such as",
            "environment variable MCP_GATEWAY_TRUSTED_PROXIES: this is every address",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn a_redis_that_cannot_be_meant_is_a_fault() {
        let need = "replicas that share a Redis need a `session.secret` (or SESSION_SECRET)";
        for (text, set, start) in [
            ("redis: {url: \"redis://h\"}\n", vec![], format!("f:1:14: {need}")),
            ("port: 1\n", vec![("REDIS_URL", "redis://h")], {
                format!("environment variable REDIS_URL: {need}")
            }),
            ("redis: {url: nonsense}\n", vec![], "f:1:14: no scheme; a Redis URL is".to_owned()),
            ("redis: {password: p}\n", vec![], "f:1:9: a Redis is reached by a URL".to_owned()),
            ("redis: {url: \"redis://h\", ca_file: x}\n", vec![], "f:1:14: `redis.ca_file`".into()),
            ("redis: {host: x}\n", vec![], "f:1:9: unknown setting `host`".to_owned()),
            ("advertise_url: h:1\n", vec![], "f:1:16: `advertise_url` must be".to_owned()),
            ("port: 1\n", vec![("MCP_GATEWAY_ADVERTISE_URL", "http://h")], {
                "environment variable MCP_GATEWAY_ADVERTISE_URL: must be where".to_owned()
            }),
        ] {
            let file = Written::new("redis-fault.yaml", text);
            let lines = faults(&file, &set);
            assert!(lines[0].starts_with(&start) && lines.len() == 1, "{lines:#?}");
        }
        let set = [("REDIS_PASSWORD", "p")];
        let config = load(&Overrides::default(), &vars(&set)).unwrap();
        let warning = config.warnings[0].to_string();
        assert!(warning.starts_with("environment variable REDIS_PASSWORD: has no"), "{warning}");
    }

    #[test]
    fn other_replicas_are_told_an_address_they_can_reach() {
        let mut config = Config::default();
        let told = |config: &Config, at: &str| config.advertised(at.parse().unwrap(), "pod-1");
        assert_eq!(told(&config, "127.0.0.1:9100"), "http://127.0.0.1:9100");
        assert_eq!(told(&config, "0.0.0.0:9100"), "http://pod-1:9100");
        assert_eq!(told(&config, "[::]:9100"), "http://pod-1:9100");
        assert_eq!(told(&config, "[::1]:9100"), "http://[::1]:9100");
        config.advertise_url = Some("http://10.0.0.7:1".to_owned());
        assert_eq!(told(&config, "0.0.0.0:9100"), "http://10.0.0.7:1");
    }

    #[test]
    fn faults_of_every_source_come_together_and_the_file_first() {
        let file = Written::new("all.json", r#"{"host": "0.0.0.0", "prot": 1}"#);
        let set = [
            ("MCP_GATEWAY_PORT", "x"),
            ("LOG_LEVEL", "loud"),
            ("SESSION_SECRET", "your_session_secret_here_change_this"),
            ("MCP_GATEWAY_AUTH", "basic"),
        ];
        let lines = faults(&file, &set);
        let starts = [
            "f:1:10: 0.0.0.0 can be reached from other machines",
            "f:1:21: unknown setting `prot`",
            "environment variable MCP_GATEWAY_PORT: must be a port",
            "environment variable LOG_LEVEL: must be one of off, ",
            "environment variable MCP_GATEWAY_AUTH: must be `none`",
            "environment variable SESSION_SECRET: this secret is a placeholder",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn what_other_gateways_and_kubernetes_set() {
        let set = [
            ("MCP_HOST", "127.0.0.2"),
            ("MCP_PORT", "8001"),
            ("MCP_GATEWAY_PORT", "tcp://10.0.0.1:80"),
            ("MCP_GATEWAY_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("MCP_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("MCP_GATEWAY_HEALTH_INTERVAL", "30"),
            ("MCP_GATEWAY_DEFAULT_STRATEGY", "round-robin"),
            ("MCP_GATEWAY_MAX_RETRIES", "3"),
            ("MCP_GATEWAY_ADMIN_PROT", "1"),
            ("MCP_GATEWAY_RELOAD", "False"),
        ];
        let config = load(&Overrides::default(), &vars(&set)).unwrap();
        assert_eq!(config.listen.host.to_string(), "127.0.0.2");
        // The variable that Kubernetes fills hides the other one, and that is told.
        assert_eq!((config.listen.port, config.reload), (3000, false));
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 5, "{warnings:#?}");
        assert!(warnings[0].contains("Kubernetes"), "{warnings:#?}");
        assert!(warnings[4].ends_with("did you mean `MCP_GATEWAY_ADMIN_PORT`?"), "{warnings:#?}");
        let set = [
            ("MCP_GATEWAY_HEALTH_TIMEOUT", "0"),
            ("MCP_GATEWAY_DEFAULT_STRATEGY", "fast"),
            ("MCP_GATEWAY_MAX_RETRIES", "-1"),
            ("MCP_GATEWAY_RELOAD", "maybe"),
        ];
        let faults = load(&Overrides::default(), &vars(&set)).unwrap_err();
        assert_eq!(faults.0.len(), set.len(), "{faults}");
    }

    #[test]
    fn a_host_beyond_this_machine_needs_a_word() {
        let host = Some([0, 0, 0, 0].into());
        let overrides = Overrides { host, ..Overrides::default() };
        let fault = load(&overrides, &vars(&[])).unwrap_err().to_string();
        assert!(fault.starts_with("--host: 0.0.0.0 can be reached"), "{fault}");
        assert!(fault.contains("write `\"auth\": \"none\"` in the file"), "{fault}");
        load(&Overrides { auth_none: true, ..overrides.clone() }, &vars(&[])).unwrap();
        load(&overrides, &vars(&[("MCP_GATEWAY_AUTH", "none")])).unwrap();
        let file = Written::new("auth.yaml", "auth: none\nhost: 0.0.0.0\n");
        read(&file.0, &[]).unwrap();
    }

    #[test]
    fn files_that_are_no_configuration() {
        let empty = format!("f: {}", super::check::EMPTY);
        for (name, bytes, expected) in [
            ("empty.json", Vec::new(), empty.as_str()),
            ("blank.json", b"\xef\xbb\xbf \n".to_vec(), empty.as_str()),
            (
                "big.yaml",
                vec![b'#'; (1 << 20) + 1],
                "f: larger than 1 MiB; is this the configuration?",
            ),
            (
                "latin.yaml",
                b"a: 1\nb: \"\xc3\xa4\xe4\"\n".to_vec(),
                "f:2:6: not UTF-8 from here on; save the file as UTF-8",
            ),
            (
                "ports",
                b"port: 5\nadmin_port: 5\n".to_vec(),
                "f: `port` and `admin_port` are both 5; change one",
            ),
        ] {
            let file = Written::new(name, bytes);
            assert_eq!(faults(&file, &[]), [expected], "{name}");
        }
        let fault = read(Path::new("nowhere.json"), &[]).unwrap_err().to_string();
        assert!(fault.starts_with("nowhere.json: there is no such file"), "{fault}");
        let fault = read(&std::env::temp_dir(), &[]).unwrap_err().to_string();
        assert!(fault.ends_with("this is a directory; name a file in it"), "{fault}");
    }

    #[test]
    fn a_name_without_an_ending_is_read_by_its_first_character() {
        for (name, text) in
            [("j", "\u{feff} {\"port\": 7}"), ("y", "port: 7\n"), ("z.yml", "{port: 7}")]
        {
            let file = Written::new(name, text);
            assert_eq!(read(&file.0, &[]).unwrap().listen.port, 7, "{name}");
        }
    }
}
