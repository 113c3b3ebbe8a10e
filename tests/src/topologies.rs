//! Redis as it stands where it must not fail: three sentinels over a master and its replica, and a
//! cluster of three masters and their replicas. Real processes, each in a folder of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::edge::Folder;
use crate::ports::free_port;
use crate::replicas::{Turn, turn};
use crate::{Fault, until, within};

/// Masters of a cluster, which are the first of its nodes.
const MASTERS: usize = 3;
/// How often a node is started, and the time between two looks at whether it answers.
const TRIES: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What the sentinels call their master.
const NAME: &str = "mymaster";

/// One server or sentinel; dropping it kills it.
#[derive(Debug)]
struct Node {
    child: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Node {
    /// Starts one, with these lines for its configuration besides those that all have.
    async fn start(lines: &[String], is_sentinel: bool) -> Result<Self, Fault> {
        for _ in 0..TRIES {
            if let Some(node) = Self::try_start(lines, is_sentinel).await? {
                return Ok(node);
            }
        }
        Err(format!("redis-server ended at once, {TRIES} times").into())
    }

    /// As [`Node::start`]; `None` when it ends, as it does when its port was taken meanwhile.
    async fn try_start(lines: &[String], is_sentinel: bool) -> Result<Option<Self>, Fault> {
        let folder = Folder::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        // What a sentinel learns it writes into its own configuration.
        let path = folder.path.join("redis.conf");
        let (port, here) = (address.port(), folder.path.display());
        let common = format!("bind 127.0.0.1\nport {port}\ndir {here}\n");
        let data = if is_sentinel { "" } else { "save \"\"\nappendonly no\n" };
        fs::write(&path, format!("{common}{data}{}\n", lines.join("\n")))?;
        let log = folder.path.join("redis.log");
        let mut command = Command::new("redis-server");
        command.arg(&path);
        if is_sentinel {
            command.arg("--sentinel");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| format!("redis-server (Debian package): {fault}"))?;
        let mut node = Self { child, address, _folder: folder };
        within("Redis answers", async {
            while !node.says(&["PING"], "PONG").await {
                if node.child.try_wait()?.is_some() {
                    return Ok(None);
                }
                sleep(LOOK_EVERY).await;
            }
            Ok::<_, Fault>(Some(node))
        })
        .await
    }

    /// What it answers to a command, as redis-cli prints it.
    async fn ask(&self, words: &[&str]) -> Result<String, Fault> {
        redis_cli(self.address, words).await
    }

    /// Whether it answers a command with a text that has this in it.
    async fn says(&self, words: &[&str], wanted: &str) -> bool {
        self.ask(words).await.is_ok_and(|answer| answer.contains(wanted))
    }

    fn signal(&self, signal: Signal) -> Result<(), Fault> {
        let pid = self.child.id().ok_or("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }
}

/// Runs one command with redis-cli.
async fn redis_cli(to: SocketAddr, words: &[&str]) -> Result<String, Fault> {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &to.port().to_string()]).args(words);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("redis-cli", command.output()).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{words:?}: {said}").into()) }
}

/// A master, its replica, and three sentinels that put the one in the other's place.
#[derive(Debug)]
pub struct Sentinels {
    master: Node,
    replica: Node,
    sentinels: Vec<Node>,
    _turn: Turn,
}

impl Sentinels {
    /// Starts them and waits until the sentinels know each other and the replica. A master that
    /// is silent for a second counts as gone.
    ///
    /// # Errors
    /// redis-server or redis-cli is missing, or they do not find each other.
    pub async fn start() -> Result<Self, Fault> {
        let turn = turn().await;
        let master = Node::start(&[], false).await?;
        let port = master.address.port();
        let replica = Node::start(&[format!("replicaof 127.0.0.1 {port}")], false).await?;
        let lines = [
            format!("sentinel monitor {NAME} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {NAME} 1000"),
            format!("sentinel failover-timeout {NAME} 3000"),
        ];
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Node::start(&lines, true).await?);
        }
        for sentinel in &sentinels {
            until("the sentinels know all", || async {
                let Ok(known) = sentinel.ask(&["SENTINEL", "MASTER", NAME]).await else {
                    return false;
                };
                let fields: Vec<&str> = known.lines().collect();
                let has = |name, value| fields.windows(2).any(|pair| pair == [name, value]);
                has("num-slaves", "1") && has("num-other-sentinels", "2")
            })
            .await?;
        }
        until("the replica follows", || replica.says(&["INFO", "replication"], "link_status:up"))
            .await?;
        Ok(Self { master, replica, sentinels, _turn: turn })
    }

    /// Their address, as the configuration has it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|it| it.address.to_string()).collect();
        format!("redis+sentinel://{}/{NAME}", hosts.join(","))
    }

    /// Sends the first master a signal: SIGKILL, or SIGSTOP and later SIGCONT.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Fault> {
        self.master.signal(signal)
    }

    /// Waits until the replica is the master.
    ///
    /// # Errors
    /// It does not become it.
    pub async fn failed_over(&self) -> Result<(), Fault> {
        until("the replica is the master", || {
            self.replica.says(&["INFO", "replication"], "role:master")
        })
        .await
    }

    /// Waits until the first master, which goes on, follows the second.
    ///
    /// # Errors
    /// It does not.
    pub async fn made_up(&self) -> Result<(), Fault> {
        until("the first master follows", || {
            self.master.says(&["INFO", "replication"], "link_status:up")
        })
        .await
    }
}

/// Three masters that share the slots, each with a replica.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    _turn: Turn,
}

impl Cluster {
    /// Starts them and waits until every slot has its place.
    ///
    /// # Errors
    /// redis-server or redis-cli is missing, or they do not find each other.
    pub async fn start() -> Result<Self, Fault> {
        let turn = turn().await;
        let mut nodes = Vec::new();
        for _ in 0..2 * MASTERS {
            // The default, 10,000 above the other, may lie where clients have their ports.
            let bus = format!("cluster-port {}", free_port()?);
            let lines = ["cluster-enabled yes".to_owned(), "cluster-node-timeout 2000".to_owned()];
            nodes.push(Node::start(&[lines.as_slice(), &[bus]].concat(), false).await?);
        }
        let first = nodes.first().ok_or("a cluster has nodes")?;
        let hosts: Vec<String> = nodes.iter().map(|it| it.address.to_string()).collect();
        let mut words = vec!["--cluster", "create"];
        words.extend(hosts.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        first.ask(&words).await?;
        for node in &nodes {
            until("the cluster is whole", || node.says(&["CLUSTER", "INFO"], "cluster_state:ok"))
                .await?;
            until("replicas follow", || async {
                let Ok(info) = node.ask(&["INFO", "replication"]).await else { return false };
                info.contains("role:master") || info.contains("link_status:up")
            })
            .await?;
        }
        Ok(Self { nodes, _turn: turn })
    }

    /// Its address, as the configuration has it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|it| it.address.to_string()).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// How many keys each of the masters there were at first holds.
    ///
    /// # Errors
    /// One of them does not answer.
    pub async fn keys(&self) -> Result<Vec<usize>, Fault> {
        let mut counts = Vec::new();
        for node in self.nodes.iter().take(MASTERS) {
            counts.push(node.ask(&["DBSIZE"]).await?.trim().parse()?);
        }
        Ok(counts)
    }

    /// Kills the first master, as a machine that fails does.
    ///
    /// # Errors
    /// It is gone.
    pub fn kill_a_master(&self) -> Result<(), Fault> {
        self.nodes.first().ok_or("a cluster has nodes")?.signal(Signal::SIGKILL)
    }
}
