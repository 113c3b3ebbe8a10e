//! A TCP proxy that breaks when it is told to.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Fault;
use crate::ports::free_port;

/// Pieces that may be on their way in one direction.
const ON_THE_WAY: usize = 256;
const PIECE_BYTES: usize = 64 * 1024;
/// Connections that may wait to be taken.
const QUEUE: i32 = 1024;
/// Who is not let into the queue by then is dropped.
const DROPPED_AFTER: Duration = Duration::from_millis(100);

/// What happens to bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    Clear,
    /// Bytes pass, each so much later, in either direction.
    Slow(Duration),
    /// Nothing passes, and nobody is told; what waits goes on when the weather clears.
    Hole,
    /// As in a hole, and new connections are neither taken nor refused: the machine is gone.
    Gone,
    /// Connections are reset, and new ones refused.
    Refuse,
}

/// A running proxy; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    told: Arc<watch::Sender<Told>>,
    _tasks: JoinSet<()>,
}

/// What every connection is to know.
#[derive(Debug, Clone, Copy)]
struct Told {
    weather: Weather,
    /// Connections so far.
    count: u64,
    /// Connections with a lower number never pass a byte again.
    stuck_below: u64,
    /// Connections with a lower number are reset.
    reset_below: u64,
    /// Connections with a lower number are reset after so many bytes more of an answer.
    cut: (u64, usize),
}

/// Begins one that leads to `upstream`.
///
/// # Errors
/// There is no port.
pub async fn proxy(upstream: SocketAddr) -> Result<Proxy, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let listener = TcpListener::bind(address).await?;
    let told =
        Told { weather: Weather::Clear, count: 0, stuck_below: 0, reset_below: 0, cut: (0, 0) };
    let told = Arc::new(watch::Sender::new(told));
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, address, upstream, told.clone()));
    Ok(Proxy { address, told, _tasks: tasks })
}

impl Proxy {
    /// Changes the weather, of connections that are open as well.
    pub fn set(&self, weather: Weather) {
        self.told.send_modify(|told| {
            told.weather = weather;
            if weather == Weather::Refuse {
                told.reset_below = told.count;
            }
        });
    }

    /// Connections that are open never pass a byte again and are never closed; new ones do pass.
    pub fn stick(&self) {
        self.told.send_modify(|told| told.stuck_below = told.count);
    }

    /// Resets every connection that is open.
    pub fn reset(&self) {
        self.told.send_modify(|told| told.reset_below = told.count);
    }

