//! Real processes, and every way they come to an end.

use std::path::Path;
use std::time::Instant;

use bytestring::ByteString;
use tokio::time::{sleep, timeout};

use super::*;

/// Far beyond what anything here takes; a test that runs into it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// A grace that nobody who behaves needs.
const LONG: Duration = Duration::from_secs(15);

/// A grace that is over at once.
const SHORT: Duration = Duration::from_millis(30);

struct Child {
    writer: Writer,
    reader: Reader,
    process: Process,
}

impl Child {
    fn shell(script: &str) -> Self {
        Self::start(&shell_command(script), WRITE_TIMEOUT)
    }

    fn start(command: &Command, write_timeout: Duration) -> Self {
        let started = spawn_within(command, &Tasks::new(), write_timeout);
        let (writer, reader, process) = started.unwrap();
        Self { writer, reader, process }
    }

    async fn next(&mut self) -> Incoming {
        timeout(DEADLINE, self.reader.next()).await.expect("a line in time")
    }

    async fn line(&mut self) -> String {
        let incoming = self.next().await;
        let Incoming::Line(line) = incoming else { panic!("a line, not {incoming:?}") };
        String::from_utf8(line.to_vec()).unwrap()
    }

    async fn exit(&mut self) -> Exit {
        let incoming = self.next().await;
        let Incoming::Closed(exit) = incoming else { panic!("the end, not {incoming:?}") };
        exit
    }

    async fn close(&self, grace: Duration) {
        timeout(DEADLINE, self.process.close(grace)).await.expect("closed in time");
    }
}

fn shell_command(script: &str) -> Command {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    Command { argv, env, cwd: None, line_limit: 64 * 1024, queue_lines: 2000 }
}

/// Polls until the condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs; one that waits to be reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    let state = stat.ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn message(number: usize) -> ByteString {
    format!("{{\"id\":{number}}}").into()
}

#[tokio::test]
async fn a_line_goes_there_and_back() {
    let mut child = Child::shell("exec cat");
    child.writer.try_send("{\"a\":\n1}".into()).unwrap();
    assert_eq!(child.line().await, "{\"a\": 1}");
    assert!(child.process.id() > 1);
    assert_eq!(child.process.exit(), None);
}

#[tokio::test]
async fn a_thousand_lines_keep_their_order() {
    let mut child = Child::shell("exec cat");
    for number in 0..1000 {
        child.writer.try_send(message(number)).unwrap();
    }
    for number in 0..1000 {
        assert_eq!(child.line().await, *message(number));
    }
}

#[tokio::test]
async fn a_long_line_passes_in_both_directions() {
    let mut command = shell_command("exec cat");
    command.line_limit = 4 * 1024 * 1024;
    let mut child = Child::start(&command, WRITE_TIMEOUT);
    let long = "x".repeat(3 * 1024 * 1024);
    child.writer.send(long.clone().into(), DEADLINE).await.unwrap();
    assert!(child.line().await == long);
}

#[tokio::test]
async fn after_a_line_beyond_the_limit_the_next_is_read() {
    let script = "printf 'head'; head -c 1000000 /dev/zero | tr '\\0' x; printf '\\n{}\\n'";
    let mut child = Child::shell(script);
    let incoming = child.next().await;
    let Incoming::TooLong { head, length } = incoming else { panic!("not {incoming:?}") };
    assert!(head.starts_with(b"headxxx"));
    assert_eq!(length, 1_000_004);
    assert_eq!(child.line().await, "{}");
}

