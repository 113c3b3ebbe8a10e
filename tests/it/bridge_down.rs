//! Legacy clients, over every transport, on servers that speak revision 2026-07-28 alone.

mod eras;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, binary, edge};
use edge_tests::fixture::{self, Era, Mode};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until, within};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A gateway in front of the fixture, over stdio, over a shared process, and over HTTP.
struct Stage {
    edge: Edge,
    _serving: JoinSet<Result<(), Fault>>,
}

const SERVERS: [&str; 3] = ["stdio", "pooled", "http"];

/// The fixture over stdio in the modern era alone, with more settings.
fn modern(settings: Value) -> Result<Value, Fault> {
    let path = binary("fixture")?.display().to_string();
    let mut server = json!({"command": [path, "--stdio", "--era", "modern"]});
    let (Some(members), Value::Object(settings)) = (server.as_object_mut(), settings) else {
        return Err("no settings".into());
    };
    members.extend(settings);
    Ok(server)
}

async fn stage() -> Result<Stage, Fault> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut serving = JoinSet::new();
    serving.spawn(fixture::run(Mode::Http(port), Era::Modern));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connects = || async { tokio::net::TcpStream::connect(address).await.is_ok() };
    until("the fixture listens", connects).await?;
    let pooled = json!({"isolation": "pooled", "pool_size": 1});
    let edge = edge()
        .server("stdio", modern(json!({}))?)
        .server("pooled", modern(pooled)?)
        .server("http", json!({"url": format!("http://{address}/mcp")}))
        .start()
        .await?;
    Ok(Stage { edge, _serving: serving })
}

impl Stage {
    /// A client with everything a client can do, on each server over each transport.
    async fn each(&self, story: impl AsyncFn(&mut Client, &str) -> Outcome) -> Outcome {
        for server in SERVERS {
            for way in Transport::ALL {
                let at = format!("{server} over {way:?}");
                let opened = Client::open_able(&self.edge, way, Some(server), able()).await;
                let mut client = opened.map_err(|fault| format!("{at}: {fault}"))?;
                client.listen().await?;
                let told = story(&mut client, &at).await;
                told.map_err(|fault| format!("{at}: {fault}\n{}", self.edge.log_tail()))?;
            }
        }
        Ok(())
    }
}

fn able() -> Value {
    json!({"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}})
}

fn text(answer: &Value) -> Option<&str> {
    answer.pointer("/result/content/0/text")?.as_str()
}

fn told<'a>(client: &'a Client, method: &str) -> Vec<&'a Value> {
    client.told.iter().filter(|it| it["method"] == method).collect()
}

/// Waits until the client was told this.
async fn is_told(client: &mut Client, method: &str) -> Result<Value, Fault> {
    loop {
        if let Some(at) = client.told.iter().position(|it| it["method"] == method) {
            return Ok(client.told.remove(at));
        }
        let message = client.message().await?;
        client.told.push(message);
    }
}

/// Calls a tool and answers what the client is asked in its course, each with what belongs to its
/// method; the answer, and the questions.
async fn converse(
    client: &mut Client,
    method: &str,
    params: Value,
    replies: &Value,
) -> Result<(Value, Vec<Value>), Fault> {
    let id = json!(client.begin(method, params).await?);
    let mut questions = Vec::new();
    loop {
        let message = client.message().await?;
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (None, Some(own)) if *own == id => return Ok((message, questions)),
            (Some(asked), Some(own)) => {
                let reply = replies.get(asked).and_then(Value::as_object).cloned();
                let mut reply = reply.ok_or_else(|| format!("asked {asked}"))?;
                reply
                    .extend([("jsonrpc".to_owned(), json!("2.0")), ("id".to_owned(), own.clone())]);
                questions.push(message);
                client.send(Value::Object(reply)).await?;
            }
            _ => client.told.push(message),
        }
    }
}

fn replies() -> Value {
    json!({
        "sampling/createMessage": {"result": {"role": "assistant", "model": "m",
            "content": {"type": "text", "text": "Paris"}}},
        "elicitation/create": {"result": {"action": "accept", "content": {"name": "Ada"}}},
        "roots/list": {"result": {"roots": [{"uri": "file:///home", "name": "home"}]}}
    })
}

fn tool(name: &str) -> Value {
    json!({"name": name, "arguments": {}})
}

