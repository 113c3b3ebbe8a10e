//! The doctor, before a machine that is well and before all that can be wrong with one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use edge_tests::commands::{Ran, called, run_in};
use edge_tests::edge::{Folder, edge, stdio};
use edge_tests::nginx::{Nginx, buffering, shipped};
use edge_tests::ports::free_port;
use edge_tests::processes::Process;
use edge_tests::redis::redis;
use edge_tests::{Fault, Outcome, same, until, within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const SECRET: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3928";

/// What the doctor told.
struct Report {
    ran: Ran,
    findings: Vec<Value>,
}

impl Report {
    async fn of(config: &Value, more: &[&str]) -> Result<Self, Fault> {
        let folder = Folder::new()?;
        fs::write(folder.path.join("gateway.json"), config.to_string())?;
        let words = [&["doctor", "--json", "-c", "gateway.json"], more].concat();
        let mut command = called("mcp-gateway", &words)?;
        command.env("SESSION_SECRET", SECRET);
        let ran = run_in(&folder.path, command, None).await?;
        let document: Value = serde_json::from_str(&ran.out)
            .map_err(|fault| format!("{fault}: {}\n{}", ran.out, ran.err))?;
        let findings = document.get("findings").and_then(Value::as_array);
        Ok(Self { findings: findings.cloned().unwrap_or_default(), ran })
    }

    /// The finding about this, which has to be of this level.
    fn finds(&self, level: &str, part: &str, subject: &str) -> Result<&Value, Fault> {
        let of = |finding: &&Value| {
            let is = |key: &str, word: &str| {
                finding.get(key).and_then(Value::as_str).is_some_and(|it| it.contains(word))
            };
            is("part", part) && is("subject", subject)
        };
        let found = self.findings.iter().find(of);
        let found = found.ok_or_else(|| format!("no {part} {subject} in {}", self.ran.out))?;
        let what = format!("{part} {subject}: {found}");
        same(what, found.get("level").and_then(Value::as_str), Some(level))?;
        let needs_fix = matches!(level, "warn" | "fail");
        let has_fix = found.get("fix").and_then(Value::as_str).is_some_and(|it| !it.is_empty());
        same(format!("{part} {subject} has a fix"), has_fix || !needs_fix, true)?;
        Ok(found)
    }

    /// The same, and what it tells.
    fn tells(&self, level: &str, part: &str, subject: &str, told: &str) -> Outcome {
        let found = self.finds(level, part, subject)?.to_string();
        same(format!("`{told}` in {found}"), found.contains(told), true)
    }
}

#[tokio::test]
async fn a_stack_that_is_well_is_found_well() -> Outcome {
    let redis = redis().await?;
    let mark = format!("doctor-{}", std::process::id());
    let mut server = stdio();
    server.as_object_mut().ok_or("a section")?.insert("env".to_owned(), json!({"MARK": mark}));
    let (port, admin) = (free_port()?, free_port()?);
    let config = json!({
        "port": port, "admin_port": admin, "redis": {"url": redis.url()},
        "advertise_url": format!("http://127.0.0.1:{admin}"),
        "servers": {"fixture": server, "off": {"command": "nothing", "enabled": false}}
    });
    // Beside no gateway the ports are free, and nobody is there to be asked.
    let alone = Report::of(&config, &[]).await?;
    alone.tells("ok", "ports", &format!("port 127.0.0.1:{port}"), "free")?;
    alone.tells("ok", "server", "fixture", "tools after")?;
    alone.tells("skipped", "server", "off", "disabled")?;
    alone.tells("ok", "redis", "persistence", "append-only")?;
    alone.tells("ok", "redis", "memory", "noeviction")?;
    alone.finds("ok", "redis", "clock")?;
    same("exit code", alone.ran.code, Some(0))?;

    let edge = edge()
        .setting("redis", json!({"url": redis.url()}))
        .variable("SESSION_SECRET", SECRET)
        .server("fixture", stdio())
        .ports(port, admin)
        .start()
        .await?;
    let nginx = shipped(edge.address)?.start().await?;
    let ca = nginx.certificate.display().to_string();
    let front = format!("https://localhost:{}", nginx.https.port());
    let report = Report::of(&config, &["--url", &front, "--ca", &ca]).await?;
    report.tells("ok", "ports", &format!("port 127.0.0.1:{port}"), "a gateway runs there")?;
    for part in ["gateway", "front"] {
        for subject in
            ["health", "Host rules", "Origin rules", "CORS preflight", "event stream", "WebSocket"]
        {
            report.finds("ok", part, subject)?;
        }
    }
    report.tells("ok", "front", "TLS", "TLSv1_3")?;
    report.finds("ok", "front", "certificate")?;
    report.finds("ok", "front", "/metrics")?;
    same("exit code", report.ran.code, Some(0))?;
    // The running gateway was not disturbed, and the doctor's own servers are gone.
    same("health", edge.get("/health/ready").await?.status, 200)?;
    let with_mark = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&mark)
    };
    until("its servers have ended", || async { !pids().any(with_mark) }).await
}

