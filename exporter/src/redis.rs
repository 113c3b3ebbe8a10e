//! What is read of Redis: its own digest, the gateways' sessions, the keys that limit rates.

pub(crate) mod info;
pub(crate) mod line;
pub(crate) mod sessions;

use redis::Value;
use redis_target::target::Line;
use tokio::time::timeout;

use crate::family::Family;
use crate::limits::{REDIS, REDIS_WALK, SCAN_KEYS, SCAN_STEPS};
use crate::nginx::float;
use crate::redis::line::{Target, ask};
use crate::redis::sessions::Sessions;

/// The keys of rate limits.
const RATE_KEYS: &str = "mcpgw:1:rl:*";

/// Redis, as it is asked round after round.
pub(crate) struct Redis {
    target: Target,
    line: Option<Line>,
    walk: Walk,
}

/// What Redis answered in one round; it did answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Its figures.
    pub(crate) families: Vec<Family>,
    /// Why some are missing.
    pub(crate) fault: Option<String>,
}

/// A walk through all keys that goes on from round to round.
#[derive(Debug, Default)]
struct Walk {
    cursor: u64,
    found: u64,
    /// What the last walk that came to its end had found.
    whole: Option<u64>,
}

impl Redis {
    /// There.
    pub(crate) fn new(target: Target) -> Self {
        Self { target, line: None, walk: Walk::default() }
    }

    /// Its digest within [`REDIS`], and what it holds as far as that is known within
    /// [`REDIS_WALK`]; many sessions do not make it one that is down.
    ///
    /// # Errors
    /// It does not answer in time, or refuses.
    pub(crate) async fn round(&mut self) -> Result<Answer, String> {
        let asked = timeout(REDIS, self.ask()).await;
        let (line, mut families) =
            asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {REDIS:?}")))?;
        let mut sessions = Sessions::default();
        let walked = timeout(REDIS_WALK, async {
            sessions.look(&line).await?;
            match line.is_cluster() {
                true => Ok(None),
                false => self.walk.go_on(&line).await,
            }
        });
        let walked = walked.await;
        families.extend(sessions.families());
        let fault = match walked {
            Ok(Ok(keys)) => {
                families.extend(keys);
                // A connection is kept when everything was answered.
                self.line = Some(line);
                None
            }
            Ok(Err(fault)) => Some(fault),
            // What was not come to is told as unread.
            Err(_elapsed) if sessions.is_begun() => None,
            Err(_elapsed) => Some(format!("no sessions within {REDIS_WALK:?}")),
        };
        Ok(Answer { families, fault })
    }

    /// Asks on the connection there is, and once more on a new one: Redis may have been restarted.
    async fn ask(&mut self) -> Result<(Line, Vec<Family>), String> {
        if let Some(line) = self.line.take()
            && let Ok(families) = digest(&line).await
        {
            return Ok((line, families));
        }
        let line = self.target.connect().await?;
        let families = digest(&line).await?;
        Ok((line, families))
    }
}

/// What Redis says of itself. A user that may not ask for it may be let in all the same.
async fn digest(line: &Line) -> Result<Vec<Family>, String> {
    match ask::<Value>(line, &redis::cmd("INFO")).await {
        Ok(digest) => Ok(info::families(&info::texts(digest))),
        Err(fault) if fault.contains("NOPERM") => {
            match ask::<Value>(line, &redis::cmd("PING")).await {
                Err(fault) if !fault.contains("NOPERM") => Err(fault),
                Ok(_) | Err(_) => Ok(Vec::new()),
            }
        }
        Err(fault) => Err(fault),
    }
}

impl Walk {
    /// A few steps. The figure is that of the last walk that came to its end.
    async fn go_on(&mut self, line: &Line) -> Result<Option<Family>, String> {
        for _step in 0..SCAN_STEPS {
            let mut scan = redis::cmd("SCAN");
            scan.arg(self.cursor).arg("MATCH").arg(RATE_KEYS).arg("COUNT").arg(SCAN_KEYS);
            let (cursor, keys): (u64, Vec<String>) = match ask(line, &scan).await {
                Err(fault) if fault.contains("NOPERM") => return Ok(None),
                asked => asked?,
            };
            self.cursor = cursor;
            self.found += u64::try_from(keys.len()).unwrap_or(u64::MAX);
            if cursor == 0 {
                self.whole = Some(std::mem::take(&mut self.found));
                break;
            }
        }
        let help = "Keys of rate limits in Redis, as of the last walk through its keys";
        let name = "mcp_gateway_store_rate_limit_keys";
        Ok(self.whole.map(|it| Family::gauge(name, help).with(&[], float(it))))
    }
}
