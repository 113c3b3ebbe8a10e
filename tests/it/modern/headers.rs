//! What the headers say is what the body says, or nothing is carried out.

use edge_tests::edge::edge;
use edge_tests::eras::{Actor, OverHttp};
use edge_tests::http1::Request;
use edge_tests::modern::{Ask, VERSION};
use edge_tests::{Outcome, same};
use serde_json::json;
use tokio::task::JoinSet;

use super::{MISMATCH, SERVERS, Stage, refused, serves};
use crate::catalogue::Folder;

const VERSION_HEADER: &str = "MCP-Protocol-Version";
const METHOD_HEADER: &str = "Mcp-Method";
const NAME_HEADER: &str = "Mcp-Name";
const REGION: &str = "Mcp-Param-Region";
const COUNT: &str = "Mcp-Param-Count";

/// Each header that repeats the body, wrong in each way, with a word of what is said about it.
fn wrong(right: &Ask) -> Vec<(&'static str, Ask)> {
    let of = |name, value: &str| right.clone().header(name, value);
    vec![
        ("says '2025-11-25'", of(VERSION_HEADER, "2025-11-25")),
        ("says '2099-01-01'", of(VERSION_HEADER, "2099-01-01")),
        ("says 'tools/list'", of(METHOD_HEADER, "tools/list")),
        ("says 'Tools/Call'", of(METHOD_HEADER, "Tools/Call")),
        ("says 'echo'", of(NAME_HEADER, "echo")),
        ("says ''", of(NAME_HEADER, "")),
        ("MCP-Protocol-Version header is missing", right.clone().without(VERSION_HEADER)),
        ("Mcp-Method header is missing", right.clone().without(METHOD_HEADER)),
        ("Mcp-Name header is missing", right.clone().without(NAME_HEADER)),
        (
            "MCP-Protocol-Version header comes more than once",
            right.clone().also(VERSION_HEADER, VERSION),
        ),
        ("Mcp-Method header comes more than once", right.clone().also(METHOD_HEADER, "tools/call")),
        ("Mcp-Name header comes more than once", right.clone().also(NAME_HEADER, "append")),
        ("is not base64 of UTF-8", of(NAME_HEADER, "=?base64?%%%?=")),
        ("is not base64 of UTF-8", of(NAME_HEADER, "=?base64?/w==?=")),
        ("says '=?BASE64?", of(NAME_HEADER, "=?BASE64?YXBwZW5k?=")),
        ("characters other than visible ASCII", of(NAME_HEADER, "äppend")),
    ]
}

#[tokio::test]
async fn headers_that_contradict_the_body_keep_a_call_from_every_server() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        serves(&stage.edge, server).await?;
        let append = Ask::tool(server, "append", json!({"uuid": "never"}));
        for (word, ask) in wrong(&append) {
            let what = format!("{server}, {word}");
            let told = refused(&what, &ask.said(&stage.edge).await?, 400, MISMATCH)?;
            same(format!("{what}: {told}"), told.contains(word), true)?;
        }
        let encoded = Ask::tool(server, "append", json!({"uuid": server}));
        let encoded = encoded.header(NAME_HEADER, "=?base64?YXBwZW5k?=");
        same(server, encoded.text_said(&stage.edge).await?.as_str(), "appended")?;
    }
    same("what was carried out", stage.ledger(), SERVERS.map(str::to_owned).to_vec())
}

#[tokio::test]
async fn names_of_resources_and_prompts_are_compared_as_those_of_tools_are() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let read = Ask::new(server, "resources/read", json!({"uri": "test://static-text"}));
        let get = Ask::new(server, "prompts/get", json!({"name": "test_simple_prompt"}));
        for ask in [read, get] {
            let (right, other) = (ask.said(&stage.edge).await?, ask.header(NAME_HEADER, "other"));
            same(format!("{server}: {}", right.answer), right.status, 200)?;
            refused(server, &other.said(&stage.edge).await?, 400, MISMATCH)?;
        }
    }
    Ok(())
}

/// Arguments that a tool wants in headers: wrong in each way.
fn wrong_params(right: &Ask, bare: &Ask) -> Vec<(&'static str, Ask)> {
    vec![
        ("another value", right.clone().header(REGION, "us")),
        ("missing", right.clone().without(REGION)),
        ("twice", right.clone().also(REGION, "eu")),
        ("no base64", right.clone().header(REGION, "=?base64?%%%?=")),
        ("superfluous", bare.clone().header(REGION, "eu")),
    ]
}

