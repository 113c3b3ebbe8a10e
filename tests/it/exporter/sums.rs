//! Counters of all replicas together, through everything that restarts.

use std::net::SocketAddr;

use edge_tests::edge::{edge, stdio};
use edge_tests::exporter::{Exporter, Figures, Rising, exporter};
use edge_tests::modern::Ask;
use edge_tests::replicas::{Replicas, replicas};
use edge_tests::{Fault, Outcome, same};
use serde_json::json;

use super::admins;

const REQUESTS: &str = "mcp_gateway_requests_total";
const UP: &str = "mcp_gateway_replicas{state=\"up\"}";

async fn stage(count: usize) -> Result<Replicas, Fault> {
    replicas(count, edge().server("fixture", stdio())).await
}

async fn call(gateway: SocketAddr, times: usize) -> Outcome {
    for _call in 0..times {
        let said = Ask::new("fixture", "tools/list", json!({})).said(gateway).await?;
        same("an answer", said.code(), None)?;
    }
    Ok(())
}

/// Scrapes until this many requests were counted; no counter fell on the way.
async fn counted(exporter: &Exporter, rising: &mut Rising, wanted: f64) -> Result<Figures, Fault> {
    let what = format!("{wanted} requests are counted");
    let figures = exporter.until(&what, |it| it.value(REQUESTS) >= Some(wanted)).await?;
    rising.take(&figures)?;
    same("requests", figures.wanted(REQUESTS)?, wanted)?;
    Ok(figures)
}

#[tokio::test]
async fn counters_outlive_replicas_and_the_exporter() -> Outcome {
    let mut replicas = stage(3).await?;
    let builder =
        exporter()?.gateways(&admins(&replicas)?).variable("REDIS_URL", replicas.redis.url());
    let mut exporter = builder.start().await?;
    let mut rising = Rising::default();
    let addresses = replicas.addresses();
    for gateway in &addresses {
        call(*gateway, 5).await?;
    }
    let figures = counted(&exporter, &mut rising, 15.0).await?;
    same("replicas", figures.wanted(UP)?, 3.0)?;
    let listed = "mcp_gateway_cluster_requests_total{method=\"tools/list\",transport=\"modern\"}";
    same("with labels", figures.wanted(listed)?, 15.0)?;

    // A replica is killed and comes back: it counts from zero, the cluster goes on.
    replicas.at_mut(0)?.kill().await?;
    let figures = exporter.until("one is gone", |it| it.value(UP) == Some(2.0)).await?;
    rising.take(&figures)?;
    replicas.at_mut(0)?.start().await?;
    call(replicas.at(0)?.address, 2).await?;
    counted(&exporter, &mut rising, 17.0).await?;

    // One goes away for good.
    call(replicas.at(1)?.address, 3).await?;
    counted(&exporter, &mut rising, 20.0).await?;
    replicas.at_mut(1)?.stop().await?;
    let figures = exporter.until("one is gone", |it| it.value(UP) == Some(2.0)).await?;
    rising.take(&figures)?;

    // The exporter is stopped, then killed; what is counted meanwhile is not lost.
    exporter.stop().await?;
    call(replicas.at(2)?.address, 4).await?;
    exporter = builder.start().await?;
    counted(&exporter, &mut rising, 24.0).await?;
    exporter.kill().await?;
    exporter = builder.start().await?;
    counted(&exporter, &mut rising, 24.0).await?;

    // Redis comes back empty: the exporter gives it the sums again.
    replicas.redis.clear().await?;
    call(replicas.at(2)?.address, 1).await?;
    counted(&exporter, &mut rising, 25.0).await?;
    exporter.kill().await?;
    exporter = builder.start().await?;
    let figures = counted(&exporter, &mut rising, 25.0).await?;
    figures.check().await
}

#[tokio::test]
async fn sums_are_kept_in_a_file_too() -> Outcome {
    let mut replicas = stage(1).await?;
    let builder = exporter()?.gateways(&admins(&replicas)?);
    let file = builder.folder().join("sums.json");
    let builder = builder.variable("EXPORTER_STATE", file.display());
    let mut rising = Rising::default();
    let exporter = builder.start().await?;
    call(replicas.at(0)?.address, 3).await?;
    counted(&exporter, &mut rising, 3.0).await?;
    exporter.kill().await?;
    replicas.at_mut(0)?.kill().await?;
    replicas.at_mut(0)?.start().await?;
    call(replicas.at(0)?.address, 1).await?;
    let exporter = builder.start().await?;
    counted(&exporter, &mut rising, 4.0).await?;
    // What nobody can read is no reason not to start.
    exporter.stop().await?;
    std::fs::write(&file, "not a state")?;
    let exporter = builder.start().await?;
    exporter.until("it counts anew", |it| it.value(REQUESTS) == Some(1.0)).await?;
    Ok(())
}

