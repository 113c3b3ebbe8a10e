//! Children that misbehave: only their own calls suffer, every call ends with exactly one answer,
//! and nothing is left behind.
//!
//! `UNRULY_SEED=N` crashes at the same bytes again.

mod vices;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use edge_tests::client::{Client, Transport};
use edge_tests::dice::Dice;
use edge_tests::edge::{Edge, edge, pooled, puppet};
use edge_tests::troupe::{Strings, answer, troupe};
use edge_tests::{Fault, Outcome, same, until};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Clients that work at the same time, each with a server of its own to crash.
const WORKERS: u64 = 8;
/// Sessions that each of them opens, one after the other.
const SESSIONS: u64 = 25;
/// Crashes in each; with one more in a minute it would be told to wait.
const CRASHES: u64 = 5;
const OUTCOME_UNKNOWN: i64 = -31002;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_crashes_at_a_random_byte_cost_one_call_each() -> Outcome {
    let fresh = RandomState::new().hash_one("unruly");
    let seed = match std::env::var_os("UNRULY_SEED") {
        Some(seed) => seed.to_str().ok_or("UNRULY_SEED is not text")?.parse()?,
        None => fresh,
    };
    tell(&format!("UNRULY_SEED={seed}"));
    let result = Box::pin(crash_all(seed)).await;
    result.map_err(|fault| format!("UNRULY_SEED={seed}: {fault}").into())
}

