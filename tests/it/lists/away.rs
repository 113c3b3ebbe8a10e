//! Lists of a server that is away, or that does not stay.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::{Outcome, same};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{count_is, signal, tools};

#[tokio::test]
async fn what_one_session_was_told_alone_is_given_to_no_other_from_memory() -> Outcome {
    let folder = edge().server("none", stdio()).start().await?;
    let flag = folder.folder().join("flag");
    let fixture = stdio();
    let path = fixture.pointer("/command/0").and_then(Value::as_str).unwrap_or_default();
    let script = format!("[ -e {} ] && exit 3; exec {path} --stdio", flag.display());
    for lists in ["session", "shared"] {
        let server = json!({"command": ["sh", "-c", script], "lists": lists});
        let edge = edge().server("one", server).start().await?;
        let mut ann = Client::open(&edge, Transport::Mcp, None).await?;
        ann.call("change_lists", json!({})).await?;
        let own = tools(&mut ann).await?;
        same("her own list", own.contains("extra_tool"), true)?;
        std::fs::write(&flag, "")?;
        let mut bob = Client::open(&edge, Transport::Mcp, None).await?;
        let is_told = tools(&mut bob).await?.contains("extra_tool");
        same("it is his, too, when the server is away", is_told, false)?;
        for process in edge.descendants() {
            signal(process, Signal::SIGKILL)?;
        }
        count_is(&edge, "killed", 0).await?;
        same("hers", tools(&mut ann).await?, own)?;
        std::fs::remove_file(&flag)?;
    }
    Ok(())
}

/// A server that greets, and ends when it is asked for its tools; notes each of its starts.
const MORTAL: &str = r#"
echo start >> "$STARTS"
while read -r line; do
    case $line in
    *tools/list*) exit 1 ;;
    *'"initialize"'*)
        id=${line#*'"id":'}
        about='"protocolVersion":"2025-06-18","serverInfo":{"name":"mortal","version":"1"}'
        result="{$about,\"capabilities\":{\"tools\":{}}}"
        echo "{\"jsonrpc\":\"2.0\",\"id\":${id%%[,\}]*},\"result\":$result}" ;;
    esac
done
"#;

#[tokio::test]
async fn a_process_that_crashes_with_each_list_is_not_started_for_each() -> Outcome {
    let folder = edge().server("none", stdio()).start().await?;
    let starts = folder.folder().join("starts");
    let script = folder.folder().join("mortal.sh");
    std::fs::write(&script, MORTAL)?;
    let server = json!({"command": ["sh", script], "env": {"STARTS": starts}});
    let edge = edge().server("mortal", server).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("mortal")).await?;
    let mut last = Value::Null;
    for _ in 0..10 {
        last = client.request("tools/list", json!({})).await?;
    }
    let message = last.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    same(message, message.contains("crashed 5 times within a minute"), true)?;
    same("starts", std::fs::read_to_string(&starts)?.lines().count(), 5)
}

#[tokio::test]
async fn processes_that_only_list_give_way_to_those_of_any_server() -> Outcome {
    let names = ["a", "b", "c", "d"];
    let servers = names.into_iter().fold(edge(), |edge, name| edge.server(name, stdio()));
    let edge = servers.setting("limits", json!({"processes": 3})).start().await?;
    for name in ["a", "b", "c"] {
        let mut client = Client::open(&edge, Transport::Mcp, Some(name)).await?;
        tools(&mut client).await?;
    }
    count_is(&edge, "all places are taken", 3).await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("d")).await?;
    client.call("stats", json!({})).await?;
    same("processes", edge.descendants().len() <= 3, true)
}
