//! The Redis that sessions are kept in: one that takes writes, and a word on why there is none.

use redis::Value;
use redis_target::target::{self, Line, Patience};
use redis_target::url::RedisUrl;

use crate::config::RedisConfig;
use crate::config::limits::store::{
    ANSWER_TIMEOUT, CLUSTER_RETRIES, CLUSTER_WAIT_MAX, CLUSTER_WAIT_MIN, CONNECT_TIMEOUT,
    PIPELINE_COMMANDS, TOLD_SENTINELS,
};
use crate::session::redis::fault::{Fault, Kind};

const PATIENCE: Patience = Patience {
    connect: CONNECT_TIMEOUT,
    answer: ANSWER_TIMEOUT,
    cluster_retries: CLUSTER_RETRIES,
    cluster_wait_min: CLUSTER_WAIT_MIN,
    cluster_wait_max: CLUSTER_WAIT_MAX,
    pipeline_commands: PIPELINE_COMMANDS,
    sentinels_told: TOLD_SENTINELS,
};

/// Where to connect to.
#[derive(Debug)]
pub(super) struct Target(target::Target);

impl Target {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Fault> {
        let read = |path| {
            std::fs::read(path).map_err(|fault| {
                Fault::new(Kind::Settings, format!("`redis.ca_file` cannot be read: {fault}"))
            })
        };
        let authority = config.ca_file.as_ref().map(read).transpose()?;
        Ok(Self(target::Target::new(config.url.clone(), authority, PATIENCE)))
    }

    /// A connection whose other end takes writes, within [`CONNECT_TIMEOUT`] for each step.
    pub(super) async fn connect(&self) -> Result<Line, Fault> {
        let line = self.0.connect().await?;
        check(&line).await?;
        Ok(line)
    }

    /// A connection to the first node alone, whatever it is.
    pub(super) async fn first(&self) -> Result<Line, Fault> {
        Ok(self.0.first().await?)
    }

    /// A server that hears TLS where it expects none hangs up without a word, and so does one that
    /// hears none where it expects it. Whether that was it is found out by a try the other way,
    /// which tells no password.
    pub(super) async fn explain(&self, fault: Fault) -> Fault {
        if !matches!(fault.kind, Kind::Broken | Kind::Timeout | Kind::ClusterDown) {
            return fault;
        }
        let url = self.0.url().clone();
        let is_tls = url.is_tls;
        let other = RedisUrl { is_tls: !is_tls, username: None, password: None, ..url };
        let tried = match target::Target::new(other, None, PATIENCE).first().await {
            Ok(line) => line.ask::<Value>(&redis::cmd("PING"), ANSWER_TIMEOUT).await,
            Err(fault) => Err(fault),
        };
        let speaks = match tried.map_err(Fault::from) {
            Ok(_) => true,
            Err(fault) if is_tls => fault.kind == Kind::Login,
            Err(fault) => fault.said.contains("certificate"),
        };
        match (speaks, is_tls) {
            (false, _) => fault,
            (true, true) => Fault::new(Kind::Tls, "it speaks no TLS there; write `redis`"),
            (true, false) => Fault::new(Kind::Tls, "it speaks TLS there; write `rediss`"),
        }
    }
}

/// Whether the other end answers, and takes writes.
///
/// A PING would also be answered by a master that was demoted.
pub(super) async fn check(line: &Line) -> Result<(), Fault> {
    if line.is_cluster() {
        line.ask::<Value>(&redis::cmd("PING"), ANSWER_TIMEOUT).await?;
        return Ok(());
    }
    let role = line.ask::<Vec<Value>>(&redis::cmd("ROLE"), ANSWER_TIMEOUT).await;
    match role.map_err(Fault::from) {
        Ok(role) if is_replica(role.first()) => Err(Fault::new(Kind::ReadOnly, "it is a replica")),
        Ok(_) => Ok(()),
        // A user that may not ask so may be kept from it by its access list alone.
        Err(fault) if fault.kind == Kind::Denied => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn is_replica(role: Option<&Value>) -> bool {
    matches!(role, Some(Value::BulkString(name)) if name == b"slave")
}
