//! Addresses without end, as somebody makes them up who may name them: a trusted proxy that is
//! careless, or a network of IPv6.

use std::net::{Ipv4Addr, SocketAddr};

use edge_tests::edge::{Edge, edge};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, within};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{callers, from};

/// How many addresses there are: each makes two keys, together more than the 131,072 of the table.
/// `EDGE_ADDRESSES` is another number (`just flood` takes 1,000,000).
const ADDRESSES: u32 = 80_000;
/// Of them, those after which every page of the table has been written to.
const FIRST: u32 = 10_000;
const CONNECTIONS: u32 = 8;
/// Requests on a connection whose answers are waited for together.
const AT_ONCE: u32 = 50;
/// What an allocator may take or give back meanwhile: 30 bytes for each of the addresses.
const SLACK_KIB: u64 = 2 << 10;
/// What each answer begins with.
const WELL: &[u8] = b"HTTP/1.1 200 ";

#[tokio::test]
async fn addresses_without_end_take_no_memory_and_make_no_series() -> Outcome {
    let asked = std::env::var_os("EDGE_ADDRESSES");
    let all = asked.map_or(Ok(ADDRESSES), |it| it.to_string_lossy().parse())?;
    let proxies = json!(["127.0.0.1"]);
    let limit = callers(3);
    let gateway = edge().setting("rate_limit", limit).setting("trusted_proxies", proxies);
    let gateway = gateway.start().await?;
    flood(gateway.address, 0..FIRST).await?;
    let (series, before) = (series(&gateway).await?, gateway.footprint()?);
    flood(gateway.address, FIRST..all).await?;
    let after = gateway.footprint()?;
    println!("{all} addresses: {} KiB, then {} KiB", before.resident_kib, after.resident_kib);
    let more = after.resident_kib.saturating_sub(before.resident_kib);
    same(format!("{more} KiB more are few"), more <= SLACK_KIB, true)?;
    same("series", self::series(&gateway).await?, series)?;
    let listed = "mcp_gateway_requests_total{method=\"server/discover\",transport=\"modern\"}";
    same("they were counted", gateway.figure(listed).await?, u64::from(all))
}

async fn series(gateway: &Edge) -> Result<usize, Fault> {
    let text = Request::new("GET", "/metrics").reply(gateway.admin).await?.text();
    Ok(text.lines().filter(|it| !it.starts_with('#')).count())
}

/// One request of each, over few connections; all are answered.
async fn flood(to: SocketAddr, addresses: std::ops::Range<u32>) -> Outcome {
    let each = addresses.len().div_ceil(usize::try_from(CONNECTIONS)?);
    let each = u32::try_from(each)?;
    let parts = (0..CONNECTIONS).map(|number| {
        let begin = addresses.start.saturating_add(number.saturating_mul(each));
        begin.min(addresses.end)..begin.saturating_add(each).min(addresses.end)
    });
    try_join_all(parts.map(|part| connection(to, part))).await.map(drop)
}

async fn connection(to: SocketAddr, addresses: std::ops::Range<u32>) -> Outcome {
    let mut stream = TcpStream::connect(to).await?;
    let mut begin = addresses.start;
    while begin < addresses.end {
        let end = begin.saturating_add(AT_ONCE).min(addresses.end);
        let name = |number| Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        let asked: Vec<u8> =
            (begin..end).flat_map(|number| from(&name(number).to_string()).bytes(to)).collect();
        within("they are answered", async {
            stream.write_all(&asked).await?;
            answers(&mut stream, usize::try_from(end - begin)?).await
        })
        .await?;
        begin = end;
    }
    Ok(())
}

/// Reads so many answers, up to the head of the last one.
async fn answers(stream: &mut TcpStream, mut missing: usize) -> Outcome {
    let mut kept = Vec::new();
    while missing > 0 {
        if stream.read_buf(&mut kept).await? == 0 {
            return Err(format!("closed: {}", String::from_utf8_lossy(&kept)).into());
        }
        let found = kept.windows(WELL.len()).filter(|it| *it == WELL).count();
        missing = missing.checked_sub(found).ok_or("more answers than requests")?;
        // What may be the beginning of the next one.
        let keep = kept.len().min(WELL.len() - 1);
        kept.drain(..kept.len() - keep);
    }
    Ok(())
}
