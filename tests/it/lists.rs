//! Lists cost no process: what one process says is told to every session that has none yet.

mod away;

use std::collections::BTreeSet;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::Request;
use edge_tests::processes::Process;
use edge_tests::{Fault, Outcome, same, until};
use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const LISTS: [&str; 4] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// The fixture over stdio, with more settings.
fn stdio_with(settings: Value) -> Value {
    let (mut server, Value::Object(settings)) = (stdio(), settings) else { return Value::Null };
    server.as_object_mut().into_iter().for_each(|it| it.extend(settings.clone()));
    server
}

async fn all_lists(client: &mut Client) -> Result<Vec<Value>, Fault> {
    let mut lists = Vec::new();
    for method in LISTS {
        let answer = client.request(method, json!({})).await?;
        lists.push(answer.get("result").cloned().ok_or_else(|| format!("{method}: {answer}"))?);
    }
    Ok(lists)
}

async fn tools(client: &mut Client) -> Result<BTreeSet<String>, Fault> {
    let answer = client.request("tools/list", json!({})).await?;
    let tools = answer.pointer("/result/tools").and_then(Value::as_array).ok_or("no tools")?;
    let names = tools.iter().filter_map(|it| it.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

async fn stats(client: &mut Client) -> Result<Value, Fault> {
    Ok(serde_json::from_str(&client.call("stats", json!({})).await?)?)
}

async fn is_told(client: &mut Client, method: &str) -> Outcome {
    let is_it = |it: &Value| it.get("method").and_then(Value::as_str) == Some(method);
    while !client.told.iter().any(is_it) {
        let message = client.message().await?;
        client.told.push(message);
    }
    Ok(())
}

async fn count_is(edge: &Edge, what: &str, wanted: usize) -> Outcome {
    let counted = until(format!("{what}: {wanted} processes"), || async {
        edge.descendants().len() == wanted
    });
    counted.await.map_err(|fault| format!("{fault}; there are {:?}", edge.descendants()).into())
}

fn only(edge: &Edge) -> Result<Process, Fault> {
    match edge.descendants().as_slice() {
        [process] => Ok(*process),
        others => Err(format!("there are {others:?}, not one").into()),
    }
}

fn signal(process: Process, signal: Signal) -> Outcome {
    Ok(kill(Pid::from_raw(i32::try_from(process.pid)?), signal)?)
}

#[tokio::test]
async fn two_hundred_sessions_list_with_one_process_and_a_call_starts_another() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let at = &edge;
    let opened = (0..200).zip(Transport::ALL.into_iter().cycle()).map(|(_, way)| async move {
        let mut client = Client::open(at, way, Some("fixture")).await?;
        let lists = all_lists(&mut client).await?;
        Ok::<_, Fault>((client, lists))
    });
    let mut clients = try_join_all(opened).await?;
    only(&edge)?;
    let (first, told) = clients.first_mut().ok_or("no client")?;
    stats(first).await?;
    same("processes after a call", edge.descendants().len(), 2)?;
    same("the lists of its own process", all_lists(first).await?, told.clone())?;
    for (_, lists) in &clients {
        same("what everybody was told", lists == &clients[0].1, true)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_list_is_the_same_to_the_byte_from_either_process() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?.to_owned();
    let list = async || {
        let body = r#"{"jsonrpc":"2.0","id":"12:34","method":"tools/list"}"#;
        let post = Request::post("/mcp/fixture", body).header("Mcp-Session-Id", &session);
        let text = post.reply(edge.address).await?.text();
        // An answer that takes its time comes as an event.
        let mut lines = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        let answer = lines.find(|line| line.starts_with('{')).map(str::to_owned);
        answer.ok_or_else(|| Fault::from(format!("answered {text}")))
    };
    let (asked, remembered) = (list().await?, list().await?);
    same("one process", edge.descendants().len(), 1)?;
    stats(&mut client).await?;
    let own = list().await?;
    same("its length", own.len() > 1_000 && own.contains("12:34"), true)?;
    same("remembered, it is the same", remembered == own, true)?;
    same("asked, it is the same", asked == own, true)
}

#[tokio::test]
async fn what_a_session_changes_is_its_own() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for (transport, at) in
        Transport::ALL.into_iter().flat_map(|it| [(it, Some("fixture")), (it, None)])
    {
        let mut one = Client::open(&edge, transport, at).await?;
        let mut other = Client::open(&edge, transport, at).await?;
        let before = tools(&mut one).await?;
        one.call("change_lists", json!({})).await?;
        same("its own list", tools(&mut one).await?.contains("extra_tool"), true)?;
        same("the other's", &tools(&mut other).await?, &before)?;
        let (own, others) = (stats(&mut one).await?, stats(&mut other).await?);
        same("two processes", own.get("pid") == others.get("pid"), false)?;
        same("the other's still", &tools(&mut other).await?, &before)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_list_brings_a_crashed_process_back_with_its_subscriptions() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for at in [Some("fixture"), None] {
        let mut client = Client::open(&edge, Transport::Ws, at).await?;
        let uri = "test://watched-resource";
        client.request("resources/subscribe", json!({"uri": uri})).await?;
        client.request("tools/call", json!({"name": "crash", "arguments": {}})).await?;
        is_told(&mut client, "notifications/tools/list_changed").await?;
        let before = edge.descendants().len();
        tools(&mut client).await?;
        same("one more process", edge.descendants().len(), before + 1)?;
        let subscribed = stats(&mut client).await?;
        same("subscribed again", subscribed.pointer("/subscriptions/0"), Some(&json!(uri)))?;
    }
    Ok(())
}

#[tokio::test]
async fn all_servers_as_one_are_listed_by_one_process_each() -> Outcome {
    let edge = edge().server("a", stdio()).server("b", stdio()).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, None).await?;
        let names = tools(&mut client).await?;
        same("a's and b's", names.contains("a__echo") && names.contains("b__echo"), true)?;
        all_lists(&mut client).await?;
    }
    same("processes", edge.descendants().len(), 2)?;
    let mut client = Client::open(&edge, Transport::Ws, None).await?;
    same("a call", client.call("a__echo", json!({"value": 1})).await?.as_str(), "{\"value\":1}")?;
    same("processes after it", edge.descendants().len(), 3)
}

