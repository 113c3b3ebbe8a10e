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
    let (address, _serving) = serve().await?;
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
    let (address, _serving) = serve().await?;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (name, value) in [("Host", "evil.example.com"), ("Origin", "https://evil.example.com")] {
        let reply = Request::post("/mcp", ping).header(name, value).reply(address).await?;
        same(format!("{name}: {value}"), reply.status, 403)?;
    }
    Ok(())
}

/// The fixture in this process, for as long as the set of tasks is kept.
async fn serve() -> Result<(SocketAddr, JoinSet<Result<(), Fault>>), Fault> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(fixture::run(Mode::Http(port), Era::Legacy));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until("the fixture listens", || async {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await?;
    Ok((address, tasks))
}
