//! E, the configuration: a wrong one ends with 78 and `file:line:col: what is wrong`, whoever reads
//! it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use edge_tests::edge::{binary, edge};
use edge_tests::http1::Request;
use edge_tests::ports::free_port;
use edge_tests::redis::redis;
use edge_tests::{Fault, Outcome, same, until};

use super::Folder;

/// `EX_CONFIG` of sysexits.h.
const WRONG: Option<i32> = Some(78);

#[test]
fn row_108_an_unknown_key_is_named_with_what_was_meant() -> Outcome {
    faults(
        "servres:\n  a:\n    command: x\n",
        &["1:1: unknown setting `servres`; did you mean `servers`?"],
    )?;
    faults(
        "servers:\n  a:\n    command: x\n    evn: {}\nprot: 1\n",
        &[
            "4:5: unknown setting `evn`; did you mean `env`?",
            "5:1: unknown setting `prot`; did you mean `port`?",
        ],
    )
}

#[test]
fn row_109_names_that_collide_or_mislead_are_refused() -> Outcome {
    let rule = "a server's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -";
    let long = "a".repeat(64);
    for (name, better) in [
        ("a/b", "; write `a-b`"),
        ("..", ""),
        ("a__b", "; write `a-b`"),
        // The second letter is Cyrillic.
        ("f\u{456}les", ""),
        ("", ""),
        (long.as_str(), ""),
    ] {
        let text = format!("servers:\n  \"{name}\": {{command: x}}\n");
        let told = run(&text, &[], "validate")?;
        same(format!("{name:?}: {}", told.1), told.0, WRONG)?;
        let wanted = format!("config.yaml:2:3: `{name}` is not a name for a server: {rule}");
        same(told.1.clone(), told.1.starts_with(&format!("{wanted}{better}")), true)?;
    }
    faults(
        "servers:\n  a: {command: x}\n  a: {command: y}\n",
        &["3:3: `a` is written twice, first at 2:3; keep one"],
    )?;
    faults(
        "servers:\n  mcp: {command: x}\n",
        &["2:3: a server cannot be called `mcp`: /mcp is an address of the gateway; call it \
             `my-mcp`"],
    )
}

#[test]
fn row_110_a_variable_that_is_not_set_is_named_and_none_is_shown() -> Outcome {
    let text = "servers:\n  a:\n    command: x\n    env: {A: '${KEY}-${MISSING}'}\n";
    let told = run(text, &[("KEY", "hidden-value")], "validate")?;
    let what = "environment variable MISSING is not set; set it, or write `${MISSING:-default}`";
    let wanted = format!("config.yaml:4:14: {what}\n1 fault in the configuration\n");
    same("MISSING", (told.0, told.1.as_str()), (WRONG, wanted.as_str()))?;
    let text = "port: ${KEY}\n";
    let told = run(text, &[("KEY", "hidden-value")], "validate")?;
    same(told.1.clone(), (told.0, told.1.contains("hidden-value")), (WRONG, false))
}

#[test]
fn row_111_files_that_are_none() -> Outcome {
    let many = "#".repeat(10 << 20);
    for (what, bytes, told) in [
        ("empty", &b""[..], "the file is empty"),
        ("blank", b" \n\t\n", "the file is empty"),
        ("10 MB", many.as_bytes(), "larger than 1 MiB; is this the configuration?"),
        ("not UTF-8", b"port: 1\nhost: \xff\n", ":2:7: not UTF-8 from here on; save the file as"),
        ("UTF-16", b"\xff\xfep\x00", ":1:1: not UTF-8 from here on"),
        ("a tab", b"servers:\n\ta: {command: x}\n", ":2:1: a tab indents this line; YAML is"),
    ] {
        for command in ["validate", "start"] {
            let found = run_bytes(bytes, &[], command)?;
            same(format!("{what}: {}", found.1), found.0, WRONG)?;
            same(format!("{what}: {}", found.1), found.1.contains(told), true)?;
        }
    }
    Ok(())
}

