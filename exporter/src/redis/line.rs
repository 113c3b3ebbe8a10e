//! The connection to Redis: made when it is needed, given up at the first fault, so that a Redis
//! that is back is found with the next question.

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    Pipeline, RedisConnectionInfo, RedisError, RedisFuture, TlsCertificates, Value,
};
use tokio::time::timeout;

use crate::dial::shorten;
use crate::limits::{REDIS_ANSWER, REDIS_CONNECT};
use crate::redis::url::{Kind, RedisUrl};
use crate::secret::Secret;

/// Where Redis is, and whom TLS trusts there.
///
/// The files are read for each connection: they may be written after the exporter was started.
#[derive(Clone)]
pub(crate) struct Target {
    /// The URL.
    pub(crate) url: RedisUrl,
    /// PEM certificates of authorities to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// What holds the password instead of the URL.
    pub(crate) password_file: Option<PathBuf>,
}

/// What is said to log in.
struct Login {
    username: Option<String>,
    password: Option<Secret>,
    certificates: TlsCertificates,
}

/// A connection that all questions share. Clones are the same one.
#[derive(Clone)]
pub(crate) enum Line {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

impl Target {
    fn login(&self) -> Result<Login, String> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|it| format!("{} cannot be read: {it}", path.display()))
        };
        let root_cert = self.ca_file.as_ref().map(read).transpose()?;
        let given = self.password_file.as_ref().map(read).transpose()?;
        let given = given.map(|it| String::from_utf8(it).map(|it| Secret::new(trimmed(it))));
        let given = given.transpose().map_err(|_fault| "the password's file is no text")?;
        Ok(Login {
            username: self.url.username.clone(),
            password: given.or_else(|| self.url.password.clone()),
            certificates: TlsCertificates { client_tls: None, root_cert },
        })
    }

    /// A connection whose other end answers.
    ///
    /// # Errors
    /// There is none within the time for it, or the login is refused.
    pub(crate) async fn connect(&self) -> Result<Line, String> {
        let login = self.login()?;
        match &self.url.kind {
            Kind::One => {
                let node = self.url.nodes.first().ok_or("no address")?;
                self.one(node, &login).await
            }
            Kind::Sentinel(master) => {
                let master = self.master(master, &login).await?;
                self.one(&master, &login).await
            }
            Kind::Cluster => self.cluster(&login).await,
        }
    }

    async fn one(&self, node: &(String, u16), login: &Login) -> Result<Line, String> {
        let database = i64::from(self.url.database);
        let settings = login.settings().set_db(database);
        within(REDIS_CONNECT, self.dial(node, login, settings)).await.map(Line::One)
    }

    /// Asks the sentinels in turn where the master is.
    async fn master(&self, name: &str, login: &Login) -> Result<(String, u16), String> {
        let mut fault = "no sentinel".to_owned();
        for node in &self.url.nodes {
            let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
            for settings in [plain, login.settings()] {
                let asked = within(REDIS_CONNECT, async {
                    let mut line = self.dial(node, login, settings).await?;
                    let mut ask = redis::cmd("SENTINEL");
                    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
                    ask.query_async::<Option<(String, u16)>>(&mut line).await
                });
                match asked.await {
                    Ok(Some(master)) => return Ok(master),
                    Ok(None) => fault = "the sentinel knows no such master".to_owned(),
                    Err(said) => fault = said,
                }
            }
        }
        Err(fault)
    }

    async fn dial(
        &self,
        node: &(String, u16),
        login: &Login,
        settings: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = self.info(node)?.set_redis_settings(settings);
        let client = match self.url.is_tls {
            true => Client::build_with_tls(info, login.certificates.clone())?,
            false => Client::open(info)?,
        };
        // The deadlines are our own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_CONNECT))
            .set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn cluster(&self, login: &Login) -> Result<Line, String> {
        let said = |fault: RedisError| shorten(&fault.to_string());
        let nodes: Result<Vec<_>, _> = self.url.nodes.iter().map(|it| self.info(it)).collect();
        let mut builder = ClusterClientBuilder::new(nodes.map_err(said)?)
            .connection_timeout(REDIS_CONNECT)
            .response_timeout(REDIS_ANSWER)
            .retries(1);
        if let Some(username) = &login.username {
            builder = builder.username(username);
        }
        if let Some(password) = &login.password {
            builder = builder.password(password.expose());
        }
        if self.url.is_tls {
            builder = builder.certs(login.certificates.clone());
        }
        let client = builder.build().map_err(said)?;
        within(REDIS_CONNECT * 2, client.get_async_connection()).await.map(Line::Cluster)
    }

    fn info(&self, (host, port): &(String, u16)) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (host.clone(), *port);
        let address = match self.url.is_tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        address.into_connection_info()
    }
}

impl Login {
    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose());
        }
        settings
    }
}

/// Without the line's end that editors put after it.
fn trimmed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    text
}

impl Line {
    /// One command, answered within [`REDIS_ANSWER`].
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        within(REDIS_ANSWER, command.query_async(&mut self.clone())).await
    }

    /// Whether the keys are spread over several servers.
    pub(crate) fn is_cluster(&self) -> bool {
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

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|fault| shorten(&fault.to_string())),
        Err(_elapsed) => Err(format!("no answer within {limit:?}")),
    }
}
