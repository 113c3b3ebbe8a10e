//! TLS: which versions, whose certificate, who is sent to it, and who is asked for a password.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use edge_tests::echo::echo;
use edge_tests::edge::edge;
use edge_tests::http1::{Request, exchange};
use edge_tests::nginx::shipped;
use edge_tests::tls::{make_certificate, tunnel};
use edge_tests::{Outcome, same, until, within};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;

use super::is_fault;

#[tokio::test]
async fn plain_http_is_sent_to_https_where_that_is_wanted() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?.variable("FORCE_HTTPS", "true").variable("HSTS", "on");
    let nginx = builder.variable("PUBLIC_HTTPS_PORT", 8443).start().await?;
    for path in ["/", "/mcp", "/sse?a=b", "/ws", "/messages?sessionId=a", "/servers", "/health/mcp"]
    {
        let request = Request::post(path, "{}").header("Host", "localhost:8080");
        let reply = request.reply(nginx.http).await?;
        // The method stays what it is.
        same(path, reply.status, 308)?;
        let wanted = format!("https://localhost:8443{path}");
        same("where to", reply.header("location"), Some(wanted.as_str()))?;
        same("not in the clear", reply.header("strict-transport-security"), None)?;
    }
    same("passed on", echo.seen().len(), 0)?;
    for path in ["/health", "/health/ready", "/.well-known/acme-challenge/abc"] {
        let reply = Request::new("GET", path).reply(nginx.http).await?;
        same(path, reply.status, 200)?;
    }
    let https = nginx.over_tls().await?;
    let reply = Request::new("GET", "/mcp").reply(https.address).await?;
    same("over TLS", reply.status, 200)?;
    let hsts = reply.header("strict-transport-security");
    same("for a year", hsts, Some("max-age=31536000"))?;
    let hidden = Request::new("GET", "/metrics").reply(https.address).await?;
    is_fault(&hidden, 404, false)?;
    let hsts = hidden.header("strict-transport-security");
    same("its own answers too", hsts, Some("max-age=31536000"))?;
    let seen = echo.seen().pop().ok_or("nothing was passed on")?;
    same("the gateway knows", seen.values("x-forwarded-proto"), vec!["https"])?;
    // By default both are served, and nobody is bound to HTTPS.
    let nginx = shipped(echo.address)?.start().await?;
    same("plain", Request::new("GET", "/mcp").reply(nginx.http).await?.status, 200)?;
    let https = nginx.over_tls().await?;
    let reply = Request::new("GET", "/mcp").reply(https.address).await?;
    same("no HSTS", reply.header("strict-transport-security"), None)
}

#[tokio::test]
async fn versions_before_1_2_and_plain_text_are_turned_away() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.start().await?;
    // A ClientHello of nothing newer than this version, with a suite that all of them have.
    for version in [1, 2] {
        let mut hello = vec![3, version];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
        // supported_groups: x25519, secp256r1; ec_point_formats: uncompressed.
        hello.extend([0, 16, 0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0]);
        let length = u8::try_from(hello.len())?;
        let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
        record.extend(hello);
        let said = exchange(nginx.https, &record).await?;
        // An alert, fatal: protocol_version (RFC 8446 §6.2).
        let is_refused = said.starts_with('\x15') && said.ends_with("\x02\x46");
        same(format!("3.{version}: {said:?}"), is_refused, true)?;
    }
    let plain = Request::new("GET", "/mcp").reply(nginx.https).await?;
    is_fault(&plain, 400, true)?;
    same("passed on", echo.seen().len(), 0)
}

#[tokio::test]
async fn pages_may_ask_for_a_password_and_protocols_never_do() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?;
    let file = builder.folder().join(".htpasswd");
    fs::write(&file, "ann:{PLAIN}opens\n")?;
    let nginx = builder.variable("BASIC_AUTH_FILE", file.display()).start().await?;
    // ann:opens, ann:wrong
    let (right, wrong) = ("Basic YW5uOm9wZW5z", "Basic YW5uOndyb25n");
    for path in [
        "/",
        "/console",
        "/console/app.js",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/servers",
        "/servers/a",
    ] {
        let request = Request::new("GET", path);
        for request in [request.clone(), request.clone().header("Authorization", wrong)] {
            let reply = request.reply(nginx.http).await?;
            is_fault(&reply, 401, false).map_err(|fault| format!("{path}: {fault}"))?;
            let asked = reply.header("www-authenticate");
            same("asked", asked, Some("Basic realm=\"MCP gateway\""))?;
        }
        let reply = request.header("Authorization", right).reply(nginx.http).await?;
        same(path, reply.status, 200)?;
        let seen = echo.seen().pop().ok_or("nothing was passed on")?;
        same("the password stays here", seen.values("authorization").len(), 0)?;
    }
    for path in [
        "/mcp",
        "/mcp/a",
        "/a/mcp",
        "/sse",
        "/servers/a/sse",
        "/ws",
        "/messages?sessionId=a",
        "/health/live",
        "/health/ready",
        "/.well-known/oauth-protected-resource",
    ] {
        let request = Request::new("GET", path).header("Authorization", "Bearer token");
        same(path, request.reply(nginx.http).await?.status, 200)?;
        let seen = echo.seen().pop().ok_or("nothing was passed on")?;
        same("the token", seen.values("authorization"), vec!["Bearer token"])?;
        same("without", Request::new("GET", path).reply(nginx.http).await?.status, 200)?;
    }
    Ok(())
}

