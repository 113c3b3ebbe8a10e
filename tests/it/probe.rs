//! The test clients, against the real gateway and beside the tools whose names they have.

use edge_tests::commands::{called, other, run, run_in};
use edge_tests::edge::{Folder, edge, stdio};
use edge_tests::nginx::{Nginx, buffering, shipped};
use edge_tests::ports::free_port;
use edge_tests::{Fault, Outcome, same, within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::Ipv4Addr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

#[tokio::test]
async fn a_stream_is_printed_as_it_comes_under_the_name_of_curl() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let url = format!("http://{}/sse", edge.address);
    let mut child = called("curl", &["-N", &url])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    // It is read while the stream goes on.
    let first = within("the first event", lines.next_line()).await?;
    same("first line", first.as_deref(), Some("event: endpoint"))?;
    same("it goes on", child.try_wait()?.is_none(), true)?;
    drop(lines);
    child.kill().await?;
    let ran = run(called("curl", &["-s", "-m", "1", "-w", "%{http_code}", &url])?).await?;
    ran.ended(28)?.says("event: endpoint")
}

#[tokio::test]
async fn curl_ends_as_curl_does() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let here = format!("http://{}", edge.address);
    let nginx = shipped(edge.address)?.start().await?;
    let nobody = format!("http://127.0.0.1:{}/", free_port()?);
    let (health, missing) = (format!("{here}/health"), format!("{here}/nothing"));
    let secure = format!("https://{}/health", nginx.https);
    let plain = format!("https://{}/health", edge.address);
    let posted = format!("{here}/mcp");
    let lines: [&[&str]; 14] = [
        &["-s", &health],
        &["-s", "-f", &health],
        &["-s", &missing],
        &["-s", "-f", &missing],
        &["-s", "--fail-with-body", &missing],
        &["-s", &nobody],
        &["-s", "http://nobody.invalid/"],
        &["-s", &secure],
        &["-s", "-k", &secure],
        &["-s", "-k", &plain],
        &["-s", "-H", "Origin: https://foreign.example", &health],
        &["-s", "-H", "Host: foreign.example", "-f", &health],
        &["-s", "-d", "{}", "-H", "Content-Type: application/json", &posted],
        &["-s", "-I", &health],
    ];
    let faults = [&["-s", "ftps:nothing"], &["--no-such-flag", health.as_str()]];
    for line in lines {
        let [real, ours] = both(line).await?;
        same(format!("{line:?}: exit code"), ours.0, real.0)?;
        if line.contains(&"-I") {
            continue;
        }
        // The body is the same byte for byte, but for a time and for the id of a request.
        let word = |text: &str| {
            let before = text.split("uptime").next().unwrap_or_default();
            before.split("requestId").next().unwrap_or_default().to_owned()
        };
        same(format!("{line:?}: body"), word(&ours.1), word(&real.1))?;
    }
    for line in faults {
        let code = run(called("curl", line)?).await?.code;
        same(format!("{line:?}"), code.is_some_and(|code| code != 0), true)?;
    }
    Ok(())
}

async fn both(line: &[&str]) -> Result<[(Option<i32>, String); 2], Fault> {
    let real = run(other("curl", line)).await?;
    let ours = run(called("curl", line)?).await?;
    Ok([(real.code, real.out), (ours.code, ours.out)])
}

