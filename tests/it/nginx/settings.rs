//! Every variable: what it may be, what it does to the configuration, and what a bad value says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use edge_tests::dice::Dice;
use edge_tests::echo::echo;
use edge_tests::http1::Request;
use edge_tests::nginx::{Builder, path, shipped};
use edge_tests::{Fault, Outcome, same};

use super::is_fault;

/// The values that are tried of each variable, the default among them.
const CHOICES: [(&str, &[&str]); 15] = [
    (
        "GATEWAY_UPSTREAM",
        &["mcp-gateway:3000", "127.0.0.1:3000", "127.0.0.1:3000 [::1]:3000", "[::1]:3000"],
    ),
    ("SERVER_NAME", &["localhost", "a.example, b.example *.c.example"]),
    ("LISTEN_ADDRESS", &["127.0.0.1", ""]),
    ("HTTP_PORT", &["", "off"]),
    ("HTTPS_PORT", &["", "off"]),
    ("STATUS_PORT", &["", "off"]),
    ("FORCE_HTTPS", &["false", "true", ""]),
    ("PUBLIC_HTTPS_PORT", &["", "8443"]),
    ("HSTS", &["off", "on", "300"]),
    ("TRUSTED_PROXIES", &["", "10.0.0.0/8", "10.0.0.1,192.168.0.0/16 fd00::/8"]),
    ("RATE_LIMIT", &["100r/s", "600r/m", "off"]),
    ("CONNECTION_LIMIT", &["256", "1", "off"]),
    ("ACCESS_LOG", &["/dev/stdout", "off"]),
    ("RESOLVER", &["", "127.0.0.1:5353", "127.0.0.11 ::1", "[::1]:53"]),
    ("ERROR_LOG", &["", "warn", "debug"]),
];

fn with(values: &BTreeMap<&str, &str>) -> Result<Builder, Fault> {
    let mut builder = shipped("127.0.0.1:3000")?;
    let mut values = values.clone();
    // One of both has to stay.
    if values.get("HTTP_PORT") == Some(&"off") && values.get("HTTPS_PORT") == Some(&"off") {
        values.remove("HTTP_PORT");
    }
    for (name, value) in values {
        if !(name.ends_with("_PORT") && value.is_empty()) {
            builder = builder.variable(name, value);
        }
    }
    Ok(builder)
}

