//! The exporter when what it watches is away, or takes connections and never answers.

use std::net::SocketAddr;
use std::time::Duration;

use edge_tests::exporter::{Figures, exporter};
use edge_tests::ports::free_port;
use edge_tests::{Outcome, same};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A scrape may take so long, whatever is away.
const BOUND: Duration = Duration::from_secs(8);

/// What takes connections and says nothing; dropping it ends it.
struct Mute {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn mute() -> Result<Mute, edge_tests::Fault> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut taken: Vec<TcpStream> = Vec::new();
        while let Ok((socket, _peer)) = listener.accept().await {
            taken.push(socket);
        }
    });
    Ok(Mute { address, _tasks: tasks })
}

/// Everything is down, and said to be.
fn all_down(figures: &Figures, instance: &str) -> Outcome {
    same("gateway", figures.wanted(&format!("mcp_gateway_up{{instance=\"{instance}\"}}"))?, 0.0)?;
    same("Redis", figures.wanted("mcp_redis_up")?, 0.0)?;
    same("nginx", figures.wanted("mcp_nginx_up")?, 0.0)?;
    for collector in ["gateways", "redis", "nginx"] {
        let name = format!("mcp_exporter_collector_success{{collector=\"{collector}\"}}");
        same(&name, figures.wanted(&name)?, 0.0)?;
    }
    // A gauge of nobody is not known.
    same("connections", figures.value("mcp_gateway_active_connections"), None)?;
    assert!(figures.took < BOUND, "{:?}", figures.took);
    Ok(())
}

#[tokio::test]
async fn with_nothing_else_up_it_answers_that_all_is_down() -> Outcome {
    let (gateway, redis, nginx) = (free_port()?, free_port()?, free_port()?);
    let builder = exporter()?
        .variable("EXPORTER_GATEWAYS", format!("http://127.0.0.1:{gateway}"))
        .variable("REDIS_URL", format!("redis://127.0.0.1:{redis}"))
        .variable("EXPORTER_NGINX_STATUS", format!("http://127.0.0.1:{nginx}/nginx_status"))
        .variable("EXPORTER_PROBE", format!("http://127.0.0.1:{nginx}"))
        .variable("EXPORTER_STATE", "none");
    let exporter = builder.start().await?;
    let failed = |it: &Figures| it.named("mcp_gateway_probe_success").count() == 4;
    let figures = exporter.until("all probes have run", failed).await?;
    all_down(&figures, &format!("127.0.0.1:{gateway}"))?;
    assert!(figures.named("mcp_gateway_probe_success").all(|(_, value)| value == 0.0));
    // A user of the first dashboard finds the names at once.
    same("requests", figures.wanted("mcp_gateway_requests_total")?, 0.0)?;
    same("errors", figures.wanted("mcp_gateway_errors_total")?, 0.0)?;
    figures.check().await?;
    same("health", exporter.get("/health").await?.status, 200)?;
    same("ready", exporter.get("/ready").await?.status, 200)
}

#[tokio::test]
async fn what_never_answers_holds_nothing_up() -> Outcome {
    let (gateway, redis, nginx) = (mute().await?, mute().await?, mute().await?);
    let builder = exporter()?
        .gateways([&gateway.address])
        .variable("REDIS_URL", format!("redis://{}", redis.address))
        .variable("EXPORTER_NGINX_STATUS", format!("http://{}/", nginx.address));
    let exporter = builder.start().await?;
    let figures = exporter.scrape().await?;
    all_down(&figures, &gateway.address.to_string())?;
    // Redis is asked for nothing more once it is known to be mute: the next scrape is as quick.
    let again = exporter.scrape().await?;
    assert!(again.took < BOUND, "{:?}", again.took);
    // The end does not wait for them either.
    let (status, took) = exporter.stop().await?;
    assert!(status.success() && took < Duration::from_secs(6), "{status} {took:?}");
    Ok(())
}

