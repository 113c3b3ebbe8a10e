//! The laws on real servers, and that wrong settings are told from a server that is away.

mod server;
mod traps;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;

use crate::session::id;
use crate::session::redis::tests::server::{
    Client, Server, connect, connect_to, named, parrot, until,
};
use crate::session::redis::{ALL, RedisStore, Refused, counted, hash};
use crate::session::store::laws::{self, Subject, matter};
use crate::session::store::{Life, Look, Store as _, StoreError};
use crate::supervise::Tasks;

/// A store whose time is the servers' own.
struct Real {
    client: Client,
    servers: Vec<Server>,
}

impl Subject for Real {
    type Kind = RedisStore;

    fn store(&self) -> &RedisStore {
        &self.client.store
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn forget(&mut self) {
        for server in &self.servers {
            server.say(&["flushall"]);
        }
    }
}

#[tokio::test]
async fn one_redis_keeps_the_laws() {
    let server = Server::start(&[]).await;
    let client = connect(&server.url()).await.unwrap();
    laws::all(Real { client, servers: vec![server] }).await;
}

#[tokio::test]
async fn sessions_that_come_and_go_leave_nothing_behind() {
    let server = Server::start(&[]).await;
    let client = connect(&server.url()).await.unwrap();
    let (store, one, holder) = (&client.store, matter::tenure("one"), matter::holder("busy"));
    let life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
    let come_and_go = |_| async {
        let key = matter::key();
        assert_eq!(store.admit(holder, key, 2000, life.idle).await, Ok(true));
        store.create(key, one.clone(), matter::record(), life).await.unwrap();
        store.remove(key, Some(one.clone())).await.unwrap();
        store.dismiss(holder, key).await.unwrap();
    };
    for _ in 0..20 {
        join_all((0..50).map(come_and_go)).await;
    }
    assert_eq!(server.say(&["exists", ALL, &counted(holder)]).trim(), "0");
}

#[tokio::test]
async fn what_killed_replicas_left_is_taken_out_bit_by_bit() {
    let server = Server::start(&[]).await;
    let client = connect(&server.url()).await.unwrap();
    let (store, one) = (&client.store, matter::tenure("one"));
    let life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
    let open = || store.create(matter::key(), one.clone(), matter::record(), life);
    let left: Vec<_> = (0..100).map(|_| matter::key().to_string()).collect();
    let left = left.iter().flat_map(|key| ["1", key.as_str()]);
    server.say(&["zadd", ALL].into_iter().chain(left).collect::<Vec<_>>());
    let count = || server.say(&["zcard", ALL]).trim().parse::<usize>().unwrap();
    for most in [37, 2, 3] {
        open().await.unwrap();
        assert_eq!(count(), most);
    }
    server.say(&["zadd", ALL, "9999999999999", "no key"]);
    assert_eq!(store.list(10).await.unwrap().len(), 3, "and it comes to an end");
    assert_eq!(count(), 3);
}

/// Three nodes that share the slots.
async fn cluster() -> Vec<Server> {
    let words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let (one, two, three) =
        tokio::join!(Server::start(&words), Server::start(&words), Server::start(&words));
    let servers = vec![one, two, three];
    let nodes = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect::<Vec<_>>();
    let mut words = vec!["--cluster", "create"];
    words.extend(nodes.iter().map(String::as_str));
    words.push("--cluster-yes");
    let said = servers[0].say(&words);
    assert!(said.contains("All 16384 slots covered"), "{said}");
    for server in &servers {
        let agrees = || async { server.say(&["cluster", "info"]).contains("cluster_state:ok") };
        until("the cluster", agrees).await;
    }
    servers
}

#[tokio::test]
async fn a_cluster_of_three_keeps_the_laws() {
    let servers = cluster().await;
    let nodes = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect::<Vec<_>>();
    let client = connect(&format!("redis+cluster://{}", nodes.join(","))).await.unwrap();
    assert!(client.store.is_up());
    laws::all(Real { client, servers }).await;
}

#[tokio::test]
async fn sentinels_lead_to_the_master_and_to_the_one_after_it() {
    let mut master = Server::start(&[]).await;
    let master_port = master.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master_port]).await;
    let linked = || async { replica.say(&["info", "replication"]).contains("link_status:up") };
    until("the replica", linked).await;
    let sentinel = Server::sentinel(master.port).await;
    let known = || async {
        sentinel.say(&["sentinel", "replicas", "m"]).contains(&replica.port.to_string())
    };
    until("the sentinel", known).await;
    let url = format!("redis+sentinel://127.0.0.1:{}/m/0", sentinel.port);
    let client = connect(&url).await.unwrap();
    let (key, one) = (matter::key(), matter::tenure("one"));
    let life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
    client.store.create(key, one.clone(), matter::record(), life).await.unwrap();
    let copied = || async { !replica.say(&["exists", &hash(key)]).starts_with('0') };
    until("the copy", copied).await;
    let young = client.store.beat(matter::beat(&one.replica, 1)).await.unwrap().age;
    master.stop();
    let took = until("the other master", || async { client.store.look(key).await.is_ok() }).await;
    println!("Sentinel: another master after {took:?}");
    assert_eq!(client.store.look(key).await, Ok(Look::Owned(one.clone())));
    let beat = || client.store.beat(matter::beat(&one.replica, 2));
    let age = beat().await.unwrap().age;
    assert!(age < Duration::from_secs(2) && young < Duration::from_secs(2), "it is young again");

    let nobody = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port);
    let client = connect(&nobody).await.unwrap();
    assert!(!client.store.is_up(), "sentinels may hear of it later");
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"nomaster\"}") >= 1);
}

