//! Every vice at once, in sessions that use a healthy server beside them.

use std::path::{Path, PathBuf};

use edge_tests::STEP_DEADLINE;
use edge_tests::processes::Process;

use super::*;

/// Calls of each vice in each session, except of those that move much.
const CALLS: u64 = 6;
const TIMEOUT: i64 = -31003;
const TOO_LARGE: i64 = -31011;
const LONG_BYTES: usize = 100_000_000;
/// What the gateway's memory may grow by at most while that line comes in: it is not kept.
const LONG_GROWTH_KIB: u64 = 90 * 1024;
/// What makes a few calls more than a pipe and a socket hold, and still fits a WebSocket frame.
const BIG_ARGUMENT_BYTES: usize = 1_000_000;

/// What a server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    /// It never answers a call.
    Hangs,
    /// It never answers `initialize`.
    Mute,
    /// It prints anything before and after its answers.
    Garbage,
    /// It answers in a line that is far too long.
    Long,
    /// It crashes, and a process that it has started holds its pipes.
    Forks,
    /// As [`Vice::Forks`], in a process group of its own.
    Escapes,
    /// It stops reading.
    Deaf,
    /// It closes its output and lives on.
    Shuts,
}

impl Vice {
    const ALL: [Self; 8] = [
        Self::Hangs,
        Self::Mute,
        Self::Garbage,
        Self::Long,
        Self::Forks,
        Self::Escapes,
        Self::Deaf,
        Self::Shuts,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// How the gateway's configuration has it.
    fn config(self, port: u16, pids: &Path) -> Value {
        let puppet = puppet(port).join(" ");
        let pids = pids.display();
        let command = match self {
            Self::Forks => {
                json!(["sh", "-c", format!("sleep 600 & echo $! >> {pids}; exec {puppet}")])
            }
            Self::Escapes => {
                json!(["sh", "-c", format!("setsid sleep 600 & echo $! >> {pids}; exec {puppet}")])
            }
            Self::Shuts => {
                json!(["sh", "-c", format!("{puppet}; exec >&-; exec sleep 600")])
            }
            Self::Hangs | Self::Mute | Self::Garbage | Self::Long | Self::Deaf => {
                json!(puppet.split(' ').collect::<Vec<_>>())
            }
        };
        let limits = json!({"call_timeout": "2s", "start_timeout": "3s", "idle_timeout": "2s"});
        with(limits, "command", command)
    }

    async fn play(self, mut strings: Strings, dice: Arc<Mutex<Dice>>) {
        if self == Self::Mute {
            while strings.hear().await.is_some() {}
            return;
        }
        while let Some(call) = strings.next_call("do").await {
            let text = format!("{}\n", answer(&call, "done"));
            match self {
                Self::Mute | Self::Hangs => {}
                Self::Garbage => {
                    let before = garbage(&mut dice.lock());
                    let said = [&before, text.as_bytes(), &before].concat();
                    strings.say(&said).await;
                }
                Self::Long if call.pointer("/params/arguments/long") == Some(&json!(true)) => {
                    strings.say(answer(&call, &"x".repeat(LONG_BYTES)).as_bytes()).await;
                    strings.say(b"\n").await;
                }
                Self::Long => drop(strings.say(text.as_bytes()).await),
                Self::Forks | Self::Escapes | Self::Shuts => return,
                Self::Deaf => {
                    // Held open and not read: the process is stuck in a write of its own.
                    tokio::time::sleep(STEP_DEADLINE.saturating_mul(3)).await;
                    return;
                }
            }
        }
    }

    /// The codes a call may end with; empty for a result.
    fn codes(self) -> &'static [i64] {
        match self {
            Self::Garbage | Self::Long => &[],
            Self::Hangs => &[TIMEOUT],
            // A call that was queued when the process died was not sent.
            Self::Forks | Self::Escapes | Self::Shuts => &[OUTCOME_UNKNOWN, -31001],
            // Which of them depends on how far the call got before the process was given up.
            Self::Deaf => &[TIMEOUT, OUTCOME_UNKNOWN, -31001, -31006],
            Self::Mute => &[-32602],
        }
    }
}

