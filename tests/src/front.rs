//! A load balancer without stickiness: each request goes to the next replica that is ready.
//!
//! It does what a balancer may do and no more: it asks every replica whether it is ready, passes
//! over one that refuses connections, and never sends again a request of which a byte was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::keepalive::{Connection, Head};
use crate::ports::free_port;
use crate::{Fault, within};

/// How often a replica is asked whether it is ready, and how long it may take to say so.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_DEADLINE: Duration = Duration::from_secs(1);
/// Connections to a replica that wait for another request.
const IDLE_MAX: usize = 256;

const UNSENT: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nX-Front: unsent\r\nContent-Length: 0\r\n\r\n";
const BROKEN: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nX-Front: broken\r\nContent-Length: 0\r\n\r\n";

/// A running balancer; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Front {
    /// Where clients reach it.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    replicas: Vec<Upstream>,
    turn: AtomicUsize,
    /// Requests that were not sent to anybody, because no replica took a connection.
    unsent: AtomicUsize,
    /// Requests whose replica broke the connection before it answered.
    broken: AtomicUsize,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    is_ready: AtomicBool,
    idle: Mutex<Vec<Connection>>,
}

/// Begins one in front of these, and waits until it knows one that is ready.
///
/// # Errors
/// There is no port, or no replica is ready.
pub async fn front(replicas: &[SocketAddr]) -> Result<Front, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let listener = TcpListener::bind(address).await?;
    let upstream = |address: &SocketAddr| Upstream {
        address: *address,
        is_ready: AtomicBool::new(false),
        idle: Mutex::default(),
    };
    let shared = Arc::new(Shared {
        replicas: replicas.iter().map(upstream).collect(),
        turn: AtomicUsize::new(0),
        unsent: AtomicUsize::new(0),
        broken: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for number in 0..replicas.len() {
        tasks.spawn(watch(shared.clone(), number));
    }
    tasks.spawn(accept(listener, shared.clone()));
    let front = Front { address, shared, _tasks: tasks };
    crate::until("a replica is ready", || async { front.ready() > 0 }).await?;
    Ok(front)
}

impl Front {
    /// How many replicas say that they are ready.
    pub fn ready(&self) -> usize {
        self.shared.replicas.iter().filter(|it| it.is_ready.load(Ordering::Relaxed)).count()
    }

    /// How many requests found no replica to take them; nothing of them was sent.
    pub fn unsent(&self) -> usize {
        self.shared.unsent.load(Ordering::Relaxed)
    }

    /// How many requests were sent to a replica that ended the connection before it answered.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl From<&Front> for SocketAddr {
    fn from(front: &Front) -> Self {
        front.address
    }
}

/// Asks one replica again and again whether it is ready.
async fn watch(shared: Arc<Shared>, number: usize) {
    let Some(upstream) = shared.replicas.get(number) else { return };
    loop {
        let asked = tokio::time::timeout(ASK_DEADLINE, is_ready(upstream.address)).await;
        let is_ready = matches!(asked, Ok(Ok(true)));
        upstream.is_ready.store(is_ready, Ordering::Relaxed);
        if !is_ready {
            upstream.idle.lock().clear();
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn is_ready(address: SocketAddr) -> Result<bool, Fault> {
    let mut connection = Connection::open(address).await?;
    let ask = format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write(ask.as_bytes()).await?;
    Ok(connection.head().await?.is_some_and(|head| head.status == 200))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _client)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = shared.clone();
        connections.spawn(async move {
            if let Ok(client) = Connection::of(socket) {
                let _broken = shared.serve(client).await;
            }
        });
    }
}

impl Shared {
    /// One request of a client after the other.
    async fn serve(&self, mut client: Connection) -> Result<(), Fault> {
        while let Some(head) = client.head().await? {
            let body = within("a request's body", client.body()).await?;
            let Some((upstream, mut server)) = self.connect().await else {
                self.unsent.fetch_add(1, Ordering::Relaxed);
                client.write(UNSENT).await?;
                continue;
            };
            let mut request = head.raw;
            request.extend(body);
            let answered = async {
                server.write(&request).await?;
                server.head().await?.ok_or_else(|| Fault::from("no answer"))
            };
            let answered = tokio::select! {
                answered = answered => answered,
                () = client.hung_up() => return Ok(()),
            };
            let Ok(answer) = answered else {
                self.broken.fetch_add(1, Ordering::Relaxed);
                client.write(BROKEN).await?;
                continue;
            };
            if answer.status == 101 {
                client.write(&answer.raw).await?;
                return client.tunnel(&mut server).await;
            }
            relay(&mut client, &mut server, &answer).await?;
            if server.is_free() {
                upstream.keep(server);
            }
            if !answer.is_chunked()
                && answer.header("content-length").is_none()
                && answer.status != 204
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A connection to the next replica that is ready and takes one.
    async fn connect(&self) -> Option<(&Upstream, Connection)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut ready = self.replicas.iter().cycle().skip(turn % self.replicas.len().max(1));
        for _ in 0..self.replicas.len() {
            let upstream = ready.next()?;
            if !upstream.is_ready.load(Ordering::Relaxed) {
                continue;
            }
            let known = upstream.idle.lock().pop();
            if let Some(connection) = known.filter(Connection::is_free) {
                return Some((upstream, connection));
            }
            if let Ok(connection) = Connection::open(upstream.address).await {
                return Some((upstream, connection));
            }
        }
        None
    }
}

impl Upstream {
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX && self.is_ready.load(Ordering::Relaxed) {
            idle.push(connection);
        }
    }
}

/// Passes an answer on as it comes; a client that hangs up ends it.
async fn relay(client: &mut Connection, server: &mut Connection, head: &Head) -> Result<(), Fault> {
    let mut out = head.raw.clone();
    // What is short is written at once with its head.
    if let Some(length) = head.header("content-length")
        && length.parse::<usize>()? <= 16 * 1024
    {
        out.extend(server.body().await?);
        return client.write(&out).await;
    }
    client.write(&out).await?;
    loop {
        let piece = tokio::select! {
            piece = server.piece() => piece?,
            () = client.hung_up() => return Err("the client hung up".into()),
        };
        let Some(bytes) = piece else { break };
        if head.is_chunked() {
            out.clear();
            out.extend(format!("{:x}\r\n", bytes.len()).into_bytes());
            out.extend(bytes);
            out.extend(b"\r\n");
            client.write(&out).await?;
        } else {
            client.write(&bytes).await?;
        }
    }
    if head.is_chunked() { client.write(b"0\r\n\r\n").await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Request;
    use crate::{Outcome, same, until};

    /// A replica that answers everything with its name and keeps connections open.
    async fn named(name: &'static str, tasks: &mut JoinSet<()>) -> Result<SocketAddr, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut connection = Connection::of(socket).ok()?;
                    while let Ok(Some(_head)) = connection.head().await {
                        connection.body().await.ok()?;
                        let length = name.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                        connection.write(answer.as_bytes()).await.ok()?;
                    }
                    Some(())
                });
            }
        });
        Ok(address)
    }

    async fn who(front: &Front) -> Result<String, Fault> {
        Ok(Request::post("/", "{}").reply(front.address).await?.text())
    }

    #[tokio::test]
    async fn requests_go_round_and_past_one_that_is_gone() -> Outcome {
        let (mut one, mut two) = (JoinSet::new(), JoinSet::new());
        let (a, b) = (named("a", &mut one).await?, named("b", &mut two).await?);
        let front = front(&[a, b]).await?;
        until("both are ready", || async { front.ready() == 2 }).await?;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(who(&front).await?);
        }
        same("one after the other", seen.iter().filter(|it| *it == "a").count(), 2)?;
        one.shutdown().await;
        for _ in 0..4 {
            same("the one that is left", who(&front).await?, "b".to_owned())?;
        }
        two.shutdown().await;
        until("none is ready", || async { front.ready() == 0 }).await?;
        same("nobody", Request::post("/", "{}").reply(front.address).await?.status, 503)?;
        same("unsent", front.unsent(), 1)
    }
}