#[tokio::test]
async fn tls_and_a_user_of_few_rights_and_a_database_keep_the_laws() {
    let folder = Folder::new();
    let (cert, certificate_key) = folder.certificate();
    let server = Server::start_with(|port| {
        let tls = (port + 10_000).to_string();
        let files = [("--tls-cert-file", &cert), ("--tls-key-file", &certificate_key)];
        let files = files.iter().flat_map(|(name, path)| [(*name).to_owned(), (*path).clone()]);
        let words = ["--tls-port", &tls, "--tls-auth-clients", "no"];
        words.iter().map(|it| (*it).to_owned()).chain(files).collect()
    })
    .await;
    server.say(&["acl", "setuser", "ann", "on", ">p@ss", "~mcpgw:1:*", "+@all", "-@dangerous"]);
    let tls = server.port + 10_000;
    let url = format!("rediss://ann:p%40ss@localhost:{tls}/7");
    let mut config = named(&url);
    assert!(told(connect_to(&config).await).contains("certificate"), "nobody vouches for it");
    config.ca_file = Some(cert.into());
    let client = connect_to(&config).await.unwrap();
    let one = matter::tenure("one");
    let life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
    client.store.create(matter::key(), one.clone(), matter::record(), life).await.unwrap();
    client.store.beat(matter::beat(&one.replica, 1)).await.unwrap();
    assert_eq!(server.say(&["-n", "7", "dbsize"]).parse::<u32>().unwrap(), 5);

    let plain = connect(&format!("redis://localhost:{tls}")).await;
    assert!(told(plain).contains("write `rediss`"));
    let tls = connect(&format!("rediss://localhost:{}", server.port)).await;
    assert!(told(tls).contains("write `redis`"));
}

/// Why it is refused.
fn told(tried: Result<Client, Refused>) -> String {
    tried.map(|_client| ()).expect_err("it was let in").to_string()
}

