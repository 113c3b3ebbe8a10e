//! `GET /sse` until its first event, which a proxy that buffers would hold back.
//!
//! That transport has no way to end a session, so the probe has one session and takes it up again
//! each time with the id of the last event it was given (`docs/sse.md`).

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{Way, empty};
use crate::dial::{self, Phases};

/// Bytes of a stream that are read for its first events.
const BYTES: usize = 64 << 10;

/// An event, as far as it is of use here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
    id: Option<String>,
}

/// Succeeds when `endpoint` comes; gives the id to take the session up with.
pub(super) async fn probe(
    way: &Way,
    mark: Option<String>,
    phases: &mut Phases,
) -> Result<Option<String>, String> {
    let stream = way.open(phases).await?;
    let mut request = way.request(Method::GET, "/sse");
    request = request.header(http::header::ACCEPT, "text/event-stream");
    if let Some(mark) = &mark {
        request = request.header("Last-Event-ID", mark);
    }
    let request = request.body(empty()).map_err(|fault| fault.to_string())?;
    dial::exchange(stream, async |mut sender| {
        let response = dial::send(&mut sender, request).await?;
        phases.done("response");
        if response.status() != StatusCode::OK {
            return Err(format!("/sse is {}", response.status()));
        }
        let mut events = Events { body: response.into_body(), text: String::new(), bytes: 0 };
        let first = events.next().await?;
        phases.done("first_event");
        if first.name != "endpoint" || !first.data.contains("sessionId=") {
            return Err("the first event is not `endpoint`".to_owned());
        }
        let mut id = first.id;
        while id.is_none() {
            id = events.next().await?.id;
        }
        Ok(id)
    })
    .await
}

struct Events {
    body: Incoming,
    text: String,
    bytes: usize,
}

impl Events {
    async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = read(block);
                self.text = rest.to_owned();
                match event {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            let frame = self.body.frame().await.ok_or("the stream ended before an event came")?;
            let frame = frame.map_err(|fault| dial::chain(&fault))?;
            let data: Bytes = frame.into_data().unwrap_or_default();
            self.bytes += data.len();
            if self.bytes > BYTES {
                return Err("the stream has no event".to_owned());
            }
            self.text.push_str(&String::from_utf8_lossy(&data).replace("\r\n", "\n"));
        }
    }
}

/// The event of a block of lines; `None` of comments and settings alone.
fn read(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut has_data = false;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" => {
                has_data = true;
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    has_data.then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_from_a_comment() {
        let event = read("event: endpoint\ndata: /messages?sessionId=x\nid: 0-1-2.x").unwrap();
        assert_eq!(event.name, "endpoint");
        assert_eq!(event.data, "/messages?sessionId=x");
        assert_eq!(event.id.as_deref(), Some("0-1-2.x"));
        assert_eq!(read(": hello"), None);
        assert_eq!(read("retry: 3000"), None);
    }
}
