//! Where the sums outlive the exporter: in Redis, in a file, or nowhere.
//!
//! They are read before the first counter is shown. While they cannot be read, counters are held
//! back for [`STATE_WAIT`]: a gap in a graph says less than a counter that begins anew. After that
//! they begin anew for good, and what was kept is written over: if it were added to what has been
//! shown, Prometheus would take all that was ever counted for counted at that moment.
//! They are written before they are shown, so that what was shown is never taken back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis_target::target::Line;
use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::limits::{STATE, STATE_BYTES, STATE_TTL, STATE_WAIT, WRITE_AGAIN};
use crate::redis::line::{self, Target};
use crate::sums::{Sums, Totals};

/// The key in Redis.
const KEY: &str = "mcpgw:1:exporter:sums";

/// Where the sums are kept.
pub(crate) enum Place {
    /// Nowhere: counters begin anew with the exporter.
    Nowhere,
    /// In this file.
    File(PathBuf),
    /// In Redis, over a connection of its own.
    Redis(Box<(Target, Option<Line>)>),
}

/// What a run does where the sums are kept. Only one program may write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads them once and keeps them from there on.
    Keep,
    /// Reads them.
    Read,
    /// Reads them, and tries whether something could be written beside them.
    Try,
}

/// The sums and where they are kept.
pub(crate) struct State {
    /// The sums.
    pub(crate) sums: Sums,
    place: Place,
    access: Access,
    is_read: bool,
    since: Instant,
    /// The sums as they were written last, but for what rises with every round; and when.
    written: Option<(Totals, Instant)>,
}

impl State {
    /// To be read from there.
    pub(crate) fn new(place: Place, access: Access) -> Self {
        let is_read = matches!(place, Place::Nowhere);
        let sums = Sums::default();
        Self { sums, place, access, is_read, since: Instant::now(), written: None }
    }

    /// Whether the counters may be shown.
    pub(crate) fn may_be_shown(&self) -> bool {
        self.is_read
    }

    /// Time since this began, which calendars that are set do not touch.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Reads what was kept, until that has succeeded once or has failed for [`STATE_WAIT`].
    ///
    /// # Errors
    /// It cannot be read at the moment.
    pub(crate) async fn read(&mut self) -> Result<(), String> {
        if self.is_read {
            return Ok(());
        }
        let read = timeout(STATE, self.place.read()).await;
        let read = read.unwrap_or_else(|_elapsed| Err(self.place.overdue("read")));
        if let Err(fault) = &read
            && self.since.elapsed() >= STATE_WAIT
        {
            tracing::error!(fault, "the kept sums were not read in time; counting anew");
            self.is_read = true;
        }
        let text = read?;
        self.is_read = true;
        let Some(text) = text else { return Ok(()) };
        match Sums::from_text(&text) {
            Ok(older) => self.sums.go_on_from(older),
            // Nobody will mend it: it is written over.
            Err(fault) => tracing::error!(fault, "the kept sums are of no use; counting anew"),
        }
        Ok(())
    }

    /// Writes what has changed or was written long ago, once what was kept is read; as far as
    /// this run is one that writes.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) async fn write(&mut self) -> Result<(), String> {
        match self.access {
            Access::Keep => {}
            Access::Read => return Ok(()),
            Access::Try => {
                let tried = timeout(STATE, self.place.try_out()).await;
                return tried.unwrap_or_else(|_elapsed| Err(self.place.overdue("written")));
            }
        }
        let is_known = |(totals, at): &(Totals, Instant)| {
            totals == self.sums.totals() && at.elapsed() < WRITE_AGAIN
        };
        if !self.is_read || self.written.as_ref().is_some_and(is_known) {
            return Ok(());
        }
        let text = self.sums.to_text();
        if text.len() > STATE_BYTES {
            return Err(format!("{} bytes of sums are too much to be kept", text.len()));
        }
        let written = timeout(STATE, self.place.write(&text)).await;
        written.unwrap_or_else(|_elapsed| Err(self.place.overdue("written")))?;
        self.written = Some((self.sums.totals().clone(), Instant::now()));
        Ok(())
    }
}

impl Place {
    /// `None`: nothing was kept yet.
    async fn read(&mut self) -> Result<Option<String>, String> {
        match self {
            Self::Nowhere => Ok(None),
            Self::File(path) => read_file(path).await,
            Self::Redis(redis) => ask(redis, redis::cmd("GET").arg(KEY)).await,
        }
    }

