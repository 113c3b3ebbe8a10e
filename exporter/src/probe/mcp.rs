//! `POST /mcp`: `tools/list` in revision 2026-07-28, which needs no session and leaves none.

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

use super::Way;
use crate::dial::{self, Phases};

const REVISION: &str = "2026-07-28";

/// Succeeds when tools are listed.
pub(super) async fn probe(way: &Way, phases: &mut Phases) -> Result<(), String> {
    let stream = way.open(phases).await?;
    let request = way
        .request(Method::POST, "/mcp")
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::ACCEPT, "application/json, text/event-stream")
        .header("MCP-Protocol-Version", REVISION)
        .header("Mcp-Method", "tools/list")
        .body(Full::from(question().to_string()))
        .map_err(|fault| fault.to_string())?;
    dial::exchange(stream, async |mut sender| {
        let response = dial::send(&mut sender, request).await?;
        phases.done("response");
        let status = response.status();
        let said = dial::body(response).await?;
        phases.done("transfer");
        if lists_tools(&said) { Ok(()) } else { Err(format!("/mcp lists no tools: {status}")) }
    })
    .await
}

fn question() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo":
                {"name": "gateway-exporter", "version": env!("CARGO_PKG_VERSION")},
        }},
    })
}

/// Whether the answer, one JSON text or an event stream, is a list of tools.
fn lists_tools(said: &Bytes) -> bool {
    let Ok(text) = str::from_utf8(said) else { return false };
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut texts = std::iter::once(text).chain(data);
    texts.any(|it| {
        let answer: Option<Value> = serde_json::from_str(it).ok();
        answer.is_some_and(|it| it.pointer("/result/tools").is_some_and(Value::is_array))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_in_both_forms() {
        let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
        assert!(lists_tools(&Bytes::from(list)));
        assert!(lists_tools(&Bytes::from(format!(": hi\n\nevent: message\ndata: {list}\n\n"))));
        assert!(!lists_tools(&Bytes::from(r#"{"error":{"code":-32601}}"#)));
        assert!(!lists_tools(&Bytes::from_static(b"<html>")));
    }
}
