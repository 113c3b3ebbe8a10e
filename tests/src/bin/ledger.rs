//! The server whose tool writes down that it ran: `ledger --stdio FILE` or
//! `ledger --http PORT FILE`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use edge_tests::Fault;
use edge_tests::ledger::{self, Mode};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ignored = writeln!(std::io::stderr(), "ledger: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mode, file) = match words.as_slice() {
        ["--stdio", file] => (Mode::Stdio, *file),
        ["--http", port, file] => (Mode::Http(port.parse()?), *file),
        _ => return Err("usage: ledger --stdio FILE | --http PORT FILE".into()),
    };
    ledger::run(mode, Path::new(file)).await
}