#[tokio::test]
async fn a_partial_line_at_the_end_is_dropped() {
    let mut child = Child::shell("printf '{}\\r\\n\\n{\"id\":'; echo oops >&2; exit 3");
    assert_eq!(child.line().await, "{}");
    let exit = child.exit().await;
    assert_eq!(exit.to_string(), "exited with code 3");
    assert_eq!(exit.why, Why::Own);
    assert_eq!(child.exit().await, exit);
    assert_eq!(child.process.stderr_tail(), ["oops"]);
    assert_eq!(child.writer.try_send("{}".into()), Err(SendError::Closed));
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let script = "for n in 1 2 3 4 5 6 7 8 9; do printf '{\"n\"'; sleep 0.02; echo \":$n}\"; done";
    let mut child = Child::shell(script);
    let mut lines = Vec::new();
    while lines.len() < 9 {
        if let Ok(Incoming::Line(line)) =
            timeout(Duration::from_millis(7), child.reader.next()).await
        {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }
    let wanted: Vec<String> = (1..=9).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn a_flood_on_stderr_is_drained() {
    let mut child = Child::shell("yes 0123456789012345678901234567890123456789 >&2 & exec cat");
    let process = child.process.clone();
    until("50 MB drained", || process.stderr_bytes() > 50_000_000).await;
    child.writer.try_send("{}".into()).unwrap();
    assert_eq!(child.line().await, "{}");
    assert_eq!(process.stderr_tail().len(), 20);
    child.close(LONG).await;
    assert_eq!(process.exit().unwrap().code, Some(0));
}

#[tokio::test]
async fn closing_its_input_ends_a_child_that_behaves() {
    let mut child = Child::shell("cat; echo bye; exit 5");
    for number in 0..100 {
        child.writer.try_send(message(number)).unwrap();
    }
    child.close(LONG).await;
    for number in 0..100 {
        assert_eq!(child.line().await, *message(number));
    }
    assert_eq!(child.line().await, "bye");
    let exit = child.exit().await;
    assert_eq!((exit.code, exit.why), (Some(5), Why::Closed));
    assert!(!Path::new("/proc").join(child.process.id().to_string()).exists());
}

#[tokio::test]
async fn a_child_that_ignores_the_end_of_input_is_asked_to_terminate() {
    let mut child = Child::shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
    assert_eq!(child.line().await, "up");
    let (first, second) = (child.process.clone(), child.process.clone());
    let grace = Duration::from_secs(1);
    let closing = async { tokio::join!(first.close(grace), second.close(grace)) };
    timeout(DEADLINE, closing).await.unwrap();
    assert_eq!(child.exit().await.code, Some(7));
    child.close(SHORT).await;
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed() {
    let mut child = Child::shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
    assert_eq!(child.line().await, "up");
    child.close(SHORT).await;
    let exit = child.exit().await;
    assert_eq!(exit.to_string(), "killed by signal 9 (SIGKILL)");
    assert_eq!(exit.why, Why::Closed);
    assert!(!runs(&child.process.id().to_string()));
}

#[tokio::test]
async fn a_kill_is_at_once() {
    let mut child = Child::shell("exec sleep 1000");
    child.process.kill();
    let exit = child.exit().await;
    assert_eq!((exit.signal, exit.why), (Some(9), Why::Killed));
}

#[tokio::test]
async fn what_the_leader_leaves_behind_is_killed() {
    let mut child = Child::shell("sleep 1000 & echo $!; exit 0");
    let left = child.line().await;
    assert_eq!(child.exit().await.code, Some(0));
    until("the grandchild is gone", || !runs(&left)).await;
}

#[tokio::test]
async fn a_process_that_left_the_group_does_not_keep_the_pipe_alive() {
    let script = "setsid sh -c 'while :; do echo again; sleep 0.01; done' & echo $!";
    let mut child = Child::shell(script);
    let left = child.line().await;
    let exit = loop {
        match child.next().await {
            Incoming::Line(_) => {}
            Incoming::Closed(exit) => break exit,
            other @ Incoming::TooLong { .. } => panic!("{other:?}"),
        }
    };
    assert_eq!((exit.code, exit.why), (Some(0), Why::Own));
    let mut kill = tokio::process::Command::new("kill");
    drop(kill.args(["-9", &left]).stderr(std::process::Stdio::null()).status().await);
}

#[tokio::test]
async fn a_process_that_left_the_group_keeps_none_of_our_tasks_alive() {
    let tasks = Tasks::new();
    let command = shell_command("setsid sh -c 'echo $$; exec sleep 1000' & read _");
    let (writer, mut reader, process) = spawn_within(&command, &tasks, WRITE_TIMEOUT).unwrap();
    let Incoming::Line(left) = reader.next().await else { panic!("a line") };
    // The leader ends with its stdin, and by then the other has left.
    drop(writer);
    timeout(DEADLINE, process.exited()).await.unwrap();
    until("all tasks have ended", || tasks.running() == 0).await;
    let left = String::from_utf8(left.to_vec()).unwrap();
    assert!(runs(&left), "it holds standard error");
    drop(reader);
    let mut kill = tokio::process::Command::new("kill");
    drop(kill.args(["-9", &left]).status().await);
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_killed() {
    let mut child = Child::shell("echo $$; exec >&-; sleep 1000");
    let leader = child.line().await;
    let exit = child.exit().await;
    assert_eq!((exit.signal, exit.why), (Some(9), Why::StdoutClosed));
    assert_eq!(leader, child.process.id().to_string());
    assert!(!runs(&leader));
}

#[tokio::test]
async fn a_child_that_closes_its_input_is_killed() {
    let mut child = Child::shell("exec <&-; echo up; sleep 1000");
    assert_eq!(child.line().await, "up");
    let unread = child.writer.submit("{}".into()).unwrap();
    assert_eq!(child.exit().await.why, Why::StdinClosed);
    assert!(!child.writer.may_have_been_read(unread), "there was nobody to read it");
}

#[tokio::test]
async fn a_child_that_does_not_read_is_killed() {
    let mut child = Child::start(&shell_command("exec sleep 1000"), Duration::from_millis(100));
    let line = ByteString::from("x".repeat(60_000));
    let first = child.writer.submit(line.clone()).unwrap();
    for _ in 0..20 {
        child.writer.try_send(line.clone()).unwrap();
    }
    let last = child.writer.submit(line).unwrap();
    let exit = child.exit().await;
    assert_eq!(exit.why, Why::NotReading);
    assert!(exit.to_string().ends_with("because it did not read its standard input"));
    assert!(child.writer.may_have_been_read(first));
    assert!(!child.writer.may_have_been_read(last));
}

#[tokio::test]
async fn what_is_sealed_in_the_queue_is_never_written() {
    let folder = std::env::temp_dir().join(format!("edge-sealed-{}", std::process::id()));
    let script = format!("until [ -e {} ]; do sleep 0.01; done; exec cat", folder.display());
    let mut command = shell_command(&script);
    command.line_limit = 4 * 1024 * 1024;
    let mut child = Child::start(&command, WRITE_TIMEOUT);
    let long = "x".repeat(1024 * 1024);
    let first = child.writer.submit(long.clone().into()).unwrap();
    until("the first is being written", || child.writer.may_have_been_read(first)).await;
    let second = child.writer.submit(message(2)).unwrap();
    assert!(!child.writer.may_have_been_read(second), "the pipe is full");
    child.writer.seal();
    std::fs::write(&folder, "").unwrap();
    assert_eq!(child.line().await, long);
    child.close(LONG).await;
    child.exit().await;
    std::fs::remove_file(&folder).unwrap();
    assert!(!child.writer.may_have_been_read(second));
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let mut command = shell_command("exec sleep 1000");
    command.queue_lines = 2;
    let child = Child::start(&command, WRITE_TIMEOUT);
    let line = ByteString::from("x".repeat(60_000));
    let writer = child.writer.clone();
    until("the queue is full", || writer.try_send(line.clone()) == Err(SendError::Full)).await;
    assert_eq!(writer.send(line.clone(), SHORT).await, Err(SendError::Full));
    child.process.kill();
    assert_eq!(writer.send(line, DEADLINE).await, Err(SendError::Closed));
}

#[tokio::test]
async fn without_handles_a_child_is_killed() {
    let mut child = Child::shell("sleep 1000 & echo $$ $!; wait");
    let pids = child.line().await;
    drop(child);
    until("the group is gone", || !pids.split(' ').any(runs)).await;
}

#[tokio::test]
async fn the_runtime_takes_its_children_with_it() {
    let pid = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let child = runtime.block_on(async {
            let mut child = Child::shell("sleep 1000 & echo $!; wait");
            (child.line().await, child)
        });
        drop(runtime);
        child.0
    });
    let pid = pid.join().unwrap();
    until("the grandchild is gone", || !runs(&pid)).await;
}

#[tokio::test]
async fn the_environment_is_not_passed_on() {
    let own = std::fs::read("/proc/self/environ").unwrap();
    assert!(own.split(|&byte| byte == 0).count() > 3, "there is something to pass on");
    let mut command = shell_command("tr '\\0' '\\n' < /proc/$$/environ");
    command.env.insert("GIVEN".to_owned(), "yes".to_owned());
    let mut child = Child::start(&command, WRITE_TIMEOUT);
    assert_eq!(child.line().await, "GIVEN=yes");
    assert_eq!(child.line().await, "PATH=/usr/bin:/bin");
    assert_eq!(child.exit().await.code, Some(0));
}

#[tokio::test]
async fn a_child_starts_in_the_folder_given() {
    let mut command = shell_command("pwd");
    command.cwd = Some(PathBuf::from("/usr"));
    assert_eq!(Child::start(&command, WRITE_TIMEOUT).line().await, "/usr");
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let runtime = tokio::runtime::Handle::current();
    let asker = std::thread::spawn(move || {
        let _inside = runtime.enter();
        Child::shell("exec cat")
    });
    let mut child = asker.join().unwrap();
    child.writer.try_send("{}".into()).unwrap();
    assert_eq!(child.line().await, "{}");
}

#[tokio::test]
async fn a_child_dies_with_the_thread_that_forked_it() {
    let runtime = tokio::runtime::Handle::current();
    let forker = std::thread::spawn(move || {
        let _inside = runtime.enter();
        let mut command = tokio::process::Command::new("sleep");
        parent_death::die_with_parent(command.arg("1000"));
        command.spawn().unwrap()
    });
    let mut child = forker.join().unwrap();
    let status = timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert_eq!(Exit::new(Some(status), Why::Own).signal, Some(9));
}