#[test]
fn row_112_limits_that_are_nothing_are_refused() -> Outcome {
    let time = "must be a time greater than zero such as \"60s\" or \"15m\"";
    faults(
        "limits:\n  header_timeout: 0\n  body_timeout: -5\n  connections: 0\n",
        &[
            &format!("2:19: `header_timeout` {time}, not 0"),
            &format!("3:17: `body_timeout` {time}, not -5"),
            "4:16: `connections` must be a whole number greater than zero, not 0",
        ],
    )?;
    let told = run("rateLimit: {max: 100, burst: 0}\n", &[], "validate")?;
    same(told.1.clone(), told.0, WRONG)?;
    faults(
        "servers: {a: {command: x, call_timeout: 0}}\n",
        &[&format!("1:41: `call_timeout` {time}, not 0")],
    )
}

#[test]
fn row_113_any_origin_with_credentials_is_refused() -> Outcome {
    faults(
        "cors:\n  origins: [\"*\"]\n  credentials: true\n",
        &["2:13: `*` with `credentials` would let any web page act as its visitor; list the \
             origins, or drop `credentials`"],
    )
}

/// Passwords of a Redis are its own affair; the session's secret is the gateway's.
#[test]
fn row_114_secrets_that_everybody_knows_or_can_guess_are_refused() -> Outcome {
    let remedy = "make one with `openssl rand -hex 32`, or leave it out: sessions in memory need \
                  none";
    for (secret, what) in [
        ("change-this-secret", "is a placeholder that everybody knows"),
        ("change-this-secret-change-this-secret", "is a placeholder that everybody knows"),
        ("0f9c2b7d5e8a41c36b0f9c2b7d5e8a4", "is shorter than 32 bytes"),
    ] {
        let text = format!("session: {{secret: {secret}}}\n");
        faults(&text, &[&format!("1:19: this secret {what}; {remedy}")])?;
        let told = run("port: 1\n", &[("SESSION_SECRET", secret)], "validate")?;
        let wanted = format!(
            "environment variable SESSION_SECRET: this secret {what}; {remedy}\n\
             1 fault in the configuration\n"
        );
        same("from the environment", (told.0, told.1), (WRONG, wanted))?;
    }
    let good = "session: {secret: 0f9c2b7d5e8a41c36b0f9c2b7d5e8a41}\n";
    same("32 bytes", run(good, &[], "validate")?.0, Some(0))
}

/// What it is about is written out, `auth: none`, where the catalogue has a flag `--insecure`.
#[test]
fn row_115_other_machines_are_let_in_only_knowingly() -> Outcome {
    let told = "0.0.0.0 can be reached from other machines, and nothing asks who calls; write \
                `\"auth\": \"none\"` in the file (or --auth none, or MCP_GATEWAY_AUTH=none) if \
                that is meant, else use 127.0.0.1";
    faults("host: 0.0.0.0\n", &[&format!("1:7: {told}")])?;
    same("--host ::", run("port: 1\n", &[], "validate --host ::")?.0, WRONG)?;
    same("auth: none", run("host: 0.0.0.0\nauth: none\n", &[], "validate")?.0, Some(0))?;
    let flag = run("host: 0.0.0.0\n", &[], "validate --auth none")?;
    same("--auth none", flag.0, Some(0))
}

/// The gateway ends no TLS: such settings are refused, not passed over.
#[test]
fn row_116_settings_without_an_effect_are_told() -> Outcome {
    faults("tls: {cert: /nonexistent.pem}\n", &["1:1: unknown setting `tls`"])
}

#[test]
fn row_118_a_redis_that_cannot_be_meant_is_refused() -> Outcome {
    let secret = "session: {secret: 0f9c2b7d5e8a41c36b0f9c2b7d5e8a41}\n";
    let fault = "the name of the master is missing; a Redis URL is `redis://host:6379/0`, \
                 `rediss://` for TLS, `redis+sentinel://h1:26379,h2:26379/mymaster/0` or \
                 `redis+cluster://h1:7000,h2:7001`";
    let wrong = format!("{secret}redis: {{url: \"redis+sentinel://:hidden@h\"}}\n");
    faults(&wrong, &[&format!("2:14: {fault}")])?;
    faults(
        &format!("{secret}redis: {{host: x, password: hidden}}\n"),
        &[
            "2:9: unknown setting `host`",
            "2:18: a Redis is reached by a URL; set `redis.url` or REDIS_URL",
        ],
    )?;
    let need = "replicas that share a Redis need a `session.secret` (or SESSION_SECRET), the same \
                for all; make one with `openssl rand -hex 32`";
    faults("redis: {url: \"redis://:hidden@h\"}\n", &[&format!("1:14: {need}")])
}