#[tokio::test]
async fn pages_are_followed_to_the_end() -> Outcome {
    let server = stdio_with(json!({"env": {"FIXTURE_PAGES": "5"}}));
    let edge = edge().server("fixture", server).start().await?;
    let mut client = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let (mut params, mut names) = (json!({}), Vec::new());
    loop {
        let answer = client.request("tools/list", params).await?;
        let page = answer.pointer("/result/tools").and_then(Value::as_array).ok_or("no tools")?;
        names.extend(page.iter().filter_map(|it| it.get("name")).cloned());
        let Some(cursor) = answer.pointer("/result/nextCursor") else { break };
        params = json!({"cursor": cursor});
    }
    same("the number of tools", names.len(), 49)?;
    let wrong = client.request("tools/list", json!({"cursor": "nowhere"})).await?;
    let code = wrong.pointer("/error/code").and_then(Value::as_i64);
    same("a cursor that is none", code, Some(-32602))?;
    only(&edge).map(drop)
}

#[tokio::test]
async fn a_change_reaches_the_sessions_without_a_process_and_no_other() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut listening = Vec::new();
    for transport in [Transport::Sse, Transport::Ws] {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        tools(&mut client).await?;
        listening.push(client);
    }
    let mut merged = Client::open(&edge, Transport::Ws, None).await?;
    tools(&mut merged).await?;
    listening.push(merged);
    let shared = only(&edge)?;
    let mut alone = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    stats(&mut alone).await?;
    signal(shared, Signal::SIGUSR1)?;
    for client in &mut listening {
        is_told(client, "notifications/tools/list_changed").await?;
        is_told(client, "notifications/resources/list_changed").await?;
        same("the new tool", tools(client).await?.contains("extra_tool"), true)?;
    }
    same("the one with a process", tools(&mut alone).await?.contains("extra_tool"), false)?;
    same("it was told nothing", alone.told.as_slice(), &[])
}

