//! The MCP server the outside suites are run against: `fixture --stdio` or `fixture --http PORT`,
//! with `--era legacy | modern | both`.

use std::io::Write;
use std::process::ExitCode;

use edge_tests::fixture;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match fixture::from_arguments(&arguments) {
        Ok((mode, era)) => fixture::run(mode, era).await,
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