/// A gateway that ends at once, with one line that tells no password.
#[tokio::test]
async fn row_118_a_redis_that_refuses_ends_the_start() -> Outcome {
    let redis = redis().await?;
    let address = redis.address;
    let refused = [
        (format!("redis://:hidden@{address}"), "user or password is wrong or missing"),
        (format!("rediss://{address}"), "it speaks no TLS there; write `redis`"),
        (format!("redis+cluster://{address}"), "cluster support disabled"),
        (format!("redis://{address}/99"), "DB index is out of range"),
    ];
    let all = refused.map(|(url, what)| {
        let set = [("REDIS_URL", url.as_str()), ("SESSION_SECRET", SECRET)];
        let (code, said) = run("port: 0\nadmin_port: 0\n", &set, "start")?;
        same(url.clone(), code, WRONG)?;
        same(format!("one line: {said}"), said.lines().count(), 1)?;
        let is_told = said.contains(what) && !said.contains("hidden");
        same(format!("{url}: {said}"), is_told, true)
    });
    all.into_iter().collect()
}

const SECRET: &str = "0f9c2b7d5e8a41c36b0f9c2b7d5e8a41";

/// A Redis that is away is awaited: the gateway runs, is not ready, and says so once.
#[tokio::test]
async fn row_118_a_redis_that_is_away_is_awaited() -> Outcome {
    let mut redis = redis().await?;
    redis.kill().await?;
    let (port, folder) = (free_port()?, Folder::new("away")?);
    let (address, log) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), folder.path().join("log"));
    let started = edge()
        .ports(port, free_port()?)
        .log_to(&log)
        .variable("REDIS_URL", &redis.url())
        .variable("SESSION_SECRET", SECRET)
        .start();
    let told = || fs::read_to_string(&log).unwrap_or_default().matches("Redis is away").count();
    let brought = async {
        until("it runs and is not ready", || async {
            let reply = Request::new("GET", "/health/ready").reply(address).await;
            reply.is_ok_and(|reply| reply.status == 503)
        })
        .await?;
        same("times told", told(), 1)?;
        redis.start().await
    };
    let (started, brought) = tokio::join!(started, brought);
    brought?;
    drop(started?);
    same("times told when it was back", told(), 1)
}

/// Every command that reads the file says the same of it.
fn faults(text: &str, lines: &[&str]) -> Outcome {
    let plural = if lines.len() == 1 { "" } else { "s" };
    let count = format!("{} fault{plural} in the configuration\n", lines.len());
    let lines = lines.iter().map(|line| format!("config.yaml:{line}\n"));
    let wanted = lines.chain([count]).collect::<String>();
    for command in ["validate", "start"] {
        same(format!("{command}: {text}"), run(text, &[], command)?, (WRONG, wanted.clone()))?;
    }
    Ok(())
}

fn run(text: &str, vars: &[(&str, &str)], line: &str) -> Result<(Option<i32>, String), Fault> {
    run_bytes(text.as_bytes(), vars, line)
}

/// Runs a command on a file; its exit code, and what it says is wrong.
fn run_bytes(
    bytes: &[u8],
    vars: &[(&str, &str)],
    line: &str,
) -> Result<(Option<i32>, String), Fault> {
    let folder = Folder::new("configuration")?;
    fs::write(folder.path().join("config.yaml"), bytes)?;
    let output = Command::new(binary("mcp-gateway")?)
        .args(line.split(' '))
        .args(["--config", "config.yaml"])
        .current_dir(folder.path())
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}
