//! The configurations of the gateway and of nginx.

use serde_json::{Value, json};

use super::Ports;

/// More than the largest run opens, so that no limit decides a figure.
const SESSIONS: usize = 20_000;

/// More than comes, so that limits are looked at and never reached.
const RATE: u64 = 1_000_000;
const QUIET: &str = "warn";
/// With a line for every exchange.
const ACCESS: &str = "warn,access=debug";

/// The gateways, by name: the upstream over HTTP, in one shared process, and in a process a
/// session.
pub(super) fn gateways(ports: &Ports, stdio: &[String]) -> [(&'static str, String); 4] {
    let [http, _] = ports.upstream;
    let gateway = |port: u16, log_level: &str| {
        json!({
            "host": "127.0.0.1",
            "port": port,
            "admin_port": 0,
            "log_level": log_level,
            "session": { "max_sessions": SESSIONS, "max_per_principal": SESSIONS },
            "limits": { "connections": SESSIONS },
            "servers": {
                "http": { "url": format!("http://127.0.0.1:{http}/mcp") },
                "http-legacy": { "url": format!("http://127.0.0.1:{http}/mcp"), "era": "legacy" },
                "http-modern": { "url": format!("http://127.0.0.1:{http}/mcp"), "era": "modern" },
                "pooled": { "command": stdio, "pool_size": 1 },
                "session": { "command": stdio },
            },
        })
    };
    let guarded = |port: u16, log_level: &str| {
        let rate = json!({ "max": RATE, "window": "1s" });
        let limits = json!({
            "max": RATE, "window": "1s", "by": "credential",
            "address_max": RATE, "address_burst": RATE,
            "tools": { "search/*": &rate, "*/echo": &rate },
        });
        with(gateway(port, log_level), "rate_limit", limits)
    };
    // The upstream accepts whatever it cannot read, spans too.
    let collector = json!({ "endpoint": format!("http://127.0.0.1:{http}") });
    let traced = with(guarded(ports.traced, ACCESS), "tracing", collector);
    [
        ("gateway", gateway(ports.gateway, QUIET).to_string()),
        ("guarded", guarded(ports.guarded, QUIET).to_string()),
        ("logged", guarded(ports.logged, ACCESS).to_string()),
        ("traced", traced.to_string()),
    ]
}

fn with(mut config: Value, name: &str, section: Value) -> Value {
    if let Some(members) = config.as_object_mut() {
        members.insert(name.to_owned(), section);
    }
    config
}

/// nginx as somebody would tune it for this: one process, kept-alive connections, answers not
/// held back, buffers that take the large payload in one piece (its own sizes make that call cost
/// two to four times as much), no log. `master_process off` leaves one process to measure and to
/// stop.
pub(super) fn nginx(ports: &Ports, directory: &str) -> String {
    let [http, websocket] = ports.upstream;
    let port = ports.nginx;
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .collect();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 40000; }}
http {{
{paths}  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  tcp_nodelay on;
  client_max_body_size 8m;
  client_body_buffer_size 128k;
  upstream http_upstream {{
    server 127.0.0.1:{http};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_buffer_size 128k;
    proxy_buffers 4 128k;
    proxy_busy_buffers_size 256k;
    proxy_read_timeout 1h;
    location / {{
      proxy_pass http://http_upstream;
      proxy_set_header Connection \"\";
    }}
    location /ws {{
      proxy_pass http://127.0.0.1:{websocket};
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection \"upgrade\";
    }}
  }}
}}
"
    )
}