#[tokio::test]
async fn wrong_settings_are_refused_and_a_redis_that_is_away_is_awaited() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let port = server.port;
    for (url, said) in [
        (format!("redis://:wrong@127.0.0.1:{port}"), "password"),
        (format!("redis://nobody:right@127.0.0.1:{port}"), "password"),
        (format!("redis://127.0.0.1:{port}"), "NOAUTH"),
        (format!("redis://:right@127.0.0.1:{port}/99"), "DB index"),
        (format!("redis+cluster://:right@127.0.0.1:{port}"), "cluster"),
        (format!("rediss://:right@127.0.0.1:{port}"), "it speaks no TLS there"),
    ] {
        let refused = told(connect(&url).await);
        println!("{url}: {refused}");
        assert!(refused.contains(said) && !refused.contains("wrong@"), "{url}: {refused}");
    }
    assert!(connect(&format!("redis://:right@127.0.0.1:{port}")).await.unwrap().store.is_up());
    let open = Server::start(&[]).await;
    assert!(connect(&format!("redis://:any@127.0.0.1:{}", open.port)).await.is_err());
    drop(open);

    let mut config = named("rediss://127.0.0.1:1");
    config.ca_file = Some("/nonexistent.pem".into());
    let refused = told(connect_to(&config).await);
    assert!(refused.contains("ca_file"), "{refused}");
    for away in
        ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m"]
    {
        let client = connect(away).await.unwrap_or_else(|refused| panic!("{away}: {refused}"));
        assert!(!client.store.is_up(), "{away}");
        assert_eq!(client.store.look(matter::key()).await, Err(StoreError::Unavailable));
    }
}

#[tokio::test]
async fn each_refusal_has_its_own_figure() {
    for (answer, kind, is_lasting) in [
        ("-LOADING Redis is loading the dataset in memory\r\n", "loading", false),
        ("-ERR max number of clients reached\r\n", "maxclients", false),
        ("-READONLY You can't write against a read only replica.\r\n", "readonly", false),
        ("-CLUSTERDOWN The cluster is down\r\n", "clusterdown", false),
        ("-NOAUTH Authentication required.\r\n", "noauth", true),
        ("-WRONGPASS invalid username-password pair\r\n", "noauth", true),
    ] {
        let tasks = Tasks::new();
        let port = parrot(answer, &tasks).await;
        let client = connect(&format!("redis://127.0.0.1:{port}")).await;
        assert_eq!(client.is_err(), is_lasting, "{answer}");
        if let Ok(client) = client {
            let figure = format!("mcp_gateway_redis_errors_total{{kind=\"{kind}\"}}");
            assert!(client.figure(&figure) >= 1, "{answer}");
        }
        tasks.token().cancel();
    }
    // Of what goes on afterwards: no memory, a command that is not allowed, another node's key.
    let server = Server::start(&[]).await;
    let client = connect(&server.url()).await.unwrap();
    let create = || {
        let life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
        client.store.create(matter::key(), matter::tenure("one"), matter::record(), life)
    };
    create().await.unwrap();
    server.say(&["config", "set", "maxmemory", "1"]);
    assert_eq!(create().await, Err(StoreError::Unavailable));
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"oom\"}") >= 1);
    assert!(client.store.is_up(), "it still answers reads");
    server.say(&["config", "set", "maxmemory", "0"]);
    create().await.unwrap();
    server.say(&["acl", "setuser", "default", "-evalsha"]);
    assert_eq!(create().await, Err(StoreError::Unavailable));
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"noperm\"}") >= 1);
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_server_that_lost_them() {
    let server = Server::start(&[]).await;
    let client = connect(&server.url()).await.unwrap();
    let one = matter::tenure("one");
    client.store.beat(matter::beat(&one.replica, 1)).await.unwrap();
    server.say(&["script", "flush"]);
    client.store.beat(matter::beat(&one.replica, 2)).await.unwrap();
}

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let tag = u64::from_be_bytes(id::random());
        let folder = std::env::temp_dir().join(format!("mcpgw-tls-{tag:016x}"));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// A certificate for `localhost` that vouches for itself, and its key.
    fn certificate(&self) -> (String, String) {
        let file = |name| self.0.join(name).to_str().unwrap().to_owned();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                     -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                     -addext basicConstraints=critical,CA:FALSE";
        let mut command = Command::new("openssl");
        command.args(words.split_whitespace()).args(["-keyout", &key, "-out", &cert]);
        let made = command.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (cert, key)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
