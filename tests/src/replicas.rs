//! Several gateways with one Redis, each reaching it by a way of its own that can be broken.
//!
//! Tests that have several take turns: they hold times against bounds, and load the machine.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::try_join_all;
use nix::sys::signal::Signal;

use crate::edge::{Builder, Edge};
use crate::ports::free_port;
use crate::processes::Process;
use crate::proxy::{Proxy, proxy};
use crate::redis::{Redis, redis};
use crate::{Fault, until};

const SECRET: &str = "a secret of the tests, long enough for the gateway to take it";

/// They and their Redis; dropping them kills them all.
#[derive(Debug)]
pub struct Replicas {
    /// What they share.
    pub redis: Redis,
    /// Each of them.
    pub all: Vec<Replica>,
    /// Nobody else's, until these are gone.
    pub turn: Turn,
}

/// The right to be the only test that has several gateways; dropping it passes it on.
pub type Turn = tokio::sync::MutexGuard<'static, ()>;

/// Waits until no other test of this process has several gateways.
///
/// # Cancel safety
/// Nothing is lost but the place in the queue.
pub async fn turn() -> Turn {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// One gateway, in one life after the other.
#[derive(Debug)]
pub struct Replica {
    /// Its way to Redis.
    pub proxy: Arc<Proxy>,
    /// Where clients reach it.
    pub address: SocketAddr,
    builder: Builder,
    edge: Option<Edge>,
}

/// Starts `count` gateways of one description, and waits until all are ready.
///
/// # Errors
/// One of them does not start, or Redis does not.
pub async fn replicas(count: usize, of: Builder) -> Result<Replicas, Fault> {
    let turn = turn().await;
    let redis = redis().await?;
    let mut all = Vec::new();
    for _ in 0..count {
        let (public, admin) = (free_port()?, free_port()?);
        let proxy = Arc::new(proxy(redis.address).await?);
        let builder = of
            .clone()
            .ports(public, admin)
            .variable("REDIS_URL", &format!("redis://{}", proxy.address))
            .variable("SESSION_SECRET", SECRET);
        let address = SocketAddr::from(([127, 0, 0, 1], public));
        all.push(Replica { proxy, address, builder, edge: None });
    }
    try_join_all(all.iter_mut().map(Replica::start)).await?;
    Ok(Replicas { redis, all, turn })
}

impl Replicas {
    /// Where clients reach each of them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(|it| it.address).collect()
    }

    /// One of them, counted from 0.
    ///
    /// # Errors
    /// There are fewer.
    pub fn at(&self, number: usize) -> Result<&Replica, Fault> {
        Ok(self.all.get(number).ok_or("there are fewer replicas")?)
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// There are fewer.
    pub fn at_mut(&mut self, number: usize) -> Result<&mut Replica, Fault> {
        Ok(self.all.get_mut(number).ok_or("there are fewer replicas")?)
    }

    /// The ends of all their logs, for the report of a failed test.
    pub fn log_tails(&self) -> String {
        let logs = self.all.iter().filter_map(|it| it.edge.as_ref());
        logs.map(|edge| format!("{}\n{}", edge.address, edge.log_tail())).collect()
    }
}

impl Replica {
    /// Starts it at the address it always has, and waits until it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self) -> Result<(), Fault> {
        self.edge = Some(self.builder.clone().start().await?);
        Ok(())
    }

    /// Starts it anew where the others reach it through a proxy, which is returned.
    ///
    /// # Errors
    /// It does not run, does not end, or does not start.
    pub async fn behind_a_proxy(&mut self) -> Result<Proxy, Fault> {
        let way = proxy(self.edge()?.admin).await?;
        self.stop().await?;
        let url = format!("http://{}", way.address);
        self.builder = self.builder.clone().variable("MCP_GATEWAY_ADVERTISE_URL", &url);
        self.start().await?;
        Ok(way)
    }

    /// The gateway that runs.
    ///
    /// # Errors
    /// None does.
    pub fn edge(&self) -> Result<&Edge, Fault> {
        Ok(self.edge.as_ref().ok_or("this replica does not run")?)
    }

    /// Kills it, as a machine that fails does; the processes it had then.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&mut self) -> Result<Vec<Process>, Fault> {
        let mut edge = self.edge.take().ok_or("this replica does not run")?;
        let children = edge.descendants();
        edge.signal(Signal::SIGKILL)?;
        edge.ended().await?;
        Ok(children)
    }

    /// Stops it as an operator does and waits for its end; the processes it had at first.
    ///
    /// # Errors
    /// It does not run, does not end in time, or ends badly.
    pub async fn stop(&mut self) -> Result<Vec<Process>, Fault> {
        let edge = self.edge()?;
        let children = edge.descendants();
        edge.signal(Signal::SIGTERM)?;
        self.ended().await?;
        Ok(children)
    }

    /// Waits for the end of one that was told to stop.
    ///
    /// # Errors
    /// It does not run, does not end in time, or ends badly.
    pub async fn ended(&mut self) -> Result<(), Fault> {
        let mut edge = self.edge.take().ok_or("this replica does not run")?;
        let (status, took) = edge.ended().await?;
        if status.success() {
            return Ok(());
        }
        Err(format!("it ended with {status} after {took:?}\n{}", edge.log_tail()).into())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Fault> {
        self.edge()?.signal(signal)
    }
}

/// Waits until none of these is left.
///
/// # Errors
/// Names those that stay.
pub async fn none_left(of: &[Process]) -> Result<(), Fault> {
    until(format!("none of {of:?} is left"), || async { !of.iter().any(|it| it.alive()) }).await
}