#[tokio::test]
async fn nginx_takes_every_combination() -> Outcome {
    let mut combinations = Vec::new();
    for (name, values) in CHOICES {
        combinations.extend(values.iter().map(|value| BTreeMap::from([(name, *value)])));
    }
    let mut dice = Dice(5);
    for _ in 0..60 {
        let pick = |(name, values): (_, &[_])| (name, dice.pick(values).unwrap_or_default());
        combinations.push(CHOICES.into_iter().map(pick).collect());
    }
    for values in &combinations {
        let (code, said, folder) = with(values)?.check().await?;
        same(format!("{values:?}: {said}"), code, Some(0))?;
        // An IPv6 system listens twice, on an older nginx that is no warning either.
        same(format!("{values:?}: {said}"), said.contains("[warn]"), false)?;
        for file in fs::read_dir(folder.path.join("run"))? {
            let text = fs::read_to_string(file?.path()).unwrap_or_default();
            let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let unfilled = code.filter(|line| line.contains("${")).collect::<Vec<_>>();
            same("what was not filled in", unfilled, vec![])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_value_is_told_with_its_name_and_what_is_expected() -> Outcome {
    for (name, value, expected) in [
        ("GATEWAY_UPSTREAM", "mcp-gateway", "host:port"),
        ("GATEWAY_UPSTREAM", "a:3000; include /etc/passwd", "host:port"),
        ("GATEWAY_UPSTREAM", "$host:3000", "host:port"),
        ("GATEWAY_UPSTREAM", "one:3000 two:3000", "one name, as host:port"),
        ("GATEWAY_UPSTREAM", "10.0.0.1:3000 two:3000", "or addresses separated by spaces"),
        ("RESOLVER", "dns.example", "addresses of DNS servers"),
        ("RESOLVER_VALID", "soon", "a time"),
        ("SERVER_NAME", "a{}b", "host names"),
        ("SERVER_NAME", "a\nb", "one line"),
        ("LISTEN_ADDRESS", "localhost", "an address"),
        ("HTTP_PORT", "eighty", "a port, or off"),
        ("HTTP_PORT", "0", "from 1 to 65535"),
        ("HTTPS_PORT", "65536", "from 1 to 65535"),
        ("STATUS_PORT", "-1", "a port, or off"),
        ("FORCE_HTTPS", "yes", "true or false"),
        ("HSTS", "1y", "off, on, or a number of seconds"),
        ("TRUSTED_PROXIES", "nginx", "addresses or networks"),
        ("RATE_LIMIT", "100", "a rate"),
        ("RATE_LIMIT", "0r/s", "a rate"),
        ("RATE_BURST", "many", "a number of requests"),
        ("CONNECTION_LIMIT", "0", "from 1 to 65535"),
        ("BODY_LIMIT", "4m", "a number of bytes"),
        ("ACCESS_LOG", "stdout", "a file, or off"),
        ("ACCESS_LOG", "/tmp/x;y", "a file, or off"),
        ("ERROR_LOG", "loud", "a level"),
        ("CERT_CHECK", "often", "a number of seconds"),
        ("SHUTDOWN_TIMEOUT", "1d", "a time"),
        ("WORKER_CONNECTIONS", "1", "from 16"),
        ("TLS_CERT", "/nowhere/tls.crt", "a certificate"),
        ("TLS_KEY", "/nowhere/tls.key", "key"),
        ("BASIC_AUTH_FILE", "/nowhere/.htpasswd", "an htpasswd file"),
        ("RUN_DIR", "relative", "a folder"),
    ] {
        let (code, said, _folder) =
            shipped("127.0.0.1:3000")?.variable(name, value).check().await?;
        let told = said.contains(&format!("{name}={value} cannot be used: expected"));
        same(format!("{name}={value}: {said}"), (code, told), (Some(78), true))?;
        same(&said, said.contains(expected), true)?;
    }
    // Every fault is told at once.
    let two = shipped("nowhere")?.variable("FORCE_HTTPS", "perhaps");
    let (_, said, _folder) = two.check().await?;
    same(&said, said.contains("GATEWAY_UPSTREAM") && said.contains("FORCE_HTTPS"), true)
}

#[tokio::test]
async fn what_an_operator_adds_is_read_and_a_fault_in_it_is_told() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?;
    let folder = builder.folder().join("conf.d");
    let run = builder.folder().join("run").display().to_string();
    // As the seed of this project had it, but for its port: it wins by its name.
    let seed = format!(
        "upstream mcp_gateway {{ server {}; }}
         server {{
             listen 127.0.0.1:{{port}};
             server_name seed.example;
             location / {{ proxy_pass http://mcp_gateway; proxy_set_header Host $host; }}
         }}",
        echo.address
    );
    let port = edge_tests::ports::free_port()?;
    let builder = builder.variable("HTTP_PORT", port);
    fs::write(folder.join("default.conf"), seed.replace("{port}", &port.to_string()))?;
    let own = format!(
        "location = /own {{ return 200 own; }}\nlocation /also/ {{ include {run}/proxy.conf; }}"
    );
    fs::write(folder.join("own.server"), own)?;
    // The seed's own port, where nobody comes; in a text, since a test may not have that port.
    fs::write(folder.join("ssl.conf"), "map $host $x { default '\n  listen 443 ssl;'; }")?;
    let builder = builder.variable("BIND_ADDRESS", "0.0.0.0");
    let nginx = builder.start().await?;
    let said = nginx.said();
    same(&said, said.contains("ssl.conf listens on 443, where nobody comes"), true)?;
    same(&said, said.contains("default.conf listens"), false)?;
    same(&said, said.contains("other machines reach this at 0.0.0.0"), true)?;
    let seed = Request::new("GET", "/metrics").header("Host", "seed.example");
    same("the operator's server", seed.reply(nginx.http).await?.status, 200)?;
    is_fault(&Request::new("GET", "/metrics").reply(nginx.http).await?, 404, false)?;
    let own = Request::new("GET", "/own").reply(nginx.http).await?;
    same("the operator's location", own.text(), "own".to_owned())?;
    let also = Request::new("GET", "/also/here").reply(nginx.http).await?;
    same("passed on", also.text().contains("X-Request-Id"), true)?;

    let builder = shipped(echo.address)?;
    fs::write(builder.folder().join("conf.d/broken.conf"), "nonsense on;")?;
    let (code, said, _folder) = builder.check().await?;
    same("the exit code", code, Some(78))?;
    let told = said.contains("unknown directive \"nonsense\"") && said.contains("broken.conf:1");
    same(said, told, true)
}

#[tokio::test]
async fn a_newer_nginx_gets_what_it_knows() -> Outcome {
    for (version, http2_on, has_cache) in [
        ("1.22.1", false, false),
        ("1.25.0", false, false),
        ("1.25.1", true, false),
        ("1.27.3", true, false),
        ("1.27.4", true, true),
        ("1.29.0", true, true),
        ("2.0.0", true, true),
    ] {
        let builder = shipped("127.0.0.1:3000")?;
        let stand_in = builder.folder().join("nginx");
        fs::write(&stand_in, format!("#!/bin/sh\necho nginx version: nginx/{version} >&2\n"))?;
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))?;
        let path = format!("{}:{}", builder.folder().display(), path()?);
        let (code, said, folder) = builder.variable("PATH", path).check().await?;
        same(said, code, Some(0))?;
        let read = |name: &str| fs::read_to_string(folder.path.join("run").join(name));
        same(version, read("tls.conf")?.contains("\nhttp2 on;"), http2_on)?;
        same(version, read("nginx.conf")?.contains(" ssl http2 "), !http2_on)?;
        let is_told = read("nginx.conf")?.contains("\nssl_object_cache_inheritable off;");
        same(version, is_told, has_cache)?;
    }
    Ok(())
}
