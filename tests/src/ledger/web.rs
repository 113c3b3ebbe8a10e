//! The ledger as a process that speaks HTTP, for the tests that need one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::edge::binary;
use crate::ports::free_port;
use crate::{Fault, until};

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Web {
    child: Child,
    port: u16,
    file: PathBuf,
}

impl Web {
    /// Starts one that writes to this file.
    ///
    /// # Errors
    /// It was not built, or does not listen.
    pub async fn start(file: &Path) -> Result<Self, Fault> {
        let port = free_port()?;
        let web = Self { child: spawn(port, file)?, port, file: file.to_owned() };
        until("the ledger listens", || async {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await?;
        Ok(web)
    }

    /// It, as the config file has it.
    pub fn server(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/mcp", self.port);
        json!({"url": url, "era": "legacy"})
    }

    /// Waits until it has crashed and starts it again.
    ///
    /// # Errors
    /// It does not start.
    ///
    /// # Cancel safety
    /// It may be awaited again.
    pub async fn again(&mut self) -> Result<(), Fault> {
        self.child.wait().await?;
        self.child = spawn(self.port, &self.file)?;
        // A port that another process has for a moment must not make this a busy loop.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        Ok(self.child.kill().await?)
    }
}

fn spawn(port: u16, file: &Path) -> Result<Child, Fault> {
    let mut command = Command::new(binary("ledger")?);
    command.args(["--http", &port.to_string()]).arg(file).kill_on_drop(true);
    Ok(command.spawn()?)
}