#[tokio::test]
async fn health_names_servers_to_who_has_the_password() -> Outcome {
    let edge = edge().embedded().start().await?;
    let builder = shipped(edge.address)?;
    let file = builder.folder().join(".htpasswd");
    fs::write(&file, "ann:{PLAIN}opens\n")?;
    let nginx = builder.variable("BASIC_AUTH_FILE", file.display()).start().await?;
    let health = Request::new("GET", "/health");
    let (right, wrong) = ("Basic YW5uOm9wZW5z", "Basic YW5uOndyb25n");
    let open = shipped(edge.address)?.start().await?;
    for (to, asked, names_servers) in [
        (nginx.http, health.clone(), false),
        (nginx.http, health.clone().header("Authorization", wrong), false),
        (nginx.http, health.clone().header("Authorization", right), true),
        (open.http, health.clone(), true),
    ] {
        let reply = asked.reply(to).await?;
        same(reply.text(), reply.status, 200)?;
        let said = reply.message()?;
        same(&said, said.get("backends").is_some(), names_servers)?;
        let word = if names_servers { "healthy" } else { "alive" };
        same(&said, said.get("status").cloned(), Some(word.into()))?;
    }
    Ok(())
}

#[tokio::test]
async fn passwords_cannot_be_tried_without_end_at_health() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?.variable("RATE_LIMIT", "1r/s").variable("RATE_BURST", 5);
    let file = builder.folder().join(".htpasswd");
    fs::write(&file, "ann:{PLAIN}opens\n")?;
    let nginx = builder.variable("BASIC_AUTH_FILE", file.display()).start().await?;
    // ann:wrong
    let guess = Request::new("GET", "/health").header("Authorization", "Basic YW5uOndyb25n");
    let guesses = (0..20).map(|_| async { guess.reply(nginx.http).await });
    let replies = try_join_all(guesses).await?;
    let refused: Vec<_> = replies.iter().filter(|it| it.status != 200).collect();
    same(format!("{} refused", refused.len()), refused.len() > 10, true)?;
    for reply in refused {
        is_fault(reply, 429, false)?;
    }
    for path in ["/health/live", "/health/ready"] {
        same(path, Request::new("GET", path).reply(nginx.http).await?.status, 200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_changed_under_an_open_stream() -> Outcome {
    let edge = edge().embedded().start().await?;
    let nginx = shipped(edge.address)?.variable("CERT_CHECK", "off").start().await?;
    let before = nginx.folder().join("before.crt");
    fs::copy(&nginx.certificate, &before)?;
    let old = tunnel(nginx.https, &before).await?;
    let mut stream = Request::stream("/sse").send(old.address).await?;
    let endpoint = within("the endpoint", stream.event()).await?.ok_or("it is empty")?.data;
    make_certificate(&nginx.certificate, &nginx.folder().join("tls.key"))?;
    let new = nginx.over_tls().await?;
    let is_there = Request::new("GET", "/health").reply(new.address).await;
    same("not yet", is_there.is_err(), true)?;
    nginx.signal(Signal::SIGHUP)?;
    until("the new one is there", || async {
        Request::new("GET", "/health").reply(new.address).await.is_ok_and(|it| it.status == 200)
    })
    .await?;
    // The stream of before is still one, and the old certificate is of no use any more.
    let ping = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    same("POST", Request::post(&endpoint, ping).reply(new.address).await?.status, 202)?;
    let answer = within("the answer", stream.message()).await?.ok_or("no answer")?;
    same("on the old stream", answer.get("id").and_then(serde_json::Value::as_u64), Some(7))?;
    let old = Request::new("GET", "/health").reply(old.address).await;
    same("the old one", old.is_err(), true)
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_noticed() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.variable("CERT_CHECK", 1).start().await?;
    make_certificate(&nginx.certificate, &nginx.folder().join("tls.key"))?;
    let new = nginx.over_tls().await?;
    until("the new one is there", || async {
        Request::new("GET", "/health").reply(new.address).await.is_ok_and(|it| it.status == 200)
    })
    .await
}

#[tokio::test]
async fn a_key_that_openssl_kept_shut_is_told_with_what_to_do() -> Outcome {
    let builder = shipped("127.0.0.1:3000")?;
    let (folder, ssl) = (builder.folder().to_owned(), builder.folder().join("ssl"));
    make_certificate(&ssl.join("nginx.crt"), &ssl.join("nginx.key"))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    let mode = if is_root { 0o600 } else { 0o000 };
    fs::set_permissions(ssl.join("nginx.key"), fs::Permissions::from_mode(mode))?;
    let builder = builder.variable("TLS_CERT", "").variable("TLS_KEY", "");
    let builder = if is_root { builder.user(65_532) } else { builder };
    let (code, said, _folder) = builder.check().await?;
    same("the exit code", code, Some(78))?;
    same(&said, said.contains("not readable: chown "), true)
}

#[tokio::test]
async fn a_certificate_of_the_operators_goes_first() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?;
    let ssl = builder.folder().join("ssl");
    make_certificate(&ssl.join("nginx.crt"), &ssl.join("nginx.key"))?;
    let nginx = builder.variable("TLS_CERT", "").variable("TLS_KEY", "").start().await?;
    let tunnel = tunnel(nginx.https, &ssl.join("nginx.crt")).await?;
    same("theirs", Request::new("GET", "/mcp").reply(tunnel.address).await?.status, 200)?;
    // A key of another certificate is a fault that is told, not a server without TLS.
    let builder = shipped(echo.address)?;
    let own = builder.folder().join("ssl/nginx.key");
    make_certificate(&builder.folder().join("other.crt"), &own)?;
    let (code, said, _folder) = builder.variable("TLS_KEY", own.display()).check().await?;
    same("the exit code", code, Some(78))?;
    same(&said, said.contains("key values mismatch"), true)
}
