//! Sockets that are slow, and a gateway that is: two thousand that send a byte now and then hold
//! nobody up and leave nothing behind, and clients of a gateway without a processor wait.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, pooled};
use edge_tests::http1::{Incoming, Request};
use edge_tests::slow::{self, DEADLINE, Part, SOCKETS};
use edge_tests::{Outcome, same, within};
use nix::sys::signal::Signal;
use serde_json::json;

/// Memory for each slow socket: the buffers of a connection whose head is not whole yet.
const KIB_EACH: u64 = 128;
/// A burst of clients.
const BURST: usize = 900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_sockets_hold_nobody_up_and_are_closed_in_time() -> Outcome {
    let limits = json!({
        "connections": 4 * SOCKETS,
        "header_timeout_ms": DEADLINE.as_millis(),
        "body_timeout_ms": DEADLINE.as_millis()
    });
    let edge = edge()
        .setting("limits", limits)
        .setting("session", json!({"resume_window": "1s"}))
        .server("pooled", pooled())
        .start()
        .await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("pooled")).await?;
    client.call("echo", json!({})).await?;
    drop(client);
    let base = edge.at_rest(None).await?;
    let mut clients = Vec::new();
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("pooled")).await?;
        client.call("echo", json!({})).await?;
        clients.push(client);
    }
    let accepted = async |wanted| {
        edge.footprint().is_ok_and(|now| now.files >= base.files.saturating_add(wanted))
    };
    let mut slow = slow::open(edge.address, accepted).await?;
    let (mut answered, mut closed) = (0_usize, [(0_usize, 0_usize); 2]);
    let mut most_files = 0;
    while !slow.is_empty() {
        most_files = most_files.max(edge.footprint()?.files);
        for client in &mut clients {
            let value = json!({"value": answered});
            let said = client.call("echo", value.clone()).await?;
            same("beside slow sockets", said, value.to_string())?;
            answered += 1;
        }
        while let Some(ended) = slow.try_join_next() {
            let ended = ended??;
            let part = usize::from(ended.part == Part::Body);
            let Some(count) = closed.get_mut(part) else { continue };
            count.0 += 1;
            count.1 += usize::from(ended.status() == Some(408));
        }
    }
    for client in clients {
        client.end().await?;
    }
    let after = edge.at_rest(Some(base)).await?;
    let grown = after.peak_kib.saturating_sub(base.peak_kib);
    tell(&format!(
        "{answered} calls beside {SOCKETS} slow sockets; heads and bodies closed, with 408: \
         {closed:?}; {most_files} files at most; memory at most {grown} KiB \
         more; {base:?}, {after:?}"
    ));
    let all = (SOCKETS / 2, SOCKETS / 2);
    same("heads and bodies closed in time, with 408", closed, [all, all])?;
    same("all at once", most_files > base.files + SOCKETS, true)?;
    same("good calls", answered > 100, true)?;
    let most = KIB_EACH * u64::try_from(SOCKETS)?;
    same(format!("memory grew by {grown} KiB"), grown <= most, true)
}

/// A proxy in front gives up a connection that is not answered within a second.
#[tokio::test]
async fn a_burst_waits_to_be_accepted_while_the_gateway_has_no_processor() -> Outcome {
    let edge = edge().start().await?;
    edge.signal(Signal::SIGSTOP)?;
    let request = Request::new("GET", "/health/live");
    let mut waiting = Vec::new();
    for number in 0..BURST {
        let begun = request.begin(edge.address).await;
        waiting.push(begun.map_err(|fault| format!("after {number}: {fault}"))?);
    }
    edge.signal(Signal::SIGCONT)?;
    for stream in waiting {
        let head = within("an answer", Incoming::read_head(stream)).await?;
        same("the status", head.status, 200)?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the figures are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}
