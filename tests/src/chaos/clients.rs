//! The clients: many that ask for short answers, and some of every kind that has more to lose.

mod mcp;
mod modern;
mod sse;
mod ws;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{HTTP_SERVER, STDIO_SERVERS, World, stdio_server};
use crate::checker::{End, Log};
use crate::dice::Dice;

/// Calls a second of one client that asks for short answers.
const PACE: u32 = 10;
/// Of one that is answered by a stream.
const SLOW_PACE: u32 = 2;
/// Clients of each kind that is answered by streams, at the server that speaks HTTP.
const WEB_STREAMS: usize = 6;
/// One client in so many of those of stdio servers has a WebSocket.
const SOCKET_EVERY: usize = 4;

/// One client and what it saw.
#[derive(Debug)]
struct Client {
    world: Arc<World>,
    name: String,
    dice: Dice,
    count: u64,
    /// Sessions it began.
    sessions: u64,
    /// The last of them is open: its `initialize` was answered.
    is_open: bool,
    /// When it was sure that its session lives.
    seen: Instant,
    log: Log,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// A short answer, now.
    Quick,
    /// One that takes a while, and now and then a crash or a hang.
    Slow { crashes: bool },
}

/// A session that is open, as its client has it.
trait Opened: Send + Sized {
    /// Opens one, if that can be done.
    fn open(client: &mut Client, server: &str) -> impl Future<Output = Option<Self>> + Send;

    /// Makes a call, which is `text` and has this name in the ledger; how it ended, or what was
    /// wrong with its answer.
    fn call(
        &mut self,
        client: &mut Client,
        uuid: &str,
        text: &str,
    ) -> impl Future<Output = Result<End, String>> + Send;

    /// Whether it is over for its client.
    fn is_lost(&self) -> bool;
}

/// Has all of them begin, at `rate` calls a second together.
pub(super) fn enter(crowd: &mut JoinSet<Log>, world: &Arc<World>, rate: u32) {
    let crashes = world.servers_fail;
    let mut number = 0_u64;
    let mut client = |kind: &str| {
        number = number.saturating_add(1);
        Client {
            world: world.clone(),
            name: format!("{kind}-{number}"),
            dice: Dice(world.seed.wrapping_mul(1_000_003).wrapping_add(number)),
            count: 0,
            sessions: 0,
            is_open: false,
            seen: Instant::now(),
            log: Log::default(),
        }
    };
    for number in 0..STDIO_SERVERS {
        let server = stdio_server(number);
        let wish = Wish::Slow { crashes };
        if number % 2 == 0 {
            crowd.spawn(run::<mcp::Session>(client("mcp"), server.clone(), wish, SLOW_PACE));
        }
        if number % SOCKET_EVERY == 1 {
            crowd.spawn(run::<ws::Socket>(client("ws"), server.clone(), wish, SLOW_PACE));
        }
        crowd.spawn(run::<sse::Source>(client("sse"), server, wish, SLOW_PACE));
    }
    for _ in 0..WEB_STREAMS {
        let wish = Wish::Slow { crashes: false };
        crowd.spawn(run::<mcp::Session>(client("web"), HTTP_SERVER.to_owned(), wish, SLOW_PACE));
        crowd.spawn(run::<sse::Source>(
            client("web-sse"),
            HTTP_SERVER.to_owned(),
            Wish::Quick,
            PACE,
        ));
        crowd.spawn(run::<ws::Socket>(client("web-ws"), HTTP_SERVER.to_owned(), Wish::Quick, PACE));
    }
    let streams = u32::try_from(WEB_STREAMS).unwrap_or(u32::MAX).saturating_mul(2 * PACE);
    for _ in 0..(rate.saturating_sub(streams) / (2 * PACE)).max(2) {
        crowd.spawn(modern::run(client("modern"), PACE));
        crowd.spawn(run::<mcp::Session>(
            client("quick"),
            HTTP_SERVER.to_owned(),
            Wish::Quick,
            PACE,
        ));
    }
}

