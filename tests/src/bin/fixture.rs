//! The MCP server the outside suites are run against: `fixture --stdio` or `fixture --http PORT`.

use std::io::Write;
use std::process::ExitCode;

use edge_tests::fixture::{self, Mode};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match Mode::from_arguments(&arguments) {
        Ok(mode) => fixture::run(mode).await,
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ignored = writeln!(std::io::stderr(), "fixture: {fault}");
            ExitCode::FAILURE
        }
    }
}
