//! A look at a Redis for whoever set it up: is it there, and will it keep what it is given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use redis::Value;
use redis_target::target::Line;
use redis_target::url::Kind;
use tokio::time::timeout;

use crate::config::RedisConfig;
use crate::config::limits::command::REDIS_PINGS;
use crate::config::limits::store::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::session::redis::target::Target;

/// What a Redis says of itself.
#[derive(Clone, Debug, Default)]
pub struct Checkup {
    /// How long it took to connect and log in.
    pub connecting: Duration,
    /// The shortest of some ways there and back.
    pub latency: Duration,
    /// How far its clock is from this one's, without the way there.
    pub clock_apart: Option<Duration>,
    /// When it writes snapshots, as its setting `save` has it; `None` when it does not say.
    pub snapshots: Option<String>,
    /// What `INFO` says, by name.
    pub info: BTreeMap<String, String>,
}

impl Checkup {
    /// One thing that `INFO` says.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }

    /// One number that `INFO` says.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.said(name)?.parse().ok()
    }
}

/// Connects as the gateway would, and asks. Of a cluster, the first node that is named tells about
/// itself.
///
/// # Errors
/// A sentence that says why it cannot be used; it holds no secret.
pub async fn check_up(config: &RedisConfig) -> Result<Checkup, String> {
    let begun = Instant::now();
    let target = Target::new(config).map_err(|fault| fault.to_string())?;
    let mut line = match target.connect().await {
        Ok(line) => line,
        Err(fault) => return Err(target.explain(fault).await.to_string()),
    };
    let connecting = begun.elapsed();
    if config.url.kind == Kind::Cluster {
        line = target.first().await.map_err(|fault| fault.to_string())?;
    }
    let mut checkup = Checkup { connecting, latency: Duration::MAX, ..Checkup::default() };
    for _ping in 0..REDIS_PINGS {
        let asked = Instant::now();
        ask(&mut line, &["PING"]).await?;
        checkup.latency = checkup.latency.min(asked.elapsed());
    }
    let info = ask(&mut line, &["INFO"]).await?;
    checkup.info = read_info(&text(&info));
    checkup.clock_apart = clock_apart(&mut line, checkup.latency).await;
    // Who rents a Redis may not ask for its settings.
    checkup.snapshots = match ask(&mut line, &["CONFIG", "GET", "save"]).await {
        Ok(Value::Array(pair)) => pair.get(1).map(text),
        Ok(Value::Map(pairs)) => pairs.first().map(|(_, save)| text(save)),
        Ok(_) | Err(_) => None,
    };
    Ok(checkup)
}

async fn ask(line: &mut Line, words: &[&str]) -> Result<Value, String> {
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word);
    });
    match timeout(ANSWER_TIMEOUT.max(CONNECT_TIMEOUT), command.query_async(line)).await {
        Ok(answer) => answer.map_err(|fault| fault.to_string()),
        Err(_elapsed) => Err("it does not answer in time".to_owned()),
    }
}

async fn clock_apart(line: &mut Line, latency: Duration) -> Option<Duration> {
    let Ok(Value::Array(parts)) = ask(line, &["TIME"]).await else { return None };
    let now = SystemTime::now().checked_sub(latency / 2)?;
    let mut parts = parts.iter().map(|part| text(part).parse::<u64>().ok());
    let (seconds, microseconds) = (parts.next()??, parts.next()??);
    let its = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
    Some(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.abs_diff(its))
}

fn read_info(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it is no text")]
fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redis_says_of_itself_is_read_by_name() {
        let info = read_info("# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nmaxmemory:0\r\n");
        let checkup = Checkup { info, ..Checkup::default() };
        assert_eq!(checkup.said("redis_version"), Some("7.0.15"));
        assert_eq!((checkup.number("maxmemory"), checkup.number("nothing")), (Some(0), None));
    }
}