#[tokio::test]
async fn a_modern_server_greets_lists_and_answers() -> Outcome {
    let stage = stage().await?;
    stage
        .each(async |client, _| {
            let hello = client.initialized["result"].clone();
            same("revision", hello["protocolVersion"].as_str(), Some("2025-11-25"))?;
            same("tools", hello["capabilities"]["tools"].is_object(), true)?;
            same("a name", hello["serverInfo"]["name"].is_string(), true)?;
            same("discovery", hello.get("supportedVersions"), None)?;
            same("ping", client.request("ping", json!({})).await?["result"].clone(), json!({}))?;
            let listed = client.request("tools/list", json!({})).await?["result"].clone();
            same("a list", listed["tools"].as_array().is_some_and(|it| it.len() > 10), true)?;
            for key in ["resultType", "ttlMs", "cacheScope"] {
                same(key, listed.get(key), None)?;
            }
            let echoed = client.call("echo", json!({"value": [1.5, null]})).await?;
            same("echo", echoed.as_str(), r#"{"value":[1.5,null]}"#)?;
            let failed = client.request("tools/call", tool("fail")).await?;
            same("an error", failed["error"]["code"].as_i64(), Some(-32603))?;
            let read = json!({"uri": "test://nonexistent"});
            let missing = client.request("resources/read", read).await?;
            same("no resource", missing["error"]["code"].as_i64(), Some(-32002))?;
            let unknown = client.request("tasks/update", json!({})).await?;
            same("a word of the other era", unknown["error"]["code"].as_i64(), Some(-32601))
        })
        .await
}

#[tokio::test]
async fn a_call_reports_and_logs_as_the_client_wants() -> Outcome {
    let stage = stage().await?;
    stage
        .each(async |client, _| {
            let mut slow = tool("slow");
            slow["arguments"] = json!({"ms": 30, "steps": 3});
            slow["_meta"] = json!({"progressToken": "mine"});
            let answer = client.request("tools/call", slow).await?;
            same("slow", text(&answer), Some("slept 30 ms"))?;
            let progress = told(client, "notifications/progress");
            let own = progress.iter().filter(|it| it["params"]["progressToken"] == "mine");
            same("progress", own.count(), 4)?;
            client.request("tools/call", tool("test_tool_with_logging")).await?;
            let logged = told(client, "notifications/message").len();
            same("logged, unasked", logged, 3)?;
            let level = json!({"level": "error"});
            let set = client.request("logging/setLevel", level).await?;
            same("the level", set["result"].clone(), json!({}))?;
            client.request("tools/call", tool("test_tool_with_logging")).await?;
            same("logged, then", told(client, "notifications/message").len(), logged)
        })
        .await
}

#[tokio::test]
async fn what_a_server_needs_is_asked_of_the_client() -> Outcome {
    let stage = stage().await?;
    stage
        .each(async |client, _| {
            let mut call = async |name: &str, replies: &Value| {
                let (answer, asked) = converse(client, "tools/call", tool(name), replies).await?;
                let methods: Vec<_> = asked.iter().filter_map(|it| it["method"].as_str()).collect();
                let said = text(&answer).unwrap_or_default().to_owned();
                Ok::<_, Fault>((said, methods.join(" "), answer))
            };
            let all = "test_input_required_result_multiple_inputs";
            let (said, asked, _) = call("test_sampling", &replies()).await?;
            same(
                "sampling",
                (said.as_str(), asked.as_str()),
                ("LLM response: Paris", "sampling/createMessage"),
            )?;
            let (said, asked, _) = call("list_roots", &replies()).await?;
            same("roots", (said.as_str(), asked.as_str()), ("file:///home", "roots/list"))?;
            let (said, asked, _) =
                call("test_input_required_result_multi_round", &replies()).await?;
            same(
                "rounds",
                (said.as_str(), asked.as_str()),
                ("Ada likes Ada", "elicitation/create elicitation/create"),
            )?;
            let (said, asked, _) = call(all, &replies()).await?;
            same("at once", asked.split(' ').count(), 3)?;
            same("all answers", said.contains("Paris") && said.contains("home"), true)?;
            let mut declined = replies();
            declined["elicitation/create"] = json!({"result": {"action": "decline"}});
            let (said, _, answer) = call("test_elicitation", &declined).await?;
            same("declined", said.contains("action=decline"), true)?;
            same("no fault", answer["result"].get("isError").is_none_or(|it| it == false), true)?;
            let mut refused = replies();
            refused["elicitation/create"] = json!({"error": {"code": -1, "message": "rejected"}});
            let (said, _, answer) = call(all, &refused).await?;
            same("refused", answer["result"]["isError"].as_bool(), Some(true))?;
            same(format!("why: {said}"), said.contains("rejected"), true)
        })
        .await
}

#[tokio::test]
async fn a_client_is_not_asked_what_it_did_not_declare() -> Outcome {
    let stage = stage().await?;
    for server in SERVERS {
        let mut client = Client::open(&stage.edge, Transport::Ws, Some(server)).await?;
        let (answer, asked) =
            converse(&mut client, "tools/call", tool("test_sampling"), &replies()).await?;
        same("asked", asked.len(), 0)?;
        let named = answer.to_string().contains("sampling");
        same(format!("{server}: the capability in {answer}"), named, true)?;
    }
    Ok(())
}

#[tokio::test]
async fn subscriptions_and_news_of_lists_reach_the_client() -> Outcome {
    let stage = stage().await?;
    stage
        .each(async |client, at| {
            let uri = json!({"uri": "test://watched-resource"});
            let subscribed = client.request("resources/subscribe", uri.clone()).await?;
            same("subscribed", subscribed["result"].clone(), json!({}))?;
            client.call("touch_resource", uri.clone()).await?;
            let updated = is_told(client, "notifications/resources/updated").await?;
            same("the resource", updated["params"]["uri"].clone(), uri["uri"].clone())?;
            same("no listen", updated["params"].get("_meta"), None)?;
            let left = client.request("resources/unsubscribe", uri.clone()).await?;
            same("unsubscribed", left["result"].clone(), json!({}))?;
            client.call("touch_resource", uri).await?;
            client.call("test_trigger_tool_change", json!({})).await?;
            is_told(client, "notifications/tools/list_changed").await?;
            let late = told(client, "notifications/resources/updated").len();
            same(format!("{at}: after it unsubscribed"), late, 0)
        })
        .await
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server() -> Outcome {
    let stage = stage().await?;
    stage
        .each(async |client, _| {
            let before = cancelled(client).await?;
            let mut slow = tool("slow");
            slow["arguments"] = json!({"ms": 60_000, "steps": 1});
            slow["_meta"] = json!({"progressToken": 1});
            let id = client.begin("tools/call", slow).await?;
            is_told(client, "notifications/progress").await?;
            let params = json!({"requestId": id, "reason": "enough"});
            let method = "notifications/cancelled";
            client.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await?;
            is_cancelled_after(client, before).await
        })
        .await
}

/// Waits until the server has heard of one more cancellation.
async fn is_cancelled_after(client: &mut Client, before: u64) -> Outcome {
    within("the cancellation", async {
        while cancelled(client).await? == before {}
        Ok::<_, Fault>(())
    })
    .await
}

async fn cancelled(client: &mut Client) -> Result<u64, Fault> {
    let stats: Value = serde_json::from_str(&client.call("stats", json!({})).await?)?;
    Ok(stats.get("cancelled").and_then(Value::as_u64).ok_or("no count")?)
}

#[tokio::test]
async fn a_session_that_ends_cancels_its_calls() -> Outcome {
    let stage = stage().await?;
    let mut watcher = Client::open(&stage.edge, Transport::Ws, Some("http")).await?;
    let before = cancelled(&mut watcher).await?;
    let mut client = Client::open(&stage.edge, Transport::Mcp, Some("http")).await?;
    let mut slow = tool("slow");
    slow["arguments"] = json!({"ms": 60_000, "steps": 1});
    slow["_meta"] = json!({"progressToken": 1});
    client.begin("tools/call", slow).await?;
    is_told(&mut client, "notifications/progress").await?;
    client.end().await?;
    is_cancelled_after(&mut watcher, before).await
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing() -> Outcome {
    let stage = stage().await?;
    for server in SERVERS {
        let mut client = Client::open(&stage.edge, Transport::Mcp, Some(server)).await?;
        let before = cancelled(&mut client).await?;
        let session = client.session_id().ok_or("no session")?.to_owned();
        let path = format!("/mcp/{server}");
        let mut call = tool("slow");
        call["arguments"] = json!({"ms": 300, "steps": 1});
        call["_meta"] = json!({"progressToken": "p"});
        let call = json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": call});
        let head = |request: Request| {
            let version = ("MCP-Protocol-Version", "2025-11-25");
            request.header("Mcp-Session-Id", &session).header(version.0, version.1)
        };
        let post = head(Request::post(&path, call.to_string()));
        let mut stream = post.send(stage.edge.address).await?;
        let first = within("the first event", stream.event()).await?.ok_or("no event")?;
        let last = first.id.ok_or("an event without an id")?;
        within("progress", stream.event()).await?;
        drop(stream);
        let resume = head(Request::stream(&path)).header("Last-Event-ID", &last);
        let mut resumed = resume.send(stage.edge.address).await?;
        let answer = within("the answer", async {
            while let Some(message) = resumed.message().await? {
                if message["id"] == 99 {
                    return Ok(message);
                }
            }
            Err(Fault::from("the stream ended"))
        })
        .await?;
        same(format!("the answer of {server}"), text(&answer), Some("slept 300 ms"))?;
        same("cancelled", cancelled(&mut client).await?, before)?;
    }
    Ok(())
}

#[tokio::test]
async fn all_servers_as_one_have_modern_ones_among_them() -> Outcome {
    let stage = stage().await?;
    for way in Transport::ALL {
        let mut client = Client::open_able(&stage.edge, way, None, able()).await?;
        let listed = client.request("tools/list", json!({})).await?;
        let names: Vec<_> = listed["result"]["tools"]
            .as_array()
            .ok_or("no tools")?
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        for server in SERVERS {
            let name = format!("{server}__test_sampling");
            same(format!("{name} over {way:?}"), names.contains(&name.as_str()), true)?;
            let (answer, _) = converse(&mut client, "tools/call", tool(&name), &replies()).await?;
            same(name, text(&answer), Some("LLM response: Paris"))?;
        }
    }
    Ok(())
}