/// Some lines of anything, the last one whole.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let length = dice.below(3000);
    let mut bytes: Vec<u8> =
        (0..length).filter_map(|_| u8::try_from(dice.below(256)).ok()).collect();
    bytes.extend(b"\n{\"jsonrpc\":\"2.0\",\"id\":99999999,\"result\":\n[[[[\n\xff\xfe\n");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vice_at_once_costs_its_own_calls_only() -> Outcome {
    let mut tasks = JoinSet::new();
    let dice = Arc::new(Mutex::new(Dice(RandomState::new().hash_one("vices"))));
    tell(&format!("seed of the garbage: {}", dice.lock().0));
    let folder = Scratch::new()?;
    let mut gateway = edge()
        .setting("session", json!({"idle_timeout": "3s"}))
        .setting("log_level", json!("error"))
        .server("healthy", pooled());
    for vice in Vice::ALL {
        let dice = dice.clone();
        let play = move |strings| vice.play(strings, dice.clone());
        let port = troupe(&mut tasks, play).await?;
        gateway = gateway.server(&vice.name(), vice.config(port, &folder.0.join(vice.name())));
    }
    let edge = gateway.start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("healthy")).await?;
    client.call("echo", json!({})).await?;
    drop(client);
    let base = edge.at_rest(None).await?;
    let sessions = Transport::ALL.map(|transport| misuse(&edge, transport));
    let mut total = 0_u64;
    for counted in join_all(sessions).await {
        let counted = counted.map_err(|fault| format!("{fault}\n{}", edge.log_tail()))?;
        total = total.saturating_add(counted);
    }
    let grown = edge.footprint()?.peak_kib.saturating_sub(base.peak_kib);
    let after = edge.at_rest(Some(base)).await?;
    tell(&format!(
        "{total} calls, each answered once; memory grew by {grown} KiB at most; \
         before {base:?}, after {after:?}"
    ));
    same(format!("memory grew by {grown} KiB"), grown < LONG_GROWTH_KIB, true)?;
    let held = folder.pids(&Vice::Forks.name())?;
    same("grandchildren", held.is_empty(), false)?;
    until("the grandchildren are gone", || async { held.iter().all(|pid| !is_alive(*pid)) })
        .await?;
    // These are nobody's any more; that no call waited for them is what is shown.
    let escaped = folder.pids(&Vice::Escapes.name())?;
    same("escaped", escaped.iter().any(|pid| is_alive(*pid)), true)?;
    // One that was killed with its group before it could leave it is gone.
    for pid in escaped.into_iter().filter(|pid| is_alive(*pid)) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    }
    Ok(())
}

/// Calls everybody in one session; how many calls that were.
async fn misuse(edge: &Edge, transport: Transport) -> Result<u64, Fault> {
    let mut client = Client::open(edge, transport, None).await?;
    let tools = client.request("tools/list", json!({})).await;
    let tools = tools.map_err(|fault| format!("{transport:?}, tools/list: {fault}"))?;
    let tools = tools.pointer("/result/tools").and_then(Value::as_array).map_or(0, Vec::len);
    same("the lists of the others are there", tools > Vice::ALL.len(), true)?;
    let mut answers = Answers::default();
    let mut asked = Vec::new();
    for round in 0..CALLS {
        for vice in Vice::ALL {
            let is_long = vice == Vice::Long && round == 1 && transport == Transport::Ws;
            let fill = if vice == Vice::Deaf { BIG_ARGUMENT_BYTES } else { 1 };
            let arguments = json!({"long": is_long, "fill": "x".repeat(fill)});
            let call = json!({"name": format!("{}__do", vice.name()), "arguments": arguments});
            asked.push((vice, is_long, client.begin("tools/call", call).await?));
            let echo = json!({"name": "echo", "arguments": {"value": round}});
            let beside = client.begin("tools/call", echo).await?;
            let said = answers.of(&mut client, beside).await;
            let said = said.map_err(|fault| {
                format!("{transport:?}, beside {vice:?}, call {beside}: {fault}")
            })?;
            same(format!("beside {vice:?}: {said}"), said.get("result").is_some(), true)?;
        }
    }
    for (vice, is_long, id) in &asked {
        let said = answers.of(&mut client, *id).await;
        let said = said.map_err(|fault| format!("{transport:?}, {vice:?}, call {id}: {fault}"))?;
        let fits = match code(&said) {
            Some(code) if *is_long => code == TOO_LARGE,
            Some(code) => vice.codes().contains(&code),
            None => vice.codes().is_empty() && !is_long,
        };
        same(format!("{transport:?}, {vice:?}, long: {is_long}: {said:.400}"), fits, true)?;
    }
    let once = answers.once_each(&mut client).await;
    once.map_err(|fault| format!("{transport:?}, at the end: {fault}"))?;
    let count = answers.0.len();
    client.end().await?;
    Ok(u64::try_from(count)?)
}

fn is_alive(pid: u32) -> bool {
    Process::find(pid).is_some()
}

/// A folder for the numbers of grandchildren.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Fault> {
        let path = std::env::temp_dir().join(format!("edge-vices-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn pids(&self, name: &str) -> Result<Vec<u32>, Fault> {
        let text = std::fs::read_to_string(self.0.join(name))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