#[tokio::test]
async fn a_line_is_a_frame_under_the_name_of_wscat() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let url = format!("ws://{}/ws", edge.address);
    let folder = Folder::new()?;
    let typed = Some("{\"type\": \"ping\"}\n\n");
    let ran = run_in(&folder.path, called("wscat", &["-c", &url])?, typed).await?.ended(0)?;
    same("what comes back", ran.out.trim(), r#"{"type":"pong"}"#)?;
    let once = ["-c", &url, "-x", r#"{"type":"ping"}"#, "-w", "0.5"];
    let ran = run(called("wscat", &once)?).await?.ended(0)?;
    same("once", ran.out.trim(), r#"{"type":"pong"}"#)?;
    let foreign = ["-c", &url, "-o", "https://foreign.example", "-x", "x"];
    run(called("wscat", &foreign)?).await?.ended(1)?.says("cors.origins")?;
    run(called("wscat", &["-c", "ws://127.0.0.1:9/ws"])?)
        .await?
        .ended(1)?
        .says("nothing listens")?;
    run(called("wscat", &["-c", &url, "--slash"])?).await?.ended(2)?.says("`wscat --help`")
}

#[tokio::test]
async fn every_transport_is_probed_through_the_front_over_tls() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let nginx = shipped(edge.address)?.start().await?;
    let ca = nginx.certificate.display().to_string();
    let base = format!("https://localhost:{}", nginx.https.port());
    for (kind, more) in [
        ("sse", ["--timeout", "15"]),
        ("ws", ["--timeout", "15"]),
        ("mcp", ["--era", "auto"]),
        ("mcp", ["--era", "modern"]),
        ("mcp", ["--era", "legacy"]),
    ] {
        let call = ["--call", "echo", r#"{"value":42}"#];
        let words = [&["probe", kind, "--ca", &ca, "--list"][..], &more, &call, &[&base]].concat();
        let ran = run(called("mcp-gateway", &words)?).await?.ended(0)?;
        for part in ["connected", "TLSv1_3", "greeted", "tools", r#"{"value":42}"#] {
            ran.says(part).map_err(|fault| format!("{kind} {more:?}: {fault}"))?;
        }
    }
    let unknown = ["probe", "mcp", base.as_str()];
    let ran = run(called("mcp-gateway", &unknown)?).await?.ended(1)?;
    ran.says("--ca FILE")
}

#[tokio::test]
async fn a_fault_is_told_with_what_helps() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let here = format!("http://{}", edge.address);
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    let other = format!("{here}/mcp/nobody");
    let tls = format!("https://{}", edge.address);
    let host = ["-H", "Host: foreign.example"];
    let lines: [(&[&str], &str); 9] = [
        (&["mcp", &nobody], "nothing listens there"),
        (&["sse", "http://nobody.invalid"], "has no address"),
        (&["mcp", &other], "there is no server"),
        (&["mcp", "-k", &tls], "write http://"),
        (&["mcp", host[0], host[1], &here], "allowed_hosts"),
        (&["ws", host[0], host[1], &here], "allowed_hosts"),
        (&["ws", "-H", "Origin: https://foreign.example", &here], "cors.origins"),
        (&["sse", &here, "--call", "no-such-tool"], "tools/call: "),
        (&["ws", "--send", "{", "--expect", "never", "--timeout", "1", &here], "within 1s"),
    ];
    for (line, told) in lines {
        let words = [&["probe"], line].concat();
        let ran = run(called("mcp-gateway", &words)?).await?.ended(1)?;
        ran.says(told).map_err(|fault| format!("{line:?}: {fault}"))?;
    }
    let wrong = ["probe", "mcp", "-H", "nothing", here.as_str()];
    run(called("mcp-gateway", &wrong)?).await?.ended(78)?.says("has no colon")?;
    // What may be a password or a ticket is in none of them.
    let login = format!("http://u:canary@{}", edge.address);
    let ticket = format!("{here}/mcp/nobody?ticket=canary");
    let wss = format!("ws://u:canary@{}/ws", edge.address);
    let header = "Authorization Bearer canary";
    let lines: [&[&str]; 5] = [
        &["mcp-gateway", "probe", "mcp", &login],
        &["mcp-gateway", "probe", "ws", &login],
        &["mcp-gateway", "probe", "mcp", &ticket],
        &["mcp-gateway", "probe", "mcp", "-H", header, &here],
        &["wscat", "-c", &wss],
    ];
    for line in lines {
        let (program, words) = line.split_first().ok_or("no program")?;
        let ran = run(called(program, words)?).await?;
        let told = format!("{}{}", ran.out, ran.err);
        same(format!("{line:?}: {told}"), told.contains("canary"), false)?;
        same(format!("{line:?} works"), ran.code == Some(0), false)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_holds_the_stream_back_is_seen() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let nginx = Nginx::start_with(edge.address, "", &buffering(edge.address)).await?;
    let url = format!("http://{}", nginx.address);
    let words = ["probe", "sse", "--list", "--timeout", "2", &url];
    run(called("mcp-gateway", &words)?).await?.ended(1)?.says("`proxy_buffering off`")?;
    // What does not stream is not held back.
    let words = ["probe", "mcp", "--list", "--timeout", "10", &url];
    run(called("mcp-gateway", &words)?).await?.ended(0)?.says("tools")
}

#[tokio::test]
async fn who_has_seen_enough_ends_it_cleanly() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let url = format!("http://{}", edge.address);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = called("mcp-gateway", &["probe", "sse", "--json", &url])?.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut before = 0.0;
        for what in ["connected", "opened", "event", "first"] {
            let line = within(what, lines.next_line()).await?.ok_or("it ended")?;
            let line: Value = serde_json::from_str(&line)?;
            same("what", line.get("what").and_then(Value::as_str), Some(what))?;
            let seconds = line.get("seconds").and_then(Value::as_f64).ok_or("no time")?;
            same("time goes on", seconds >= before, true)?;
            before = seconds;
        }
        same("exit code", ended(child, signal).await?, Some(0))?;
    }
    let helper = called("mcp-gateway", &["probe", "wait"])?.spawn()?;
    // It may not have begun to listen to signals, which would then kill it.
    let pid = helper.id().ok_or("no pid")?;
    edge_tests::until("it listens to signals", || async { catches(pid, 15) }).await?;
    same("the helper ends", ended(helper, Signal::SIGTERM).await?, Some(0))
}

