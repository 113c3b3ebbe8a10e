//! Every fault of a file in a table: what is written, and every line that is answered.

use std::collections::BTreeMap;

use super::super::tree::Syntax;
use super::super::{Config, Isolation, Naming, ServerConfig, ServerKind, StdioConfig};
use super::check;

fn vars() -> BTreeMap<String, String> {
    let set = [("KEY", "key with space"), ("SSE_URL", "http://h/sse"), ("EMPTY", "")];
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn faults(text: &str) -> Vec<String> {
    let syntax = if text.starts_with(['{', '[']) { Syntax::Json } else { Syntax::Yaml };
    check("f", text, syntax, &vars()).faults.iter().map(ToString::to_string).collect()
}

fn accepted(text: &str) -> (Config, Vec<String>) {
    let syntax = if text.starts_with('{') { Syntax::Json } else { Syntax::Yaml };
    let checked = check("f", text, syntax, &vars());
    assert_eq!(checked.faults, [], "{text}");
    let warnings = checked.config.warnings.iter().map(ToString::to_string).collect();
    (checked.config, warnings)
}

fn stdio(server: &ServerConfig) -> &StdioConfig {
    let ServerKind::Stdio(stdio) = &server.kind else { panic!("{server:?} is stdio") };
    stdio
}

fn http(server: &ServerConfig) -> &super::super::HttpConfig {
    let ServerKind::Http(http) = &server.kind else { panic!("{server:?} is http") };
    http
}

#[track_caller]
fn all_of(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(&faults(text), expected, "{text}");
    }
}

#[test]
fn texts_that_cannot_be_read() {
    all_of(&[
        ("{\"a\": 1,}", &["f:1:9: not valid JSON: the comma before this bracket is one too many"]),
        ("[1,]", &["f:1:4: not valid JSON: the comma before this bracket is one too many"]),
        (
            "{\n  // no\n}",
            &["f:2:3: not valid JSON: key must be a string; JSON has no comments: remove it, or \
               name the file .yaml"],
        ),
        (
            "{\n \"port\": 1",
            &["f:2:10: not valid JSON: EOF while parsing an object; a bracket or quote is not \
               closed"],
        ),
        ("[]", &["f:1:1: the file must be a map of settings, not a list"]),
        ("# only a comment\n", &[&format!("f:2:1: {}", super::EMPTY)]),
        (
            "port: 1\nservers:\n\ta:\n\t\tcommand: x\n",
            &["f:3:1: a tab indents this line; YAML is indented with spaces"],
        ),
        (
            "a: &x 1\nb: *x\n",
            &["f:2:4: YAML aliases (`*name`, `<<`) are not read here; write the value out"],
        ),
        ("port: !!str 1\n", &["f:1:7: YAML tags (`!…`) are not read here; remove it"]),
        (
            "port: 1\n---\nport: 2\n",
            &["f:2:1: a second YAML document begins here; a file holds one"],
        ),
    ]);
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(faults(&deep), ["f:1:39: nested deeper than 32 levels"]);
}

#[test]
fn keys_that_are_unknown_or_written_twice() {
    all_of(&[
        (
            "servres:\n  a:\n    command: x\n",
            &["f:1:1: unknown setting `servres`; did you mean `servers`?"],
        ),
        ("{\"prot\": 1}", &["f:1:2: unknown setting `prot`; did you mean `port`?"]),
        ("whatever: 1\n", &["f:1:1: unknown setting `whatever`"]),
        ("port: 1\nport: 2\n", &["f:2:1: `port` is written twice, first at 1:1; keep one"]),
        (
            "{\t\"port\": 1,\n\t\"session\": {\"maxAge\": 60000, \"maxAge\": 60000}}",
            &["f:2:31: `maxAge` is written twice, first at 2:14; keep one"],
        ),
        (
            "log_level: info\nlogLevel: info\n",
            &["f:2:1: `logLevel` is the same setting as `log_level` on line 1; keep one"],
        ),
        ("port: 1\ngateway:\n  port: 2\n", &["f:3:3: `port` is also set on line 1; keep one"]),
        (
            "servers: {}\nmcpServers: {}\n",
            &["f:2:1: `mcpServers` is the same setting as `servers` on line 1; keep one"],
        ),
        (
            "servers: {}\nextra:\n  command: x\n",
            &["f:2:1: `extra` looks like a server; move it into `servers`"],
        ),
        ("limits:\n  line: 3\n", &["f:2:3: unknown setting `line`; did you mean `line_bytes`?"]),
    ]);
}

