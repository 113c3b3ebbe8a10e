//! Every spelling that is accepted, and the configuration it ends in.

use std::time::Duration;

use super::super::super::schema::tests::describes;
use super::super::super::tree::Syntax;
use super::super::super::{
    CallerBy, Config, HttpConfig, Isolation, Lists, Naming, OwnerLoss, Rate, ServerConfig,
    ServerKind, StdioConfig, env,
};
use super::super::check;
use super::{faults, vars};

pub(super) fn accepted(text: &str) -> (Config, Vec<String>) {
    let syntax = if text.starts_with('{') { Syntax::Json } else { Syntax::Yaml };
    let checked = check("f", text, syntax, &vars());
    assert_eq!(checked.faults, [], "{text}");
    describes(text, syntax);
    let warnings = checked.config.warnings.iter().map(ToString::to_string).collect();
    (checked.config, warnings)
}

fn stdio(server: &ServerConfig) -> &StdioConfig {
    let ServerKind::Stdio(stdio) = &server.kind else { panic!("{server:?} is stdio") };
    stdio
}

fn http(server: &ServerConfig) -> &HttpConfig {
    let ServerKind::Http(http) = &server.kind else { panic!("{server:?} is http") };
    http
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
    let ServerKind::Sse(pieces) = &pieces.kind else { panic!("{pieces:?} is sse") };
    assert_eq!(pieces.instances, ["http://localhost:39300/sse"]);
    assert_eq!(
        warnings,
        ["f:3:1: this version does not have the meta tools; every tool is listed itself"]
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
    let (config, warnings) =
        accepted(&text.replace("change-this-secret", "0f9c2b7d5e8a41c36b0f9c2b7d5e8a41"));
    assert_eq!(config.log.level, "warn");
    assert!(config.cors.enabled && config.cors.any_origin && config.cors.origins.is_empty());
    assert_eq!(config.session.max_age.as_secs(), 3600);
    assert_eq!(config.session.secret.unwrap().expose(), "0f9c2b7d5e8a41c36b0f9c2b7d5e8a41");
    assert_eq!(warnings, ["f:1:1: no server is configured; add one under `servers`"]);
    let limit = config.rate_limit;
    let hundred = Rate { max: 100, window: Duration::from_mins(15), burst: 100 };
    assert_eq!((limit.enabled, limit.caller, limit.by), (true, hundred, CallerBy::Address));
    assert_eq!((limit.address.max, limit.address.burst, limit.tools.len()), (100, 200, 0));
}

#[test]
fn a_registry_of_servers_and_a_gateway() {
    let (config, warnings) = accepted(
        r#"{
  "servers": {
    "github-server": {
      "type": "http",
      "instances": [
        {"endpoint": "http://github-server-1:8080"},
        {"endpoint": "http://github-server-2:8080"}
      ],
      "load_balancing": "round_robin",
      "health_check": "/health"
    },
    "filesystem-server": {
      "type": "stdio",
      "command": ["mcp-filesystem-server", "--dir", "/data"],
      "pool_size": 5,
      "working_dir": "/app",
      "env_vars": {"LOG_LEVEL": "info"}
    },
    "demo-server": {
      "type": "template", "template_name": "demo", "instances": 3,
      "config": {"hello_from": "Gateway"}
    }
  },
  "gateway": {
    "host": "127.0.0.1", "port": 8000, "reload_registry": false, "health_check_interval": 30
  }
}"#,
    );
    let ids: Vec<&str> = config.servers.iter().map(|server| server.id.as_str()).collect();
    assert_eq!(ids, ["github-server", "filesystem-server", "demo-server"]);
    assert_eq!(stdio(&config.servers[1]).pool_size, 5);
    assert!(!config.reload);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[test]
fn templates_with_a_load_balancer() {
    let (config, warnings) = accepted(
        r#"{"templates": {"high-performance": {
  "instances": [
    {"id": "hp-1", "endpoint": "http://localhost:7071", "transport": "http", "metadata": {}}
  ],
  "load_balancer": {
    "strategy": "weighted", "health_check_interval": 15, "max_retries": 2, "timeout": 30
  }
}}}"#,
    );
    assert_eq!(http(&config.servers[0]).instances, ["http://localhost:7071/mcp"]);
    assert_eq!(
        warnings,
        [
            "f:5:3: this version applies nothing of `load_balancer` but the round_robin strategy",
            "f:6:5: this version spreads calls in turn (round_robin), whatever is written here",
        ]
    );
    assert_eq!(
        faults("templates:\n  a:\n    url: http://h\n    load_balancer: {stratgy: random}\n"),
        ["f:4:21: unknown setting `stratgy`; did you mean `strategy`?"]
    );
}

