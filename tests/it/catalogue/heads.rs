//! Raw bytes at the gateway's own port: requests that a proxy in front would not let through. What
//! can be read in two ways is answered once, with 400, and its connection closed, so that nothing
//! behind it can be taken for a request.

use edge_tests::http1::exchange;
use edge_tests::{Outcome, same};

use super::bench::{Bench, PING};

/// A second request, which must not be answered where the first one's end is in doubt.
const NEXT: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn row_56_length_and_chunked() -> Outcome {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    closed(400, &[&format!("Content-Length: 5\r\n{chunked}{NEXT}")]).await?;
    closed(
        400,
        &[&format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{NEXT}")],
    )
    .await
}

#[tokio::test]
async fn row_56_two_lengths() -> Outcome {
    let (same, other) = (ping("Content-Length: 40\r\n"), ping("Content-Length: 4\r\n"));
    closed(400, &[&same, &other]).await
}

#[tokio::test]
async fn row_56_folded_header() -> Outcome {
    closed(400, &[&ping("X-Folded: 1\r\n  2\r\n"), &ping("X-Folded: 1\r\n\t2\r\n")]).await
}

#[tokio::test]
async fn row_56_bare_line_feeds() -> Outcome {
    let all = ping("").replace("\r\n", "\n");
    let one = ping("X-One: 1\n");
    let last = ping("").replacen("\r\n\r\n", "\r\n\n", 1);
    closed(400, &[&all, &one, &last]).await
}

#[tokio::test]
async fn raw_transfer_encodings() -> Outcome {
    let body = "0\r\n\r\n";
    let rows = [
        format!("Transfer-Encoding: xchunked\r\n\r\n{body}{NEXT}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n{body}{NEXT}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{body}{NEXT}"),
        format!("Transfer-Encoding : chunked\r\n\r\n{body}{NEXT}"),
        format!("Transfer-Encoding:\x0bchunked\r\n\r\n{body}{NEXT}"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    closed(400, &rows).await
}

#[tokio::test]
async fn raw_transfer_encoding_on_http_1_0() -> Outcome {
    whole(400, |head| {
        let head = head.replace("HTTP/1.1", "HTTP/1.0");
        format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}")
    })
    .await
}

#[tokio::test]
async fn raw_lengths_that_are_no_numbers() -> Outcome {
    let rows = ["-1", "+40", "0x28", "4 0", "", "99999999999999999999"]
        .map(|length| format!("Content-Length: {length}\r\n\r\n{PING}{NEXT}"));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    closed(400, &rows).await
}

#[tokio::test]
async fn raw_chunk_sizes_that_are_no_numbers() -> Outcome {
    let rows = ["ZZ", "FFFFFFFFFFFFFFFFF", "-1", "0x28", ""].map(|size| {
        format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\n{PING}\r\n0\r\n\r\n{NEXT}")
    });
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    closed(400, &rows).await
}

#[tokio::test]
async fn raw_space_before_the_colon() -> Outcome {
    closed(400, &[&ping("X-Space : 1\r\n")]).await
}

#[tokio::test]
async fn raw_nul_in_a_header() -> Outcome {
    closed(400, &[&ping("X-Nul: a\0b\r\n"), &ping("X-N\0ul: a\r\n")]).await
}

#[tokio::test]
async fn raw_two_hosts() -> Outcome {
    closed(400, &[&ping("Host: localhost\r\n"), &ping("host: evil.example.com\r\n")]).await
}

#[tokio::test]
async fn raw_absolute_form_of_another_host() -> Outcome {
    let target = |target: &'static str| {
        move |head: &str| head.replace("/mcp/fixture", target) + "Content-Length: 0\r\n\r\n"
    };
    once(400, target("http://evil.example.com/mcp/fixture")).await?;
    once(404, target("http://localhost/no-such")).await
}

#[tokio::test]
async fn raw_versions() -> Outcome {
    for version in ["HTTP/3.0", "HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1"] {
        whole(400, |head| head.replace("HTTP/1.1", version) + "Content-Length: 0\r\n\r\n").await?;
    }
    Ok(())
}

#[tokio::test]
async fn raw_other_protocols() -> Outcome {
    whole(400, |_| "\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}\x03\x03".to_owned()).await?;
    whole(400, |_| "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()).await
}

#[tokio::test]
async fn raw_methods() -> Outcome {
    once(405, |head| head.replace("POST ", "post ") + "Content-Length: 0\r\n\r\n").await?;
    once(405, |head| head.replace("POST ", "TRACE ") + "Content-Length: 0\r\n\r\n").await?;
    whole(400, |head| head.replace("POST ", "PO ST ") + "Content-Length: 0\r\n\r\n").await?;
    let connect = "CONNECT evil.example.com:443 HTTP/1.1\r\nHost: evil.example.com:443\r\n\r\n";
    once(403, |_| connect.to_owned()).await
}

/// A header with underscores is another header, and who says where a request comes from is not
/// believed.
#[tokio::test]
async fn raw_headers_that_mean_nothing_here() -> Outcome {
    let bench = Bench::open().await?;
    let named = bench.head().replace("Mcp-Session-Id", "Mcp_Session_Id");
    let length = format!("Connection: close\r\nContent-Length: {}\r\n\r\n{PING}", PING.len());
    let answer = exchange(bench.edge.address, format!("{named}{length}").as_bytes()).await?;
    same(format!("{named}: {answer}"), answer.starts_with("HTTP/1.1 400"), true)?;
    let head = bench.head();
    let from = "Forwarded: for=9.9.9.9;host=evil.example.com\r\nX-Forwarded-Host: evil\r\n";
    let answer = exchange(bench.edge.address, format!("{head}{from}{length}").as_bytes()).await?;
    same(format!("{from}: {answer}"), answer.starts_with("HTTP/1.1 200"), true)?;
    bench.ends_well().await
}

/// The end of a POST: these header lines, a ping, and a request behind it.
fn ping(lines: &str) -> String {
    format!("Content-Length: {}\r\n{lines}\r\n{PING}{NEXT}", PING.len())
}

/// Each of these ends of a POST's head is refused, once, and the connection closed.
async fn closed(status: u16, ends: &[&str]) -> Outcome {
    let bench = Bench::open().await?;
    for end in ends {
        check(&bench, status, &format!("{}{end}", bench.head())).await?;
    }
    bench.ends_well().await
}

/// What `bytes` makes of a POST's head is refused, once, and the connection closed.
async fn whole(status: u16, bytes: impl Fn(&str) -> String) -> Outcome {
    let bench = Bench::open().await?;
    check(&bench, status, &bytes(&bench.head())).await?;
    bench.ends_well().await
}

/// As [`whole`], of requests that are plain and keep their connection unless they ask otherwise.
async fn once(status: u16, bytes: impl Fn(&str) -> String) -> Outcome {
    whole(status, |head| bytes(head).replacen("\r\n", "\r\nConnection: close\r\n", 1)).await
}

async fn check(bench: &Bench, status: u16, bytes: &str) -> Outcome {
    let answer = exchange(bench.edge.address, bytes.as_bytes()).await?;
    let is_refused = answer.starts_with(&format!("HTTP/1.1 {status} "));
    let answers = answer.matches("HTTP/1.1 ").count();
    let what = format!("sent {bytes:?}, came {answer:?}");
    same(what, (is_refused, answers), (true, 1))
}