#[test]
fn numbers_times_and_sizes() {
    all_of(&[
        (
            "port: 70000\n",
            &["f:1:7: `port` must be a port from 1 to 65535, or 0 for any free one, not 70000"],
        ),
        ("port: [1]\n", &["f:1:7: `port` must be a single value, not a list"]),
        (
            "limits:\n  batch: 0\n",
            &["f:2:10: `batch` must be a whole number greater than zero, not 0"],
        ),
        (
            "limits:\n  batch: -1\n",
            &["f:2:10: `batch` must be a whole number greater than zero, not -1"],
        ),
        (
            "limits:\n  body_bytes: 0\n",
            &[
                "f:2:15: `body_bytes` must be a size greater than zero such as \"4MiB\" or 4194304, \
               not 0",
            ],
        ),
        (
            "limits:\n  body_timeout: -5\n",
            &["f:2:17: `body_timeout` must be a time greater than zero such as \"60s\" or \
               \"15m\", not -5"],
        ),
        (
            "session:\n  idle_timeout: 60000\n",
            &["f:2:17: `idle_timeout`: a bare number is seconds, so 60000 means 60000s; write \
               \"60000s\" or \"60000ms\""],
        ),
        (
            "session:\n  maxAge: 3600\n",
            &["f:2:11: `maxAge`: a bare number is milliseconds, so 3600 means 3.6s; write \
               \"3600s\" or \"3600ms\""],
        ),
        (
            "session:\n  idle_timeout: 1m\n  idleTimeoutMs: 5\n",
            &["f:3:3: `idleTimeoutMs` and `idle_timeout` are the same setting; keep one"],
        ),
    ]);
}

#[test]
fn words_hosts_and_names() {
    all_of(&[
        ("cors:\n  enabled: yes\n", &["f:2:12: `enabled` must be true or false, not \"yes\""]),
        (
            "naming: alway\n",
            &[
                "f:1:9: `naming` must be one of auto, always, never, not \"alway\"; did you mean `always`?",
            ],
        ),
        (
            "host: example.com\n",
            &[
                "f:1:7: `host` must be an IP address such as 127.0.0.1 or 0.0.0.0, not \"example.com\"",
            ],
        ),
        (
            "log_level: inof\n",
            &["f:1:12: `log_level` must be one of off, error, warn, info, debug, trace, perhaps \
               `info`, not \"inof\""],
        ),
        (
            "auth: basic\n",
            &[
                "f:1:7: `auth` must be `none`: this version has no other authentication, not \"basic\"",
            ],
        ),
        (
            "public_prefix: edge\n",
            &["f:1:16: `public_prefix` must be a path such as \"/edge\", not \"edge\""],
        ),
        (
            "allowed_hosts: [\"*\"]\n",
            &["f:1:17: an allowed host is a name such as \"mcp.example.com\", not \"*\""],
        ),
        ("session: 5\n", &["f:1:10: `session` must be a map of settings, not 5"]),
        (
            "rateLimit: {max: 0}\n",
            &["f:1:18: `max` must be a whole number greater than zero, not 0"],
        ),
    ]);
}

#[test]
fn secrets_and_origins() {
    let placeholder = "this secret is a placeholder that everybody knows; make one with `openssl \
                       rand -hex 32`, or leave it out: sessions in memory need none";
    for secret in [
        "change-this-secret",
        "your_session_secret_here_change_this",
        "change-me",
        "CHANGE_ME_PLEASE_1234567890",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "secure_redis_password",
    ] {
        let text = format!("session:\n  secret: {secret}\n");
        assert_eq!(faults(&text), [format!("f:2:11: {placeholder}")], "{secret}");
    }
    let short =
        placeholder.replace("is a placeholder that everybody knows", "is shorter than 16 bytes");
    assert_eq!(faults("session:\n  secret: x7Gh2kQ\n"), [format!("f:2:11: {short}")]);
    all_of(&[
        (
            "cors:\n  origins: [\"*\"]\n  credentials: true\n",
            &[
                "f:2:13: `*` with `credentials` would let any web page act as its visitor; list the \
               origins, or drop `credentials`",
            ],
        ),
        (
            "cors:\n  origins: [app.example.com]\n",
            &["f:2:13: an origin is scheme://host[:port]; write one such as \
               \"https://app.example.com\""],
        ),
        (
            "cors:\n  origins: https://a.example/x\n",
            &["f:2:12: an origin has no path and no `*` inside; write one such as \
               \"https://app.example.com\""],
        ),
    ]);
}

