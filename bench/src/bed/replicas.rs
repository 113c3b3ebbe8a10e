//! Gateways that share a Redis: the owner of sessions, and another that calls for them come to.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Bed, listening, shown};
use crate::process::{Core, Process};

/// Signs what replicas tell each other; of no use to anybody after the run.
const SECRET: &str = "SESSION_SECRET=a key of this run alone, on the loopback interface";

/// Their ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) redis: u16,
    pub(super) owner: u16,
    pub(super) apart: u16,
    pub(super) entry: u16,
}

/// Running replicas, and the Redis they share.
#[derive(Debug)]
pub(crate) struct Replicas {
    /// On the core of what is measured.
    pub(crate) owner: Process,
    /// Another owner, on the core of everything else: the entry has its own to itself.
    pub(crate) apart: Process,
    /// On the core of what is measured; owns no session.
    pub(crate) entry: Process,
    _redis: Process,
}

impl Bed {
    /// Starts Redis and what shares it; `None` when there is no Redis.
    pub(crate) async fn replicas(&self) -> Result<Option<Replicas>> {
        if !self.programs.has_redis {
            return Ok(None);
        }
        let ports = self.ports.replicas;
        let directory = &self.directory.0;
        let words = redis(ports.redis, directory)?;
        let words = self.placement.words(Core::Rest, &words);
        let mut redis = Process::start(&words, &directory.join("redis.log"))?;
        listening(&mut redis, ports.redis).await?;
        let owner = self.replica("owner", ports.owner, Core::Measured).await?;
        let apart = self.replica("apart", ports.apart, Core::Rest).await?;
        let entry = self.replica("entry", ports.entry, Core::Measured).await?;
        Ok(Some(Replicas { owner, apart, entry, _redis: redis }))
    }

    async fn replica(&self, name: &str, port: u16, core: Core) -> Result<Process> {
        let directory = &self.directory.0;
        let redis = format!("REDIS_URL=redis://127.0.0.1:{}", self.ports.replicas.redis);
        let (program, config) =
            (shown(&self.programs.gateway)?, shown(&directory.join("gateway.json"))?);
        let port_word = port.to_string();
        let words = ["env", &redis, SECRET, &program, "--config", &config, "--port", &port_word];
        let words = self.placement.words(core, &words.map(str::to_owned));
        let mut process = Process::start(&words, &directory.join(format!("{name}.log")))?;
        listening(&mut process, port).await?;
        Ok(process)
    }
}

/// Whether Redis can be run.
pub(crate) fn has_redis() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// One that keeps nothing on disk.
fn redis(port: u16, directory: &Path) -> Result<Vec<String>> {
    let (port, directory) = (port.to_string(), shown(directory)?);
    let words = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--dir", &directory];
    let quiet = ["--save", "", "--appendonly", "no"];
    Ok(words.into_iter().chain(quiet).map(str::to_owned).collect())
}
