//! Which pages of browsers get in: preflights of six origins, and sockets before they open.

use edge_tests::edge::{Edge, edge};
use edge_tests::http1::{Reply, Request};
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

const PAGE: &str = "https://app.example.com";
/// Pages that are not it, though each is like it.
const FOREIGN: [&str; 5] = [
    "null",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://evil.example",
];

async fn gateway(cors: Value) -> Result<Edge, Fault> {
    edge().setting("cors", cors).start().await
}

async fn preflight(gateway: &Edge, path: &str, origin: &str) -> Result<Reply, Fault> {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,mcp-param-city")
        .reply(gateway.address)
        .await
}

fn upgrade(origin: &str) -> Request {
    Request::new("GET", "/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Origin", origin)
}

fn varies(reply: &Reply) -> bool {
    let vary = reply.header("vary").unwrap_or_default().to_ascii_lowercase();
    vary.split(',').any(|name| name.trim() == "origin")
}

#[tokio::test]
async fn one_of_six_origins_may_read() -> Outcome {
    let gateway = gateway(json!({"origins": [PAGE], "credentials": true})).await?;
    for path in ["/mcp", "/mcp/any", "/sse", "/messages", "/health", "/"] {
        let reply = preflight(&gateway, path, PAGE).await?;
        same(path, reply.status, 200)?;
        for (name, value) in [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "content-type,mcp-param-city"),
            ("access-control-max-age", "600"),
        ] {
            same(format!("{path} {name}"), reply.header(name), Some(value))?;
        }
        same(format!("{path} Vary"), varies(&reply), true)?;
        for origin in FOREIGN {
            let reply = preflight(&gateway, path, origin).await?;
            same(format!("{path} {origin}"), reply.status, 403)?;
            let allowed = reply.header("access-control-allow-origin");
            same(format!("{path} {origin}"), allowed, None)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_says_for_which_page_it_is() -> Outcome {
    let gateway = gateway(json!({"origins": [PAGE]})).await?;
    let get = async |origin: &str| {
        Request::new("GET", "/").header("Origin", origin).reply(gateway.address).await
    };
    let reply = get(PAGE).await?;
    same("allowed", reply.header("access-control-allow-origin"), Some(PAGE))?;
    same("no cookies", reply.header("access-control-allow-credentials"), None)?;
    same("Vary", varies(&reply), true)?;
    let exposed = reply.header("access-control-expose-headers").unwrap_or_default();
    for name in ["mcp-session-id", "mcp-protocol-version", "www-authenticate", "retry-after"] {
        let is_there = exposed.to_ascii_lowercase().split(',').any(|it| it.trim() == name);
        same(format!("{name} in {exposed}"), is_there, true)?;
    }
    for origin in FOREIGN {
        let reply = get(origin).await?;
        let allowed = reply.header("access-control-allow-origin");
        same(origin, (reply.status, allowed), (403, None))?;
    }
    let loopback = get("http://localhost:5173").await?;
    same("loopback", loopback.header("access-control-allow-origin"), Some("http://localhost:5173"))
}

#[tokio::test]
async fn any_page_may_read_without_credentials() -> Outcome {
    let gateway = gateway(json!({"origins": ["*"]})).await?;
    for origin in FOREIGN.into_iter().chain([PAGE]) {
        let reply = preflight(&gateway, "/mcp", origin).await?;
        same(origin, reply.status, 200)?;
        same(origin, reply.header("access-control-allow-origin"), Some("*"))?;
        same(origin, reply.header("access-control-allow-credentials"), None)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_of_a_foreign_page_never_opens() -> Outcome {
    let gateway = gateway(json!({"origins": [PAGE]})).await?;
    for origin in FOREIGN {
        let incoming = upgrade(origin).send(gateway.address).await?;
        same(origin, incoming.status, 403)?;
    }
    let incoming = upgrade(PAGE).send(gateway.address).await?;
    same(PAGE, incoming.status, 101)?;
    let figure = gateway.figure("mcp_gateway_errors_total{reason=\"FOREIGN_ORIGIN\"}").await?;
    same("the figure", figure, u64::try_from(FOREIGN.len())?)
}
