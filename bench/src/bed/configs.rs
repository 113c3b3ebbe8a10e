//! The configurations of the gateway and of nginx.

use serde_json::json;

use super::Ports;

/// More than the largest run opens, so that no limit decides a figure.
const SESSIONS: usize = 20_000;

/// The gateway: the upstream over HTTP, in one shared process, and in a process a session.
pub(super) fn gateway(ports: &Ports, stdio: &[String]) -> String {
    let [http, _] = ports.upstream;
    let config = json!({
        "host": "127.0.0.1",
        "port": ports.gateway,
        "admin_port": 0,
        "log_level": "warn",
        "session": { "max_sessions": SESSIONS, "max_per_principal": SESSIONS },
        "limits": { "connections": SESSIONS },
        "servers": {
            "http": { "url": format!("http://127.0.0.1:{http}/mcp") },
            "http-legacy": { "url": format!("http://127.0.0.1:{http}/mcp"), "era": "legacy" },
            "http-modern": { "url": format!("http://127.0.0.1:{http}/mcp"), "era": "modern" },
            "pooled": { "command": stdio, "pool_size": 1 },
            "session": { "command": stdio },
        },
    });
    config.to_string()
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
