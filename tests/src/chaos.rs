//! Everything breaks while clients call: what was promised has to hold all the same.
//!
//! Three replicas, one Redis, a balancer without stickiness, and servers that write down every
//! call that ran. Faults come in an order that a seed decides; how they meet the calls does not
//! repeat itself, but what breaks when does.

mod caller;
mod clients;
mod faults;
mod report;
mod rolling;
mod streams;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use self::faults::Counts;
pub use self::report::{Report, Resumes};
pub use self::rolling::rolling;
use crate::checker::Log;
use crate::edge::{Builder, Folder, edge};
use crate::front::{Front, front};
use crate::ledger::{Line, Web};
use crate::processes::Process;
use crate::replicas::{Replicas, replicas};
use crate::{Fault, ledger, until};

/// Servers that are a process a session: so many, because one that crashes often is left alone
/// for a while.
const STDIO_SERVERS: usize = 20;
/// The server that speaks HTTP.
const HTTP_SERVER: &str = "web";
/// How a call ends that was sent into a WebSocket which broke: it may never have arrived.
const NO_RECEIPT: &str = "a WebSocket has no receipts";
/// A call that hangs ends after this.
const CALL_TIMEOUT: &str = "5s";
/// A session that was seen so long before Redis was emptied, or its owner lost, may have been only
/// in that one's memory.
const UNWRITTEN: Duration = Duration::from_secs(5);
/// After the last fault, so that a call that met it comes to its end.
const SETTLE: Duration = Duration::from_secs(5);
/// So long clients have to end the call they are at: several times what any call may take. One
/// that is still at it then will never come to an end, which the report has to say.
const LEAVE: Duration = Duration::from_secs(60);

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Dose {
    /// For how long faults come at least; each kind comes as often as its share of that is.
    pub span: Duration,
    /// What decides their order.
    pub seed: u64,
    /// Calls a second.
    pub rate: u32,
}

/// What clients and faults have in common.
#[derive(Debug)]
struct World {
    front: SocketAddr,
    seed: u64,
    /// Whether calls ask servers to crash and to hang.
    servers_fail: bool,
    is_over: AtomicBool,
    /// Redis is not emptied while a replica is down: what neither of them has is lost, and may be.
    memory: RwLock<()>,
    kills: Mutex<Vec<Instant>>,
    /// When a stream broke, and how long it took until it was taken up.
    resumes: Mutex<Vec<(Instant, Duration)>>,
    /// When a replica was killed, or began or ended to stop.
    losses: Mutex<Vec<Instant>>,
    /// When Redis was emptied.
    emptied: Mutex<Vec<Instant>>,
    /// Sessions that were unknown when their client came back.
    lost_sessions: AtomicU64,
    /// Those of them whose owner was lost together with Redis's memory, or before they were open.
    excused: AtomicU64,
    /// Gaps that were announced.
    gaps: AtomicU64,
    /// Calls that have their server crash once they ran.
    crashing: Mutex<Vec<String>>,
    backend_hangs: AtomicU64,
    /// What a fault could not do, and processes that outlived their gateway.
    trouble: Mutex<Vec<String>>,
    orphans: AtomicU64,
    begun: Instant,
    /// What broke, and what was broken by it, as it came.
    story: Mutex<Vec<(Duration, String)>>,
}

/// What stands around the replicas.
struct Scene {
    file: PathBuf,
    web: Web,
    front: Front,
    world: Arc<World>,
    crowd: JoinSet<Log>,
    begun: Instant,
    _folder: Folder,
}

/// Runs it.
///
/// # Errors
/// The stage cannot be set; what goes wrong on it is in the report.
pub async fn chaos(dose: Dose) -> Result<Report, Fault> {
    let (mut scene, replicas) = Scene::set(dose.seed, dose.rate, true).await?;
    let world = scene.world.clone();
    let ends = scene.begun + dose.span;
    let faults = async {
        let left = faults::inject(&world, replicas, dose, ends).await;
        tokio::time::sleep(SETTLE).await;
        left
    };
    let (faults, replicas) = tokio::select! {
        left = faults => left?,
        () = crash_when_asked(&mut scene.web, &world) => return Err("no HTTP server".into()),
    };
    let log = scene.leave().await;
    scene.end(replicas, &log, faults).await
}

impl Scene {
    async fn set(seed: u64, rate: u32, servers_fail: bool) -> Result<(Self, Replicas), Fault> {
        let folder = Folder::new()?;
        let file = folder.path.join("ledger");
        let web = Web::start(&file).await?;
        let replicas = replicas(3, describe(&file, &web)?).await?;
        let front = front(&replicas.addresses()).await?;
        until("all are ready", || async { front.ready() == 3 }).await?;
        let world = Arc::new(World::new(front.address, seed, servers_fail));
        let mut crowd = JoinSet::new();
        clients::enter(&mut crowd, &world, rate);
        let begun = Instant::now();
        Ok((Self { file, web, front, world, crowd, begun, _folder: folder }, replicas))
    }

