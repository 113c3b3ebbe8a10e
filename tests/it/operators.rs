//! `mcp-gateway sessions` against a running gateway: what an operator sees, and what an end ends.

use std::process::Stdio;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, binary, edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until, within};
use serde_json::{Value, json};
use tokio::process::Command;

/// How a command ended, and what it wrote.
struct Told {
    code: Option<i32>,
    out: String,
    fault: String,
}

async fn sessions(admin: impl std::fmt::Display, words: &str) -> Result<Told, Fault> {
    let mut command = Command::new(binary("mcp-gateway")?);
    command.arg("sessions").args(words.split_whitespace());
    command.arg("--admin").arg(format!("http://{admin}")).stdin(Stdio::null());
    let output = within("the command ends", command.output()).await?;
    let (out, fault) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Told { code: output.status.code(), out, fault })
}

async fn listed(edge: &Edge) -> Result<Vec<Value>, Fault> {
    let told = sessions(edge.admin, "list --json").await?;
    same(format!("list: {}", told.fault), told.code, Some(0))?;
    let list: Value = serde_json::from_str(&told.out)?;
    same("the whole of it", list.get("isWhole"), Some(&json!(true)))?;
    Ok(list.get("sessions").and_then(Value::as_array).ok_or("no sessions")?.clone())
}

fn word(session: &Value, name: &str) -> String {
    session.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn sessions_are_listed_shown_and_ended() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    same("none yet", sessions(edge.admin, "list").await?.out.trim_end(), "no sessions")?;
    let mut stays = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let ends = Client::open(&edge, Transport::Mcp, None).await?;
    let id = ends.session_id().ok_or("no session")?.to_owned();
    let slow = json!({"name": "slow", "arguments": {"ms": 60_000, "steps": 1}});
    let waiting = stays.begin("tools/call", slow).await?;
    until("the call is in flight", || async {
        let calls = listed(&edge).await.unwrap_or_default();
        calls.iter().any(|it| it.get("calls") == Some(&json!(1)))
    })
    .await?;

    let all = listed(&edge).await?;
    let one = |transport: &str| {
        all.iter().find(|it| word(it, "transport") == transport).cloned().unwrap_or_default()
    };
    let (sse, mcp) = (one("sse"), one("streamable_http"));
    same("two sessions", all.len(), 2)?;
    same("its server", word(&sse, "server"), "fixture".to_owned())?;
    same("all servers", mcp.get("server"), Some(&Value::Null))?;
    same("a revision", word(&mcp, "revision"), "2025-11-25".to_owned())?;
    same("one holder", word(&mcp, "holder"), word(&sse, "holder"))?;
    same("served here", mcp.get("isHere"), Some(&json!(true)))?;

    let told = sessions(edge.admin, "list").await?;
    let key = word(&mcp, "key");
    let lines: Vec<_> = told.out.lines().collect();
    let columns: Vec<_> = lines.first().unwrap_or(&"").split_whitespace().collect();
    let expected = "KEY TRANSPORT SERVER REVISION HOLDER OWNER CALLS EVENTS AGE LEFT";
    same("the head of the table", columns.join(" "), expected.to_owned())?;
    let line = lines.iter().find(|line| line.starts_with(&key)).ok_or("no line for it")?;
    let cells: Vec<_> = line.split_whitespace().skip(1).take(3).collect();
    same("a line of the table", cells, vec!["streamable_http", "(all)", "2025-11-25"])?;
    let told = sessions(edge.admin, "list --limit 1").await?;
    let last = told.out.lines().last().unwrap_or_default().to_owned();
    same("what a limit leaves out", last, "1 more; --limit shows them".to_owned())?;

    let told = sessions(edge.admin, &format!("show {key}")).await?;
    same("shown", told.code, Some(0))?;
    let expected = format!("key                {key}\ntransport          streamable_http\n");
    same(format!("shown {}", told.out), told.out.starts_with(&expected), true)?;
    for text in [&told.out, &sessions(edge.admin, &format!("show {key} --json")).await?.out] {
        same("no id is shown", text.contains(&id), false)?;
    }

    let told = sessions(edge.admin, &format!("end {key}")).await?;
    same(format!("ended {}", told.fault), told.code, Some(0))?;
    let expected = format!("ended {key}, which {} served\n", word(&mcp, "owner"));
    same("ended", told.out, expected)?;
    let post =
        Request::post("/mcp", json!({"jsonrpc": "2.0", "id": 5, "method": "ping"}).to_string());
    let gone = post.header("Mcp-Session-Id", &id).reply(edge.address).await?;
    same("its client begins anew", gone.status, 404)?;
    same(
        "the other goes on",
        stays.request("ping", json!({})).await?.get("result").is_some(),
        true,
    )?;

    let told = sessions(edge.admin, &format!("end {}", word(&sse, "key"))).await?;
    same("ended with a call in flight", told.code, Some(0))?;
    let answer = stays.answer(&json!(waiting)).await?;
    let dispatched = answer.pointer("/error/data/dispatched");
    same(format!("the call is answered: {answer}"), dispatched.is_some(), true)?;
    same("none is left", listed(&edge).await?.len(), 0)
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_exit_code_1() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let key = "5f0c1d2e3a4b5968778695a4b3c2d1e0";
    for words in [format!("show {key}"), format!("end {key}")] {
        let told = sessions(edge.admin, &words).await?;
        same(&words, (told.code, told.out.as_str()), (Some(1), ""))?;
        let expected = format!(
            "there is no session {key}; it may have ended; `mcp-gateway sessions list` shows \
             those there are\n"
        );
        same(&words, told.fault, expected)?;
    }
    let told = sessions(edge.admin, "show ../../metrics").await?;
    same("no key", told.code, Some(1))?;
    same(&told.fault, told.fault.contains("is no key"), true)?;
    let told = sessions(edge.address, "list").await?;
    same("the public listener", told.code, Some(1))?;
    same(&told.fault, told.fault.contains("this is no admin listener"), true)?;
    let told = sessions("127.0.0.1:9", "list").await?;
    same("nobody listens", told.code, Some(1))?;
    same(&told.fault, told.fault.contains("does a gateway run with its admin listener"), true)
}

#[tokio::test]
async fn the_admin_listener_ends_no_session_for_a_web_page() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let _client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let key = listed(&edge).await?.first().map(|it| word(it, "key")).ok_or("no session")?;
    let path = format!("/internal/sessions/{key}");
    for method in ["GET", "DELETE"] {
        let request = Request::new(method, &path).header("Origin", "http://127.0.0.1:9100");
        same(method, request.reply(edge.admin).await?.status, 403)?;
    }
    let reply = Request::new("DELETE", &path).reply(edge.address).await?;
    same("not on the public listener", reply.status, 404)?;
    same("it goes on", listed(&edge).await?.len(), 1)?;
    let reply = Request::new("DELETE", &format!("{path}?here")).reply(edge.admin).await?;
    same("for another replica", reply.status, 200)
}
