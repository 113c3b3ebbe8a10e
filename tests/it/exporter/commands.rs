//! `--once`, `--check`, the page for people, and what must never be on any of them.

use edge_tests::edge::{edge, stdio};
use edge_tests::exporter::{Figures, exporter};
use edge_tests::ports::free_port;
use edge_tests::redis::redis;
use edge_tests::{Outcome, same};

const PASSWORD: &str = "canary-7f3a91";

#[tokio::test]
async fn once_prints_the_figures_and_says_by_its_code_whether_all_is_well() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let builder = exporter()?.gateways([&gateway.admin]);
    let builder = builder.variable("EXPORTER_PROBE", format!("http://{}", gateway.address));
    let (code, printed, said) = builder.run("--once").await?;
    same(&said, code, Some(0))?;
    let figures = Figures::read(printed, std::time::Duration::ZERO)?;
    same("replicas", figures.wanted("mcp_gateway_replicas{state=\"up\"}")?, 1.0)?;
    for probe in ["health", "sse", "websocket", "mcp"] {
        let name = format!("mcp_gateway_probe_success{{probe=\"{probe}\"}}");
        same(&name, figures.wanted(&name)?, 1.0)?;
    }
    figures.check().await?;
    let (code, printed, said) =
        builder.variable("REDIS_URL", "redis://127.0.0.1:1").run("--once").await?;
    same("the code", code, Some(1))?;
    assert!(printed.contains("\nmcp_redis_up 0\n"), "{printed}");
    assert!(said.contains("gateway-exporter: redis (redis://127.0.0.1:1/0): "), "{said}");
    Ok(())
}

#[tokio::test]
async fn check_names_each_fault_with_its_mend() -> Outcome {
    let gateway = edge().server("fixture", stdio()).start().await?;
    let builder = exporter()?.gateways([&gateway.admin]);
    let (code, printed, said) = builder.run("--check").await?;
    same(format!("{printed}{said}"), code, Some(0))?;
    assert!(printed.contains(&format!("ok    replica {}\n", gateway.admin)), "{printed}");
    let nobody = free_port()?;
    let builder = builder
        .variable("EXPORTER_GATEWAYS", format!("http://{}", gateway.address))
        .variable("EXPORTER_NGINX_STATUS", format!("http://127.0.0.1:{nobody}"))
        .variable("EXPORTER_PROBE", format!("https://{}", gateway.address));
    let (code, printed, _) = builder.run("--check").await?;
    same(&printed, code, Some(1))?;
    for (fault, mend) in [
        (format!("FAIL  replica {}: ", gateway.address), "has to be the gateway's admin listener"),
        (format!("FAIL  nginx http://127.0.0.1:{nobody}: no connection"), "EXPORTER_NGINX_STATUS"),
        (format!("FAIL  probe sse https://{}: no TLS", gateway.address), "EXPORTER_PROBE_CA"),
    ] {
        let mut lines = printed.lines().skip_while(|it| !it.starts_with(&fault));
        assert!(lines.next().is_some(), "{fault}\n{printed}");
        let said = lines.next().unwrap_or_default();
        assert!(said.starts_with("      fix: "), "{said}");
        assert!(printed.contains(mend), "{mend}\n{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_setting_ends_it_with_78() -> Outcome {
    let builder = exporter()?.variable("REDIS_URL", format!("http://:{PASSWORD}@redis"));
    let (code, printed, said) = builder.run("--once").await?;
    same(&said, code, Some(78))?;
    assert!(said.contains("REDIS_URL") && !said.contains(PASSWORD), "{said}");
    same("printed", printed, String::new())
}

#[tokio::test]
async fn no_password_is_on_the_page_in_the_log_or_among_the_figures() -> Outcome {
    let redis = redis().await?;
    let builder = exporter()?
        .variable("REDIS_URL", format!("redis://someone:{PASSWORD}@{}", redis.address))
        .variable("EXPORTER_LOG", "debug");
    // Redis has no such user: the fault that it answers with is shown, the password is not.
    let exporter = builder.start().await?;
    let figures = exporter.scrape().await?;
    same("Redis", figures.wanted("mcp_redis_up")?, 0.0)?;
    let page = exporter.get("/").await?;
    same("the page", page.status, 200)?;
    let page = page.text();
    assert!(page.contains(&format!("redis://{}/0", redis.address)), "{page}");
    assert!(page.contains("WRONGPASS") || page.contains("uthentication"), "{page}");
    for (what, text) in [("page", page), ("figures", figures.text), ("log", builder.log())] {
        assert!(!text.contains(PASSWORD), "{what}: {text}");
    }
    assert!(builder.log().contains("\"collector\":\"redis\""), "{}", builder.log());
    let (status, _took) = exporter.stop().await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_password_may_come_from_a_file_that_is_written_later() -> Outcome {
    let redis = redis().await?;
    let cli = |words: &[&str]| {
        let port = redis.address.port().to_string();
        let mut command = std::process::Command::new("redis-cli");
        command.args(["-p", &port]).args(words);
        command.output()
    };
    cli(&["config", "set", "requirepass", PASSWORD])?;
    let builder = exporter()?.variable("REDIS_URL", redis.url());
    let file = builder.folder().join("password");
    let builder = builder.variable("REDIS_PASSWORD_FILE", file.display());
    let exporter = builder.start().await?;
    same("Redis", exporter.scrape().await?.wanted("mcp_redis_up")?, 0.0)?;
    std::fs::write(&file, format!("{PASSWORD}\n"))?;
    let figures = exporter.until("Redis is up", |it| it.value("mcp_redis_up") == Some(1.0)).await?;
    assert!(figures.wanted("redis_memory_used_bytes")? > 0.0);
    same("role", figures.named("redis_instance_info").count(), 1)
}
