//! The ledger over standard input and output.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdout};
use tokio::task::JoinSet;

use super::{Hang, Ledger, Message, Params, answer, done, result};
use crate::Fault;

/// Where lines are written, one at a time.
type Out = Arc<tokio::sync::Mutex<Stdout>>;

/// Serves until its input ends.
pub(super) async fn serve(ledger: Ledger) -> Result<(), Fault> {
    let ledger = Arc::new(ledger);
    let out: Out = Arc::new(tokio::sync::Mutex::new(tokio::io::stdout()));
    let client = Arc::new(Mutex::new("-".to_owned()));
    let mut calls = JoinSet::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        while calls.try_join_next().is_some() {}
        let Ok(message) = serde_json::from_str::<Message<'_>>(&line) else { continue };
        let Some(id) = message.id else { continue };
        if message.method == "tools/call" {
            let (id, params) = (id.to_owned(), message.params);
            let name = client.lock().clone();
            calls.spawn(call(ledger.clone(), out.clone(), name, id, params));
            continue;
        }
        if message.method == "initialize" && !message.params.client.name.is_empty() {
            *client.lock() = message.params.client.name.replace(' ', "_");
        }
        write(&out, &answer(id, result(&message).as_ref())).await?;
    }
    Ok(())
}

async fn call(
    ledger: Arc<Ledger>,
    out: Out,
    client: String,
    id: Box<RawValue>,
    params: Params,
) -> Result<(), Fault> {
    let arguments = params.arguments;
    if arguments.hang == Some(Hang::Before) {
        return Ok(());
    }
    ledger.append(&arguments, &client)?;
    if arguments.hang == Some(Hang::After) {
        return Ok(());
    }
    let steps = arguments.steps.max(1);
    for step in 0..steps {
        if let Some(token) = &params.meta.token {
            let params = json!({"progressToken": token, "progress": step, "total": steps});
            let note =
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
            write(&out, &note.to_string()).await?;
        }
        tokio::time::sleep(Duration::from_millis(arguments.ms) / steps).await;
    }
    let text = done(&id, &arguments.uuid);
    if let Some(at) = arguments.abort {
        let mut out = out.lock().await;
        let bytes: Vec<u8> = text.bytes().take(at).collect();
        out.write_all(&bytes).await?;
        out.flush().await?;
        std::process::abort();
    }
    write(&out, &text).await
}

async fn write(out: &Out, line: &str) -> Result<(), Fault> {
    let mut out = out.lock().await;
    out.write_all(format!("{line}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}
