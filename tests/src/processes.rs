//! What `/proc` says about processes: who started whom, and who is still there.

use std::fs;

use crate::Fault;

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    started_ticks: u64,
}

impl Process {
    /// The process with this number, if there is one that has not ended.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything; the fields count from after it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        Some(Self { pid, started_ticks: fields.nth(18)?.parse().ok()? })
    }

    /// Every process that was started with this argument.
    pub fn with_argument(argument: &str) -> Vec<Self> {
        let has_it = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
        };
        all().map(|(pid, _)| pid).filter(has_it).filter_map(Self::find).collect()
    }

    /// Whether it is still there.
    pub fn alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Whether its parent still has to hear of its end, or it has not ended.
    pub fn is_known(self) -> bool {
        fs::exists(format!("/proc/{}", self.pid)).unwrap_or(true)
    }

    /// Memory it holds, in KiB.
    pub fn memory_kib(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory it ever held, in KiB.
    pub fn peak_memory_kib(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Ticks of processor time it has used.
    pub fn processor_ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let times = fields.split_ascii_whitespace().skip(11).take(2);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    fn status(self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|it| it.split_ascii_whitespace().next()?.parse().ok());
        number.unwrap_or(0)
    }

    /// Its children, their children and so on.
    pub fn descendants(self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut parents = vec![self.pid];
        while let Some(parent) = parents.pop() {
            for child in all().filter(|(_, its_parent)| *its_parent == parent) {
                parents.push(child.0);
                found.extend(Self::find(child.0));
            }
        }
        found
    }
}

/// What a process holds of the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Open file descriptors.
    pub files: usize,
    /// Children, those included that have ended and were not waited for.
    pub children: usize,
    /// Resident memory.
    pub resident_kib: u64,
    /// The most resident memory it ever had.
    pub peak_kib: u64,
}

impl Footprint {
    /// What this process holds.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self, Fault> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().split(' ').next()?.parse().ok()
        };
        Ok(Self {
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            children: all().filter(|(_, parent)| *parent == pid).count(),
            resident_kib: kib("VmRSS:").ok_or("no VmRSS")?,
            peak_kib: kib("VmHWM:").ok_or("no VmHWM")?,
        })
    }
}

/// Every process and its parent.
fn all() -> impl Iterator<Item = (u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let parent = fields.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
}