#[tokio::test]
async fn many_replicas_that_hang_are_told_one_by_one_in_time() -> Outcome {
    let mut gateways = Vec::new();
    for _gateway in 0..40 {
        gateways.push(mute().await?);
    }
    let exporter = exporter()?.gateways(gateways.iter().map(|it| &it.address)).start().await?;
    let figures = exporter.scrape().await?;
    same("stale", figures.wanted("mcp_exporter_stale_seconds")?, 0.0)?;
    same("down", figures.wanted("mcp_gateway_replicas{state=\"down\"}")?, 40.0)?;
    assert!(figures.took < BOUND, "{:?}", figures.took);
    Ok(())
}

/// Answers `INFO`, and nothing else.
async fn talk(mut socket: TcpStream) -> Outcome {
    let mut said = [0; 4096];
    loop {
        let length = socket.read(&mut said).await?;
        if length == 0 {
            return Ok(());
        }
        let said = said.get(..length).unwrap_or_default();
        if said.windows(4).any(|it| it == b"INFO") {
            socket.write_all(b"$23\r\nredis_version:7.0.15\r\na\r\n").await?;
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_slow_with_sessions_is_up() -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut talks = JoinSet::new();
        while let Ok((socket, _peer)) = listener.accept().await {
            talks.spawn(async move { talk(socket).await.ok() });
        }
    });
    let builder = exporter()?.variable("REDIS_URL", format!("redis://{address}"));
    let exporter = builder.variable("EXPORTER_STATE", "none").start().await?;
    let figures = exporter.scrape().await?;
    same("Redis", figures.wanted("mcp_redis_up")?, 1.0)?;
    let info = "redis_instance_info{redis_mode=\"\",redis_version=\"7.0.15\",role=\"\"}";
    same("its digest", figures.wanted(info)?, 1.0)?;
    let all = "mcp_exporter_collector_success{collector=\"redis\"}";
    same("all of it", figures.wanted(all)?, 0.0)?;
    same("sessions", figures.value("mcp_gateway_store_sessions"), None)
}

#[tokio::test]
async fn sockets_that_say_nothing_are_closed() -> Outcome {
    let exporter = exporter()?.start().await?;
    let mut idle = Vec::new();
    for _socket in 0..80 {
        let mut socket = TcpStream::connect(exporter.address).await?;
        socket.write_all(b"GET /health HTT").await?;
        idle.push(socket);
    }
    let mut first = idle.remove(0);
    let mut said = Vec::new();
    let ended = tokio::time::timeout(BOUND, first.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "it is still open");
    drop(idle);
    same("health", exporter.get("/health").await?.status, 200)
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_replica_that_is_down() -> Outcome {
    let exporter = exporter()?.start().await?;
    let up = "mcp_gateway_up{instance=\"mcp-gateway.invalid:9100\"}";
    let figures = exporter.scrape().await?;
    same("up", figures.wanted(up)?, 0.0)?;
    same("Redis", figures.value("mcp_redis_up"), None)?;
    same("nginx", figures.value("mcp_nginx_up"), None)
}

#[tokio::test]
async fn scrapes_at_one_time_share_what_is_asked() -> Outcome {
    let gateway = mute().await?;
    let exporter = exporter()?.gateways([&gateway.address]).start().await?;
    let first = exporter.scrape().await?.wanted("mcp_exporter_rounds_total")?;
    // Older than what is shared, by its own account.
    exporter
        .until("another round", |it| it.value("mcp_exporter_rounds_total") > Some(first))
        .await?;
    let scrapes = [exporter.scrape(), exporter.scrape(), exporter.scrape(), exporter.scrape()];
    let mut rounds = Vec::new();
    for figures in futures_util::future::join_all(scrapes).await {
        rounds.push(figures?.wanted("mcp_exporter_rounds_total")?);
    }
    rounds.dedup();
    same("rounds", rounds.len(), 1)
}
