//! All servers as one for clients of revision 2026-07-28: names lead to servers of either era.

use edge_tests::edge::{Edge, edge};
use edge_tests::eras::{OverHttp, stdio_of};
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

use super::{INVALID_PARAMS, MISMATCH, refused};
use crate::catalogue::Folder;

/// Servers of the legacy era, of both, and of the modern one; the last over HTTP.
const SERVERS: [&str; 4] = ["old", "both", "new", "remote"];

async fn start() -> Result<(Edge, OverHttp), Fault> {
    let folder = Folder::new("all")?;
    let remote = OverHttp::start("modern", folder.path()).await?;
    let edge = edge()
        .server("old", stdio_of("legacy"))
        .server("both", stdio_of("both"))
        .server("new", stdio_of("modern"))
        .server("remote", remote.server())
        .start()
        .await?;
    Ok((edge, remote))
}

fn tool(name: &str, arguments: Value) -> Ask {
    Ask::tool("", name, arguments).of_all()
}

fn ask(method: &str, params: Value) -> Ask {
    Ask::new("", method, params).of_all()
}

#[tokio::test]
async fn discover_and_the_lists_are_of_all() -> Outcome {
    let (edge, _remote) = start().await?;
    let said = ask("server/discover", json!({})).said(&edge).await?;
    let result = said.answer.get("result").cloned().unwrap_or_default();
    let versions = result.get("supportedVersions").and_then(Value::as_array);
    let is_modern = versions.is_some_and(|it| it.first() == Some(&json!("2026-07-28")));
    same(format!("{result}"), is_modern, true)?;
    for capability in ["/capabilities/tools", "/capabilities/resources/subscribe"] {
        same(format!("{result}"), result.pointer(capability).is_some(), true)?;
    }
    same(format!("{result}"), result.get("ttlMs").is_some_and(Value::is_u64), true)?;
    let lists = [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ];
    for (method, member) in lists {
        let said = ask(method, json!({})).said(&edge).await?;
        let result = said.answer.get("result").cloned().unwrap_or_default();
        let items = result.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        same(format!("{method}: {}", said.answer), items.is_empty(), false)?;
        same(method, result.get("resultType"), Some(&json!("complete")))?;
        same(method, result.get("cacheScope").is_some_and(Value::is_string), true)?;
        if member == "tools" || member == "prompts" {
            let of = |server: &str| {
                let names = items.iter().filter_map(|it| it.get("name")?.as_str());
                names.filter(|name| name.starts_with(&format!("{server}__"))).count()
            };
            let each = items.len() / SERVERS.len();
            same(method, SERVERS.map(of), [each; SERVERS.len()])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_name_with_its_server_leads_there_in_the_body_and_in_the_header() -> Outcome {
    let (edge, _remote) = start().await?;
    for server in SERVERS {
        let name = format!("{server}__echo");
        let call = tool(&name, json!({"value": server}));
        let said = call.text_said(&edge).await?;
        same(&name, said, json!({"value": server}).to_string())?;
        let mirrored = tool(&format!("{server}__test_header"), json!({"region": "eu"}));
        let right = mirrored.clone().header("Mcp-Param-Region", "eu");
        same(server, right.text_said(&edge).await?.as_str(), "{\"region\":\"eu\"}")?;
        let wrong = mirrored.header("Mcp-Param-Region", "us");
        refused(server, &wrong.said(&edge).await?, 400, MISMATCH)?;
        // What the server itself calls it is another name than the one in the body.
        for other in ["echo", "elsewhere__echo"] {
            let wrong = call.clone().header("Mcp-Name", other);
            refused(&name, &wrong.said(&edge).await?, 400, MISMATCH)?;
        }
        let prompt = json!({"name": format!("{server}__test_simple_prompt")});
        let said = ask("prompts/get", prompt).said(&edge).await?;
        same(format!("{}", said.answer), said.answer.pointer("/result/messages").is_some(), true)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_is_met_in_the_era_that_it_has() -> Outcome {
    let (edge, _remote) = start().await?;
    for server in SERVERS {
        let version = if server == "old" { "2025-11-25" } else { "2026-07-28" };
        let said = tool(&format!("{server}__client"), json!({})).text_said(&edge).await?;
        let client: Value = serde_json::from_str(&said)?;
        same(format!("{server}: {said}"), client.get("protocolVersion"), Some(&json!(version)))?;
        let name = client.pointer("/clientInfo/name");
        same(format!("{server}: {said}"), name, Some(&json!("edge-tests")))?;
    }
    Ok(())
}

#[tokio::test]
async fn what_nobody_has_is_refused_with_what_to_do() -> Outcome {
    let (edge, _remote) = start().await?;
    let names = [
        ("old__no_such", "no_such"),
        ("no_such", "no_such"),
        ("old__ehco", "old__echo"),
        ("echo", "new__echo"),
    ];
    for (name, word) in names {
        let said = tool(name, json!({})).said(&edge).await?;
        let told = refused(name, &said, 400, INVALID_PARAMS)?;
        same(format!("{name}: {told}"), told.contains(word), true)?;
    }
    let read = ask("resources/read", json!({"uri": "nowhere://x"}));
    refused("a resource", &read.said(&edge).await?, 400, INVALID_PARAMS)?;
    refused("a method", &ask("no/such", json!({})).said(&edge).await?, 404, -32601).map(drop)
}

#[tokio::test]
async fn a_resource_is_found_by_its_uri_and_by_a_template() -> Outcome {
    let (edge, _remote) = start().await?;
    for (uri, wanted) in [
        ("test://static-text", "This is the content of the static text resource."),
        ("test://letter/q", "q"),
    ] {
        let said = ask("resources/read", json!({"uri": uri})).said(&edge).await?;
        let text = said.answer.pointer("/result/contents/0/text");
        same(format!("{}", said.answer), text, Some(&json!(wanted)))?;
        same(uri, said.answer.pointer("/result/resultType"), Some(&json!("complete")))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_question_of_any_server_is_answered_by_a_retry() -> Outcome {
    let (edge, _remote) = start().await?;
    for server in SERVERS {
        let name = format!("{server}__test_input_required_result_elicitation");
        let call = tool(&name, json!({})).able(json!({"elicitation": {}}));
        let said = call.said(&edge).await?;
        let answer = json!({"action": "accept", "content": {"user_name": "octocat"}});
        let retry = call.answering(&said, |_| answer.clone())?;
        same(&name, retry.text_said(&edge).await?.as_str(), "Hello, octocat!")?;
    }
    Ok(())
}
