//! Section A, rows 23 to 34: messages that are right as such.

use std::fs;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Outcome, same, until, within};
use serde_json::{Value, json};

use super::bench::{Bench, INVALID, PATH, PING, TOO_LARGE, call, on, refused};

#[tokio::test]
async fn row_23_unknown_method() -> Outcome {
    let bench = Bench::open().await?;
    let unknown = PING.replace("ping", "no/such");
    let reply = bench.send(&bench.post(unknown)).await?;
    same("from the server", (reply.status, reply.error_code()), (200, Some(-32601)))?;
    let mut all = Client::open(&bench.edge, Transport::Mcp, None).await?;
    let answer = all.request("no/such", json!({})).await?;
    let code = answer.pointer("/error/code").and_then(Value::as_i64);
    same(format!("from the gateway: {answer}"), code, Some(-32601))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_24_params_that_are_no_object() -> Outcome {
    let (array, text) = (call("1", "[1]"), call("1", "\"a\""));
    let rows: [(&str, &[u8]); 2] = [("array", array.as_bytes()), ("string", text.as_bytes())];
    refused(-32602, &json!(1), &rows).await
}

#[tokio::test]
async fn row_25_tool_that_is_not_there() -> Outcome {
    let bench = Bench::open().await?;
    let long = format!(r#"{{"name":"{}"}}"#, "n".repeat(129));
    let params =
        [("no name", "{}"), ("unknown", r#"{"name":"no_such"}"#), ("129 characters", &long)];
    let mut all = Client::open(&bench.edge, Transport::Mcp, None).await?;
    for (what, params) in params {
        let reply = bench.send(&bench.post(call("1", params))).await?;
        // One server's own errors pass: the fixture's library does not know a call without a name.
        let code = if params == "{}" { -32601 } else { -32602 };
        let got = (reply.status, reply.error_code());
        same(format!("{what}, of one server: {}", reply.text()), got, (200, Some(code)))?;
        let answer = all.request("tools/call", serde_json::from_str(params)?).await?;
        let code = answer.pointer("/error/code").and_then(Value::as_i64);
        same(format!("{what}, of all: {answer}"), code, Some(-32602))?;
    }
    bench.ends_well().await
}

#[tokio::test]
async fn row_26_unknown_notification() -> Outcome {
    accepted(json!({"jsonrpc": "2.0", "method": "notifications/no_such", "params": {}})).await
}

#[tokio::test]
async fn row_27_presence_of_an_id_decides() -> Outcome {
    let bench = Bench::open().await?;
    let asked = PING.replace("ping", "notifications/no_such");
    let reply = bench.send(&bench.post(asked)).await?;
    same("a notification with an id", (reply.status, reply.error_code()), (200, Some(-32601)))?;
    let told = call("1", r#"{"name":"crash"}"#).replace("\"id\":1,", "");
    let reply = bench.send(&bench.post(told)).await?;
    same("a call without an id", (reply.status, reply.text().as_str()), (202, ""))?;
    // It was no call: the process has not crashed, and the call in flight is answered.
    bench.ends_well().await
}

#[tokio::test]
async fn row_28_a_response_from_the_client() -> Outcome {
    let bench = Bench::open().await?;
    let unasked = br#"{"jsonrpc":"2.0","id":77,"result":{}}"#;
    bench.refuses_bodies(INVALID, &json!(77), &[("to nothing", unasked)]).await?;
    let session = bench.session("2025-11-25").await?;
    let call = on(&session, call("1", r#"{"name":"list_roots"}"#));
    let mut stream = call.send(bench.edge.address).await?;
    let asked = within("the server's request", stream.message()).await?.ok_or("no request")?;
    let id = asked.get("id").cloned().unwrap_or_default();
    let roots = json!({"roots": [{"uri": "file:///a"}]});
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": roots}).to_string();
    let answer = on(&session, answer);
    same("a pending one", bench.send(&answer).await?.status, 202)?;
    let ended = within("the answer", stream.message()).await?.ok_or("no answer")?;
    let said = ended.pointer("/result/content/0/text").and_then(Value::as_str);
    same("the call is answered", said, Some("file:///a"))?;
    bench.refuses(400, INVALID, &id, vec![("to the same again", answer)]).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_29_numbers_are_forwarded_as_they_are_written() -> Outcome {
    let fixture = stdio().pointer("/command/0").and_then(Value::as_str).unwrap_or("").to_owned();
    let script = "tee -a \"$1\" | \"$0\" --stdio";
    let heard = std::env::temp_dir().join(format!("edge-it-row-29-{}", std::process::id()));
    let server = json!({"command": ["sh", "-c", script, fixture, heard]});
    let edge = edge().server("fixture", server).start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let arguments = r#"{"value":[1e400, -0,1.0,1 ,100000000000000000000]}"#;
    let params = format!(r#"{{"name":"echo","arguments":{arguments}}}"#);
    let post = Request::post(PATH, call("1", &params));
    let session = client.session_id().ok_or("no session")?;
    // The fixture does not understand 1e400; what is asked is what it was given.
    let _unanswered = post.header("Mcp-Session-Id", session).send(edge.address).await?;
    let was_given = || fs::read_to_string(&heard).is_ok_and(|text| text.contains(arguments));
    let outcome = until(format!("the server is given {arguments}"), || async { was_given() }).await;
    fs::remove_file(&heard)?;
    outcome
}

#[tokio::test]
async fn row_30_a_megabyte_of_escaped_nul() -> Outcome {
    let bench = Bench::open().await?;
    let nul = r"\u0000".repeat((1 << 20) / 6);
    let params = format!(r#"{{"name":"echo","arguments":{{"value":"{nul}"}}}}"#);
    let reply = bench.send(&bench.post(call("1", &params))).await?;
    let message = reply.message()?;
    let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
    let echoed = format!(r#"{{"value":"{nul}"}}"#);
    same("it was forwarded and came back", said == Some(echoed.as_str()), true)?;
    same("none of it is in the log", bench.edge.log().contains("u0000"), false)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_31_a_hundred_thousand_keys() -> Outcome {
    let bench = Bench::open().await?;
    let keys = |count: u32| {
        let keys: Vec<String> = (0..count).map(|key| format!("\"{key}\":0")).collect();
        bench.post(call("1", &format!("{{\"name\":\"add\",\"arguments\":{{{}}}}}", keys.join(","))))
    };
    // jsonrpc, id, method, params, name and arguments are members as well.
    let reply = bench.send(&keys(10_000 - 6)).await?;
    same("10 000 members", (reply.status, reply.error_code()), (200, None))?;
    let all = vec![("one more", keys(10_000 - 5)), ("100 000", keys(100_000))];
    bench.refuses(413, TOO_LARGE, &json!(1), all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_32_id_that_is_in_flight() -> Outcome {
    let bench = Bench::open().await?;
    let slow = call("31", r#"{"name":"slow","arguments":{"ms":400,"steps":1}}"#);
    let mut first = bench.post(slow.clone()).send(bench.edge.address).await?;
    bench.refuses(400, -31009, &json!(31), vec![("the same call", bench.post(slow))]).await?;
    let answer = within("the first answer", first.message()).await?.ok_or("no answer")?;
    let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    same("the first is answered", said, Some("slept 400 ms"))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_33_cancel_of_nothing() -> Outcome {
    let params = json!({"requestId": 99});
    accepted(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await
}

#[tokio::test]
async fn row_34_progress_token_odd_or_in_use() -> Outcome {
    let bench = Bench::open().await?;
    let with = |id: &str, token: &str| {
        let arguments = r#"{"ms":400,"steps":1}"#;
        let meta = format!(r#"{{"progressToken":{token}}}"#);
        let params = format!(r#"{{"name":"slow","arguments":{arguments},"_meta":{meta}}}"#);
        bench.post(call(id, &params))
    };
    // An error of the call's own, so that the client's protocol layer sees it: 200.
    bench.refuses(200, -32602, &json!(31), vec![("an object", with("31", "{}"))]).await?;
    let mut first = with("32", "\"t\"").send(bench.edge.address).await?;
    bench.refuses(400, INVALID, &json!(33), vec![("in use", with("33", "\"t\""))]).await?;
    let mut messages = Vec::new();
    while let Some(message) = within("the first call", first.message()).await? {
        messages.push(message);
    }
    same("progress and the answer", messages.len(), 3)?;
    let again = bench.send(&with("34", "\"t\"")).await?;
    same("free again", (again.status, again.error_code()), (200, None))?;
    bench.ends_well().await
}

/// A notification is taken with 202 and no body.
async fn accepted(note: Value) -> Outcome {
    let bench = Bench::open().await?;
    let reply = bench.send(&bench.post(note.to_string())).await?;
    same(note, (reply.status, reply.text().as_str()), (202, ""))?;
    bench.ends_well().await
}
