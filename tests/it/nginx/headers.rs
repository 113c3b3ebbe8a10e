//! What a client says about itself does not reach the gateway; what it says to the gateway does.

use edge_tests::echo::{Seen, echo};
use edge_tests::http1::{Reply, Request};
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::{Fault, Outcome, same};

/// A way through each location of the server.
const PATHS: [&str; 12] = [
    "/mcp",
    "/mcp/demo",
    "/demo/mcp",
    "/servers/demo/mcp",
    "/sse",
    "/servers/demo/sse",
    "/messages?sessionId=abc",
    "/ws/demo",
    "/demo/ws",
    "/health",
    "/servers/demo",
    "/gateway/stats",
];

/// Headers by which a client could say who it is, or which only another replica may send.
const FORGED: [&str; 27] = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Forwarded-User",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Request-Id",
    "X-Mcpgw-Seal",
    "X-Mcpgw-To",
    "X-Mcpgw-Mark",
    "X-Mcpgw-Not-Mine",
    "X-Mcpgw-Client",
    "X-Gateway-User",
    "X-Gateway-Roles",
    "X-Authenticated-User",
    "X-Authenticated-Scopes",
    "Proxy",
    "Proxy-Connection",
    "TE",
];

fn forged(path: &str) -> Request {
    let request = Request::new("GET", path).header("Host", "gateway.example:8443");
    // The second one is for whoever takes the last of several.
    let all = FORGED.iter().chain(FORGED.iter());
    let request = all.fold(request, |request, name| request.header(name, "forged-9.9.9.9"));
    let own = [
        ("Authorization", "Bearer t"),
        ("Mcp-Session-Id", "s"),
        ("Last-Event-ID", "e"),
        ("Mcp-Param-a_b", "p"),
        ("Origin", "https://page.example"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-API-Key", "k"),
    ];
    own.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn check(seen: &Seen, reply: &Reply) -> Outcome {
    let head = &seen.head;
    same(format!("forged, in {head}"), head.contains("forged"), false)?;
    for (name, value) in [
        ("Host", "gateway.example:8443"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "gateway.example:8443"),
        ("Authorization", "Bearer t"),
        ("Mcp-Session-Id", "s"),
        ("Last-Event-ID", "e"),
        ("Mcp-Param-a_b", "p"),
        ("Origin", "https://page.example"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-API-Key", "k"),
    ] {
        same(format!("{name}, in {head}"), seen.values(name), vec![value])?;
    }
    let id = seen.values("x-request-id");
    same("the request id", id.first().copied(), reply.header("x-request-id"))?;
    same("a new one", id.iter().all(|it| it.len() == 32), true)
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_written_over() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.start().await?;
    for path in PATHS {
        let reply = forged(path).reply(nginx.http).await?;
        same(path, reply.status, 200)?;
        let seen = echo.seen().pop().ok_or("nothing was passed on")?;
        same("the target", seen.target(), format!("GET {path}").as_str())?;
        check(&seen, &reply)?;
    }
    Ok(())
}

/// What the gateway is told of a request with these headers.
async fn told(nginx: &Shipped, headers: &[(&str, &str)]) -> Result<[Vec<String>; 3], Fault> {
    let request = Request::new("GET", "/mcp");
    let request = headers.iter().fold(request, |it, (name, value)| it.header(name, value));
    let said: serde_json::Value = serde_json::from_str(&request.reply(nginx.http).await?.text())?;
    let head = said.get("head").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let seen = Seen { head, body: String::new() };
    let values = |name: &str| seen.values(name).into_iter().map(str::to_owned).collect();
    Ok([values("x-forwarded-for"), values("x-forwarded-proto"), values("x-request-id")])
}

#[tokio::test]
async fn only_a_balancer_that_is_trusted_is_believed() -> Outcome {
    let echo = echo().await?;
    let said = [
        ("X-Forwarded-For", "203.0.113.7, 10.1.2.3"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-Id", "given-by.the_balancer"),
    ];
    let trusted = "10.0.0.0/8, 127.0.0.1";
    let nginx = shipped(echo.address)?.variable("TRUSTED_PROXIES", trusted).start().await?;
    let [address, scheme, id] = told(&nginx, &said).await?;
    same("the client, not a proxy", address, vec!["203.0.113.7".to_owned()])?;
    same("how it came", scheme, vec!["https".to_owned()])?;
    same("the id", id, vec!["given-by.the_balancer".to_owned()])?;
    for bad in ["short", "with space in it", "quote\"and{more}", &"a".repeat(129)] {
        let [_, _, id] = told(&nginx, &[("X-Request-Id", bad)]).await?;
        same(bad, id.first().map(String::len), Some(32))?;
    }
    let elsewhere = "10.0.0.0/8";
    let nginx = shipped(echo.address)?.variable("TRUSTED_PROXIES", elsewhere).start().await?;
    let [address, scheme, id] = told(&nginx, &said).await?;
    same("the peer", address, vec!["127.0.0.1".to_owned()])?;
    same("how it came", scheme, vec!["http".to_owned()])?;
    same("an id of its own", id.first().map(String::len), Some(32))
}
