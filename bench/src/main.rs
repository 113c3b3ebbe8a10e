//! `edge-bench`: how fast and how small the gateway is, beside nginx on the same machine, with
//! every id and payload checked. `docs/performance.md` has the method and figures.

mod bed;
mod call;
mod client;
mod footprint;
mod load;
mod process;
mod report;
mod rows;
mod slow;
mod upstream;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use bed::{Bed, Programs};
use process::Placement;
use report::Report;
use rows::Plan;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// No run takes so long; one that does hangs.
const RUN_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const INSTALL_NGINX: &str = "nginx is not there, so its rows and the ratios to it are left out; \
    install it with: apt-get install nginx-light";
const INSTALL_REDIS: &str = "redis-server is not there, so the rows of sessions in Redis are left \
    out; install it with: apt-get install redis-server";

/// Measures the gateway beside nginx, on this machine, over the loopback interface.
#[derive(Debug, Parser)]
#[command(name = "edge-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// One repeat of 1 s: to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains NAME (and the rows they are compared with)
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    /// Print one JSON document in place of tables
    #[arg(long)]
    json: bool,
    /// Also weigh 10,000 silent streams
    #[arg(long)]
    large: bool,
    /// Only measure calls beside 2,000 slow sockets, and without them in turn
    #[arg(long)]
    slow_sockets: bool,
    /// Sessions with one call in flight each
    #[arg(long, value_name = "N", default_value_t = 32)]
    sessions: usize,
    /// Rounds through all rows
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeats: usize,
    /// Length of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 2.5)]
    seconds: f64,
    /// Run with real-time priority, on a machine that is busy with other things
    #[arg(long)]
    realtime: bool,
    /// Fail when there is no Redis, in place of leaving its rows out
    #[arg(long)]
    redis: bool,
    /// The gateway to measure [default: the one built beside this program]
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The echo server behind what is measured
    #[command(subcommand)]
    Upstream(Upstream),
}

#[derive(Debug, Subcommand)]
enum Upstream {
    /// On standard input and output
    Stdio,
    /// On HTTP, and on WebSocket at another port
    Http { port: u16, websocket_port: u16 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Upstream(upstream)) => serve(&upstream),
        None => bench(&arguments.options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            report::progress(&format!("{fault:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(upstream: &Upstream) -> Result<()> {
    match *upstream {
        Upstream::Stdio => Ok(upstream::stdio::serve(io::stdin().lock(), io::stdout().lock())?),
        Upstream::Http { port, websocket_port } => runtime()?.block_on(async {
            let http = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let websocket = TcpListener::bind((Ipv4Addr::LOCALHOST, websocket_port)).await?;
            tokio::try_join!(upstream::http::serve(http), upstream::websocket::serve(websocket))?;
            Ok(())
        }),
    }
}

fn bench(options: &Options) -> Result<()> {
    let is_pinned = std::thread::available_parallelism()?.get() >= 2;
    let placement = Placement { is_pinned, is_realtime: options.realtime };
    placement.apply_to_self()?;
    process::raise_file_limit();
    let programs = programs(options)?;
    if !programs.has_nginx {
        report::progress(INSTALL_NGINX);
    }
    ensure!(programs.has_redis || !options.redis, "{INSTALL_REDIS}");
    if !programs.has_redis {
        report::progress(INSTALL_REDIS);
    }
    let report = runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Whichever arm ends the run, its processes are stopped as it is dropped.
        tokio::select! {
            report = timeout(RUN_TIMEOUT, run(options, programs, placement)) => {
                report.context("the run took too long")?
            }
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })?;
    if options.json {
        report.print_json()?
    } else {
        report.print()?
    }
    ensure!(report.is_clean(), "there were faults; the figures beside them do not count");
    Ok(())
}

async fn run(options: &Options, programs: Programs, placement: Placement) -> Result<Report> {
    let Options { only, sessions, .. } = options;
    let (repeats, seconds) =
        if options.quick { (1, 1.0) } else { (options.repeats, options.seconds) };
    let window = Duration::try_from_secs_f64(seconds)?;
    let plan = Plan { sessions: *sessions, repeats, window };
    let counts: &[usize] = if options.large { &[1_000, 10_000] } else { &[1_000] };
    let bed = Bed::start(programs, placement).await?;
    let pinned = if placement.is_pinned { "pinned to one core" } else { "not pinned" };
    let priority = if placement.is_realtime { ", real-time priority" } else { "" };
    let conditions = format!(
        "closed loop, {sessions} sessions, medians of {repeats} repeats of {seconds} s, \
         {pinned}{priority}"
    );
    let mut report = Report { conditions, ..Report::default() };
    if options.slow_sockets {
        report.slow = slow::run(&bed, &plan, only).await?;
    } else {
        report.throughput = rows::run(&bed, &plan, only).await?;
        report.starts = footprint::starts(&bed, if options.quick { 1 } else { 7 }, only).await?;
        report.idle = footprint::idle(&bed, counts, only).await?;
    }
    ensure!(!report.is_empty(), "no row's name contains {only:?}");
    Ok(report)
}

fn programs(options: &Options) -> Result<Programs> {
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("mcp-gateway");
    let gateway = options.gateway.clone().unwrap_or(beside);
    let how = "build it with: cargo build --release -p mcp-gateway";
    ensure!(gateway.is_file(), "{} is not there; {how}", gateway.display());
    let (has_nginx, has_redis) = (bed::has_nginx(), bed::has_redis());
    Ok(Programs { gateway, own, has_nginx, has_redis })
}

/// One thread, so that the generator stays on its core.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