#[test]
fn names_of_servers() {
    let rule = "a server's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -";
    for (id, better) in [
        ("My_Server", "; write `my-server`"),
        ("a/b", "; write `a-b`"),
        ("..", ""),
        ("a__b", "; write `a-b`"),
        ("-a", "; write `a`"),
        ("сервер", ""),
    ] {
        let text = format!("servers:\n  \"{id}\":\n    command: x\n");
        let expected = format!("f:2:3: `{id}` is not a name for a server: {rule}{better}");
        assert_eq!(faults(&text), [expected]);
    }
    for (id, better) in
        [("mcp", "my-mcp"), ("gateway", "my-gateway"), ("openapi.json", "my-openapi-json")]
    {
        let text = format!("servers:\n  {id}:\n    command: x\n");
        let what = format!("a server cannot be called `{id}`: /{id} is an address of the gateway");
        assert_eq!(faults(&text), [format!("f:2:3: {what}; call it `{better}`")]);
    }
    all_of(&[
        (
            "servers:\n  a: {command: x}\n  a: {command: y}\n",
            &["f:3:3: `a` is written twice, first at 2:3; keep one"],
        ),
        (
            "servers:\n  - {id: a, command: x}\n  - {name: a, command: y}\n  - {command: z}\n",
            &[
                "f:3:12: a server `a` is already listed on line 2; rename one",
                "f:4:5: this server has no name; give it an `id`",
            ],
        ),
        ("servers: 5\n", &["f:1:10: `servers` must be a map from name to server, not 5"]),
        ("servers:\n  a: 5\n", &["f:2:6: server `a` must be a map of settings, not 5"]),
    ]);
}

/// The faults of one server, written in YAML flow style from line 1, column 14.
#[track_caller]
fn server(settings: &str, expected: &[&str]) {
    let text = format!("servers: {{a: {{{settings}}}}}\n");
    let messages: Vec<String> = faults(&text)
        .iter()
        .map(|fault| fault.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned())
        .collect();
    assert_eq!(messages, expected, "{text}");
}

#[test]
fn commands() {
    let neither = "server `a` says neither `command` nor `url`";
    server("description: x", &[&format!("{neither}; give it one of them")]);
    server("comand: x", &[&format!("{neither}; it has `comand`: did you mean `command`?")]);
    server("command: x, url: http://h/", &["server `a` has both `command` and `url`; keep one"]);
    server("type: stdio", &["a stdio server needs a `command`"]);
    server("command: []", &["`command` is empty; name a program"]);
    server("command: {}", &["`command` must be a string or a list of strings, not a map"]);
    server("command: 'a \"b'", &["a quote \" is not closed"]);
    server(
        "command: 'npx x; rm y'",
        &[
            "no shell runs this, so `;` would do nothing; quote it, or write [\"sh\", \"-c\", \"…\"] \
           if a shell is meant",
        ],
    );
    server(
        "command: npx -y, args: [x]",
        &["`command` holds arguments and `args` too; put all of them into `args`"],
    );
    server("command: x, args: -y z", &["`args` must be a list of strings, not \"-y z\""]);
    server(
        "command: x, env: {A: '${NOT_SET}', B: , 'C=': 1}",
        &[
            "environment variable NOT_SET is not set; set it, or write `${NOT_SET:-default}`",
            "`B` has no value; write \"\", or \"${B}\" to pass it on",
            "`C=` is not the name of an environment variable",
        ],
    );
    server("command: x, evn: {}", &["unknown setting `evn`; did you mean `env`?"]);
    server("command: x, url2: y", &["unknown setting `url2`; did you mean `url`?"]);
    server("command: x, headers: {}", &["`headers` means nothing for a stdio server; remove it"]);
    server(
        "command: x, isolation: session, pool_size: 2",
        &["`pool_size` is for `isolation: pooled`; remove it or change `isolation`"],
    );
    server(
        "command: x, pool_size: 0",
        &["`pool_size` must be a whole number greater than zero, not 0"],
    );
    server(
        "type: stdoi, command: x",
        &["`type` must be one of http, stdio, sse, ws, template, not \"stdoi\"; did you mean \
           `stdio`?"],
    );
    server(
        "command: x, enabled: true, disabled: false",
        &["`enabled` and `disabled` are the same setting; keep one"],
    );
    server(
        "command: x, call_timeout: 60s, call_timeout_max: 30s",
        &["`call_timeout_max` is shorter than `call_timeout`; raise it"],
    );
}

