//! Clients of revision 2026-07-28, before servers of their own era and of the one before.

mod all;
mod away;
mod cancel;
mod headers;
mod ids;
mod listen;
mod notes;
mod processes;
mod socket;
mod states;

use std::fs;
use std::path::PathBuf;

use edge_tests::edge::{Builder, Edge, edge};
use edge_tests::eras::{OverHttp, stdio_of, with};
use edge_tests::modern::{Ask, Said};
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

use crate::catalogue::Folder;

/// The fixture in each era and over each transport.
const SERVERS: [&str; 4] = ["legacy-stdio", "modern-stdio", "legacy-http", "modern-http"];

const MISMATCH: i64 = -32020;
const INVALID_PARAMS: i64 = -32602;

/// A gateway before all of [`SERVERS`].
struct Stage {
    edge: Edge,
    folder: Folder,
    _fixtures: [OverHttp; 2],
}

impl Stage {
    async fn open() -> Result<Self, Fault> {
        Self::with(edge()).await
    }

    async fn with(builder: Builder) -> Result<Self, Fault> {
        let folder = Folder::new("modern")?;
        let ledger = folder.path().join("ledger");
        let env = json!({"FIXTURE_LEDGER": ledger});
        let legacy = OverHttp::start("legacy", &ledger).await?;
        let modern = OverHttp::start("modern", &ledger).await?;
        let edge = builder
            .server("legacy-stdio", with(stdio_of("legacy"), "env", env.clone()))
            .server("modern-stdio", with(stdio_of("modern"), "env", env))
            .server("legacy-http", legacy.server())
            .server("modern-http", modern.server())
            .start()
            .await?;
        Ok(Self { edge, folder, _fixtures: [legacy, modern] })
    }

    /// What the servers wrote down, all of them in one file.
    fn ledger(&self) -> Vec<String> {
        let path: PathBuf = self.folder.path().join("ledger");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Checks an error of the gateway's to a request with id 1; what it says. One that took so long
/// that it had to come in an event stream has status 200.
fn refused(what: &str, said: &Said, status: u16, code: i64) -> Result<String, Fault> {
    let status = if said.is_stream { 200 } else { status };
    let got = (said.status, said.code(), said.answer.get("id"));
    same(format!("{what}: {}", said.answer), got, (status, Some(code), Some(&json!(1))))?;
    Ok(said.message().to_owned())
}

async fn stats(edge: &Edge, server: &str) -> Result<Value, Fault> {
    let said = Ask::tool(server, "stats", json!({})).text_said(edge).await?;
    Ok(serde_json::from_str(&said)?)
}

/// Checks that a server takes calls.
async fn serves(edge: &Edge, server: &str) -> Outcome {
    let said = Ask::tool(server, "echo", json!({"value": 1})).text_said(edge).await?;
    same(format!("{server} serves"), said.as_str(), "{\"value\":1}")
}