#[tokio::test]
async fn clients_of_two_kinds_see_their_own_lists() -> Outcome {
    let server = stdio_with(json!({"env": {"FIXTURE_BY_CLIENT": "1"}}));
    let edge = edge().server("fixture", server).start().await?;
    for transport in Transport::ALL {
        for (capabilities, offered) in [(json!({}), false), (json!({"sampling": {}}), true)] {
            for at in [Some("fixture"), None] {
                let able = capabilities.clone();
                let mut client = Client::open_able(&edge, transport, at, able).await?;
                let what = format!("{transport:?} {at:?} {capabilities}");
                same(what, tools(&mut client).await?.contains("sampler"), offered)?;
            }
        }
    }
    same("one process for each kind", edge.descendants().len(), 2)
}

#[tokio::test]
async fn lists_session_starts_each_session_its_own() -> Outcome {
    let edge = edge().server("fixture", stdio_with(json!({"lists": "session"}))).start().await?;
    let mut clients = Vec::new();
    for transport in Transport::ALL {
        clients.push(Client::open(&edge, transport, Some("fixture")).await?);
    }
    same("processes", edge.descendants().len(), clients.len())
}

#[tokio::test]
async fn too_many_processes_are_refused_with_the_remedy() -> Outcome {
    let edge = edge().server("fixture", stdio_with(json!({"max_processes": 1}))).start().await?;
    let mut first = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let listed = tools(&mut first).await?;
    stats(&mut first).await?;
    only(&edge)?;
    let mut second = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    same("lists are known without a process", tools(&mut second).await?, listed)?;
    let call = json!({"name": "stats", "arguments": {}});
    let refused = second.request("tools/call", call).await?;
    let error = refused.get("error").ok_or_else(|| format!("answered {refused}"))?;
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    same("its code", error.get("code"), Some(&json!(-31006)))?;
    let wanted = "server \"fixture\" has 1 processes running (max_processes); sessions can share \
                  processes with isolation: pooled";
    same("its words", message, wanted)?;
    same("dispatched", error.pointer("/data/dispatched"), Some(&json!(false)))?;
    same("retryable", error.pointer("/data/retryable"), Some(&json!(true)))?;
    let end = Request::new("DELETE", "/mcp/fixture");
    let end = end.header("Mcp-Session-Id", first.session_id().unwrap_or_default());
    end.reply(edge.address).await?;
    count_is(&edge, "after the first has ended", 0).await?;
    stats(&mut second).await.map(drop)
}

#[tokio::test]
async fn a_process_that_only_lists_may_crash() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut before = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let listed = tools(&mut before).await?;
    signal(only(&edge)?, Signal::SIGKILL)?;
    count_is(&edge, "after the crash", 0).await?;
    let mut after = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    same("what the first is told", tools(&mut before).await?, listed.clone())?;
    same("what the second is told", tools(&mut after).await?, listed)?;
    same("processes", edge.descendants().len(), 0)?;
    same("nobody was told of it", before.told.len(), 0)?;
    let prompts = after.request("prompts/list", json!({})).await?;
    same("what nobody had asked", prompts.get("result").is_some(), true)?;
    only(&edge).map(drop)
}

#[tokio::test]
async fn idle_processes_end_and_come_back_as_they_were_told_to_be() -> Outcome {
    let server = stdio_with(json!({"idle_timeout": "1s"}));
    let edge = edge().server("fixture", server).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    client.request("logging/setLevel", json!({"level": "warning"})).await?;
    let roots = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    client.send(roots).await?;
    same("no process of its own yet", edge.descendants().len() <= 1, true)?;
    let first = stats(&mut client).await?;
    same("the level", first.get("level"), Some(&json!("warning")))?;
    same("the roots", first.get("roots_changed"), Some(&json!(1)))?;
    count_is(&edge, "idle", 0).await?;
    tools(&mut client).await?;
    let again = stats(&mut client).await?;
    same("the level again", again.get("level"), Some(&json!("warning")))?;
    same("another process", again.get("pid") == first.get("pid"), false)?;
    same("nothing was said of it", client.told.as_slice(), &[])
}

