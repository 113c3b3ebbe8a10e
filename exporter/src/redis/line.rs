//! The connection to Redis: made when it is needed, given up at the first fault, so that a Redis
//! that is back is found with the next question.

use std::path::PathBuf;

use redis::{Cmd, FromRedisValue};
use redis_target::secret::Secret;
use redis_target::target::{self, Line, Patience};
use redis_target::url::RedisUrl;

use crate::dial::shorten;
use crate::limits::{
    CLUSTER_RETRIES, CLUSTER_WAIT_MAX, CLUSTER_WAIT_MIN, REDIS_ANSWER, REDIS_COMMANDS,
    REDIS_CONNECT, TOLD_SENTINELS,
};

const PATIENCE: Patience = Patience {
    connect: REDIS_CONNECT,
    answer: REDIS_ANSWER,
    cluster_retries: CLUSTER_RETRIES,
    cluster_wait_min: CLUSTER_WAIT_MIN,
    cluster_wait_max: CLUSTER_WAIT_MAX,
    pipeline_commands: REDIS_COMMANDS,
    sentinels_told: TOLD_SENTINELS,
};

/// Where Redis is, and whom TLS trusts there.
///
/// The files are read for each connection: they may be written after the exporter was started.
#[derive(Clone)]
pub(crate) struct Target {
    /// The URL.
    pub(crate) url: RedisUrl,
    /// PEM certificates of authorities to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// What holds the password instead of the URL.
    pub(crate) password_file: Option<PathBuf>,
}

impl Target {
    /// A connection whose other end answers.
    ///
    /// # Errors
    /// There is none within the time for it, or the login is refused.
    pub(crate) async fn connect(&self) -> Result<Line, String> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|it| format!("{} cannot be read: {it}", path.display()))
        };
        let authority = self.ca_file.as_ref().map(read).transpose()?;
        let given = self.password_file.as_ref().map(read).transpose()?;
        let given = given.map(|it| String::from_utf8(it).map(|it| Secret::new(trimmed(it))));
        let given = given.transpose().map_err(|_fault| "the password's file is no text")?;
        let mut url = self.url.clone();
        url.password = given.or(url.password);
        let connected = target::Target::new(url, authority, PATIENCE).connect().await;
        connected.map_err(|fault| shorten(&fault.to_string()))
    }
}

/// One command, answered within [`REDIS_ANSWER`].
///
/// # Errors
/// It is refused, or not answered.
pub(crate) async fn ask<T: FromRedisValue>(line: &Line, command: &Cmd) -> Result<T, String> {
    let asked = line.ask(command, REDIS_ANSWER).await;
    asked.map_err(|fault| shorten(&fault.to_string()))
}

/// Without the line's end that editors put after it.
fn trimmed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    text
}