/// Opens a session whenever it has none, and calls.
async fn run<S: Opened>(mut client: Client, server: String, wish: Wish, pace: u32) -> Log {
    let mut ticks = client.pace(pace);
    let mut session: Option<S> = None;
    while !client.world.is_over() {
        ticks.tick().await;
        let Some(open) = session.as_mut() else {
            session = S::open(&mut client, &server).await;
            client.is_open = session.is_some();
            continue;
        };
        let (uuid, arguments) = client.next(wish);
        let text = call(client.count, &arguments);
        let end = open.call(&mut client, &uuid, &text).await;
        client.ended(uuid, end);
        session.take_if(|it| it.is_lost());
    }
    client.log
}

impl Client {
    /// Ticks as often as it is to call.
    fn pace(&self, per_second: u32) -> tokio::time::Interval {
        let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
        // One that had to wait for short answers makes up for it: the rate is kept over faults.
        let is_slow = per_second <= SLOW_PACE;
        let missed = if is_slow { MissedTickBehavior::Delay } else { MissedTickBehavior::Burst };
        ticks.set_missed_tick_behavior(missed);
        ticks
    }

    /// The next call: its name in the ledger, and the arguments it is asked with.
    fn next(&mut self, wish: Wish) -> (String, Value) {
        self.count = self.count.saturating_add(1);
        let uuid = format!("{}.{}", self.name, self.count);
        let mut arguments = json!({"uuid": uuid});
        let Wish::Slow { crashes } = wish else {
            // One call in a great many has the server that all share crash.
            if self.world.servers_fail && self.dice.below(30_000) == 0 {
                self.crash(&uuid, &mut arguments);
            }
            return (uuid, arguments);
        };
        set(&mut arguments, "ms", json!(20 + self.dice.below(900)));
        set(&mut arguments, "steps", json!(3));
        match self.dice.below(100) {
            0..=5 if crashes => self.crash(&uuid, &mut arguments),
            6 if crashes => {
                let hang = if self.dice.below(2) == 0 { "before" } else { "after" };
                set(&mut arguments, "hang", json!(hang));
                self.world.backend_hangs.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        (uuid, arguments)
    }

    fn crash(&mut self, uuid: &str, arguments: &mut Value) {
        set(arguments, "abort", json!(self.dice.below(100)));
        self.world.crashing.lock().push(uuid.to_owned());
    }

    /// Its session is unknown, which is a fault unless nobody can know it.
    fn session_is_unknown(&mut self) {
        self.world.lost_sessions.fetch_add(1, Ordering::Relaxed);
        // One that was never opened ends with its owner.
        if !self.is_open || self.world.may_have_forgotten(self.seen) {
            self.world.excused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (name, number) = (&self.name, self.sessions);
        let before = self.seen.elapsed().as_millis();
        let said = format!("session {number} of {name} was unknown, and lived {before} ms before");
        self.protest(said);
    }

    /// Something came that must not come.
    fn protest(&mut self, fault: String) {
        self.world.tell(format!("BROKEN in session {} of {}: {fault}", self.sessions, self.name));
        self.log.disorder.push(fault);
    }

    fn ended(&mut self, uuid: String, end: Result<End, String>) {
        if matches!(end, Ok(End::Answered)) {
            self.seen = Instant::now();
        }
        if matches!(end, Ok(End::Never)) {
            self.world.tell(format!("BROKEN in session {}: no end of {uuid}", self.sessions));
        }
        match end {
            Ok(end) => self.log.calls.push((uuid, end)),
            Err(disorder) => {
                self.log.calls.push((uuid, End::Broken("wrong answer")));
                self.protest(disorder);
            }
        }
    }

    /// The request that begins its next session, which the ledger knows by a name of its own.
    fn hello(&mut self) -> String {
        self.sessions = self.sessions.saturating_add(1);
        self.is_open = false;
        self.seen = Instant::now();
        let name = format!("{}.{}", self.name, self.sessions);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": name, "version": "1.0.0"}
        });
        request(0, "initialize", &params)
    }
}

fn set(arguments: &mut Value, name: &str, value: Value) {
    if let Some(members) = arguments.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn call(id: u64, arguments: &Value) -> String {
    let params = json!({"name": "append", "arguments": arguments, "_meta": {"progressToken": id}});
    request(id, "tools/call", &params)
}
