//! How a Redis is reached: directly, by asking sentinels for the master, or as a cluster.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_ok;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    Pipeline, RedisConnectionInfo, RedisError, RedisFuture, TlsCertificates, Value,
};
use tokio::time::timeout;

use crate::config::limits::store::{
    ANSWER_TIMEOUT, CLUSTER_RETRIES, CONNECT_TIMEOUT, PIPELINE_COMMANDS,
};
use crate::config::{RedisConfig, RedisKind};
use crate::session::redis::fault::{Fault, Kind};

/// Where to connect to.
pub(super) struct Target {
    config: RedisConfig,
    certificates: TlsCertificates,
}

/// A connection that all commands share. Clones are the same one.
#[derive(Clone)]
pub(super) enum Line {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

impl Target {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Fault> {
        let read = |path| {
            std::fs::read(path).map_err(|fault| {
                Fault::new(Kind::Settings, format!("`redis.ca_file` cannot be read: {fault}"))
            })
        };
        let root_cert = config.ca_file.as_ref().map(read).transpose()?;
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Ok(Self { config: config.clone(), certificates })
    }

    /// A connection whose other end takes writes, within [`CONNECT_TIMEOUT`] for each step.
    pub(super) async fn connect(&self) -> Result<Line, Fault> {
        match &self.config.kind {
            RedisKind::One => match self.config.nodes.first() {
                Some(node) => self.one(node).await,
                None => Err(Fault::new(Kind::Settings, "no address")),
            },
            RedisKind::Sentinel(name) => {
                let asked = self.config.nodes.iter().map(|node| self.master(node, name).boxed());
                let (master, _others) = select_ok(asked).await?;
                self.one(&master).await
            }
            RedisKind::Cluster => self.cluster().await,
        }
    }

    /// A connection to the first node alone, whatever it is.
    pub(super) async fn first(&self) -> Result<Line, Fault> {
        let Some(node) = self.config.nodes.first() else {
            return Err(Fault::new(Kind::Settings, "no address"));
        };
        let settings = self.login().set_skip_set_lib_name();
        within(CONNECT_TIMEOUT, self.dial(node, settings)).await.map(Line::One)
    }

    /// A server that hears TLS where it expects none hangs up without a word, and so does one that
    /// hears none where it expects it. Whether that was it is found out by a try the other way,
    /// which tells no password.
    pub(super) async fn explain(&self, fault: Fault) -> Fault {
        let is_mute = matches!(fault.kind, Kind::Broken | Kind::Timeout | Kind::ClusterDown);
        let Some(node) = self.config.nodes.first().filter(|_| is_mute) else { return fault };
        let config = RedisConfig { is_tls: !self.config.is_tls, ..self.config.clone() };
        let certificates = TlsCertificates { client_tls: None, root_cert: None };
        let other = Self { config, certificates };
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
        let tried = within(CONNECT_TIMEOUT, async {
            let mut connection = other.dial(node, plain).await?;
            redis::cmd("PING").exec_async(&mut connection).await
        });
        let (tried, is_tls) = (tried.await, self.config.is_tls);
        let speaks = match &tried {
            Ok(()) => true,
            Err(fault) if is_tls => fault.kind == Kind::Login,
            Err(fault) => fault.said.contains("certificate"),
        };
        match (speaks, is_tls) {
            (false, _) => fault,
            (true, true) => Fault::new(Kind::Tls, "it speaks no TLS there; write `redis`"),
            (true, false) => Fault::new(Kind::Tls, "it speaks TLS there; write `rediss`"),
        }
    }

    async fn one(&self, node: &(String, u16)) -> Result<Line, Fault> {
        let mut settings = self.login().set_db(i64::from(self.config.database));
        settings = settings.set_skip_set_lib_name();
        let connection = self.dial(node, settings);
        let line = within(CONNECT_TIMEOUT, connection).await?;
        let mut line = Line::One(line);
        line.check().await?;
        Ok(line)
    }

    /// Asks a sentinel where the master is.
    async fn master(&self, node: &(String, u16), name: &str) -> Result<(String, u16), Fault> {
        // A sentinel has no access list of its own unless somebody gave it one: where it wants a
        // login it is asked with the one that Redis wants.
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let mut answer = within(CONNECT_TIMEOUT, self.asked(node, plain, &ask)).await;
        if answer.as_ref().is_err_and(|fault| fault.kind == Kind::Login) {
            let login = self.login().set_skip_set_lib_name();
            answer = within(CONNECT_TIMEOUT, self.asked(node, login, &ask)).await;
        }
        let unknown = || Fault::new(Kind::NoMaster, "the sentinel knows no such master");
        answer?.ok_or_else(unknown)
    }

    async fn asked(
        &self,
        node: &(String, u16),
        settings: RedisConnectionInfo,
        ask: &Cmd,
    ) -> Result<Option<(String, u16)>, RedisError> {
        let mut connection = self.dial(node, settings).await?;
        ask.query_async(&mut connection).await
    }

    async fn dial(
        &self,
        node: &(String, u16),
        settings: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = self.info(node)?.set_redis_settings(settings);
        let client = match self.config.is_tls {
            true => Client::build_with_tls(info, self.certificates.clone())?,
            false => Client::open(info)?,
        };
        // The deadline of an answer is the link's own; the crate's would leave a connection whose
        // other end is gone in place for ever.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_COMMANDS);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn cluster(&self) -> Result<Line, Fault> {
        let nodes: Result<Vec<_>, _> = self.config.nodes.iter().map(|it| self.info(it)).collect();
        let mut builder = ClusterClientBuilder::new(nodes?)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(ANSWER_TIMEOUT)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(10)
            .max_retry_wait(50);
        if let Some(username) = &self.config.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.config.password {
            builder = builder.password(password.expose());
        }
        if self.config.is_tls {
            builder = builder.certs(self.certificates.clone());
        }
        let client = builder.build()?;
        // Each node that is not there takes a step.
        let steps = u32::try_from(self.config.nodes.len()).unwrap_or(1) + 1;
        let line = within(CONNECT_TIMEOUT * steps, client.get_async_connection()).await?;
        let mut line = Line::Cluster(line);
        line.check().await?;
        Ok(line)
    }

    fn info(&self, (host, port): &(String, u16)) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (host.clone(), *port);
        let address = match self.config.is_tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        address.into_connection_info()
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default();
        if let Some(username) = &self.config.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.config.password {
            settings = settings.set_password(password.expose());
        }
        settings
    }
}

impl Line {
    /// Whether the other end answers, and takes writes.
    ///
    /// A PING would also be answered by a master that was demoted.
    pub(super) async fn check(&mut self) -> Result<(), Fault> {
        match self {
            Self::Cluster(_) => within(ANSWER_TIMEOUT, redis::cmd("PING").exec_async(self)).await,
            Self::One(_) => {
                let ask = redis::cmd("ROLE");
                match within(ANSWER_TIMEOUT, ask.query_async::<Vec<Value>>(self)).await {
                    Ok(role) if is_replica(role.first()) => {
                        Err(Fault::new(Kind::ReadOnly, "it is a replica"))
                    }
                    Ok(_) => Ok(()),
                    // A user that may not ask so may be kept from it by its access list alone.
                    Err(fault) if fault.kind == Kind::Denied => Ok(()),
                    Err(fault) => Err(fault),
                }
            }
        }
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
        write!(f, "Target({})", self.config)
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Fault> {
    match timeout(limit, work).await {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(Fault::new(Kind::Timeout, "no answer in time")),
    }
}

fn is_replica(role: Option<&Value>) -> bool {
    matches!(role, Some(Value::BulkString(name)) if name == b"slave")
}