    /// Has every client finish the call it is at and go; what they saw. Clients that are still
    /// there after [`LEAVE`] are complained of.
    async fn leave(&mut self) -> Log {
        self.world.is_over.store(true, Ordering::Relaxed);
        let mut log = Log::default();
        let (crowd, world) = (&mut self.crowd, &self.world);
        let left = async {
            while let Some(ended) = crowd.join_next().await {
                match ended {
                    Ok(of_client) => log.add(of_client),
                    Err(fault) => world.complain(format!("a client: {fault}")),
                }
            }
        };
        tokio::select! {
            () = left => {}
            () = crash_when_asked(&mut self.web, world) => {}
            () = tokio::time::sleep(LEAVE) => {}
        }
        if !self.crowd.is_empty() {
            world.complain(format!("{} clients came to no end", self.crowd.len()));
            self.crowd.abort_all();
        }
        log
    }

    /// Stops what is left and holds the log against the ledger.
    async fn end(
        mut self,
        mut replicas: Replicas,
        log: &Log,
        mut faults: Counts,
    ) -> Result<Report, Fault> {
        let took = self.begun.elapsed();
        // One that a fault could not start again was complained of then.
        for edge in replicas.all.iter().filter_map(|it| it.edge().ok()) {
            edge.signal(Signal::SIGTERM)?;
        }
        for replica in replicas.all.iter_mut().filter(|it| it.edge().is_ok()) {
            if let Err(fault) = replica.ended().await {
                self.world.complain(format!("a replica at the end: {fault}"));
            }
        }
        self.web.kill().await?;
        self.world.orphans.fetch_add(orphans(&self.file).await, Ordering::Relaxed);
        let lines = ledger::read(&self.file)?;
        if self.world.servers_fail {
            faults.insert("backend crash at a random byte", self.world.crashes(&lines));
            faults.insert("backend hang", self.world.backend_hangs.load(Ordering::Relaxed));
        }
        Ok(Report::of(&self.world, log, &lines, faults, took))
    }
}

/// How many processes are left that write to this file.
async fn orphans(file: &Path) -> u64 {
    let name = file.display().to_string();
    let _stay =
        until("they have ended", || async { Process::with_argument(&name).is_empty() }).await;
    u64::try_from(Process::with_argument(&name).len()).unwrap_or(u64::MAX)
}

/// The gateway of this stage.
fn describe(file: &Path, web: &Web) -> Result<Builder, Fault> {
    let with_timeout = |mut server: Value| {
        if let Some(members) = server.as_object_mut() {
            members.insert("call_timeout".to_owned(), json!(CALL_TIMEOUT));
        }
        server
    };
    let mut builder =
        edge().setting("log_level", json!("info")).server(HTTP_SERVER, with_timeout(web.server()));
    for number in 0..STDIO_SERVERS {
        builder = builder.server(&stdio_server(number), with_timeout(ledger::by_stdio(file)?));
    }
    Ok(builder)
}

fn stdio_server(number: usize) -> String {
    format!("s{}", number % STDIO_SERVERS)
}

/// Starts the server again whenever a call crashed it; returns when that cannot be done.
///
/// # Cancel safety
/// It may be awaited again.
async fn crash_when_asked(web: &mut Web, world: &World) {
    loop {
        if let Err(fault) = web.again().await {
            return world.complain(format!("the HTTP server: {fault}"));
        }
    }
}

impl World {
    fn new(front: SocketAddr, seed: u64, servers_fail: bool) -> Self {
        Self {
            front,
            seed,
            servers_fail,
            is_over: AtomicBool::new(false),
            memory: RwLock::default(),
            kills: Mutex::default(),
            resumes: Mutex::default(),
            losses: Mutex::default(),
            emptied: Mutex::default(),
            lost_sessions: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            crashing: Mutex::default(),
            backend_hangs: AtomicU64::new(0),
            trouble: Mutex::default(),
            orphans: AtomicU64::new(0),
            begun: Instant::now(),
            story: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether a session that was seen then may be unknown: only if since then, or just before,
    /// its owner may have been lost and Redis emptied too.
    fn may_have_forgotten(&self, seen: Instant) -> bool {
        let since =
            |times: &Mutex<Vec<Instant>>| times.lock().iter().any(|at| *at + UNWRITTEN >= seen);
        since(&self.losses) && since(&self.emptied)
    }

    /// How many of the crashes that were asked for came to be: their call ran.
    fn crashes(&self, ledger: &[Line]) -> u64 {
        let asked: BTreeSet<String> = self.crashing.lock().iter().cloned().collect();
        let ran = ledger.iter().filter(|line| asked.contains(&line.uuid)).count();
        u64::try_from(ran).unwrap_or(u64::MAX)
    }

    fn complain(&self, of: String) {
        self.trouble.lock().push(of);
    }

    /// Writes down what happened, and when.
    fn tell(&self, what: String) {
        self.story.lock().push((self.begun.elapsed(), what));
    }
}