async fn crash_all(seed: u64) -> Outcome {
    let mut tasks = JoinSet::new();
    let dice = Arc::new(Mutex::new(Dice(seed)));
    let mut gateway = edge()
        .setting("session", json!({"idle_timeout": "3s"}))
        .setting("log_level", json!("error"))
        .server("healthy", pooled());
    for worker in 0..WORKERS {
        let dice = dice.clone();
        let port = troupe(&mut tasks, move |strings| crash(strings, dice.clone())).await?;
        let own = json!({"command": puppet(port)});
        let shared = with(own.clone(), "isolation", json!("pooled"));
        gateway = gateway
            .server(&format!("crash-{worker}"), own)
            .server(&format!("shared-{worker}"), shared);
    }
    let edge = gateway.start().await?;
    calm(&edge).await?;
    let base = edge.at_rest(None).await?;
    let workers = (0..WORKERS).map(|worker| work(&edge, worker));
    let mut counts = BTreeMap::<String, u64>::new();
    for counted in join_all(workers).await {
        for (what, count) in counted.map_err(|fault| format!("{fault}\n{}", edge.log_tail()))? {
            let sum = counts.entry(what).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let after = edge.at_rest(Some(base)).await?;
    tell(&format!("{counts:?}; before {base:?}, after {after:?}"));
    let count = |what: &str| counts.get(what).copied().unwrap_or_default();
    let crashes = WORKERS * (SESSIONS + 1) * CRASHES;
    same("calls that crashed a process", count("crashed") + count("answered"), crashes)?;
    same("crashes that a client saw", count("crashed") > crashes * 9 / 10, true)?;
    same("calls beside them", count("beside"), crashes)
}

/// Answers a call that says so, and dies at a random byte of the answer to every other.
async fn crash(mut strings: Strings, dice: Arc<Mutex<Dice>>) {
    while let Some(call) = strings.next_call("boom").await {
        let line = format!("{}\n", answer(&call, "survived, with a text of some length"));
        let is_calm = call.pointer("/params/arguments/calm") == Some(&json!(true));
        let sides = line.len().saturating_add(1) as u64;
        let drawn = usize::try_from(dice.lock().below(sides)).unwrap_or_default();
        let length = if is_calm { line.len() } else { drawn };
        let _gone = strings.say(line.as_bytes().get(..length).unwrap_or_default()).await;
        if !is_calm {
            return;
        }
    }
}

/// Crashes a server of its own in many sessions, and then one whose process all sessions share.
async fn work(edge: &Edge, worker: u64) -> Result<BTreeMap<String, u64>, Fault> {
    let mut counts = BTreeMap::<String, u64>::new();
    for session in 0..=SESSIONS {
        let kind = if session < SESSIONS { "crash" } else { "shared" };
        let transport = at_turn(worker.saturating_add(session));
        misuse(edge, transport, &format!("{kind}-{worker}"), &mut counts).await.map_err(
            |fault| format!("{kind}-{worker}, session {session}, {transport:?}: {fault}"),
        )?;
    }
    Ok(counts)
}

/// One client of all servers, which crashes one of them and calls the healthy one beside that.
async fn misuse(
    edge: &Edge,
    transport: Transport,
    server: &str,
    counts: &mut BTreeMap<String, u64>,
) -> Outcome {
    let mut client = Client::open(edge, transport, None).await?;
    let mut answers = Answers::default();
    for round in 0..CRASHES {
        let value = format!("{server}-{round}");
        let echo = json!({"name": "echo", "arguments": {"value": value}});
        let beside = client.begin("tools/call", echo).await?;
        let boom = json!({"name": format!("{server}__boom"), "arguments": {}});
        let crashed = client.begin("tools/call", boom).await?;
        let said = answers.of(&mut client, beside).await?;
        let text = said.pointer("/result/content/0/text").and_then(Value::as_str);
        let is_own = text.is_some_and(|text| text.contains(&value));
        same(format!("beside a crash: {said}"), is_own, true)?;
        let said = answers.of(&mut client, crashed).await?;
        let what = match code(&said) {
            None if said.get("result").is_some() => "answered",
            Some(OUTCOME_UNKNOWN) if is_sent(&said) => "crashed",
            _ => return Err(format!("round {round}: {said}").into()),
        };
        for what in [what, "beside"] {
            let count = counts.entry(what.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }
    answers.once_each(&mut client).await?;
    client.end().await
}

/// Calls every server once without a crash, so that all shared processes are there.
async fn calm(edge: &Edge) -> Outcome {
    let mut client = Client::open(edge, Transport::Mcp, None).await?;
    client.call("echo", json!({})).await?;
    for worker in 0..WORKERS {
        for kind in ["crash", "shared"] {
            client.call(&format!("{kind}-{worker}__boom"), json!({"calm": true})).await?;
        }
    }
    client.end().await
}

fn with(mut server: Value, key: &str, value: Value) -> Value {
    if let Some(server) = server.as_object_mut() {
        server.insert(key.to_owned(), value);
    }
    server
}

/// All answers a client got, by the id of the request.
#[derive(Debug, Default)]
struct Answers(BTreeMap<u64, Vec<Value>>);

impl Answers {
    /// The answer to this request, now or later.
    async fn of(&mut self, client: &mut Client, id: u64) -> Result<Value, Fault> {
        loop {
            if let Some(answer) = self.0.get(&id).and_then(|answers| answers.first()) {
                return Ok(answer.clone());
            }
            self.take(client.message().await?);
        }
    }

    fn take(&mut self, message: Value) {
        if message.get("method").is_none()
            && let Some(id) = message.get("id").and_then(Value::as_u64)
        {
            self.0.entry(id).or_default().push(message);
        }
    }

    /// Waits for what may still be under way, and checks that nothing was answered twice.
    async fn once_each(&mut self, client: &mut Client) -> Outcome {
        let last = client.begin("ping", json!({})).await?;
        self.of(client, last).await?;
        let twice: Vec<_> = self.0.values().filter(|answers| answers.len() != 1).collect();
        same("answered other than once", twice, Vec::new())
    }
}

fn at_turn(number: u64) -> Transport {
    match number % 3 {
        0 => Transport::Mcp,
        1 => Transport::Sse,
        _ => Transport::Ws,
    }
}

fn code(message: &Value) -> Option<i64> {
    message.pointer("/error/code").and_then(Value::as_i64)
}

/// Whether an error says that the server may have seen the call.
fn is_sent(message: &Value) -> bool {
    message.pointer("/error/data/dispatched").is_some_and(|told| *told != json!(false))
}

#[expect(clippy::print_stderr, reason = "seeds and counts are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}