#[tokio::test]
async fn what_is_wrong_is_found_with_what_helps() -> Outcome {
    let redis = redis().await?;
    tell(redis.address, "CONFIG SET maxmemory-policy allkeys-lru").await?;
    tell(redis.address, "CONFIG SET appendonly no").await?;
    tell(redis.address, "CONFIG SET save \"\"").await?;
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = holder.local_addr()?.port();
    let nobody = format!("http://127.0.0.1:{}/mcp", free_port()?);
    let config = json!({
        "port": port, "admin_port": free_port()?,
        "redis": {"url": redis.url()},
        "cors": {"origins": ["*"]},
        "servers": {
            "good": stdio(),
            "missing": {"command": "/nonexistent/program"},
            "mute": {"command": ["sleep", "60"]},
            "short": {"command": ["false"]},
            "away": {"url": nobody},
            "lost": {"url": "http://nobody.invalid/mcp"}
        }
    });
    let report = Report::of(&config, &["--start-timeout", "1", "--timeout", "2"]).await?;
    let own = format!("(process {})", std::process::id());
    report.tells("fail", "ports", &format!("port 127.0.0.1:{port}"), &own)?;
    report.finds("warn", "configuration", "cors.origins")?;
    report.finds("ok", "server", "good")?;
    report.tells("fail", "server", "missing", "/nonexistent/program")?;
    report.finds("fail", "server", "mute")?;
    report.finds("fail", "server", "short")?;
    report.tells("fail", "server", "away", "nothing listens there")?;
    report.tells("fail", "server", "lost", "has no address")?;
    report.tells("fail", "names", "nobody.invalid", "resolv.conf")?;
    report.tells("warn", "redis", "memory", "allkeys-lru")?;
    report.tells("warn", "redis", "persistence", "ends all sessions")?;
    same("exit code", report.ran.code, Some(1))?;

    // A Redis that wants a password, and one that is not there.
    tell(redis.address, &format!("CONFIG SET requirepass {SECRET}")).await?;
    let report = Report::of(&config, &["--no-servers"]).await?;
    report.tells("fail", "redis", "redis://", "user or password is wrong")?;
    let mut config = config;
    let url = format!("redis://127.0.0.1:{}", free_port()?);
    config.as_object_mut().ok_or("settings")?.insert("redis".to_owned(), json!({"url": url}));
    let report = Report::of(&config, &["--no-servers"]).await?;
    report.tells("fail", "redis", "redis://", "that Redis runs")?;
    // A configuration that cannot be read is a finding like any other.
    let report = Report::of(&json!({"prot": 1}), &[]).await?;
    report.tells("fail", "configuration", "gateway.json", "unknown setting `prot`")
}

#[tokio::test]
async fn a_front_that_breaks_streams_and_sockets_is_found() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let config = json!({"port": 0, "admin_port": 0, "servers": {}});
    let directives = "add_header Access-Control-Allow-Origin * always;".to_owned();
    let directives = directives + &buffering(edge.address);
    let nginx = Nginx::start_with(edge.address, "", &directives).await?;
    let front = format!("http://{}", nginx.address);
    let examine = ["--timeout", "2", "--url", &front];
    let report = Report::of(&config, &examine).await?;
    report.finds("ok", "front", "health")?;
    report.tells("fail", "front", "event stream", "proxy_buffering off")?;
    report.tells("fail", "front", "WebSocket", "proxy_set_header Upgrade")?;
    report.tells("fail", "front", "CORS preflight", "comes twice")?;
    same("exit code", report.ran.code, Some(1))?;

    // One that compresses whatever it can.
    let directives = "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;";
    let nginx = Nginx::start_with(edge.address, "", directives).await?;
    let front = format!("http://{}", nginx.address);
    let report = Report::of(&config, &["--timeout", "2", "--url", &front]).await?;
    report.tells("fail", "front", "event stream", "gzip off")?;

    // Nobody there, and a certificate that nobody knows.
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    let report = Report::of(&config, &["--timeout", "2", "--url", &nobody]).await?;
    report.tells("fail", "front", "connection", "nothing listens there")?;
    let shipped = shipped(edge.address)?.start().await?;
    let secure = format!("https://localhost:{}", shipped.https.port());
    let report = Report::of(&config, &["--timeout", "5", "--url", &secure]).await?;
    report.tells("fail", "front", "connection", "--ca FILE")?;
    report.tells("ok", "front", "certificate", "localhost")?;
    let report = Report::of(&config, &["--insecure", "--url", &secure]).await?;
    report.finds("skipped", "front", "trust")?;
    report.finds("ok", "front", "event stream").map(drop)
}

