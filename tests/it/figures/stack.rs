//! Two replicas with Redis behind the nginx that is shipped, and the exporter that watches them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Folder, binary, edge, stdio};
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::ports::free_port;
use edge_tests::replicas::{Replicas, replicas};
use edge_tests::{Fault, until};
use serde_json::json;
use tokio::process::{Child, Command};

/// They; dropping it ends them.
pub(super) struct Stack {
    pub(super) replicas: Replicas,
    _nginx: Shipped,
    _exporter: Child,
    /// Where the exporter publishes its figures.
    pub(super) exporter: SocketAddr,
    _folder: Folder,
}

impl Stack {
    pub(super) async fn start() -> Result<Self, Fault> {
        let broken = json!({"command": ["/nonexistent/program"]});
        let described = edge().server("fixture", stdio()).server("broken", broken);
        let replicas = replicas(2, described).await?;
        let addresses = replicas.addresses();
        let upstream: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let nginx = shipped(upstream.join(" "))?.start().await?;
        let folder = Folder::new()?;
        let exporter = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(binary("gateway-exporter")?);
        for replica in &replicas.all {
            command.arg("--gateway").arg(format!("http://{}", replica.edge()?.admin));
        }
        let child = command
            .args(["--listen", &exporter.to_string()])
            .args(["--redis-url", &replicas.redis.url()])
            .args(["--nginx-status", &format!("http://{}/nginx_status", nginx.status)])
            .args(["--probe", &format!("https://{}", nginx.https)])
            .args(["--probe-host", "localhost", "--probe-every", "2s"])
            .arg("--probe-ca")
            .arg(&nginx.certificate)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path.join("exporter.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        until("the exporter answers", || async {
            Request::new("GET", "/metrics").reply(exporter).await.is_ok_and(|it| it.status == 200)
        })
        .await?;
        Ok(Self { replicas, _nginx: nginx, _exporter: child, exporter, _folder: folder })
    }

    /// Where each replica publishes its figures.
    pub(super) fn admins(&self) -> Result<Vec<SocketAddr>, Fault> {
        self.replicas.all.iter().map(|it| Ok(it.edge()?.admin)).collect()
    }

    /// Does what clients do, and what they do wrong; a process crashes as well.
    pub(super) async fn use_it(&self) -> Result<(), Fault> {
        let (one, other) = (self.replicas.at(0)?.address, self.replicas.at(1)?.address);
        for transport in Transport::ALL {
            let mut client = Client::open(one, transport, Some("fixture")).await?;
            client.request("tools/list", json!({})).await?;
            client.call("echo", json!({"value": 1})).await?;
            client.request("tools/call", json!({"name": "test_error_handling"})).await?;
            client.request("tools/call", json!({"name": "fail"})).await?;
            client.request("no/such/method", json!({})).await?;
            client.end().await?;
        }
        try_their_luck(one, other).await
    }
}

/// What is carried to another replica, crashes, cannot be started, and has no session.
async fn try_their_luck(one: SocketAddr, other: SocketAddr) -> Result<(), Fault> {
    let mut carried = Client::open(one, Transport::Mcp, Some("fixture")).await?;
    carried.go_to(other);
    carried.call("echo", json!({"value": 2})).await?;
    carried.end().await?;
    let mut unlucky = Client::open(one, Transport::Mcp, Some("fixture")).await?;
    unlucky.request("tools/call", json!({"name": "crash"})).await?;
    unlucky.call("echo", json!({"value": 3})).await?;
    unlucky.end().await?;
    let mut hopeless = Client::connect(one, Transport::Mcp, "/mcp/broken").await?;
    // It is refused: that is what is to be counted.
    drop(hopeless.initialize(json!({})).await);
    Ask::tool("fixture", "echo", json!({"value": 4})).said(other).await?;
    Ok(())
}
