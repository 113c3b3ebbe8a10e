//! Streams through TLS: each event as it is sent, on every path, over HTTP/1.1, HTTP/2 and
//! `WebSocket`, and none that stays when its client is gone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::tls::http2_client;
use edge_tests::{Fault, Outcome, same, within};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

/// How long a call takes, in how many steps.
const TAKES: Duration = Duration::from_millis(1500);
const STEPS: usize = 5;

/// Asks for a call that reports its progress; when each message arrived.
async fn arrivals(client: &mut Client) -> Result<Vec<Instant>, Fault> {
    let arguments = json!({"ms": TAKES.as_millis(), "steps": STEPS});
    let meta = json!({"progressToken": "p"});
    let params = json!({"name": "slow", "arguments": arguments, "_meta": meta});
    let id = client.begin("tools/call", params).await?;
    let mut arrived = Vec::new();
    loop {
        let message = client.message().await?;
        arrived.push(Instant::now());
        if message.get("id") == Some(&json!(id)) {
            same("the answer", message.get("result").is_some(), true)?;
            return Ok(arrived);
        }
    }
}

/// Messages that were sent one after the other arrived so, and not all at the end.
fn came_as_sent(what: &str, arrived: &[Instant]) -> Outcome {
    same(what, arrived.len(), STEPS + 2)?;
    let step = TAKES / u32::try_from(STEPS)?;
    let gaps = arrived.iter().zip(arrived.iter().skip(1)).map(|(one, next)| *next - *one);
    // The last progress and the answer are sent at one time.
    let waited = gaps.clone().filter(|gap| *gap >= step / 2).count();
    let gaps: Vec<_> = gaps.collect();
    same(format!("{what}: {gaps:?}"), waited >= STEPS - 1, true)
}

#[tokio::test]
async fn every_event_comes_when_it_is_sent_on_every_path() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let nginx = shipped(edge.address)?.start().await?;
    let tunnel = nginx.over_tls().await?;
    let all = Transport::ALL.into_iter().flat_map(|transport| {
        let name = transport.name();
        let paths = [
            format!("/{name}"),
            format!("/{name}/fixture"),
            format!("/fixture/{name}"),
            format!("/servers/fixture/{name}"),
        ];
        paths.into_iter().map(move |path| (transport, path))
    });
    let all = all.map(|(transport, path)| {
        let address = tunnel.address;
        async move {
            let mut client = Client::open_at(address, transport, &path, json!({})).await?;
            let arrived = arrivals(&mut client).await?;
            came_as_sent(&path, &arrived)?;
            client.end().await
        }
    });
    try_join_all(all).await?;
    // A client that hangs up without a word leaves nothing behind it.
    let mut left = Vec::new();
    for transport in Transport::ALL {
        let mut client = Client::open(tunnel.address, transport, Some("fixture")).await?;
        client.listen().await?;
        client.begin("tools/call", json!({"name": "slow", "arguments": {"ms": 600_000}})).await?;
        left.push(client);
    }
    same("there are some", edge.figure("mcp_gateway_active_connections").await? >= 3, true)?;
    drop(left);
    drop(tunnel);
    edge_tests::until("the gateway's side is closed", || async {
        edge.figure("mcp_gateway_active_connections").await.is_ok_and(|open| open == 0)
    })
    .await
}

/// A request of HTTP/2 for a JSON-RPC message.
fn post(nginx: &Shipped, path: &str, body: String) -> Result<http::Request<Full<Bytes>>, Fault> {
    let request = http::Request::post(format!("https://{}{path}", nginx.https))
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream");
    Ok(request.body(Full::new(Bytes::from(body)))?)
}

#[tokio::test]
async fn one_connection_of_http2_carries_more_streams_than_a_browser_has_connections() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let nginx = shipped(edge.address)?.start().await?;
    let client = http2_client(&nginx.certificate)?;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let uri = format!("https://{}/sse/fixture", nginx.https);
        let request = http::Request::get(uri).header("Accept", "text/event-stream");
        let request = request.body(Full::new(Bytes::new()))?;
        let response = within("an answer", client.request(request)).await?;
        same("status", response.status().as_u16(), 200)?;
        same("version", response.version(), http::Version::HTTP_2)?;
        streams.push(response.into_body());
    }
    let figures = Request::new("GET", "/nginx_status").reply(nginx.status).await?.text();
    // The client's, and the one that asks for the figures.
    same(&figures, figures.starts_with("Active connections: 2 "), true)?;
    for (number, mut stream) in streams.into_iter().enumerate() {
        let endpoint = next_data(&mut stream).await?;
        let message = json!({"jsonrpc": "2.0", "id": number, "method": "ping"}).to_string();
        let posted = within("POST", client.request(post(&nginx, &endpoint, message)?)).await?;
        same("POST", posted.status().as_u16(), 202)?;
        let answer: Value = serde_json::from_str(&next_data(&mut stream).await?)?;
        same("the answer", answer.get("id").cloned(), Some(json!(number)))?;
    }
    let lines = nginx.lines()?;
    let version = lines.iter().filter(|it| it.get("protocol") == Some(&json!("HTTP/2.0"))).count();
    same("as the log has it", version >= 20, true)
}

/// The data of the next event; an event comes whole.
async fn next_data<B>(body: &mut B) -> Result<String, Fault>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Fault>,
{
    loop {
        let frame =
            within("an event", async { body.frame().await.ok_or("it ended")?.map_err(Into::into) });
        let Ok(data) = frame.await?.into_data() else { continue };
        let text = String::from_utf8_lossy(&data).into_owned();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            return Ok(data.to_owned());
        }
    }
}
