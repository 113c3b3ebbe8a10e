//! How a Redis is reached: directly, by asking sentinels for the master, or as a cluster.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, Pipeline, RedisConnectionInfo, RedisError, RedisFuture,
    TlsCertificates, Value,
};
use tokio::time::timeout;

use crate::url::{Kind, RedisUrl};

/// How long is waited, and for how much.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long each step to a connection may take.
    pub connect: Duration,
    /// How long a node of a cluster may take to answer.
    pub answer: Duration,
    /// How often a cluster is asked again.
    pub cluster_retries: u32,
    /// The shortest wait before a cluster is asked again.
    pub cluster_wait_min: Duration,
    /// The longest wait before that.
    pub cluster_wait_max: Duration,
    /// Commands that may be waiting on one connection.
    pub pipeline_commands: usize,
    /// Sentinels whose faults are told; the others are counted.
    pub sentinels_told: usize,
}

/// Where to connect to.
#[derive(Clone)]
pub struct Target {
    url: RedisUrl,
    certificates: TlsCertificates,
    patience: Patience,
}

/// A connection that all commands share. Clones are the same one.
#[derive(Clone)]
pub enum Line {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

/// Why there is no connection, or no answer; it holds no secret.
#[derive(Debug)]
pub enum Fault {
    /// The URL names nobody.
    NoAddress,
    /// A sentinel knows no master of that name.
    NoMaster,
    /// No sentinel tells where the master is.
    NoSentinel {
        /// Each by its address, in the order in which they failed.
        sentinels: Vec<(String, Fault)>,
        /// How many of them are told.
        told: usize,
    },
    /// Nothing was said within this time.
    Timeout(Duration),
    /// What the server or the system said.
    Redis(RedisError),
}

impl Target {
    /// What the URL leads to. `authority`: certificates (PEM) to trust instead of the system's.
    #[must_use]
    pub fn new(url: RedisUrl, authority: Option<Vec<u8>>, patience: Patience) -> Self {
        let certificates = TlsCertificates { client_tls: None, root_cert: authority };
        Self { url, certificates, patience }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// A connection, within [`Patience::connect`] for each step.
    ///
    /// # Errors
    /// There is none in time, or the login is refused.
    pub async fn connect(&self) -> Result<Line, Fault> {
        match &self.url.kind {
            Kind::One => self.one(self.url.nodes.first().ok_or(Fault::NoAddress)?).await,
            Kind::Sentinel(name) => self.one(&self.leader(name).await?).await,
            Kind::Cluster => self.cluster().await,
        }
    }

    /// A connection to the first node alone, whatever it is.
    ///
    /// # Errors
    /// There is none in time, or the login is refused.
    pub async fn first(&self) -> Result<Line, Fault> {
        let node = self.url.nodes.first().ok_or(Fault::NoAddress)?;
        within(self.patience.connect, self.dial(node, self.login())).await.map(Line::One)
    }

    async fn one(&self, node: &(String, u16)) -> Result<Line, Fault> {
        let login = self.login().set_db(i64::from(self.url.database));
        within(self.patience.connect, self.dial(node, login)).await.map(Line::One)
    }

    /// Asks all sentinels where the master is, and believes the first that knows.
    async fn leader(&self, name: &str) -> Result<(String, u16), Fault> {
        let asked = self.url.nodes.iter().map(async |node| (node, self.master(node, name).await));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut sentinels = Vec::new();
        while let Some(((host, port), answer)) = asked.next().await {
            match answer {
                Ok(master) => return Ok(master),
                Err(fault) => sentinels.push((format!("{host}:{port}"), fault)),
            }
        }
        Err(Fault::NoSentinel { sentinels, told: self.patience.sentinels_told })
    }

    /// Asks a sentinel where the master is.
    async fn master(&self, node: &(String, u16), name: &str) -> Result<(String, u16), Fault> {
        // A sentinel has no access list of its own unless somebody gave it one: where it wants a
        // login it is asked with the one that Redis wants.
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let limit = self.patience.connect;
        let mut answer = within(limit, self.asked(node, plain, &ask)).await;
        if matches!(&answer, Err(Fault::Redis(fault)) if wants_login(fault)) {
            answer = within(limit, self.asked(node, self.login(), &ask)).await;
        }
        answer?.ok_or(Fault::NoMaster)
    }

    async fn asked(
        &self,
        node: &(String, u16),
        login: RedisConnectionInfo,
        ask: &Cmd,
    ) -> Result<Option<(String, u16)>, RedisError> {
        let mut connection = self.dial(node, login).await?;
        ask.query_async(&mut connection).await
    }

    async fn dial(
        &self,
        node: &(String, u16),
        login: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = self.info(node)?.set_redis_settings(login);
        let client = match self.url.is_tls {
            true => Client::build_with_tls(info, self.certificates.clone())?,
            false => Client::open(info)?,
        };
        // The deadline of an answer is the asker's own; the library's would leave a connection
        // whose other end is gone in place for ever.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience.connect))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.patience.pipeline_commands);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn cluster(&self) -> Result<Line, Fault> {
        let nodes: Result<Vec<_>, _> = self.url.nodes.iter().map(|it| self.info(it)).collect();
        let mut builder = ClusterClientBuilder::new(nodes?)
            .connection_timeout(self.patience.connect)
            .response_timeout(self.patience.answer)
            .retries(self.patience.cluster_retries)
            .min_retry_wait(milliseconds(self.patience.cluster_wait_min))
            .max_retry_wait(milliseconds(self.patience.cluster_wait_max));
        if let Some(username) = &self.url.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.url.password {
            builder = builder.password(password.expose());
        }
        if self.url.is_tls {
            builder = builder.certs(self.certificates.clone());
        }
        let client = builder.build()?;
        // Each node that is not there takes a step.
        let steps = u32::try_from(self.url.nodes.len()).unwrap_or(1) + 1;
        let limit = self.patience.connect * steps;
        within(limit, client.get_async_connection()).await.map(Line::Cluster)
    }

    fn info(&self, (host, port): &(String, u16)) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (host.clone(), *port);
        let address = match self.url.is_tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        address.into_connection_info()
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &self.url.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.url.password {
            login = login.set_password(password.expose());
        }
        login
    }
}

impl Line {
    /// One command, answered within `limit`.
    ///
    /// # Errors
    /// It is refused, or not answered.
    ///
    /// # Cancel safety
    /// Whether it was carried out is not known then.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd, limit: Duration) -> Result<T, Fault> {
        within(limit, command.query_async(&mut self.clone())).await
    }