#[test]
fn urls_and_headers() {
    let example = "write one such as \"http://localhost:8080/mcp\"";
    server("url: localhost", &[&format!("not an absolute URL; {example}")]);
    server("url: /mcp", &[&format!("not an absolute URL; {example}")]);
    server("url: ftp://h/x", &[&format!("`ftp` is not http, https, ws or wss; {example}")]);
    server("url: 'http://h:0/'", &["the port of the URL is not a number from 1 to 65535"]);
    server(
        "url: 'http://u:p@h/'",
        &["a URL must not hold a user name or password; use `headers` for them"],
    );
    server("url: 'http://h/#x'", &["a URL of a server has no `#` part; remove it"]);
    server("type: http", &["this server needs a `url` or `instances`"]);
    server("instances: [], type: http", &["`instances` is empty; list at least one URL"]);
    server(
        "instances: 2, type: http",
        &["`instances` of a server with URLs must be a list of them, not 2"],
    );
    server("instances: [{weight: 2}], type: http", &["this instance has no `endpoint`"]);
    server(
        "url: http://h/, instances: [http://h/]",
        &["this server has both `url` and `instances`; keep one"],
    );
    server(
        "type: http, url: ws://h/",
        &[
            "the URL is a ws one; write `type: ws`",
            "the URL of this kind of server begins with http or https",
        ],
    );
    server(
        "url: http://h/, headers: {Host: x, 'a b': y, X-Key: \"a\\nb\"}",
        &[
            "the gateway sets `Host` itself; remove it",
            "`a b` is not the name of a header",
            "the value of `X-Key` holds characters that no header may have, such as a line break",
        ],
    );
    server(
        "url: http://h/, load_balancing: fast",
        &["`load_balancing` must be one of round_robin, random, weighted, least_connections, \
           health_based, not \"fast\""],
    );
    server(
        "url: http://h/, health_check: health",
        &["`health_check` must be a path such as \"/health\", not \"health\""],
    );
    server("type: template", &["a template server needs a `template_name`"]);
}

#[test]
fn a_registry_without_a_wrapper() {
    let (config, warnings) = accepted(
        r#"{
  "my-http-server": {
    "type": "http",
    "instances": [{"endpoint": "http://server1:8080"}, {"endpoint": "http://server2:8080/x"}],
    "load_balancing": "round_robin",
    "health_check": "/health"
  },
  "my-stdio-server": {
    "type": "stdio",
    "command": ["python", "-m", "my_mcp_server"],
    "pool_size": 3,
    "working_dir": "/app",
    "env_vars": {"LOG_LEVEL": "info"}
  },
  "my-template-server": {
    "type": "template",
    "template_name": "demo",
    "instances": 2,
    "config": {"hello_from": "Gateway"}
  },
  "gateway": {
    "host": "127.0.0.1",
    "port": 8000,
    "reload_registry": true,
    "health_check_interval": 30
  }
}"#,
    );
    assert_eq!(config.listen.port, 8000);
    let [web, worker, template] = config.servers.as_slice() else { panic!("three servers") };
    assert_eq!(http(web).instances, ["http://server1:8080/mcp", "http://server2:8080/x"]);
    let worker = stdio(worker);
    assert_eq!(worker.argv, ["python", "-m", "my_mcp_server"]);
    assert_eq!((worker.isolation, worker.pool_size), (Isolation::Pooled, 3));
    assert_eq!(worker.cwd.as_deref(), Some("/app".as_ref()));
    assert_eq!(worker.env["LOG_LEVEL"], "info");
    assert!(matches!(template.kind, ServerKind::Unsupported { kind: "template", .. }));
    assert_eq!(
        warnings,
        [
            "f:6:5: this version does not check the health of servers on its own",
            "f:15:3: this version cannot expand templates; write the `command` itself; calls to \
             this server are refused",
            "f:24:5: this version reads this file only at its start; restart it after a change",
            "f:25:5: this version does not check servers on its own; calls show their state",
        ]
    );
}