#[tokio::test]
async fn a_process_is_not_idle_while_it_is_needed() -> Outcome {
    let server = stdio_with(json!({"idle_timeout": "300ms"}));
    let kept = stdio_with(json!({"idle_timeout": "never"}));
    let edge = edge().server("fixture", server).server("kept", kept).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let said = client.call("slow", json!({"ms": 2_500, "steps": 1})).await?;
    same("a call that is silent for longer", said.as_str(), "slept 2500 ms")?;
    let mut kept = Client::open(&edge, Transport::Ws, Some("kept")).await?;
    let pid = stats(&mut kept).await?;
    let uri = json!({"uri": "test://watched-resource"});
    client.request("resources/subscribe", uri.clone()).await?;
    let subscribed = stats(&mut client).await?;
    let mut other = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    stats(&mut other).await?;
    // When another process of the same age is gone, these two would be too.
    count_is(&edge, "the subscriber's and the two that are kept", 3).await?;
    same("with a subscription", stats(&mut client).await?, subscribed)?;
    same("with never", stats(&mut kept).await?, pid)?;
    client.request("resources/unsubscribe", uri).await?;
    count_is(&edge, "without a subscription", 2).await
}

#[tokio::test]
async fn who_lost_a_changed_list_with_an_idle_process_is_told() -> Outcome {
    let server = stdio_with(json!({"idle_timeout": "3s"}));
    let edge = edge().server("fixture", server).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    client.call("change_lists", json!({})).await?;
    same("its list", tools(&mut client).await?.contains("extra_tool"), true)?;
    client.told.clear();
    is_told(&mut client, "notifications/tools/list_changed").await?;
    same("its list after that", tools(&mut client).await?.contains("extra_tool"), false)
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why_and_is_tried_again() -> Outcome {
    let folder = edge().server("none", stdio()).start().await?;
    let flag = folder.folder().join("flag");
    let fixture = stdio();
    let path = fixture.pointer("/command/0").and_then(Value::as_str).unwrap_or_default();
    let script =
        format!("[ -e {} ] && exec {path} --stdio; echo no flag >&2; exit 3", flag.display());
    let server = json!({"command": ["sh", "-c", script]});
    let edge = edge().server("broken", server).start().await?;
    let fault = Client::open(&edge, Transport::Mcp, Some("broken")).await.err();
    let fault = fault.map(|it| it.to_string()).unwrap_or_default();
    same(&fault, fault.contains("-31001") && fault.contains("its last words: no flag"), true)?;
    std::fs::write(&flag, "")?;
    until("it is tried again", || async {
        Client::open(&edge, Transport::Mcp, Some("broken")).await.is_ok()
    })
    .await
}

#[tokio::test]
async fn clients_of_many_kinds_are_a_few_processes() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for number in 0..20 {
        let able = json!({"experimental": {"x": {"number": number}}});
        Client::open_able(&edge, Transport::Mcp, Some("fixture"), able).await?;
    }
    until("at most eight", || async { edge.descendants().len() <= 8 }).await?;
    Client::open(&edge, Transport::Mcp, Some("fixture")).await.map(drop)
}

#[tokio::test]
async fn a_changed_server_is_told_to_a_session_without_a_process() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let before = tools(&mut client).await?;
    let paged = stdio_with(json!({"env": {"FIXTURE_PAGES": "5"}}));
    let config = json!({"servers": {"fixture": paged}});
    let next = edge.folder().join("gateway.next");
    std::fs::write(&next, config.to_string())?;
    std::fs::rename(next, edge.folder().join("gateway.json"))?;
    is_told(&mut client, "notifications/tools/list_changed").await?;
    same("its first page", tools(&mut client).await?.len() < before.len(), true)?;
    count_is(&edge, "the new one's", 1).await
}

#[tokio::test]
async fn a_pool_that_nobody_uses_ends_unless_it_was_started_early() -> Outcome {
    let pool = |prewarm: bool| {
        let idle = json!({"pool_size": 1, "prewarm": prewarm, "idle_timeout": "300ms"});
        stdio_with(idle)
    };
    let edge = edge().server("lazy", pool(false)).server("early", pool(true)).start().await?;
    let mut lazy = Client::open(&edge, Transport::Mcp, Some("lazy")).await?;
    let mut early = Client::open(&edge, Transport::Mcp, Some("early")).await?;
    let (first, kept) = (stats(&mut lazy).await?, stats(&mut early).await?);
    count_is(&edge, "the one that was started early", 1).await?;
    same("another process", stats(&mut lazy).await?.get("pid") == first.get("pid"), false)?;
    same("the same process", stats(&mut early).await?, kept)
}
