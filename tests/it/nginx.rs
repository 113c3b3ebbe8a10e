//! The nginx that is shipped, in front of gateways and of a server that tells what it was sent.

mod answers;
mod headers;
mod log;
mod raw;
mod replicas;
mod settings;
mod slow;
mod streams;
mod tls;

use edge_tests::http1::Reply;
use edge_tests::{Outcome, same};
use serde_json::{Value, json};

/// What this server answers by itself says the same in its body as the gateway's own refusals do,
/// and in both forms under the id that its log has.
fn is_fault(reply: &Reply, status: u16, is_rpc: bool) -> Outcome {
    same("the status", reply.status, status)?;
    same("the type", reply.header("content-type"), Some("application/json"))?;
    let body: Value = serde_json::from_str(&reply.text())?;
    let id = reply.header("x-request-id").map(|it| json!(it));
    same("an id", id.is_some(), true)?;
    if is_rpc {
        same("version", body.get("jsonrpc"), Some(&json!("2.0")))?;
        same("id", body.get("id"), Some(&json!(null)))?;
        same("request id", body.pointer("/error/data/requestId").cloned(), id)?;
        let code = body.pointer("/error/code").and_then(Value::as_i64);
        return same(format!("a code in {body}"), code.is_some(), true);
    }
    same("request id", body.pointer("/error/requestId").cloned(), id)?;
    let said = body.get("detail").and_then(Value::as_str);
    same("the message", body.pointer("/error/message").and_then(Value::as_str), said)?;
    same(format!("words in {body}"), said.is_some_and(|it| it.len() > 10), true)
}