#[tokio::test]
async fn mirrored_arguments_that_contradict_the_call_keep_it_from_processes() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    for (server, actor) in [("old", legacy), ("new", modern)] {
        let bare = Ask::tool(server, "headed", json!({"other": 1}));
        let right = Ask::tool(server, "headed", json!({"region": "eu"})).header(REGION, "eu");
        let number = Ask::tool(server, "headed", json!({"count": 42})).header(COUNT, "42");
        let mut all = wrong_params(&right, &bare);
        all.push(("another number", number.clone().header(COUNT, "43")));
        for (word, ask) in all {
            let what = format!("{server}, {word}");
            let told = refused(&what, &ask.said(&edge).await?, 400, MISMATCH)?;
            same(format!("{what}: {told}"), told.contains("Mcp-Param-"), true)?;
        }
        same(format!("{server} was called"), actor.heard("tools/call"), Vec::new())?;
        let lists = actor.heard("tools/list").len();
        // Of a modern server it is looked at each time.
        let is_seldom = server == "new" || lists < 6;
        same(format!("{server}: {lists} lists were asked for"), is_seldom, true)?;
        let encoded = right.clone().header(REGION, "=?base64?ZXU=?=");
        let same_number = number.clone().header(COUNT, "42.0");
        let null = Ask::tool(server, "headed", json!({"region": null}));
        let unknown = right.clone().header("Mcp-Param-Other", "whatever");
        for ask in [right, bare, number, encoded, same_number, null, unknown] {
            ask.text_said(&edge).await?;
        }
        same(format!("{server} was called"), actor.heard("tools/call").len(), 7)?;
    }
    Ok(())
}

/// The server looks itself, and what it says is passed on with its status.
#[tokio::test]
async fn mirrored_arguments_reach_a_server_over_http_as_they_came() -> Outcome {
    let folder = Folder::new("mirrored")?;
    let fixture = OverHttp::start("modern", folder.path()).await?;
    let edge = edge().server("new", fixture.server()).start().await?;
    let bare = Ask::tool("new", "test_header", json!({}));
    let right = Ask::tool("new", "test_header", json!({"region": "eu"})).header(REGION, "eu");
    same("right", right.text_said(&edge).await?.as_str(), "{\"region\":\"eu\"}")?;
    // The SDK lets a superfluous header pass.
    for (word, ask) in wrong_params(&right, &bare).into_iter().filter(|it| it.0 != "superfluous") {
        refused(word, &ask.said(&edge).await?, 400, MISMATCH)?;
    }
    Ok(())
}

#[tokio::test]
async fn get_and_delete_are_told_that_there_is_only_post() -> Outcome {
    let stage = Stage::open().await?;
    for path in ["/mcp", "/mcp/legacy-stdio", "/mcp/modern-http"] {
        for method in ["GET", "DELETE"] {
            let request = Request::new(method, path)
                .header("Accept", "text/event-stream")
                .header(VERSION_HEADER, VERSION)
                .header("Mcp-Session-Id", "anything");
            let reply = request.reply(stage.edge.address).await?;
            let got = (reply.status, reply.header("allow"));
            same(format!("{method} {path}: {}", reply.text()), got, (405, Some("POST")))?;
        }
    }
    Ok(())
}

/// Servers ask nothing in this revision, and a response answers nothing.
#[tokio::test]
async fn a_response_is_told_that_there_are_none_and_what_is_refused_is_counted() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let echo = Ask::tool("old", "echo", json!({}));
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let reply = echo.request().body(text).reply(edge.address).await?;
    let told = reply.text();
    same(told.clone(), (reply.status, told.contains("clients send no responses")), (400, true))?;
    let before = edge.figure("mcp_gateway_errors_total").await?;
    let wrong = echo.clone().header(METHOD_HEADER, "tools/list").said(&edge).await?;
    refused("wrong", &wrong, 400, MISMATCH)?;
    let unknown = Ask::new("old", "tasks/get", json!({"taskId": "1"})).said(&edge).await?;
    same(format!("{}", unknown.answer), unknown.code(), Some(-32601))?;
    same("counted", edge.figure("mcp_gateway_errors_total").await?, before + 2)
}
