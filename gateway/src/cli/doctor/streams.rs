//! Streams and sockets: does what is said on them come when it is said.

use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use tokio::time::{Instant as Moment, timeout};
use wire::sse::Event;

use super::Finding;
use super::surface::request;
use crate::cli::awaiting::milliseconds;
use crate::cli::probe::explain;
use crate::cli::probe::reach::Route;
use crate::cli::probe::talk::{self, Heard};
use crate::config::limits::command::STREAM_TIMES;
use crate::config::limits::gateway::PROBE_ANSWER_BYTES;
use crate::transport::http::{AnswerKind, EventStream, HttpFault, dial, understand};
use crate::transport::sse;
use crate::transport::ws::{self, Address, Heard as Frame};

const UNBUFFERED: &str = "have the proxy pass each piece on at once; nginx: `proxy_buffering off; \
    gzip off;` for /sse, /mcp and /messages, and no `proxy_ignore_headers X-Accel-Buffering`";
const UPGRADES: &str = "have the proxy pass upgrades on; nginx: `proxy_http_version 1.1; \
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;`";

/// Opens a stream and has something said on it, to see whether it comes when it is said.
pub(super) async fn events(part: &'static str, route: &Route) -> Finding {
    // Whoever sends event after event and no answer would go on for ever.
    let all = route.timeout.saturating_mul(STREAM_TIMES);
    let flowing = timeout(all, Box::pin(flow(route))).await;
    match flowing.unwrap_or(Err(Stuck::Late("answer among its events"))) {
        Ok((first, second)) => {
            let told = format!(
                "first event after {}, an answer after {}",
                milliseconds(first),
                milliseconds(second)
            );
            Finding::ok(part, "event stream", told)
        }
        Err(Stuck::Fault(fault)) => Finding::of_fault(part, "event stream", &fault),
        Err(Stuck::Compressed) => {
            let told = "it is compressed, which holds events back until there are enough of them";
            let fix = "have the proxy leave text/event-stream alone; nginx: `gzip off`, or not in \
                       `gzip_types`";
            Finding::fail(part, "event stream", told, fix)
        }
        Err(Stuck::Late(what)) => {
            let told = format!("it is held back: no {what} within {:?}", route.timeout);
            Finding::fail(part, "event stream", told, UNBUFFERED)
        }
    }
}

/// Why nothing flows.
#[derive(Debug)]
enum Stuck {
    Fault(String),
    /// What did not come in time.
    Late(&'static str),
    /// Pieces wait to be compressed.
    Compressed,
}

async fn flow(route: &Route) -> Result<(Duration, Duration), Stuck> {
    let route = route.at("/sse");
    let target = route.target("").map_err(Stuck::Fault)?;
    let told = |fault: &HttpFault| Stuck::Fault(explain::refused(fault, &target));
    let deadline = Moment::now() + route.timeout;
    let dialled = dial(&target, &route.trust, deadline).await;
    let unreached = |fault| Stuck::Fault(explain::unreached(&fault, &target, route.timeout));
    let dialled = dialled.map_err(unreached)?;
    let mut request = request(&route);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    // As browsers do: what compresses the stream holds it back until there is enough to compress.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let begun = Instant::now();
    let opened = timeout(route.timeout, dialled.send(&target, request)).await;
    let response = opened.map_err(|_elapsed| Stuck::Late("beginning of the stream"))?;
    let response = response.map_err(|fault| told(&fault))?;
    if response.headers().contains_key(CONTENT_ENCODING) {
        return Err(Stuck::Compressed);
    }
    let answer = understand(response, &target, PROBE_ANSWER_BYTES).await;
    let AnswerKind::Stream(mut events) = answer.map_err(|fault| told(&fault))?.kind else {
        return Err(Stuck::Fault(format!("{} is no event stream", explain::shown_of(&target))));
    };
    let first = next(&mut events, &route, "first event", &told).await?;
    let after_first = begun.elapsed();
    let post = sse::resolve(&target, &first.data).map_err(|fault| told(&fault))?;
    let begun = Instant::now();
    let client = route.client();
    let hello = Bytes::from(talk::hello(1).text().to_string());
    let delivered = timeout(route.timeout, client.deliver(&post, hello)).await;
    let delivered = delivered.map_err(|_elapsed| Stuck::Late("answer to a message"))?;
    delivered.map_err(|fault| told(&fault))?;
    loop {
        let event = next(&mut events, &route, "event that answers", &told).await?;
        if let Heard::Answer(_) = talk::hear(&event.data, 1) {
            return Ok((after_first, begun.elapsed()));
        }
    }
}

async fn next(
    events: &mut EventStream,
    route: &Route,
    what: &'static str,
    told: &impl Fn(&HttpFault) -> Stuck,
) -> Result<Event, Stuck> {
    match timeout(route.timeout, events.next()).await {
        Ok(Some(Ok(event))) => Ok(event),
        Ok(Some(Err(fault))) => Err(told(&fault)),
        Ok(None) => Err(Stuck::Fault(format!("the stream ended before the {what}"))),
        Err(_elapsed) => Err(Stuck::Late(what)),
    }
}

/// Opens a socket and has something said on it.
pub(super) async fn socket(part: &'static str, route: &Route) -> Finding {
    let begun = Instant::now();
    match timeout(route.timeout * 2, converse(&route.at("/ws"))).await {
        Ok(Ok(())) => {
            let told = format!("upgraded and answered in {}", milliseconds(begun.elapsed()));
            Finding::ok(part, "WebSocket", told)
        }
        Ok(Err(Refused { told, is_upgrade: true })) => {
            let (told, _) = told.split_once("; ").unwrap_or((&told, ""));
            Finding::fail(part, "WebSocket", told, UPGRADES)
        }
        Ok(Err(Refused { told, is_upgrade: false })) => Finding::of_fault(part, "WebSocket", &told),
        Err(_elapsed) => Finding::fail(part, "WebSocket", "no answer in time", UPGRADES),
    }
}

/// Why there is no socket.
#[derive(Debug)]
struct Refused {
    told: String,
    /// The upgrade is what did not work.
    is_upgrade: bool,
}

async fn converse(route: &Route) -> Result<(), Refused> {
    let other = |told: String| Refused { told, is_upgrade: false };
    let target = route.target("").map_err(other)?;
    let url = route.address("ws", "").map_err(other)?;
    let address = Address::new(&url, route.pairs()).map_err(|fault| other(fault.to_string()))?;
    let client = route.client();
    let opened = ws::connect(&client, &address, PROBE_ANSWER_BYTES).await;
    let (mut speaker, mut listener) = opened.map_err(|fault| Refused {
        told: explain::refused(&fault, &target),
        is_upgrade: match &fault {
            HttpFault::Status { code, .. } => ![401, 403, 429].contains(code),
            HttpFault::Protocol(_) => true,
            HttpFault::NotSent(_) | HttpFault::Lost(_) | HttpFault::TooLarge => false,
        },
    })?;
    let hello = ByteString::from(talk::hello(1).text().to_string());
    let broken = |ending: ws::Ending| other(format!("the server {ending}"));
    speaker.write(hello).await.map_err(broken)?;
    speaker.flush().await.map_err(broken)?;
    loop {
        match listener.next().await {
            Frame::Text(text) => {
                if let Heard::Answer(_) = talk::hear(&String::from_utf8_lossy(&text), 1) {
                    break;
                }
            }
            Frame::Sign => {}
            Frame::End(ending) => return Err(broken(ending)),
        }
    }
    // It is over either way.
    let _said = speaker.close(1000).await;
    Ok(())
}
