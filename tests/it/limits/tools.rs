//! Limits of single tools, by whichever name and way they are called.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, Folder, edge, stdio};
use edge_tests::eras::with;
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

use super::{RATE_LIMITED, callers, is_refusal};

async fn gateway(tools: Value) -> Result<Edge, Fault> {
    let limit = with(callers(100_000), "tools", tools);
    let servers = edge().server("one", stdio()).server("two", stdio());
    servers.setting("rate_limit", limit).start().await
}

/// The code of the error that a call is answered with.
async fn call(client: &mut Client, tool: &str) -> Result<Option<i64>, Fault> {
    let params = json!({"name": tool, "arguments": {"value": 1, "name": "x"}});
    let answer = client.request("tools/call", params).await?;
    if answer.get("error").is_some() {
        is_refusal(&answer)?;
    }
    Ok(answer.pointer("/error/code").and_then(Value::as_i64))
}

#[tokio::test]
async fn a_tool_has_one_limit_on_every_transport() -> Outcome {
    for transport in Transport::ALL {
        let gateway = gateway(json!({"one/echo": {"max": 3, "window": "1h"}})).await?;
        let mut alone = Client::open(gateway.address, transport, Some("one")).await?;
        let mut all = Client::open(gateway.address, transport, None).await?;
        let mut other = Client::open(gateway.address, transport, Some("two")).await?;
        same(format!("{transport:?}"), call(&mut alone, "echo").await?, None)?;
        // The name on the path of all servers is looked up before it is counted.
        same(format!("{transport:?}"), call(&mut all, "one__echo").await?, None)?;
        let modern = Ask::tool("one", "echo", json!({})).said(gateway.address).await?;
        same("modern", modern.code(), None)?;
        let beyond = Some(RATE_LIMITED);
        same(format!("{transport:?}"), call(&mut alone, "echo").await?, beyond)?;
        same(format!("{transport:?}"), call(&mut all, "one__echo").await?, beyond)?;
        let modern = Ask::tool("one", "echo", json!({})).said(gateway.address).await?;
        same("modern", (modern.status, modern.code()), (429, beyond))?;
        let named = Ask::tool("x", "one__echo", json!({})).of_all().said(gateway.address).await?;
        same("modern, all", (named.status, named.code()), (429, beyond))?;
        for _ in 0..5 {
            same("another tool", call(&mut alone, "greet").await?, None)?;
            same("another server", call(&mut other, "echo").await?, None)?;
            same("another server", call(&mut all, "two__echo").await?, None)?;
        }
        let limited = gateway.figure("mcp_gateway_rate_limited_total{scope=\"tool\"}").await?;
        same("the figure", limited, 4)?;
    }
    Ok(())
}

#[tokio::test]
async fn what_counts_is_the_name_in_the_body() -> Outcome {
    let gateway = gateway(json!({"*/echo": {"max": 1, "window": "1h"}})).await?;
    let lying = Ask::tool("one", "echo", json!({})).header("Mcp-Name", "greet");
    same("a header that lies", lying.said(gateway.address).await?.code(), Some(-32020))?;
    let honest = Ask::tool("one", "echo", json!({}));
    same("nothing was counted", honest.said(gateway.address).await?.code(), None)?;
    same("one", honest.said(gateway.address).await?.code(), Some(RATE_LIMITED))?;
    let two = Ask::tool("two", "echo", json!({})).said(gateway.address).await?;
    same("all that a pattern fits count together", two.code(), Some(RATE_LIMITED))
}

/// One session, in which one client after the other speaks.
#[tokio::test]
async fn calls_count_for_whoever_makes_them_and_for_nobody_who_is_exempt() -> Outcome {
    let mut limit = callers(100_000);
    limit["tools"] = json!({"one/echo": {"max": 1, "window": "1h"}});
    limit["exempt"] = json!(["203.0.113.9"]);
    let servers = edge().server("one", stdio()).setting("trusted_proxies", json!(["127.0.0.1"]));
    let gateway = servers.setting("rate_limit", limit).start().await?;
    let client = Client::open(gateway.address, Transport::Mcp, Some("one")).await?;
    let session = client.session_id().ok_or("no session")?.to_owned();
    let said = [("1", false), ("1", true), ("9", false), ("9", false), ("2", false), ("2", true)];
    for (id, (from, is_limited)) in said.into_iter().enumerate() {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "echo", "arguments": {"value": 1}
        }});
        let reply = Request::post("/mcp/one", call.to_string())
            .header("Mcp-Session-Id", &session)
            .header("X-Forwarded-For", &format!("203.0.113.{from}"))
            .reply(gateway.address)
            .await?;
        same(format!("{id} of {from}: {}", reply.text()), reply.status == 429, is_limited)?;
    }
    Ok(())
}

/// One session, in which another client speaks while a call waits for its server to start.
#[tokio::test]
async fn a_call_counts_for_its_own_client_whoever_speaks_meanwhile() -> Outcome {
    let folder = Folder::new()?;
    let gate = folder.path.join("gate");
    let mut limit = callers(100_000);
    limit["tools"] = json!({"one/echo": {"max": 1, "window": "1h"}});
    limit["exempt"] = json!(["203.0.113.9"]);
    let program = stdio().pointer("/command/0").cloned().unwrap_or_default();
    let script = r#"while [ ! -e "$0" ]; do sleep 0.02; done; exec "$1" --stdio"#;
    let server = json!({"command": ["sh", "-c", script, gate, program]});
    let servers = edge().server("one", server).setting("trusted_proxies", json!(["127.0.0.1"]));
    let gateway = servers.setting("rate_limit", limit).start().await?;
    let client = Client::open(gateway.address, Transport::Mcp, None).await?;
    let session = client.session_id().ok_or("no session")?.to_owned();
    let post = |from: &str, method: &str, id: u64| {
        let said = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {
            "name": "one__echo", "arguments": {"value": 1}
        }});
        Request::post("/mcp", said.to_string())
            .header("Mcp-Session-Id", &session)
            .header("X-Forwarded-For", from)
    };
    let first = post("203.0.113.1", "tools/call", 1);
    let speaking = async {
        // Which server it is for is told by a list that is not there yet.
        let called =
            "mcp_gateway_requests_total{method=\"tools/call\",transport=\"streamable_http\"}";
        until("it is called", || async { gateway.figure(called).await.is_ok_and(|it| it == 1) })
            .await?;
        let exempt = post("203.0.113.9", "ping", 2).reply(gateway.address).await?;
        same("somebody else", exempt.status, 200)?;
        Ok::<(), Fault>(std::fs::write(&gate, "")?)
    };
    let (first, spoken) = futures_util::join!(first.reply(gateway.address), speaking);
    spoken?;
    let first = first?;
    same(format!("the first: {}", first.text()), first.status, 200)?;
    same("it was answered", first.text().contains("\"result\""), true)?;
    let second = post("203.0.113.1", "tools/call", 3).reply(gateway.address).await?;
    same(format!("the second: {}", second.text()), second.status, 429)
}
