//! The program as somebody at a shell runs it, under its own name and those of the tools it stands
//! in for.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::edge::binary;
use crate::{Fault, within};

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub out: String,
    /// What it wrote to its standard error.
    pub err: String,
}

impl Ran {
    /// Fails unless it ended with this code.
    ///
    /// # Errors
    /// Shows all it wrote.
    pub fn ended(self, code: i32) -> Result<Self, Fault> {
        if self.code == Some(code) {
            Ok(self)
        } else {
            let Self { code: other, out, err } = self;
            Err(format!("it ended with {other:?}, not {code}\n{out}\n{err}").into())
        }
    }

    /// Fails unless it wrote this somewhere.
    ///
    /// # Errors
    /// Shows all it wrote.
    pub fn says(&self, part: &str) -> Result<(), Fault> {
        let Self { out, err, .. } = self;
        if out.contains(part) || err.contains(part) {
            Ok(())
        } else {
            Err(format!("`{part}` is not in\n{out}\n{err}").into())
        }
    }
}

/// The gateway's program under a name, which is not started yet.
///
/// # Errors
/// It was not built.
pub fn called(name: &str, arguments: &[&str]) -> Result<Command, Fault> {
    let mut command = Command::new(binary("mcp-gateway")?);
    command.arg0(name).args(arguments);
    // What the machine sets is not to decide a test.
    for variable in ["REDIS_URL", "REDIS_PASSWORD", "SESSION_SECRET", "SERVER_NAME"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Another program of the machine, which is not started yet.
pub fn other(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("http_proxy").env_remove("https_proxy");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it in a folder until it ends, with this on its standard input.
///
/// # Errors
/// It cannot be started, or does not end.
pub async fn run_in(
    folder: &Path,
    mut command: Command,
    input: Option<&str>,
) -> Result<Ran, Fault> {
    command.current_dir(folder);
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn()?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = within("the command ends", child.wait_with_output()).await?;
    Ok(Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs it until it ends.
///
/// # Errors
/// It cannot be started, or does not end.
pub async fn run(command: Command) -> Result<Ran, Fault> {
    run_in(&std::env::temp_dir(), command, None).await
}
