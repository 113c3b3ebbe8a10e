//! The gateway binary; [`mcp_gateway::cli`] reads the command line.

use std::process::ExitCode;

/// docs/decisions/0004-allocator.md says why this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mcp_gateway::cli::main()
}
