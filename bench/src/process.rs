//! The processes that are measured: started on their core, read through `/proc`, and stopped by
//! their id when their owner goes away, however that happens.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The length of a tick of `utime` and `stime`: Linux shows them to programs in 1/100 s.
const TICK: Duration = Duration::from_millis(10);

/// Where processes run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    /// Two cores or more: what is measured gets one of them to itself.
    pub(crate) is_pinned: bool,
    /// Real-time priority, so that other work on the machine does not decide the result.
    pub(crate) is_realtime: bool,
}

/// A core: the one of what is measured, or the one of everything else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Core {
    Measured,
    Rest,
}

impl Core {
    fn number(self) -> &'static str {
        match self {
            Self::Measured => "1",
            Self::Rest => "0",
        }
    }
}

impl Placement {
    /// The words that run a program on its core.
    pub(crate) fn words(self, core: Core, program: &[String]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        if self.is_realtime {
            words.extend(["chrt", "-r", "1"].map(str::to_owned));
        }
        if self.is_pinned {
            words.extend(["taskset", "-c", core.number()].map(str::to_owned));
        }
        words.extend_from_slice(program);
        words
    }

    /// Puts this very process, the load generator, on its core. It has one thread so far.
    pub(crate) fn apply_to_self(self) -> Result<()> {
        let own = std::process::id().to_string();
        let mut commands: Vec<Vec<&str>> = Vec::new();
        if self.is_pinned {
            commands.push(vec!["taskset", "-p", "-c", Core::Rest.number(), &own]);
        }
        if self.is_realtime {
            commands.push(vec!["chrt", "-r", "-p", "1", &own]);
        }
        for words in commands {
            let Some((program, arguments)) = words.split_first() else { continue };
            let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
            let status = status.with_context(|| format!("cannot run {program}"))?;
            anyhow::ensure!(status.success(), "`{}` failed", words.join(" "));
        }
        Ok(())
    }
}

/// Raises the number of files this process and its children may open, as far as is permitted.
pub(crate) fn raise_file_limit() {
    let own = std::process::id().to_string();
    // Only root may set the hard limit too. Without any of these, rows that open more than they
    // may say so.
    for files in ["65536", "20000:", "12000:", "4096:"] {
        let limit = format!("--nofile={files}");
        let mut command = Command::new("prlimit");
        let status = command.args(["--pid", &own, &limit]).stderr(Stdio::null()).status();
        if status.is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes into `log`.
    pub(crate) fn start(words: &[String], log: &Path) -> Result<Self> {
        let (program, arguments) = words.split_first().context("no program")?;
        let output = File::create(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Processor time used so far, by all its threads and not by its children.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        cpu(&stat).context("/proc/…/stat has another form")
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        rss_kib(&status).context("/proc/…/status has no VmRSS")
    }

    /// Fails with what it printed when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("a process ended ({status}):\n{said}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended already is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `utime` and `stime`, the 14th and 15th field; the second is a name in brackets, which may hold
/// anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{cpu, rss_kib};

    #[test]
    fn processor_time_is_user_and_system() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 9 9 20 0 1 0 100 1000 10";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(rss_kib("Name:\ta\nVmRSS:\t   9500 kB\nThreads: 1"), Some(9500));
    }
}
