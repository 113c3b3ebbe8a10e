//! Starting the child: one thread forks every child, and a failure says what to do about it.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::errno::Errno;
use tokio::process::Child;
use tokio::runtime::Handle;

use super::Command;
use super::parent_death::die_with_parent;
use crate::supervise::start_thread;

/// Where programs are looked up when the child has no `PATH` (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a process could not be started. `Display` is a sentence that tells what to do.
#[derive(Debug)]
pub struct SpawnError {
    sentence: String,
    source: Option<io::Error>,
}

impl SpawnError {
    fn new(sentence: impl Into<String>, source: impl Into<Option<io::Error>>) -> Self {
        Self { sentence: sentence.into(), source: source.into() }
    }

    /// Something that the operating system promises did not hold.
    pub(super) fn internal(what: &str) -> Self {
        Self::new(format!("cannot start a process: {what}; please report this"), None)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// Forks and executes `command` as the leader of a process group of its own, with piped stdio.
pub(super) fn launch(command: &Command) -> Result<Child, SpawnError> {
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(SpawnError::new("`command` is empty: name the program to start", None));
    };
    if program.is_empty() {
        return Err(SpawnError::new("the program's name in `command` is empty", None));
    }
    let mut prepared = tokio::process::Command::new(program);
    prepared
        .args(arguments)
        .env_clear()
        .envs(&command.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = &command.cwd {
        prepared.current_dir(cwd);
    }
    die_with_parent(&mut prepared);
    fork_on_the_launch_thread(prepared)
        .map_err(|error| SpawnError::new(explain(program, command, &error), error))
}

/// One child to fork, the runtime that will watch it, and where to put it.
struct Job {
    command: tokio::process::Command,
    runtime: Handle,
    answer: SyncSender<io::Result<Child>>,
}

/// Forks on the one thread that lives as long as the process; `parent_death` says why.
fn fork_on_the_launch_thread(command: tokio::process::Command) -> io::Result<Child> {
    static JOBS: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = sync_channel(0);
        start_thread("launch", move || run_jobs(&jobs)).ok().map(|()| sender)
    });
    let gone = || io::Error::other("the launch thread is not running");
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let (answer, answered) = sync_channel(1);
    let job = Job { command, runtime, answer };
    jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_unsent| gone())?;
    answered.recv().map_err(|_panicked| gone())?
}

fn run_jobs(jobs: &Receiver<Job>) {
    for Job { mut command, runtime, answer } in jobs {
        // The thread has to survive whatever happens: its end would kill every child.
        let forked = catch_unwind(AssertUnwindSafe(|| {
            let _inside = runtime.enter();
            command.spawn()
        }));
        let forked = forked.unwrap_or_else(|_panic| Err(io::Error::other("forking panicked")));
        // The asker waits for this answer; only a panic on its side makes the sending fail.
        drop(answer.send(forked));
    }
}

/// The sentence for a failed start: what happened, and what to change.
fn explain(program: &str, command: &Command, error: &io::Error) -> String {
    if let Some(cwd) = command.cwd.as_deref().filter(|cwd| !cwd.is_dir()) {
        let cwd = cwd.display();
        return format!("cannot start `{program}`: `cwd` {cwd} is not a directory; create it");
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => explain_missing(program, command),
        Some(Errno::EACCES | Errno::EPERM) => format!(
            "cannot start `{program}`: permission denied; make the file executable (chmod +x) \
             and readable for the gateway's user"
        ),
        Some(Errno::E2BIG) => {
            format!("cannot start `{program}`: arguments and `env` are too long; shorten them")
        }
        Some(Errno::EMFILE | Errno::ENFILE) => format!(
            "cannot start `{program}`: too many open files; raise the limit (ulimit -n) or run \
             fewer processes"
        ),
        Some(Errno::EAGAIN | Errno::ENOMEM) => format!(
            "cannot start `{program}`: no room for another process ({error}); raise the limits \
             on processes and memory, or run fewer processes"
        ),
        Some(_) | None => format!("cannot start `{program}`: {error}"),
    }
}

fn explain_missing(program: &str, command: &Command) -> String {
    if program.contains('/') {
        let file = match &command.cwd {
            Some(cwd) => cwd.join(program),
            None => PathBuf::from(program),
        };
        return missing_file(program, &file);
    }
    let path = command.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let found = path.split(':').map(|folder| Path::new(folder).join(program)).find(|f| f.exists());
    match found {
        Some(file) => missing_file(program, &file),
        None => format!(
            "cannot start `{program}`: no such program in PATH ({path}); install it, or give its \
             full path in `command`"
        ),
    }
}

fn missing_file(program: &str, file: &Path) -> String {
    let shown = file.display();
    if file.exists() {
        format!("cannot start `{program}`: the interpreter in the `#!` line of {shown} is missing")
    } else {
        format!("cannot start `{program}`: no such file; correct the path in `command`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn refused(argv: &[&str], cwd: Option<&str>) -> String {
        let env = BTreeMap::from([("PATH".to_owned(), "/bin:/usr/bin".to_owned())]);
        let argv = argv.iter().map(|part| (*part).to_owned()).collect();
        let command =
            Command { argv, env, cwd: cwd.map(PathBuf::from), line_limit: 1024, queue_lines: 4 };
        launch(&command).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_names_the_path_searched() {
        assert_eq!(
            refused(&["no-such-program-here"], None),
            "cannot start `no-such-program-here`: no such program in PATH (/bin:/usr/bin); \
             install it, or give its full path in `command`"
        );
        assert!(refused(&["/no/such/file"], None).contains("correct the path"));
        assert!(refused(&["sh"], Some("/no/such/folder")).contains("`cwd` /no/such/folder"));
        assert!(refused(&[], None).contains("is empty"));
        assert!(refused(&[""], None).contains("is empty"));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_run_says_why() {
        let name = format!("mcp-gateway-launch-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let program = file.to_str().unwrap();
        // Another process writes the file: while this one had it open for writing, a child forked
        // by another test would too, and the file could not be executed.
        let shell = |script: &str| {
            let mut shell = std::process::Command::new("sh");
            assert!(shell.args(["-c", script, "sh", program]).status().unwrap().success());
        };
        shell("echo '#!/no/such/interpreter' > \"$1\"");
        assert!(refused(&[program], None).contains("permission denied"));
        shell("chmod +x \"$1\"");
        assert!(refused(&[program], None).contains("interpreter in the `#!` line"));
        shell("rm \"$1\"");
        assert!(refused(&[program], None).contains("correct the path"));
    }

    #[tokio::test]
    async fn an_argument_with_a_nul_byte_is_refused() {
        assert!(refused(&["sh", "a\0b"], None).starts_with("cannot start `sh`: "));
    }
}