#[tokio::test]
async fn who_ends_it_leaves_nothing_running() -> Outcome {
    let folder = Folder::new()?;
    let mark = format!("ended-{}", std::process::id());
    let server = json!({"command": ["sh", "-c", format!(": {mark}; exec sleep 600")]});
    let config = json!({"port": 0, "admin_port": 0, "servers": {"mute": server}});
    fs::write(folder.path.join("gateway.json"), config.to_string())?;
    let mut command = called("mcp-gateway", &["doctor", "-c", "gateway.json"])?;
    let mut child = command.current_dir(&folder.path).spawn()?;
    let pid = child.id().ok_or("no pid")?;
    let doctor = Process::find(pid).ok_or("it has ended")?;
    until("it has started the server", || async { !doctor.descendants().is_empty() }).await?;
    let children = doctor.descendants();
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
    let status = within("it ends", child.wait()).await?;
    same("exit code", status.code(), Some(1))?;
    until("its children end", || async { !children.iter().any(|it| it.alive()) }).await
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Tells a Redis to do something.
async fn tell(redis: SocketAddr, command: &str) -> Outcome {
    let mut socket = TcpStream::connect(redis).await?;
    let mut answer = [0; 5];
    within(command, async {
        socket.write_all(format!("{command}\r\n").as_bytes()).await?;
        socket.read_exact(&mut answer).await
    })
    .await?;
    same(command, &answer, b"+OK\r\n")
}

/// What stands where a gateway should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elsewhere {
    /// Says that it is well when it is asked first, and then nothing.
    Once,
    /// Answers nobody who names another host.
    HangsOnNames,
    /// Hangs up on whoever names another host.
    HangsUpOnNames,
}

/// Serves as long as the set is held; each connection that is not answered is told of.
async fn elsewhere(
    what: Elsewhere,
) -> Result<(SocketAddr, mpsc::Receiver<()>, JoinSet<()>), Fault> {
    const WELL: &str = r#"{"status":"healthy","version":"0"}"#;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (tell, told) = mpsc::channel(16);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut kept = Vec::new();
        let mut answered = false;
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let is_named = head.contains("\r\nhost: doctor.invalid\r\n");
            if match what {
                Elsewhere::Once => !std::mem::replace(&mut answered, true),
                Elsewhere::HangsOnNames | Elsewhere::HangsUpOnNames => !is_named,
            } {
                let (length, head) =
                    (WELL.len(), "Content-Type: application/json\r\nConnection: close");
                let reply =
                    format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {length}\r\n\r\n{WELL}");
                socket.write_all(reply.as_bytes()).await.ok();
            } else if what != Elsewhere::HangsUpOnNames {
                kept.push(socket);
                tell.try_send(()).ok();
            }
        }
    });
    Ok((address, told, serving))
}

#[tokio::test]
async fn who_ends_it_does_not_wait_for_what_is_silent() -> Outcome {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (gateway, mut silent, _serving) = elsewhere(Elsewhere::Once).await?;
        let folder = Folder::new()?;
        let config = json!({"port": gateway.port(), "admin_port": 0, "servers": {}});
        fs::write(folder.path.join("gateway.json"), config.to_string())?;
        let words = ["doctor", "--timeout", "1h", "-c", "gateway.json"];
        let mut child = called("mcp-gateway", &words)?.current_dir(&folder.path).spawn()?;
        let pid = child.id().ok_or("no pid")?;
        within("it asks", async { silent.recv().await.ok_or("it has ended") }).await?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        let status = within(format!("{signal}: it ends"), child.wait()).await?;
        same(signal, status.code(), Some(1))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rule_that_cannot_be_seen_is_not_said_to_hold() -> Outcome {
    let config = json!({"port": 0, "admin_port": 0, "servers": {}});
    for (what, level) in [(Elsewhere::HangsOnNames, "skipped"), (Elsewhere::HangsUpOnNames, "ok")] {
        let (address, _told, _serving) = elsewhere(what).await?;
        let url = format!("http://{address}");
        let report = Report::of(&config, &["--timeout", "1", "--url", &url]).await?;
        report.finds("ok", "front", "health")?;
        report.finds(level, "front", "Host rules").map_err(|fault| format!("{what:?}: {fault}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn its_own_gateway_limits_nobody_and_traces_nothing() -> Outcome {
    let collector = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    collector.set_nonblocking(true)?;
    let servers: serde_json::Map<String, Value> =
        (0..4).map(|number| (format!("s{number}"), stdio())).collect();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr()?);
    let config = json!({
        "port": 0, "admin_port": 0, "servers": servers,
        "rate_limit": {"max": 2}, "tracing": {"endpoint": endpoint}
    });
    let report = Report::of(&config, &[]).await?;
    for number in 0..4 {
        report.finds("ok", "server", &format!("s{number}"))?;
    }
    let asked = collector.accept().map(|_| ()).map_err(|fault| fault.kind());
    same("asked by the exporter of spans", asked, Err(std::io::ErrorKind::WouldBlock))
}

#[tokio::test]
async fn a_password_in_an_address_is_not_told() -> Outcome {
    let config = json!({"port": 0, "admin_port": 0, "servers": {}});
    for url in ["http://u:canary@localhost:1", "http://localhost:1/sse?ticket=canary"] {
        let report = Report::of(&config, &["--timeout", "1", "--url", url]).await?;
        let told = format!("{}{}", report.ran.out, report.ran.err);
        same(format!("{url}: {told}"), told.contains("canary"), false)?;
        same("exit code", report.ran.code, Some(1))?;
    }
    Ok(())
}
