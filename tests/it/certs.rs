//! Certificates and secrets that the gateway makes, in the hands of the programs they are for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use edge_tests::commands::{called, other, run};
use edge_tests::edge::{Folder, edge, stdio};
use edge_tests::nginx::shipped;
use edge_tests::redis::redis;
use edge_tests::{Fault, Outcome, same, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn openssl_takes_the_certificate_for_its_names_and_no_others() -> Outcome {
    let folder = Folder::new()?;
    let out = folder.path.display().to_string();
    let make = ["certs", "--if-missing", "--out", &out, "--name", "mcp.example.com,10.0.0.7"];
    run(called("mcp-gateway", &make)?).await?.ended(0)?.says("made ")?;
    let [ca, leaf, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| format!("{out}/{name}"));
    for path in [&ca, &leaf, &key] {
        same(path, fs::metadata(path)?.permissions().mode() & 0o777, 0o440)?;
    }
    same("files", fs::read_dir(&folder.path)?.count(), 3)?;
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &ca];
    for (names, code) in [
        (["-verify_hostname", "mcp.example.com"], 0),
        (["-verify_hostname", "localhost"], 0),
        (["-verify_ip", "10.0.0.7"], 0),
        (["-verify_ip", "::1"], 0),
        (["-verify_hostname", "other.example.com"], 2),
    ] {
        let words = [verify.as_slice(), &names, &[&leaf]].concat();
        run(other("openssl", &words)).await?.ended(code)?;
    }
    // The key is that of the certificate.
    let of_leaf = run(other("openssl", &["x509", "-in", &leaf, "-noout", "-pubkey"])).await?;
    let of_key = run(other("openssl", &["pkey", "-in", &key, "-pubout"])).await?;
    same("public keys", of_leaf.ended(0)?.out, of_key.ended(0)?.out)?;
    run(called("mcp-gateway", &make)?).await?.ended(0)?.says("kept ")?;
    let fewer = ["certs", "--if-missing", "--out", &out, "--name", "mcp.example.com"];
    run(called("mcp-gateway", &fewer)?).await?.ended(0)?.says("for 10.0.0.7 too")?;
    let wrong = ["certs", "--out", &out, "--name", "https://a"];
    run(called("mcp-gateway", &wrong)?).await?.ended(78)?.says("is no host name")
}

#[tokio::test]
async fn clients_that_trust_the_authority_reach_the_front() -> Outcome {
    let folder = Folder::new()?;
    let out = folder.path.display().to_string();
    let mut make = called("mcp-gateway", &["certs", "--if-missing", "--out", &out])?;
    make.env("SERVER_NAME", "_");
    run(make).await?.ended(0)?;
    let edge = edge().server("fixture", stdio()).start().await?;
    let builder = shipped(edge.address)?.variable("TLS_CERT", format!("{out}/tls.crt"));
    let nginx = builder.variable("TLS_KEY", format!("{out}/tls.key")).start().await?;
    let ca = format!("{out}/ca.crt");
    let port = nginx.https.port();
    let url = format!("https://localhost:{port}/health");
    for code in [0, 60] {
        let words: &[&str] = if code == 0 { &["-s", "--cacert", &ca, &url] } else { &["-s", &url] };
        let real = run(other("curl", words)).await?.ended(code)?;
        let ours = run(called("curl", words)?).await?.ended(code)?;
        if code == 0 {
            real.says(r#""status":"healthy""#)?;
            ours.says(r#""status":"healthy""#)?;
        }
    }
    // The certificate is for localhost, and not for whoever else is at the address.
    let elsewhere = format!("https://127.0.0.2:{port}/health");
    let refused = ["--cacert", &ca, elsewhere.as_str()];
    let ran = run(called("curl", &refused)?).await?;
    same("not for 127.0.0.2", matches!(ran.code, Some(7 | 60)), true)?;
    let tools = ["probe", "mcp", "--ca", &ca, "--list", url.trim_end_matches("/health")];
    run(called("mcp-gateway", &tools)?).await?.ended(0)?.says("TLSv1_3")
}

#[tokio::test]
async fn replicas_share_a_redis_whose_password_is_in_a_file() -> Outcome {
    let folder = Folder::new()?;
    let out = folder.path.display().to_string();
    let make = ["secrets", "--if-missing", "--out", &out];
    let made = run(called("mcp-gateway", &make)?).await?.ended(0)?;
    let password = fs::read_to_string(folder.path.join("redis_password"))?;
    same("length", password.len(), 64)?;
    same("shown", made.out.contains(&password), false)?;
    let redis = redis().await?;
    set_password(redis.address, &password).await?;
    let with = |file: &str| {
        edge()
            .server("fixture", stdio())
            .variable("REDIS_URL", &redis.url())
            .variable("REDIS_PASSWORD_FILE", &format!("{out}/{file}"))
            .variable("SESSION_SECRET_FILE", &format!("{out}/session_secret"))
    };
    let good = with("redis_password").start().await?;
    same("the store is up", good.figure("mcp_gateway_redis_up").await?, 1)?;
    // The wrong file is the wrong password, and a missing one is told by its name.
    let (code, log) = with("session_secret").run_to_end().await?;
    same("a wrong password", (code, log.contains("user or password is wrong")), (Some(78), true))?;
    let (code, log) = with("nothing").run_to_end().await?;
    let told = log.contains("REDIS_PASSWORD_FILE") && log.contains("/nothing");
    same("a missing file", (code, told), (Some(78), true))
}

#[tokio::test]
async fn secrets_of_examples_are_refused() -> Outcome {
    let folder = Folder::new()?;
    let out = folder.path.display().to_string();
    for (name, secret) in [
        ("REDIS_PASSWORD", "secure_redis_password"),
        ("SESSION_SECRET", "your_session_secret_here_change_this"),
        ("SESSION_SECRET", "change-this-secret"),
    ] {
        let mut command = called("mcp-gateway", &["secrets", "--if-missing", "--out", &out])?;
        command.env(name, secret);
        let ran = run(command).await?.ended(78)?;
        ran.says(name)?;
        same("shown", ran.err.contains(secret), false)?;
        same("written", fs::read_dir(&folder.path)?.count(), 0)?;
    }
    Ok(())
}

async fn set_password(redis: std::net::SocketAddr, password: &str) -> Result<(), Fault> {
    let mut socket = TcpStream::connect(redis).await?;
    let command = format!("CONFIG SET requirepass {password}\r\n");
    let mut answer = [0; 5];
    within("Redis takes the password", async {
        socket.write_all(command.as_bytes()).await?;
        socket.read_exact(&mut answer).await
    })
    .await?;
    same("Redis says", &answer, b"+OK\r\n")
}
