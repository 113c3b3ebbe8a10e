//! Probes from outside: through the nginx that is shipped, over TLS, and past what holds events
//! back.

use std::time::Duration;

use edge_tests::edge::{Folder, edge, stdio};
use edge_tests::exporter::{Figures, exporter};
use edge_tests::nginx::shipped;
use edge_tests::{Outcome, same};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const PROBES: [&str; 4] = ["health", "sse", "websocket", "mcp"];

fn success(figures: &Figures, probe: &str) -> Option<f64> {
    figures.value(&format!("mcp_gateway_probe_success{{probe=\"{probe}\"}}"))
}

fn took(figures: &Figures, probe: &str, phase: &str) -> Option<f64> {
    let labels = format!("{{phase=\"{phase}\",probe=\"{probe}\"}}");
    figures.value(&format!("mcp_gateway_probe_duration_seconds{labels}"))
}

#[tokio::test]
async fn a_client_from_outside_is_served_through_nginx_over_tls() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let nginx = shipped(gateway.address)?.start().await?;
    let builder = exporter()?
        .gateways([&gateway.admin])
        .variable("EXPORTER_NGINX_STATUS", format!("http://{}/nginx_status", nginx.status))
        .variable("EXPORTER_PROBE", format!("https://{}", nginx.https))
        .variable("EXPORTER_PROBE_CA", nginx.certificate.display())
        .variable("EXPORTER_PROBE_HOST", "localhost")
        .variable("EXPORTER_PROBE_EVERY", "1s");
    let exporter = builder.start().await?;
    let all_well = |it: &Figures| PROBES.iter().all(|probe| success(it, probe) == Some(1.0));
    let figures = exporter.until("all probes succeed", all_well).await?;
    for (probe, phase) in [
        ("health", "tls"),
        ("health", "response"),
        ("sse", "first_event"),
        ("websocket", "handshake"),
        ("websocket", "pong"),
        ("mcp", "transfer"),
    ] {
        let took = took(&figures, probe, phase).unwrap_or(-1.0);
        assert!((0.0..5.0).contains(&took), "{probe} {phase}: {took}\n{}", figures.text);
    }
    let ends = figures.wanted("mcp_gateway_tls_certificate_expiry_timestamp_seconds")?;
    assert!(ends > 1.7e9, "{ends}");
    same("nginx", figures.wanted("mcp_nginx_up")?, 1.0)?;
    figures.check().await?;
    let asked = |it: &Figures| it.value("nginx_http_requests_total") >= Some(4.0);
    exporter.until("nginx has counted the probes", asked).await?;

    // However often it is probed, it has one session there.
    let often = |it: &Figures| {
        it.value("mcp_gateway_probe_runs_total{probe=\"sse\"}") >= Some(5.0) && all_well(it)
    };
    let figures = exporter.until("it was probed often", often).await?;
    same(
        "failures",
        figures.named("mcp_gateway_probe_failures_total").all(|it| it.1 == 0.0),
        true,
    )?;
    same("sessions", gateway.figure("mcp_gateway_sessions{transport=\"sse\"}").await?, 1)?;
    same("sockets", gateway.figure("mcp_gateway_sessions{transport=\"websocket\"}").await?, 0)
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_fails_and_its_end_is_known() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let nginx = shipped(gateway.address)?.start().await?;
    let folder = Folder::new()?;
    let other = folder.path.join("other.crt");
    edge_tests::tls::make_certificate(&other, &other.with_extension("key"))?;
    let builder = exporter()?
        .variable("EXPORTER_PROBE", format!("https://{}", nginx.https))
        .variable("EXPORTER_PROBE_CA", other.display())
        .variable("EXPORTER_PROBE_EVERY", "1s");
    let exporter = builder.start().await?;
    let failed = |it: &Figures| PROBES.iter().all(|probe| success(it, probe) == Some(0.0));
    let figures = exporter.until("all probes fail", failed).await?;
    let ends = figures.wanted("mcp_gateway_tls_certificate_expiry_timestamp_seconds")?;
    assert!(ends > 1.7e9, "{ends}");
    // The right one is written over it: no restart is needed.
    std::fs::copy(&nginx.certificate, &other)?;
    let well = |it: &Figures| success(it, "health") == Some(1.0);
    exporter.until("it is trusted", well).await?;
    Ok(())
}

/// Something that answers `/sse` at once and holds its events back, as a proxy that buffers does.
#[tokio::test]
async fn events_that_are_held_back_are_noticed() -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _peer)) = listener.accept().await {
            let mut head = [0; 1024];
            let _read = socket.read(&mut head).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: held\n\n";
            let _written = socket.write_all(answer.as_bytes()).await;
            held.push(socket);
        }
    });
    let builder = exporter()?.variable("EXPORTER_PROBE", format!("http://{address}"));
    let exporter = builder.start().await?;
    let failed = |it: &Figures| success(it, "sse") == Some(0.0);
    let figures = exporter.until("it is noticed", failed).await?;
    assert!(took(&figures, "sse", "response").is_some(), "{}", figures.text);
    same("the event", took(&figures, "sse", "first_event"), None)?;
    let page = exporter.get("/").await?.text();
    assert!(page.contains("proxy_buffering"), "{page}");
    // Meanwhile scrapes are not held up.
    assert!(figures.took < Duration::from_secs(4), "{:?}", figures.took);
    Ok(())
}