#[test]
fn what_other_clients_write_is_taken_with_a_warning() {
    let (config, warnings) = accepted(
        r#"
inputs: [{id: key, type: promptString}]
context_servers:
  windsurf: {serverUrl: "https://h.example/mcp", disabledTools: [a]}
  gemini: {httpUrl: "https://h.example/mcp", trust: true, includeTools: [a], timeout: 30}
  cline: {command: x, transportType: stdio, alwaysAllow: [a], autoApprove: [b]}
  vscode: {type: local, command: x, envFile: .env, dev: {}, env: {A: "${env:KEY}"}}
  opencode: {type: remote, url: "https://h.example/mcp", enabled: true}
"#,
    );
    let kinds: Vec<&str> = config.servers.iter().map(|server| server.kind.name()).collect();
    assert_eq!(kinds, ["http", "http", "stdio", "stdio", "http"]);
    assert_eq!(stdio(&config.servers[3]).env["A"], "key with space");
    let places: Vec<&str> =
        warnings.iter().map(|it| it.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        ["f:2:1", "f:4:50", "f:5:46", "f:5:59", "f:6:45", "f:6:63", "f:7:37", "f:7:52"],
        "{warnings:#?}"
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
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let shown = format!("{config:?}");
    assert!(!shown.contains("key with space"), "{shown}");
}

#[test]
fn the_demo_is_this_program_wherever_it_is() {
    let (config, _) = accepted("servers: {demo: {command: mcp-gateway demo-server}}\n");
    let [demo] = config.servers.as_slice() else { panic!("one server") };
    assert_eq!(stdio(demo).argv, [env::own_program().as_str(), "demo-server"]);
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
session: {idle_timeout_ms: 1500, resumeWindow: 5s, max_age: 2h, max_sessions: 3,
  max_per_principal: 4}
limits: {body_bytes: 1KiB, line_bytes: 2MB, json_depth: 3, json_keys: 4,
  connections: 6, header_timeout: 0.5, body_timeout: 8s, in_flight_per_session: 9,
  replay_events: 11, replay_bytes: 12, queue_events: 13,
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
    assert_eq!(config.session.resume_window.as_secs(), 5);
    let limits = format!("{:?}", config.limits);
    let expected = "Limits { body_bytes: 1024, line_bytes: 2000000, json: JsonLimits { depth: 3, \
                    keys: 4 }, connections: 6, header_timeout: 500ms, body_timeout: 8s, \
                    in_flight_per_session: 9, replay_events: 11, \
                    replay_bytes: 12, queue_events: 13, queue_bytes: 14, processes: 15 }";
    assert_eq!(limits, expected);
    let [a, b] = config.servers.as_slice() else { panic!("two servers") };
    assert_eq!(stdio(a).argv, ["my program", "key with space", "x"]);
    assert!(stdio(a).prewarm && stdio(a).isolation == Isolation::Pooled);
    let addresses = ["http://h1/mcp", "http://h2/"].map(str::to_owned);
    assert_eq!((&*http(b).instances, b.start_timeout.as_secs()), (&addresses[..], 5));
}

#[test]
fn how_long_a_process_lives_and_how_many_there_are() {
    let (config, warnings) = accepted(
        "servers: {a: {command: x}, b: {command: x, idleTimeout: Never, maxProcesses: 3}, \
         c: {command: x, idle_timeout_ms: 1500, lists: session}, \
         d: {command: x, pool_size: 200}}\n",
    );
    assert_eq!(warnings, [""; 0]);
    let told = config.servers.iter().map(|server| {
        let it = stdio(server);
        (it.idle_timeout.map(|time| time.as_millis()), it.max_processes, it.lists)
    });
    let expected = [
        (Some(900_000), 128, Lists::Shared),
        (None, 3, Lists::Shared),
        (Some(1_500), 128, Lists::Session),
        (Some(900_000), 200, Lists::Shared),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let (config, warnings) = accepted(
        "servers: {a: {command: x, isolation: principal, onOwnerLoss: end}, \
         b: {url: 'http://h', on_owner_loss: reinitialize}, c: {url: 'http://h'}, \
         d: {command: x, isolation: principal, prewarm: true, lists: session}}\n",
    );
    let told = config.servers.iter().map(|it| it.on_owner_loss);
    let otherwise = OwnerLoss::Reinitialize;
    assert_eq!(told.collect::<Vec<_>>(), [OwnerLoss::End, otherwise, otherwise, otherwise]);
    let [a, ..] = config.servers.as_slice() else { panic!("servers") };
    assert_eq!((stdio(a).isolation, stdio(a).pool_size), (Isolation::Principal, 1));
    let [prewarm, lists] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(prewarm.contains("`prewarm` starts nothing"), "{prewarm}");
    assert!(lists.contains("`lists` changes nothing with `isolation: principal`"), "{lists}");
    let (_, warnings) = accepted(
        "servers: {a: {url: 'http://h', idle_timeout: 5m}, \
         b: {command: x, pool_size: 2, lists: session}}\n",
    );
    let [remote, pooled] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(remote.ends_with("which this server has none of"), "{remote}");
    assert!(pooled.contains("`lists` changes nothing"), "{pooled}");
}

#[test]
fn the_other_kinds_of_address() {
    let (config, warnings) = accepted(
        "servers: {a: {url: ws://h/x}, b: {type: websocket, url: wss://h}, \
         c: {type: sse, url: http://h}, d: {type: sse, url: http://h/events}, \
         e: {url: https://h/a/sse}, f: {type: http, url: http://h/sse}}\n",
    );
    assert_eq!(warnings, [""; 0]);
    let found = config.servers.iter().map(|server| match &server.kind {
        ServerKind::Http(it) | ServerKind::Sse(it) | ServerKind::WebSocket(it) => {
            (server.kind.name(), it.instances.concat())
        }
        ServerKind::Stdio(_) | ServerKind::Unsupported { .. } => panic!("{server:?} is remote"),
    });
    let expected = [
        ("ws", "ws://h/x"),
        ("ws", "wss://h"),
        ("sse", "http://h/sse"),
        ("sse", "http://h/events"),
        ("sse", "https://h/a/sse"),
        ("http", "http://h/sse"),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected.map(|(kind, url)| (kind, url.to_owned())));
}
