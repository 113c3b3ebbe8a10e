//! Replicas, their store and a client, under random schedules: what a client was promised holds.
//!
//! Everything happens in one thread and one step at a time, chosen by a seed: which replica gets a
//! turn, which of its waiting futures is polled, what the client does, what fails. Time is
//! simulated. `SIMULATION_SEEDS=100000` runs so many seeds, `SIMULATION_SEED=7` that one alone, and
//! both together so many from that one on.

mod client;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::config::env::{Environment, Vars as _};
use crate::session::Transport;
use crate::session::fixture::Written;
use crate::session::id::SessionKey;
use crate::session::memory::MemoryStore;
use crate::session::store::{Look, Store as _};
use crate::session::tenure::Tenure;
use client::Client;
use node::Node;

const NODES: usize = 3;
const STEPS: usize = 300;

/// Random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

/// The time of all.
#[derive(Clone)]
struct Time {
    base: Instant,
    passed_ms: Arc<AtomicU64>,
}

impl Time {
    fn now(&self) -> Instant {
        self.base + Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn pass(&self, milliseconds: u64) {
        self.passed_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

/// How much goes wrong.
struct Faults {
    /// Of how many steps one is a fault; 0 for none.
    odds: usize,
    /// Whether the store may forget everything.
    forgets: bool,
}

struct World {
    dice: Dice,
    time: Time,
    store: MemoryStore,
    /// When the store began to hold data: by sessions' own clock, and by the simulated one.
    born: (Instant, Instant),
    nodes: Vec<Node>,
    client: Client,
    /// What the store has of each session, by stream and place.
    kept: BTreeMap<SessionKey, BTreeMap<(u32, u64), String>>,
    /// Of each session the owner that the store named last, and the latest one it ever named.
    owners: BTreeMap<SessionKey, (Option<Tenure>, Tenure)>,
    has_forgotten: bool,
    /// What the store ever had, by session, stream and place.
    had: BTreeSet<(SessionKey, u32, u64)>,
    faults: Faults,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let time = Time { base: Instant::now(), passed_ms: Arc::default() };
        let clock = {
            let time = time.clone();
            Arc::new(move || time.now())
        };
        let store = MemoryStore::shared(clock);
        let nodes = (0..NODES).map(|_| Node::new(&store, &time)).collect();
        let kind = if dice.one_in(2) { Transport::Sse } else { Transport::Streamable };
        let faults = Faults { odds: [0, 10, 25, 60][dice.below(4)], forgets: dice.one_in(3) };
        Self {
            dice,
            born: (Instant::now(), time.now()),
            time,
            store,
            nodes,
            client: Client::new(kind),
            kept: BTreeMap::new(),
            owners: BTreeMap::new(),
            has_forgotten: false,
            had: BTreeSet::new(),
            faults,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.settle();
    }

    fn step(&mut self) {
        self.time.pass(self.dice.next() % 300);
        if self.faults.odds > 0 && self.dice.one_in(self.faults.odds) {
            self.fail();
        }
        if self.dice.one_in(3) {
            self.act();
        }
        let at = self.dice.below(NODES);
        self.turn(at);
        self.check_store();
    }

    /// One replica does one thing.
    fn turn(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.runs {
            return;
        }
        let age = self.born.0.elapsed();
        node.keep_house(&self.time, age);
        node.poll(&mut self.dice);
        if node.executing.is_empty() || !self.dice.one_in(3) {
            return;
        }
        let which = self.dice.below(node.executing.len());
        match self.dice.below(3) {
            0 => node.say(which),
            1 => node.say_unasked(which),
            _ => node.answer(which),
        }
    }

    fn fail(&mut self) {
        let at = self.dice.below(NODES);
        let node = &mut self.nodes[at];
        match self.dice.below(12) {
            0 => *node = Node::new(&self.store, &self.time),
            1 | 2 => node.runs = false,
            3 | 4 => node.runs = true,
            5 => node.store.set_away(true),
            6 => node.store.lose_answers(true),
            7 | 8 => node.heal(),
            9 => self.nodes.iter().for_each(|it| it.store.set_away(true)),
            10 => self.nodes.iter().for_each(Node::heal),
            _ if self.faults.forgets => self.forget(),
            _ => {}
        }
    }

    fn forget(&mut self) {
        if self.dice.one_in(3) {
            self.lose_latest_owner();
        }
        self.store.empty();
        self.born = (Instant::now(), self.time.now());
        self.kept.clear();
        self.owners.values_mut().for_each(|(named, _)| *named = None);
        // One that hung and does not know that it has a successor may be the first to restore.
        if self.dice.one_in(2) {
            self.nodes.iter_mut().for_each(|it| it.runs = true);
        }
        self.has_forgotten = true;
        self.client.forgive();
    }

    /// With its memory, and what is left of the session is that of an earlier owner, if of any.
    fn lose_latest_owner(&mut self) {
        let Some((key, _)) = &self.client.session else { return };
        let Some((_, latest)) = self.owners.get(key) else { return };
        if let Some(node) = self.nodes.iter_mut().find(|it| it.name == latest.replica) {
            *node = Node::new(&self.store, &self.time);
        }
    }

    /// Writes were by who is the owner, and are what readers may be given.
    fn check_store(&mut self) {
        let nodes = self.nodes.iter();
        let written: Vec<Written> = nodes.flat_map(|node| node.store.take_written()).collect();
        for it in written {
            let look = done(self.store.look(it.key)).unwrap();
            let fence = it.tenure.fence;
            assert_eq!(look, Look::Owned(it.tenure), "a zombie wrote");
            let kept = self.kept.entry(it.key).or_default();
            if it.is_whole {
                kept.clear();
                let named = self.owners.get(&it.key).and_then(|(named, _)| named.as_ref());
                if named.is_some_and(|named| named.fence < fence) {
                    // What an earlier owner took in since the store forgot is gone with it.
                    self.client.forgive();
                }
            }
            self.had.extend(it.events.iter().map(|event| (it.key, event.stream, event.seq)));
            let events = it.events.into_iter();
            kept.extend(events.map(|it| ((it.stream, it.seq), it.text.to_string())));
        }
        self.check_owners();
    }

    /// Whether a reader may be given an event: the store has it. Once it has forgotten everything,
    /// that it had it must do: an owner goes on giving out what was confirmed to it until it hears
    /// that the store forgot, or that a later owner has restored the session in its place, without
    /// what this one said since they parted.
    fn may_be_seen(&self, key: SessionKey, place: (u32, u64)) -> bool {
        let has = self.kept.get(&key).is_some_and(|kept| kept.contains_key(&place));
        has || self.has_forgotten && self.had.contains(&(key, place.0, place.1))
    }

    /// No owner loses the session to an earlier one.
    fn check_owners(&mut self) {
        let Some((key, _)) = self.client.session.clone() else { return };
        if let Look::Owned(named) = done(self.store.look(key)).unwrap() {
            let (last, latest) = self.owners.entry(key).or_insert((None, named.clone()));
            if named.fence >= latest.fence {
                *latest = named.clone();
            }
            *last = Some(named);
        }
        let Some((_, latest)) = self.owners.get(&key) else { return };
        for node in &self.nodes {
            let all = node.sessions.all();
            let mut own =
                all.iter().filter(|it| it.key == key && it.tenure().as_ref() == Some(latest));
            assert!(!own.any(|it| it.is_disowned()), "the latest owner lost the session");
        }
    }

    /// Nothing fails any more: everything owed is given.
    fn settle(&mut self) {
        for node in &mut self.nodes {
            node.heal();
            node.runs = true;
        }
        for _ in 0..60 {
            self.time.pass(500);
            for at in 0..NODES {
                for _ in 0..20 {
                    let age = self.born.0.elapsed();
                    let node = &mut self.nodes[at];
                    node.keep_house(&self.time, age);
                    node.poll(&mut self.dice);
                    self.check_store();
                }
                let node = &mut self.nodes[at];
                while !node.executing.is_empty() {
                    node.answer(0);
                }
            }
            self.come_back();
            if self.client.is_content() {
                return;
            }
        }
        self.client.check_end();
    }

    /// Where the session's owner is, as a request that comes to the replica `at` finds it. A claim
    /// takes more than one request.
    fn locate(&mut self, at: usize) -> Place {
        let Some((key, id)) = self.client.session.clone() else { return Place::Unknown };
        let node = &self.nodes[at];
        if node.session(key).is_some() {
            return Place::At(at);
        }
        if !node.runs || node.store.is_away() {
            return Place::Nowhere;
        }
        let from = match done(self.store.look(key)).unwrap() {
            Look::Unknown if self.time.now() < self.born.1 + Duration::from_secs(5) => {
                return Place::Nowhere;
            }
            Look::Unknown => return Place::Unknown,
            Look::Free => None,
            Look::Owned(tenure) => Some(tenure),
        };
        if let Some(tenure) = &from {
            let holds = |it: &Node| it.name == tenure.replica;
            match self.nodes.iter().position(holds) {
                Some(owner) if self.nodes[owner].runs => {
                    if self.nodes[owner].session(key).is_some() {
                        return Place::At(owner);
                    }
                }
                // It hangs: it is waited for as long as it may live.
                Some(_) if self.lives(tenure) => return Place::Nowhere,
                Some(_) | None => {}
            }
        }
        let transport = self.client.transport;
        self.nodes[at].claim((key, id), transport, from);
        Place::Nowhere
    }

    fn lives(&self, tenure: &Tenure) -> bool {
        done(self.store.pulse_of(&tenure.replica.name)).unwrap().is_some()
    }
}

/// Where a session is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    At(usize),
    /// It is there, and cannot be served at this moment.
    Nowhere,
    /// There is no such session.
    Unknown,
}

/// The value of a future that does not wait.
fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn number(name: &str) -> Option<u64> {
    Environment.var(name).map(|text| text.parse().expect("a number"))
}

#[tokio::test]
async fn what_a_client_was_promised_holds_under_every_schedule() {
    let (first, many) = (number("SIMULATION_SEED"), number("SIMULATION_SEEDS"));
    let many = many.unwrap_or(if first.is_some() { 1 } else { 1_000 });
    let first = first.unwrap_or_default();
    for seed in first..first + many {
        let run = std::panic::AssertUnwindSafe(|| World::new(seed).run());
        if let Err(cause) = std::panic::catch_unwind(run) {
            eprintln!("SIMULATION_SEED={seed} fails");
            std::panic::resume_unwind(cause);
        }
    }
}