#[test]
fn backends_in_yaml() {
    let (config, warnings) = accepted(
        r#"
port: 39400
enable_meta_mcp: true

backends:
  tavily:
    command: "npx -y @anthropic/mcp-server-tavily"
    description: "Web search"
    env:
      TAVILY_API_KEY: "${KEY}"

  context7:
    http_url: "http://localhost:8080/mcp"
    description: "Documentation lookup"

  pieces:
    http_url: "http://localhost:39300/sse"
    description: "Long-term memory"
"#,
    );
    assert_eq!(config.listen.port, 39400);
    let [tavily, context7, pieces] = config.servers.as_slice() else { panic!("three servers") };
    assert_eq!(tavily.description.as_deref(), Some("Web search"));
    assert_eq!(stdio(tavily).argv, ["npx", "-y", "@anthropic/mcp-server-tavily"]);
    assert_eq!(stdio(tavily).env["TAVILY_API_KEY"], "key with space");
    assert_eq!(stdio(tavily).isolation, Isolation::Session);
    assert_eq!(http(context7).instances, ["http://localhost:8080/mcp"]);
    assert!(matches!(pieces.kind, ServerKind::Unsupported { kind: "sse", .. }));
    assert_eq!(
        warnings,
        [
            "f:3:1: this version does not have the meta tools; every tool is listed itself",
            "f:16:3: this version cannot reach HTTP+SSE servers; calls to this server are refused",
        ]
    );
}

#[test]
fn the_gateway_json_with_a_real_secret() {
    let text = r#"{
  "port": 3000,
  "logLevel": "WARNING",
  "cors": {"enabled": true, "origins": ["*"]},
  "rateLimit": {"enabled": true, "max": 100, "window": "15m"},
  "session": {"secret": "change-this-secret", "maxAge": 3600000}
}"#;
    let fault = "f:6:25: this secret is a placeholder that everybody knows; make one with \
                 `openssl rand -hex 32`, or leave it out: sessions in memory need none";
    assert_eq!(faults(text), [fault]);
    let (config, warnings) = accepted(&text.replace("change-this-secret", "0f9c2b7d5e8a41c36b"));
    assert_eq!(config.log.level, "warn");
    assert!(config.cors.enabled && config.cors.any_origin && config.cors.origins.is_empty());
    assert_eq!(config.session.max_age.as_secs(), 3600);
    assert_eq!(config.session.secret.unwrap().expose(), "0f9c2b7d5e8a41c36b");
    assert_eq!(
        warnings,
        [
            "f:1:1: no server is configured; add one under `servers`",
            "f:5:3: this version does not limit rates; nginx in front of it can",
        ]
    );
}

#[test]
fn what_clients_keep_under_mcp_servers() {
    let (config, warnings) = accepted(
        r#"{"mcpServers": {
  "filesystem": {
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-filesystem", "/data/${KEY}"],
    "disabled": true, "timeout": 30, "autoApprove": []
  },
  "remote": {"type": "streamable-http", "url": "https://h.example/mcp?x=1",
             "headers": {"Authorization": "Bearer ${KEY}"}},
  "remote-filesystem": {"url": "http://localhost:3000/sse", "transport": "sse"},
  "socket": {"url": "wss://h.example/ws"},
  "varied": {"url": "${SSE_URL}"}
}}"#,
    );
    let [files, remote, rest @ ..] = config.servers.as_slice() else { panic!("five servers") };
    assert_eq!(stdio(files).argv[3], "/data/key with space");
    assert!(!files.enabled);
    assert_eq!(files.call_timeout.as_secs(), 30);
    assert_eq!(http(remote).instances, ["https://h.example/mcp?x=1"]);
    assert_eq!(http(remote).headers["authorization"].expose(), "Bearer key with space");
    let kinds: Vec<&str> = rest.iter().map(|server| server.kind.name()).collect();
    assert_eq!(kinds, ["sse", "ws", "sse"]);
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    let shown = format!("{config:?}");
    assert!(!shown.contains("key with space"), "{shown}");
}

