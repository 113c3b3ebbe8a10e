//! What the exporter is given to keep to itself: passwords of Redis, and users in URLs, which it
//! does not take. Its log is at its most verbose, also when it is aborted.

use std::process::Command;

use edge_tests::edge::{Edge, Folder, edge, stdio};
use edge_tests::exporter::{Builder, Figures, exporter};
use edge_tests::http1::Request;
use edge_tests::redis::{Redis, redis};
use edge_tests::{Fault, Outcome, same};
use nix::sys::signal::Signal;

use super::{canary, hits};

/// One that watches a gateway, with this set beside what every one of them is given.
fn watching(gateway: &Edge, variables: &[(&str, String)]) -> Result<Builder, Fault> {
    let builder = exporter()?
        .gateways([&gateway.admin])
        .variable("EXPORTER_PROBE", format!("http://{}", gateway.address))
        .variable("EXPORTER_PROBE_EVERY", "1s")
        .variable("EXPORTER_LOG", "trace")
        .variable("RUST_BACKTRACE", "full")
        .variable("SESSION_SECRET", canary("environment"));
    let set = |builder: Builder, (name, value): &(&str, String)| builder.variable(name, value);
    Ok(variables.iter().fold(builder, set))
}

/// A Redis that wants a password.
async fn locked() -> Result<Redis, Fault> {
    let redis = redis().await?;
    let (port, password) = (redis.address.port().to_string(), canary("redis"));
    let mut ask = Command::new("redis-cli");
    let asked = ask.args(["-p", &port, "config", "set", "requirepass", &password]).output()?;
    same("Redis wants a password", asked.status.success(), true)?;
    Ok(redis)
}

fn none_in(told: &[(&str, String)]) -> Outcome {
    let found: Vec<_> = told.iter().flat_map(|(what, text)| hits(what, text)).collect();
    same(format!("{} found:\n{}", found.len(), found.join("\n\n")), found.len(), 0)
}

/// Everything that it says of itself while it runs, and when it is aborted.
async fn told(builder: &Builder) -> Result<Vec<(&'static str, String)>, Fault> {
    let exporter = builder.start().await?;
    let mut told = Vec::new();
    let are_run = |it: &Figures| it.named("mcp_gateway_probe_success").count() == 4;
    exporter.until("probes have run", are_run).await?;
    for path in ["/metrics", "/", "/health", "/ready", "/nowhere"] {
        // Nobody is told what somebody else was asked with either.
        let ask = Request::new("GET", path).header("Authorization", &canary("header"));
        told.push((path, ask.reply(exporter.address).await?.text()));
    }
    let status = exporter.end_by(Signal::SIGABRT).await?;
    same(format!("aborted: {status}"), status.success(), false)?;
    told.push(("log", builder.log()));
    for flag in ["--once", "--check"] {
        let (_code, printed, said) = builder.run(flag).await?;
        told.extend([(flag, printed), (flag, said)]);
    }
    Ok(told)
}

#[tokio::test]
async fn what_the_exporter_keeps_to_itself_is_told_nowhere() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let redis = locked().await?;
    let folder = Folder::new()?;
    let file = folder.path.join("password");
    std::fs::write(&file, canary("redis"))?;
    let at = redis.address;
    let plain = ("REDIS_URL", format!("redis://{at}"));
    let with = |scheme, place| ("REDIS_URL", format!("{scheme}://:{}@{at}", canary(place)));
    for (variables, wanted) in [
        (vec![with("redis", "redis")], "mcp_redis_up 1"),
        (vec![plain.clone(), ("REDIS_PASSWORD", canary("redis"))], "mcp_redis_up 1"),
        (vec![plain, ("REDIS_PASSWORD_FILE", file.display().to_string())], "mcp_redis_up 1"),
        (vec![with("redis", "wrong")], "mcp_redis_up 0"),
        (vec![with("rediss", "redis")], "mcp_redis_up 0"),
    ] {
        let told = told(&watching(&gateway, &variables)?).await?;
        none_in(&told)?;
        // It was really used.
        let shown = told.iter().any(|(what, text)| *what == "/metrics" && text.contains(wanted));
        same(format!("{wanted} of {variables:?}"), shown, true)?;
    }
    same("a canary is noticed", none_in(&[("here", canary("x"))]).is_err(), true)
}

#[tokio::test]
async fn a_setting_of_the_exporter_that_is_refused_is_not_repeated() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let url = format!("http://user:{}@127.0.0.1:1", canary("url"));
    let query = format!("http://127.0.0.1:1/?token={}", canary("query"));
    for name in ["EXPORTER_PROBE", "EXPORTER_GATEWAYS", "EXPORTER_NGINX_STATUS", "REDIS_URL"] {
        for value in [&url, &query, &canary("alone")] {
            let builder = watching(&gateway, &[(name, value.clone())])?;
            for flag in ["--once", "--check", "--log-format=json"] {
                let (code, printed, said) = builder.run(flag).await?;
                same(format!("{name}: {said}"), code, Some(78))?;
                same(format!("{said} names it"), said.contains(name), true)?;
                none_in(&[(name, printed), (name, said)])?;
            }
        }
    }
    Ok(())
}
