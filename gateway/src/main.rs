//! The gateway binary; [`mcp_gateway::cli`] reads the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_gateway::cli::main()
}