#[test]
fn the_demo_is_this_program_wherever_it_is() {
    let (config, _) = accepted("servers: {demo: {command: mcp-gateway demo-server}}\n");
    let [demo] = config.servers.as_slice() else { panic!("one server") };
    assert_eq!(stdio(demo).argv, [super::super::env::own_program().as_str(), "demo-server"]);
}

#[test]
fn every_setting_can_be_changed() {
    let (config, warnings) = accepted(
        r#"
gateway: {host: "::1", port: 1, admin_port: 2, log_level: "info,a::b=DEBUG", log_format: JSON}
auth: none
publicPrefix: /edge/
allowedHosts: [MCP.example.com, "a:8080"]
naming: always
cors: {enabled: false, origins: ["HTTPS://App.Example.com/", "http://b:8080"], credentials: true}
session: {idle_timeout_ms: 1500, max_age: 2h, max_sessions: 3, max_per_principal: 4}
limits: {body_bytes: 1KiB, line_bytes: 2MB, json_depth: 3, json_keys: 4, batch: 5,
  connections: 6, header_timeout: 0.5, body_timeout: 8s, in_flight_per_session: 9,
  streams_per_session: 10, replay_events: 11, replay_bytes: 12, queue_events: 13,
  queue_bytes: 14, processes: 15}
servers:
  - {id: a, command: "'my program' ${KEY} x${EMPTY}", isolation: pooled, prewarm: true}
  - {name: b, instances: [http://h1, {url: "http://h2/", weight: 1}], start_timeout: 5s}
"#,
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.listen.host.to_string(), "::1");
    assert_eq!((config.listen.port, config.admin_port), (1, 2));
    assert_eq!(config.log.level, "info,a::b=debug");
    assert_eq!(config.public_prefix, "/edge");
    assert_eq!(config.allowed_hosts, ["mcp.example.com", "a:8080"]);
    assert_eq!(config.naming, Naming::Always);
    assert_eq!(config.cors.origins, ["https://app.example.com", "http://b:8080"]);
    assert_eq!(config.session.idle_timeout.as_millis(), 1500);
    let limits = format!("{:?}", config.limits);
    let expected = "Limits { body_bytes: 1024, line_bytes: 2000000, json: JsonLimits { depth: 3, \
                    keys: 4 }, batch: 5, connections: 6, header_timeout: 500ms, body_timeout: 8s, \
                    in_flight_per_session: 9, streams_per_session: 10, replay_events: 11, \
                    replay_bytes: 12, queue_events: 13, queue_bytes: 14, processes: 15 }";
    assert_eq!(limits, expected);
    let [a, b] = config.servers.as_slice() else { panic!("two servers") };
    assert_eq!(stdio(a).argv, ["my program", "key with space", "x"]);
    assert!(stdio(a).prewarm && stdio(a).isolation == Isolation::Pooled);
    assert_eq!(http(b).instances, ["http://h1/mcp", "http://h2/"]);
    assert_eq!(b.start_timeout.as_secs(), 5);
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(text in "[\\[\\]{}:,\"'#&*!|>$\\\\ \t\na-z0-9.ä-]{0,80}") {
        for syntax in [Syntax::Json, Syntax::Yaml] {
            for fault in check("f", &text, syntax, &vars()).faults {
                let (line, column) = fault.place.position.unwrap();
                proptest::prop_assert!(line >= 1 && column >= 1, "{fault} in {text:?}");
            }
        }
    }

    #[test]
    fn json_means_the_same_to_both_readers(
        keys in proptest::collection::btree_map("[a-zA-Z_/ \"é]{1,12}", 0..100_u16, 0..6)
    ) {
        let text = serde_json::to_string_pretty(&serde_json::json!({"servers": keys})).unwrap();
        let read = |syntax| check("f", &text, syntax, &vars()).faults;
        proptest::prop_assert_eq!(read(Syntax::Json), read(Syntax::Yaml));
    }
}