    /// Resets every connection that is open after so many bytes more of answers.
    pub fn cut_after(&self, bytes: usize) {
        self.told.send_modify(|told| told.cut = (told.count, bytes));
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.told.borrow().count
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    told: Arc<watch::Sender<Told>>,
) {
    let mut listener = Some(listener);
    let mut news = told.subscribe();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if news.borrow_and_update().weather == Weather::Refuse {
            listener = None;
            if news.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let Some(open) = &listener else { return };
        if news.borrow_and_update().weather == Weather::Gone {
            if deaf(open, address, &mut news).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            accepted = open.accept() => {
                let Ok((near, _)) = accepted else { continue };
                let mut number = 0;
                told.send_modify(|told| {
                    number = told.count;
                    told.count = told.count.saturating_add(1);
                });
                connections.spawn(carry(number, near, upstream, told.subscribe()));
            }
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

/// Has nobody get through to a listener until the news change: the kernel drops what asks for a
/// connection while those that nobody takes fill the queue.
async fn deaf(
    listener: &TcpListener,
    address: SocketAddr,
    news: &mut watch::Receiver<Told>,
) -> Result<(), Fault> {
    let socket = SockRef::from(listener);
    socket.listen(0)?;
    let mut in_the_queue = Vec::new();
    while let Ok(taken) = timeout(DROPPED_AFTER, TcpStream::connect(address)).await {
        in_the_queue.push(taken?);
    }
    news.changed().await?;
    Ok(socket.listen(QUEUE)?)
}

/// Carries one connection until it ends or is reset.
async fn carry(number: u64, near: TcpStream, upstream: SocketAddr, told: watch::Receiver<Told>) {
    let Ok(far) = TcpStream::connect(upstream).await else { return reset(&near) };
    let _slower = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let mut news = told.clone();
    let up = pass(number, near_read, far_write, told.clone(), false);
    let down = pass(number, far_read, near_write, told, true);
    tokio::select! {
        _ended = async { tokio::try_join!(up, down) } => {}
        _reset = news.wait_for(|told| number < told.reset_below) => {}
    }
}

/// Why a connection ends before both sides have closed it.
struct Broken;

/// Passes bytes in one direction.
async fn pass(
    number: u64,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut told: watch::Receiver<Told>,
    is_answer: bool,
) -> Result<(), Broken> {
    let mut pieces = Pieces::default();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut budget: Option<usize> = None;
    let mut is_open = true;
    // A socket that is dropped before its end was passed on is reset.
    linger(&to, true);
    while is_open || !pieces.0.is_empty() {
        let now = *told.borrow_and_update();
        if is_answer && number < now.cut.0 && budget.is_none() {
            budget = Some(now.cut.1);
        }
        let latency = match now.weather {
            Weather::Slow(latency) => latency,
            Weather::Clear | Weather::Hole | Weather::Gone | Weather::Refuse => Duration::ZERO,
        };
        let flows =
            !matches!(now.weather, Weather::Hole | Weather::Gone) && number >= now.stuck_below;
        let due = pieces.0.front().map(|(due, _)| *due);
        tokio::select! {
            read = from.read(&mut buffer), if is_open && flows && pieces.0.len() < ON_THE_WAY => {
                let count = read.unwrap_or(0);
                is_open = count > 0;
                let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                pieces.0.push_back((Instant::now() + latency, bytes));
            }
            () = async { if let Some(due) = due { sleep_until(due).await; } },
                if due.is_some() && flows =>
            {
                let Some((_, mut bytes)) = pieces.0.pop_front() else { continue };
                if let Some(left) = &mut budget {
                    bytes.truncate(*left);
                    *left = left.saturating_sub(bytes.len());
                }
                if bytes.is_empty() && budget != Some(0) {
                    linger(&to, false);
                    let _gone = to.shutdown().await;
                    continue;
                }
                if to.write_all(&bytes).await.is_err() || budget == Some(0) {
                    return Err(Broken);
                }
            }
            changed = told.changed() => changed.map_err(|_gone| Broken)?,
        }
    }
    Ok(())
}

/// What is on its way, and when it arrives.
#[derive(Default)]
struct Pieces(VecDeque<(Instant, Vec<u8>)>);

fn linger(half: &OwnedWriteHalf, is_reset: bool) {
    let linger = is_reset.then_some(Duration::ZERO);
    let _gone = SockRef::from(half.as_ref()).set_linger(linger);
}

fn reset(stream: &TcpStream) {
    let _gone = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, same, within};

    /// A server that echoes, and a proxy in front of it.
    async fn stage() -> Result<(Proxy, JoinSet<()>), Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                echoes.spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Ok((proxy(address).await?, tasks))
    }

    async fn echo(socket: &mut TcpStream) -> Result<usize, Fault> {
        socket.write_all(b"hello").await?;
        let mut buffer = [0; 5];
        within("an echo", socket.read(&mut buffer)).await
    }

    async fn is_silent(socket: &mut TcpStream) -> bool {
        let quiet = Duration::from_millis(200);
        timeout(quiet, echo(socket)).await.is_err()
    }

    #[tokio::test]
    async fn a_hole_keeps_bytes_until_it_clears() -> Outcome {
        let (proxy, _server) = stage().await?;
        let mut socket = TcpStream::connect(proxy.address).await?;
        same("clear", echo(&mut socket).await?, 5)?;
        proxy.set(Weather::Hole);
        same("a hole", is_silent(&mut socket).await, true)?;
        proxy.set(Weather::Clear);
        let mut late = [0; 5];
        same("what waited", within("it", socket.read(&mut late)).await?, 5)
    }

    #[tokio::test]
    async fn who_is_gone_closes_nothing_takes_nothing_and_refuses_nothing() -> Outcome {
        let (proxy, _server) = stage().await?;
        let mut socket = TcpStream::connect(proxy.address).await?;
        same("clear", echo(&mut socket).await?, 5)?;
        proxy.set(Weather::Gone);
        crate::until("nobody gets through", || async {
            timeout(2 * DROPPED_AFTER, TcpStream::connect(proxy.address)).await.is_err()
        })
        .await?;
        same("gone", is_silent(&mut socket).await, true)?;
        proxy.set(Weather::Clear);
        let mut new = within("a new one", TcpStream::connect(proxy.address)).await?;
        same("clear again", echo(&mut new).await?, 5)
    }

    #[tokio::test]
    async fn a_stuck_connection_stays_so_and_a_new_one_passes() -> Outcome {
        let (proxy, _server) = stage().await?;
        let mut old = TcpStream::connect(proxy.address).await?;
        same("before", echo(&mut old).await?, 5)?;
        proxy.stick();
        same("the old one", is_silent(&mut old).await, true)?;
        let mut new = TcpStream::connect(proxy.address).await?;
        same("a new one", echo(&mut new).await?, 5)?;
        same("connections", proxy.connections(), 2)
    }

    #[tokio::test]
    async fn it_resets_refuses_cuts_and_is_slow() -> Outcome {
        let (proxy, _server) = stage().await?;
        let mut socket = TcpStream::connect(proxy.address).await?;
        same("before", echo(&mut socket).await?, 5)?;
        proxy.set(Weather::Refuse);
        let mut buffer = [0; 5];
        // What is unread at the other end decides whether the end is a reset.
        let end = within("an end", async { Ok::<_, Fault>(socket.read(&mut buffer).await) });
        same("an end", end.await?.unwrap_or(0), 0)?;
        same("refused", TcpStream::connect(proxy.address).await.is_err(), true)?;
        proxy.set(Weather::Slow(Duration::from_millis(50)));
        crate::until("it listens again", || async {
            TcpStream::connect(proxy.address).await.is_ok()
        })
        .await?;
        let mut socket = TcpStream::connect(proxy.address).await?;
        let begun = Instant::now();
        same("slow", echo(&mut socket).await?, 5)?;
        same("both ways", begun.elapsed() >= Duration::from_millis(100), true)?;
        proxy.set(Weather::Clear);
        proxy.cut_after(2);
        same("some bytes", echo(&mut socket).await?, 2)?;
        let end = within("the end", async { Ok::<_, Fault>(socket.read(&mut buffer).await) });
        same("then none", end.await?.unwrap_or(0), 0)
    }
}
