//! `probe sse`: the event stream of HTTP+SSE, event by event.

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use wire::sse::Event;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request};

use super::Wish;
use super::explain;
use super::reach::{Reach, Route};
use super::report::Report;
use super::talk::{self, Heard};
use crate::cli::awaiting::milliseconds;
use crate::config::limits::gateway::PROBE_ANSWER_BYTES;
use crate::transport::http::{AnswerKind, Client, EventStream, Target, understand};
use crate::transport::sse;

/// What to look at.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    wish: Wish,
    /// End after so many events
    #[arg(short = 'n', long, value_name = "COUNT")]
    events: Option<u64>,
}

/// Opens the stream, asks what is to be asked, and prints what comes.
///
/// # Errors
/// A sentence with what helps.
pub(super) async fn probe(options: &Options, route: &Route, report: &Report) -> Result<(), String> {
    let wishes = talk::wishes(&options.wish)?;
    let target = route.target("/sse")?;
    let dialled = route.connect(&target, report).await?;
    let mut request = Request::new(Bytes::new());
    let headers = request.headers_mut();
    for (name, value) in route.pairs() {
        let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) else {
            continue;
        };
        headers.append(name, value);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let asked = report.elapsed();
    let opening = async {
        let response = dialled.send(&target, request).await?;
        understand(response, &target, PROBE_ANSWER_BYTES).await
    };
    let answer =
        route.within("answer to the request for the stream", &target, Box::pin(opening)).await?;
    let AnswerKind::Stream(events) = answer.kind else {
        return Err(format!(
            "{} is no event stream; is it the address of /sse?",
            explain::shown_of(&target)
        ));
    };
    let head = report.elapsed().saturating_sub(asked);
    let text = format!("event stream, after {}", milliseconds(head));
    report.say("opened", &text, json!({"first_byte_seconds": head.as_secs_f64()}));
    let stream = Stream { events, target, route, report, left: options.events, asked };
    if wishes.is_empty() { stream.follow().await } else { stream.converse(&wishes).await }
}

struct Stream<'a> {
    events: EventStream,
    target: Target,
    route: &'a Route,
    report: &'a Report,
    left: Option<u64>,
    asked: std::time::Duration,
}

impl Stream<'_> {
    /// Prints events until there are no more, or enough.
    async fn follow(mut self) -> Result<(), String> {
        // The first names the address for messages, and comes at once.
        let first = self.event_in_time("first event").await?;
        let after = self.report.elapsed().saturating_sub(self.asked);
        self.print(&first);
        let text = format!("after {}", milliseconds(after));
        if self.left.is_none() {
            self.report.follow();
        }
        self.report.say("first", &text, json!({"first_event_seconds": after.as_secs_f64()}));
        loop {
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Ok(());
                }
            }
            match self.events.next().await {
                Some(Ok(event)) => self.print(&event),
                Some(Err(fault)) => return Err(explain::refused(&fault, &self.target)),
                None => return Err("the server ended the stream".to_owned()),
            }
        }
    }

    /// Shakes hands and asks; the answers come on the stream.
    async fn converse(mut self, wishes: &[(&'static str, String)]) -> Result<(), String> {
        let endpoint = loop {
            let event = self.event_in_time("`endpoint` event").await?;
            self.print(&event);
            if event.event.as_deref() == Some("endpoint") {
                break event.data;
            }
        };
        let post = sse::resolve(&self.target, &endpoint);
        let post = post.map_err(|fault| explain::refused(&fault, &self.target))?;
        let client = self.route.client();
        let way = (&client, &post);
        self.ask(way, 1, talk::hello(1).text(), "initialize").await?;
        self.deliver(&client, &post, talk::greeted().text()).await?;
        for (id, (method, params)) in (2..).zip(wishes) {
            let request = talk::request(id, method, params);
            self.ask(way, id, request.text(), method).await?;
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        (client, post): (&Client, &Target),
        id: u64,
        message: &str,
        method: &str,
    ) -> Result<(), String> {
        self.deliver(client, post, message).await?;
        loop {
            let event = self.event_in_time(&format!("answer to {method}")).await?;
            match talk::hear(&event.data, id) {
                Heard::Answer(Ok(result)) => return talk::tell(method, &result, self.report),
                Heard::Answer(Err(told)) => return Err(format!("{method}: {told}")),
                Heard::Other(_) | Heard::Nothing => self.print(&event),
            }
        }
    }

    async fn deliver(&self, client: &Client, post: &Target, message: &str) -> Result<(), String> {
        let delivering = client.deliver(post, Bytes::from(message.to_owned()));
        self.route.within("answer to a message", post, delivering).await
    }

    async fn event_in_time(&mut self, what: &str) -> Result<Event, String> {
        match timeout_at(Instant::now() + self.route.timeout, self.events.next()).await {
            Ok(Some(Ok(event))) => Ok(event),
            Ok(Some(Err(fault))) => Err(explain::refused(&fault, &self.target)),
            Ok(None) => Err(format!("the server ended the stream before the {what}")),
            Err(_elapsed) => Err(explain::silent(what, &self.target, self.route.timeout)),
        }
    }

    fn print(&self, event: &Event) {
        let name = event.event.as_deref().unwrap_or("message");
        let facts = json!({
            "event": name,
            "id": event.id.as_deref(),
            "data": event.data.as_ref() as &str,
        });
        let data: &str = &event.data;
        self.report.say("event", &format!("{name}: {data}"), facts);
    }
}
