//! The gateway binary; [`mcp_gateway::cli`] reads the command line.

use std::process::ExitCode;

/// Small allocations are most of what a message costs; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mcp_gateway::cli::main()
}