#[tokio::test]
async fn counters_are_held_back_while_the_kept_ones_cannot_be_read() -> Outcome {
    let mut replicas = stage(1).await?;
    let builder =
        exporter()?.gateways(&admins(&replicas)?).variable("REDIS_URL", replicas.redis.url());
    let exporter = builder.start().await?;
    call(replicas.at(0)?.address, 3).await?;
    let mut rising = Rising::default();
    counted(&exporter, &mut rising, 3.0).await?;
    exporter.kill().await?;
    replicas.redis.kill().await?;
    let exporter = builder.start().await?;
    let figures = exporter.until("the replica is up", |it| it.value(UP) == Some(1.0)).await?;
    same("counters", figures.value(REQUESTS), None)?;
    same("Redis", figures.wanted("mcp_redis_up")?, 0.0)?;
    same("ready", exporter.get("/ready").await?.status, 503)?;
    replicas.redis.start().await?;
    counted(&exporter, &mut rising, 3.0).await?;
    same("ready", exporter.get("/ready").await?.status, 200)
}

#[tokio::test]
async fn sessions_in_redis_are_told_by_their_owners() -> Outcome {
    let mut replicas = stage(2).await?;
    let builder =
        exporter()?.gateways(&admins(&replicas)?).variable("REDIS_URL", replicas.redis.url());
    let exporter = builder.start().await?;
    let (first, second) = (replicas.at(0)?, replicas.at(1)?);
    let mut open = Vec::new();
    for (gateway, count) in [(first.address, 2), (second.address, 1)] {
        for _stream in 0..count {
            let stream = edge_tests::http1::Request::stream("/sse").send(gateway).await?;
            open.push(stream);
        }
    }
    let owned = |it: &Figures, admin: SocketAddr| {
        it.value(&format!(
            "mcp_gateway_store_replica_sessions{{replica=\"{admin}\",transport=\"sse\"}}"
        ))
    };
    let (one, other) = (first.edge()?.admin, second.edge()?.admin);
    let figures = exporter
        .until("sessions are seen", |it| it.value("mcp_gateway_store_sessions") == Some(3.0))
        .await?;
    same("of the first", owned(&figures, one), Some(2.0))?;
    same("of the second", owned(&figures, other), Some(1.0))?;
    same("orphans", figures.wanted("mcp_gateway_store_sessions_orphaned")?, 0.0)?;
    same("replicas", figures.wanted("mcp_gateway_store_replicas{state=\"live\"}")?, 2.0)?;
    same("open", figures.wanted("mcp_gateway_sessions{transport=\"sse\"}")?, 3.0)?;
    replicas.at_mut(0)?.kill().await?;
    let figures = exporter
        .until("orphans are seen", |it| {
            it.value("mcp_gateway_store_sessions_orphaned") == Some(2.0)
        })
        .await?;
    same("replicas", figures.wanted("mcp_gateway_store_replicas{state=\"live\"}")?, 1.0)?;
    let age = figures.wanted("mcp_gateway_store_oldest_session_age_seconds")?;
    assert!((1.0..60.0).contains(&age), "{age}");
    drop(open);
    Ok(())
}

#[tokio::test]
async fn a_replica_counts_once_however_many_addresses_lead_to_it() -> Outcome {
    let replicas = stage(1).await?;
    let (gateway, admin) = (replicas.at(0)?.address, replicas.at(0)?.edge()?.admin);
    let other = edge_tests::proxy::proxy(admin).await?;
    let builder = exporter()?.variable("REDIS_URL", replicas.redis.url());
    let both = builder.gateways(&[admin, other.address]);
    let mut rising = Rising::default();
    let exporter = both.start().await?;
    call(gateway, 3).await?;
    let figures = counted(&exporter, &mut rising, 3.0).await?;
    same("replicas", figures.wanted(UP)?, 1.0)?;
    same("addresses", figures.named("mcp_gateway_up").map(|(_, up)| up).sum::<f64>(), 2.0)?;
    call(gateway, 2).await?;
    counted(&exporter, &mut rising, 5.0).await?;
    let page = exporter.get("/").await?.text();
    same("the page tells", page.contains("at another address"), true)?;
    exporter.stop().await?;
    // Its address changes, as that of a container does that is put into another network.
    let exporter = both.gateways(&[other.address]).start().await?;
    call(gateway, 1).await?;
    counted(&exporter, &mut rising, 6.0).await?;
    Ok(())
}
