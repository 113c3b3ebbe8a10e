//! `probe mcp`: Streamable HTTP, in either era.

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wire::json as text;
use wire::message::Request;
use wire::modern::{METHOD_HEADER, NAME_HEADER, VERSION_HEADER, header_value};
use wire::revision::Revision;

use super::reach::{Reach, Route};
use super::report::Report;
use super::talk;
use super::{Era, Wish, explain, unless};
use crate::transport::http::{Client, HttpFault, PROTOCOL_VERSION, SESSION_ID, Target};

/// What to ask.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    wish: Wish,
    /// Which era to speak
    #[arg(long, value_enum, default_value_t)]
    era: Era,
}

/// Asks, and prints the answers.
///
/// # Errors
/// A sentence with what helps.
pub(super) async fn probe(
    options: &Options,
    route: &Route,
    report: &Report,
    stop: &CancellationToken,
) -> Result<(), String> {
    let wishes = talk::wishes(&options.wish)?;
    let target = route.target("/mcp")?;
    // Only to see how long it takes, or why it does not work; requests make their own.
    drop(unless(stop, route.connect(&target, report)).await?);
    let mut visit = Visit { client: route.client(), target, route, report, session: false };
    let asking = visit.ask_for(options.era, &wishes);
    let done = Box::pin(unless(stop, asking)).await;
    visit.leave().await;
    done
}

struct Visit<'a> {
    client: Client,
    target: Target,
    route: &'a Route,
    report: &'a Report,
    session: bool,
}

impl Visit<'_> {
    async fn ask_for(&mut self, era: Era, wishes: &[(&'static str, String)]) -> Result<(), String> {
        let era = self.greet(era).await?;
        for (id, (method, params)) in (3..).zip(wishes) {
            self.ask(era, id, method, params).await?;
        }
        Ok(())
    }

    /// Meets the server in the era that is asked for, or in the newest both know.
    async fn greet(&mut self, era: Era) -> Result<Era, String> {
        if era != Era::Legacy {
            let asked = self.exchange(Era::Modern, 1, "server/discover", "{}").await;
            match asked {
                Ok(Ok(result)) => {
                    talk::tell("server/discover", &result, self.report)?;
                    return Ok(Era::Modern);
                }
                Ok(Err(told)) if era == Era::Modern => {
                    return Err(format!("server/discover: {told}"));
                }
                Err(fault) if era == Era::Modern => return Err(self.told(&fault)),
                // Only what an older server says to a newer client leads to another try.
                Err(fault) if !is_of_era(&fault) => return Err(self.told(&fault)),
                Ok(Err(_)) | Err(_) => {
                    self.report.say("era", "the newer one is not known there", json!({}));
                }
            }
        }
        let asked = self.exchange(Era::Legacy, 2, "initialize", "").await;
        let result = asked.map_err(|fault| self.told(&fault))?;
        let result = result.map_err(|told| format!("initialize: {told}"))?;
        let agreed = text::member(&result, "protocolVersion").and_then(text::string);
        if let Some(Ok(agreed)) = agreed.map(|agreed| HeaderValue::from_str(&agreed)) {
            self.target.set(PROTOCOL_VERSION, agreed);
        }
        talk::tell("initialize", &result, self.report)?;
        let note = Bytes::from(talk::greeted().text().to_string());
        let delivering = self.client.deliver(&self.target, note);
        self.route.within("answer to a notification", &self.target, delivering).await?;
        Ok(Era::Legacy)
    }

    async fn ask(&mut self, era: Era, id: u64, method: &str, params: &str) -> Result<(), String> {
        let asked = self.exchange(era, id, method, params).await;
        let result = asked.map_err(|fault| self.told(&fault))?;
        let result = result.map_err(|told| format!("{method}: {told}"))?;
        talk::tell(method, &result, self.report)
    }

    /// Sends one request; the result, or the error it was answered with.
    async fn exchange(
        &mut self,
        era: Era,
        id: u64,
        method: &str,
        params: &str,
    ) -> Result<Result<String, String>, Failed> {
        let is_modern = era == Era::Modern;
        let request = match method {
            "initialize" => talk::hello(id),
            _ if is_modern => talk::modern(id, method, params),
            _ => talk::request(id, method, params),
        };
        let own = if is_modern { mirrored(&request) } else { Vec::new() };
        let body = Bytes::from(request.text().to_string());
        let (client, target) = (self.client.clone(), self.target.clone());
        let posting = async { client.post_with(&target, own, body).await };
        let answer = self.in_time(method, posting).await?;
        if let Some(id) = answer.session_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok())
        {
            self.target.set(SESSION_ID, id);
            self.session = true;
        }
        let report = self.report;
        let reading = talk::answered(answer, id, |what, data| {
            report.say("event", &format!("{what}: {data}"), json!({"data": data}));
        });
        self.in_time(method, reading).await
    }

    async fn in_time<T>(
        &self,
        method: &str,
        step: impl Future<Output = Result<T, HttpFault>>,
    ) -> Result<T, Failed> {
        match tokio::time::timeout(self.route.timeout, step).await {
            Ok(done) => done.map_err(Failed::Fault),
            Err(_elapsed) => Err(Failed::Silent(format!("answer to {method}"))),
        }
    }

    fn told(&self, failed: &Failed) -> String {
        match failed {
            Failed::Fault(fault) => explain::refused(fault, &self.target),
            Failed::Silent(what) => explain::silent(what, &self.target, self.route.timeout),
        }
    }

    /// Ends the session, which would otherwise wait for its time to run out.
    async fn leave(&self) {
        if self.session {
            let deleting = self.client.delete(&self.target);
            let _best_effort = tokio::time::timeout(self.route.timeout, deleting).await;
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Failed {
    Fault(HttpFault),
    /// It took too long; what was waited for.
    Silent(String),
}

/// Whether this is what a server of the older era says to a request of the newer.
fn is_of_era(failed: &Failed) -> bool {
    match failed {
        Failed::Fault(HttpFault::Status { code, .. }) => [400, 404, 405, 406].contains(code),
        Failed::Fault(
            HttpFault::NotSent(_)
            | HttpFault::Lost(_)
            | HttpFault::TooLarge
            | HttpFault::Protocol(_),
        )
        | Failed::Silent(_) => false,
    }
}

/// The headers that say what the body says.
fn mirrored(request: &Request) -> Vec<(HeaderName, HeaderValue)> {
    let name = request.params().and_then(|params| text::member(params, "name"));
    let name = name.and_then(text::string).map(|name| header_value(&name).into_owned());
    let values = [
        (VERSION_HEADER, Some(Revision::V2026_07_28.as_str().to_owned())),
        (METHOD_HEADER, Some(request.method_name().to_owned())),
        (NAME_HEADER, name),
    ];
    let pairs = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let header = |(name, value): (&str, String)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(&value).ok()?))
    };
    pairs.filter_map(header).collect()
}
