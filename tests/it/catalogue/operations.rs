//! E, what happens to a gateway: ports, disks, file descriptors and signals.
//!
//! Rows 119 and 120, a changed file, are in `gateway/tests/reload.rs`.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{binary, edge, stdio, stdio_alone};
use edge_tests::{Outcome, same, until};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::net::TcpStream;

#[test]
fn row_117_a_port_that_is_taken_is_named_and_how_to_find_by_whom() -> Outcome {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    for (flag, other) in [("--port", "--admin-port"), ("--admin-port", "--port")] {
        let output = Command::new(binary("mcp-gateway")?)
            .args([flag, &port.to_string(), other, "0"])
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        same("exit code", output.status.code(), Some(1))?;
        let wanted = format!(
            "cannot listen on 127.0.0.1:{port}: Address already in use (os error 98); `ss -ltnp \
             'sport = :{port}'` names the process that does; stop it, or choose another port with \
             {flag}\n"
        );
        same("what it says", String::from_utf8(output.stderr)?, wanted)?;
    }
    Ok(())
}

#[tokio::test]
async fn row_121_a_full_disk_costs_the_log_and_nothing_else() -> Outcome {
    let edge = edge().server("fixture", stdio()).log_to("/dev/full").start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        // A process that starts, ends and crashes is logged each time.
        let crash = json!({"name": "crash", "arguments": {}});
        let answer = client.request("tools/call", crash).await?;
        same("crash", answer.pointer("/error/code"), Some(&json!(-31002)))?;
        same("the next call", client.call("echo", json!({})).await?.as_str(), "{}")?;
    }
    same("readiness", edge.get("/health/ready").await?.status, 200)?;
    let lost = edge.figure("mcp_gateway_log_lines_lost_total").await?;
    same(format!("{lost} lines are counted"), lost >= 9, true)
}

#[tokio::test]
async fn row_121_a_log_that_nobody_reads_costs_the_log_and_nothing_else() -> Outcome {
    // Held open and never read.
    let (_reader, writer) = std::io::pipe()?;
    let pipe = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut edge = edge().server("fixture", stdio()).log_to(pipe).start().await?;
    until("lines are lost", || async {
        // What is refused is logged, and a pipe and the queue hold a few thousand such lines.
        for _ in 0..200 {
            if edge.get("/mcp").await.is_err() {
                return false;
            }
        }
        edge.figure("mcp_gateway_log_lines_lost_total").await.is_ok_and(|lost| lost > 0)
    })
    .await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    same("a call", client.call("echo", json!({})).await?.as_str(), "{}")?;
    drop(client);
    edge.signal(Signal::SIGTERM)?;
    let (status, _) = edge.ended().await?;
    same("exit code", status.code(), Some(0))
}

#[tokio::test]
async fn row_121_without_file_descriptors_accepting_rests_and_goes_on() -> Outcome {
    let edge = edge().server("fixture", stdio()).files_max(48).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    client.call("echo", json!({})).await?;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(edge.address).await?);
    }
    until("no more are accepted", || async {
        edge.log().contains("a connection could not be accepted")
    })
    .await?;
    let (ticks, begun) = (edge.process()?.processor_ticks(), Instant::now());
    // The pause is what is tested: it does not spin.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = edge.process()?.processor_ticks() - ticks;
    let refused = edge.log().matches("a connection could not be accepted").count();
    same(format!("{spent} ticks in {:?}", begun.elapsed()), spent < 40, true)?;
    same(format!("{refused} tries"), (1..=5).contains(&refused), true)?;
    same("who is in is served", client.call("echo", json!({})).await?.as_str(), "{}")?;
    drop(idle);
    until("others are let in again", || async {
        edge.get("/health/ready").await.is_ok_and(|reply| reply.status == 200)
    })
    .await
}

#[tokio::test]
async fn row_122_a_storm_of_hangups_and_a_broken_pipe_disturb_nothing() -> Outcome {
    let edge = edge().server("fixture", stdio_alone()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let slow = json!({"name": "slow", "arguments": {"ms": 1000, "steps": 1}});
    let waiting = client.begin("tools/call", slow).await?;
    for _ in 0..500 {
        edge.signal(Signal::SIGHUP)?;
        edge.signal(Signal::SIGPIPE)?;
    }
    let answer = client.answer(&json!(waiting)).await?;
    same(format!("{answer}"), answer.get("error"), None)?;
    until("the file was read again", || async { edge.log().contains("configuration reloaded") })
        .await?;
    same("the same process", edge.descendants().len(), 1)?;
    same("the next call", client.call("echo", json!({})).await?.as_str(), "{}")
}

#[tokio::test]
async fn row_122_a_second_sigterm_ends_it_at_once() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let slow = json!({"name": "slow", "arguments": {"ms": 60_000, "steps": 1}});
    client.begin("tools/call", slow).await?;
    until("the call is there", || async { !edge.descendants().is_empty() }).await?;
    let left = edge.descendants();
    edge.signal(Signal::SIGTERM)?;
    until("it stops", || async { edge.log().contains("\"stopping\"") }).await?;
    edge.signal(Signal::SIGTERM)?;
    let (status, took) = edge.ended().await?;
    same(format!("after {took:?}"), took < Duration::from_secs(2), true)?;
    same("exit code", status.code(), Some(0))?;
    until("no process is left", || async { !left.iter().any(|it| it.alive()) }).await
}