    async fn write(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path) => {
                let written = write_file(path, text).await;
                written.map_err(|fault| format!("{} cannot be written: {fault}", path.display()))
            }
            Self::Redis(redis) => {
                let mut set = redis::cmd("SET");
                set.arg(KEY).arg(text).arg("EX").arg(STATE_TTL.as_secs());
                ask(redis, &set).await
            }
        }
    }

    /// Whether it could be written there, without touching what is there.
    async fn try_out(&mut self) -> Result<(), String> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path) => {
                let draft = draft(path);
                let tried = async {
                    fs::File::create(&draft).await?;
                    fs::remove_file(&draft).await
                };
                let wrong = |fault| format!("{} cannot be written: {fault}", path.display());
                tried.await.map_err(wrong)
            }
            Self::Redis(redis) => {
                let mut set = redis::cmd("SET");
                set.arg(format!("{KEY}:check")).arg("").arg("EX").arg(1);
                ask(redis, &set).await
            }
        }
    }

    /// A connection that keeps one waiting is given up too.
    fn overdue(&mut self, what: &str) -> String {
        if let Self::Redis(redis) = self {
            redis.1 = None;
        }
        format!("not {what} within {STATE:?}")
    }
}

/// Asks on the connection there is, and once more on a new one: Redis may have been restarted.
async fn ask<T: redis::FromRedisValue>(
    redis: &mut (Target, Option<Line>),
    command: &redis::Cmd,
) -> Result<T, String> {
    let (target, kept) = redis;
    if let Some(line) = kept.take()
        && let Ok(answer) = line::ask(&line, command).await
    {
        *kept = Some(line);
        return Ok(answer);
    }
    let line = target.connect().await?;
    let answer = line::ask(&line, command).await?;
    *kept = Some(line);
    Ok(answer)
}

async fn read_file(path: &Path) -> Result<Option<String>, String> {
    let unreadable = |fault: io::Error| format!("{} cannot be read: {fault}", path.display());
    match fs::metadata(path).await {
        // Nobody will make it smaller: it is no state, and is written over.
        Ok(about) if about.len() > STATE_BYTES as u64 => Ok(Some(String::new())),
        Ok(_) => fs::read_to_string(path).await.map(Some).map_err(unreadable),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(unreadable(fault)),
    }
}

/// Where it is written first; each process has a name of its own for it.
fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    draft.into()
}

/// All of it or nothing, whenever the machine stops.
async fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft(path);
    let mut file = fs::File::create(&draft).await?;
    file.write_all(text.as_bytes()).await?;
    file.sync_all().await?;
    fs::rename(&draft, path).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::sums::Life;

    /// A folder of its own, while the test runs.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("exporter-state-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    fn count(state: &mut State, value: f64) {
        let life = Life { process: "a".into(), start_ms: 1 };
        state.sums.observe(&life, &[Family::counter("c_total", "h").with(&[], value)]);
    }

    fn total(state: &State) -> f64 {
        state.sums.totals().values().sum()
    }

    #[tokio::test]
    async fn what_was_not_read_in_time_is_never_added_to_what_was_shown() {
        let folder = Folder::new("late");
        let path = folder.0.join("sums.json");
        let new = || State::new(Place::File(path.clone()), Access::Keep);
        // A folder in its place cannot be read.
        std::fs::create_dir(&path).unwrap();
        let mut state = new();
        count(&mut state, 5.0);
        assert!(state.read().await.is_err());
        assert!(!state.may_be_shown());
        state.since = Instant::now().checked_sub(STATE_WAIT).unwrap();
        assert!(state.read().await.is_err());
        assert!(state.may_be_shown());
        std::fs::remove_dir(&path).unwrap();
        let mut older = Sums::default();
        let life = Life { process: "b".into(), start_ms: 1 };
        older.observe(&life, &[Family::counter("c_total", "h").with(&[], 1e6)]);
        std::fs::write(&path, older.to_text()).unwrap();
        state.read().await.unwrap();
        assert_eq!(total(&state), 5.0);
        state.write().await.unwrap();
        let mut next = new();
        next.read().await.unwrap();
        assert_eq!(total(&next), 5.0);
    }

    #[tokio::test]
    async fn a_state_that_is_too_large_is_written_over() {
        let folder = Folder::new("large");
        let path = folder.0.join("sums.json");
        std::fs::File::create(&path).unwrap().set_len(STATE_BYTES as u64 + 1).unwrap();
        let mut state = State::new(Place::File(path.clone()), Access::Keep);
        state.read().await.unwrap();
        count(&mut state, 2.0);
        state.write().await.unwrap();
        assert!(Sums::from_text(&std::fs::read_to_string(&path).unwrap()).is_ok());
    }

    #[tokio::test]
    async fn only_the_run_that_keeps_them_writes_the_sums() {
        let folder = Folder::new("access");
        let path = folder.0.join("sums.json");
        for access in [Access::Read, Access::Try] {
            let mut state = State::new(Place::File(path.clone()), access);
            state.read().await.unwrap();
            count(&mut state, 2.0);
            state.write().await.unwrap();
            assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "{access:?}");
        }
        let nowhere = folder.0.join("none").join("sums.json");
        let mut state = State::new(Place::File(nowhere), Access::Try);
        assert!(state.write().await.is_err());
    }
}