#[tokio::test]
async fn who_ends_it_before_it_is_done_has_not_seen_it_work() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mute = format!("http://{}", listener.local_addr()?);
    for kind in ["sse", "ws", "mcp"] {
        let child = called("mcp-gateway", &["probe", kind, "--timeout", "1h", &mute])?.spawn()?;
        let mut socket = asked(&listener).await?.0;
        same(kind, ended(child, Signal::SIGTERM).await?, Some(1))?;
        socket.shutdown().await.ok();
    }
    let edge = edge().server("fixture", stdio()).start().await?;
    let url = format!("http://{}", edge.address);
    let words = ["probe", "ws", "--json", "--timeout", "1h", "--expect", "never", &url];
    let mut child = called("mcp-gateway", &words)?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    for what in ["connected", "opened"] {
        let line = within(what, lines.next_line()).await?.ok_or("it ended")?;
        same(&line, line.contains(what), true)?;
    }
    same("ws --expect", ended(child, Signal::SIGINT).await?, Some(1))
}

#[tokio::test]
async fn who_ends_it_ends_its_session_too() -> Outcome {
    const RESULT: &str = concat!(
        r#"{"jsonrpc":"2.0","id":2,"result":{"protocolVersion":"2025-11-25","#,
        r#""capabilities":{},"serverInfo":{"name":"a","version":"1"}}}"#
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let words = ["probe", "mcp", "--era", "legacy", "--timeout", "10", &url];
    let child = called("mcp-gateway", &words)?.spawn()?;
    let (mut socket, text) = asked(&listener).await?;
    same(&text, text.contains("\"initialize\""), true)?;
    let (length, kind) = (RESULT.len(), "Content-Type: application/json\r\nConnection: close");
    let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\nMcp-Session-Id: canary\r\n");
    let reply = format!("{head}Content-Length: {length}\r\n\r\n{RESULT}");
    socket.write_all(reply.as_bytes()).await?;
    drop(socket);
    // It is left without an answer here.
    let (_socket, text) = asked(&listener).await?;
    same(&text, text.contains("notifications/initialized"), true)?;
    let ending = ended(child, Signal::SIGTERM);
    let deleted = async {
        let (mut socket, text) = asked(&listener).await?;
        socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?;
        Ok::<_, Fault>(text.to_ascii_lowercase())
    };
    let (code, text) = tokio::try_join!(ending, deleted)?;
    let is_right = text.starts_with("delete /mcp ") && text.contains("mcp-session-id: canary");
    same(text, is_right, true)?;
    same("exit code", code, Some(1))
}

/// The next request and its connection; one that only tries to connect is none.
async fn asked(listener: &TcpListener) -> Result<(TcpStream, String), Fault> {
    loop {
        let (mut socket, _) = within("it connects", listener.accept()).await?;
        let mut text = Vec::new();
        loop {
            let read = within("it asks", socket.read_buf(&mut text)).await?;
            let told = String::from_utf8_lossy(&text);
            if let Some((head, body)) = told.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(Ok(0), str::parse)? {
                    return Ok((socket, told.into_owned()));
                }
            }
            if read == 0 {
                break;
            }
        }
    }
}

/// Whether a process has a handler for a signal.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

async fn ended(mut child: Child, signal: Signal) -> Result<Option<i32>, Fault> {
    let pid = child.id().ok_or("no pid")?;
    kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
    Ok(within("it ends", child.wait()).await?.code())
}
