//! The fixture without a gateway in front: what the other tests take for granted.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use edge_tests::client::{Client, Transport};
use edge_tests::fixture::{self, Era, Mode};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::test]
async fn the_fixture_answers_reports_and_ends_a_session() -> Outcome {
    let (address, _serving) = serve(Era::Legacy).await?;
    let mut client = Client::open(address, Transport::Mcp, None).await?;
    let said = client.call("echo", json!({"value": [1.5, null]})).await?;
    same("echo", said.as_str(), "{\"value\":[1.5,null]}")?;
    let slow = json!({
        "name": "slow",
        "arguments": {"ms": 60, "steps": 3},
        "_meta": {"progressToken": "mine"}
    });
    let answer = client.request("tools/call", slow).await?;
    let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    same("slow", said, Some("slept 60 ms"))?;
    let tokens = client.told.iter().filter_map(|told| told.pointer("/params/progressToken"));
    same("progress", tokens.filter(|token| **token == json!("mine")).count(), 4)?;
    let session = client.session_id().ok_or("no session")?;
    let end = Request::new("DELETE", "/mcp").header("Mcp-Session-Id", session);
    same("DELETE", end.reply(address).await?.status / 100, 2)
}

#[tokio::test]
async fn the_fixture_takes_no_foreign_host() -> Outcome {
    let (address, _serving) = serve(Era::Legacy).await?;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (name, value) in [("Host", "evil.example.com"), ("Origin", "https://evil.example.com")] {
        let reply = Request::post("/mcp", ping).header(name, value).reply(address).await?;
        same(format!("{name}: {value}"), reply.status, 403)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_legacy_fixture_asks_by_requests_and_several_at_once() -> Outcome {
    let (address, _serving) = serve(Era::Legacy).await?;
    let able = json!({"elicitation": {}, "sampling": {}, "roots": {}});
    let mut client = Client::open_able(address, Transport::Mcp, None, able).await?;
    let tool = json!({"name": "test_input_required_result_multiple_inputs", "arguments": {}});
    let call = client.begin("tools/call", tool).await?;
    let mut asked = Vec::new();
    while asked.len() < 3 {
        let message = client.message().await?;
        if message.get("method").is_some() {
            asked.push(message);
        }
    }
    for question in &asked {
        let result = match question.get("method").and_then(Value::as_str) {
            Some("elicitation/create") => json!({"action": "accept", "content": {"name": "Ann"}}),
            Some("roots/list") => json!({"roots": []}),
            Some("sampling/createMessage") => json!({
                "role": "assistant", "model": "m", "content": {"type": "text", "text": "Hello"}
            }),
            _ => return Err(format!("{question} was not to be asked").into()),
        };
        let id = question.get("id").cloned();
        client.send(json!({"jsonrpc": "2.0", "id": id, "result": result})).await?;
    }
    let answer = client.answer(&json!(call)).await?;
    let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    let said: Value = serde_json::from_str(said.ok_or_else(|| format!("{answer}"))?)?;
    same("its name", said.pointer("/0/content/name"), Some(&json!("Ann")))
}

#[tokio::test]
async fn the_modern_fixture_refuses_initialize_and_asks_by_its_result() -> Outcome {
    let (address, _serving) = serve(Era::Modern).await?;
    let client = json!({"name": "it", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let reply = Request::post("/mcp", initialize.to_string()).reply(address).await?;
    same("initialize", reply.error_code(), Some(-32022))?;
    let name = "test_input_required_result_elicitation";
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": name,
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
        }
    }});
    let request = Request::post("/mcp", call.to_string())
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", name);
    let answer = request.reply(address).await?.message()?;
    let asked = answer.pointer("/result/inputRequests/user_name/method").and_then(Value::as_str);
    same("what it asks", asked, Some("elicitation/create"))
}

/// The fixture in this process, for as long as the set of tasks is kept.
async fn serve(era: Era) -> Result<(SocketAddr, JoinSet<Result<(), Fault>>), Fault> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(fixture::run(Mode::Http(port), era));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until("the fixture listens", || async {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await?;
    Ok((address, tasks))
}