    /// Whether the keys are spread over several servers.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(it) => it.req_packed_command(cmd),
            Self::Cluster(it) => it.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(it) => it.req_packed_commands(pipeline, offset, count),
            Self::Cluster(it) => it.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(it) => it.get_db(),
            Self::Cluster(it) => it.get_db(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_cluster() { "Line(cluster)" } else { "Line(one)" })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("no address"),
            Self::NoMaster => f.write_str("the sentinel knows no such master"),
            Self::NoSentinel { sentinels, told } => {
                f.write_str("no sentinel tells where the master is")?;
                for (place, (address, fault)) in sentinels.iter().take(*told).enumerate() {
                    let mark = if place == 0 { ":" } else { ";" };
                    write!(f, "{mark} {address}: {fault}")?;
                }
                match sentinels.len().saturating_sub(*told) {
                    0 => Ok(()),
                    more => write!(f, "; {more} more"),
                }
            }
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
            Self::Redis(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

impl From<RedisError> for Fault {
    fn from(fault: RedisError) -> Self {
        Self::Redis(fault)
    }
}

/// Whether it is the user or the password that is wrong or missing.
#[must_use]
pub fn wants_login(fault: &RedisError) -> bool {
    matches!(fault.code(), Some("NOAUTH" | "WRONGPASS"))
        || fault.kind() == ErrorKind::AuthenticationFailed
}

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Fault> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(Fault::Redis),
        Err(_elapsed) => Err(Fault::Timeout(limit)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const PATIENCE: Patience = Patience {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(500),
        cluster_retries: 0,
        cluster_wait_min: Duration::ZERO,
        cluster_wait_max: Duration::ZERO,
        pipeline_commands: 8,
        sentinels_told: 3,
    };

    /// Says to all it is asked that there is none.
    async fn ignorant(listener: TcpListener) {
        let (mut connection, _from) = listener.accept().await.unwrap();
        let mut asked = [0; 1024];
        while let Ok(1..) = connection.read(&mut asked).await {
            connection.write_all(b"*-1\r\n").await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_each_sentinel_said_is_told() {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (silent, knows_none) = (listen().await, listen().await);
        let at = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let (hung, blank) = (at(&silent), at(&knows_none));
        // Who has the port, and does not listen.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refusing = socket.local_addr().unwrap().to_string();
        let told = async |nodes: String, patience| {
            let url = format!("redis+sentinel://:canary@{nodes}/m");
            let target = Target::new(RedisUrl::parse(&url).unwrap(), None, patience);
            target.connect().await.unwrap_err().to_string()
        };

        let long = Duration::from_secs(10);
        let patient = Patience { connect: long, answer: long, ..PATIENCE };
        let both = told(format!("{blank},{refusing}"), patient);
        let (both, ()) = tokio::join!(both, ignorant(knows_none));
        assert!(both.contains(&format!("{blank}: the sentinel knows no such master")), "{both}");
        assert!(both.contains(&format!("{refusing}: ")) && !both.contains("canary"), "{both}");

        let late = told(format!("{hung},{refusing}"), PATIENCE).await;
        assert!(late.contains(&format!("{hung}: no answer within 500ms")), "{late}");

        let brief = Patience { sentinels_told: 1, ..patient };
        let cut = told(format!("{refusing},{refusing}"), brief).await;
        assert!(cut.ends_with("; 1 more"), "{cut}");
    }
}
