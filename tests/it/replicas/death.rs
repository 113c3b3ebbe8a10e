//! A replica is gone from one moment to the next: what it had said is said again, what it was
//! doing is told to be unknown, once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edge_tests::chaos::Resumes;
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same, until, within};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{OUTCOME_UNKNOWN, Session, Stage, answer, append, refusal, text};

/// Sessions of one owner.
const SESSIONS: usize = 12;

/// A session with one call that was answered and one that is in flight, each on its stream.
struct Witness {
    session: Session,
    name: String,
    answered: String,
    in_flight: String,
}

impl Witness {
    async fn enter(stage: &Stage, number: usize) -> Result<Self, Fault> {
        let server = if number.is_multiple_of(2) { "ledger" } else { "web" };
        let (owner, name) = (stage.address(0)?, format!("w{number}"));
        let session = stage.session(0, server).await?;
        let done = format!("{name}-done");
        let call = append(1, &done, &json!({"ms": 400}));
        let mut stream = session.post(&call).send(owner).await?;
        let answered = priming(&mut stream).await?;
        same("the answer", text(&answer(&mut stream, 1, &mut Vec::new()).await?)?, &done)?;
        let call = append(2, &format!("{name}-open"), &json!({"hang": "after"}));
        let mut stream = session.post(&call).send(owner).await?;
        let in_flight = priming(&mut stream).await?;
        Ok(Self { session, name, answered, in_flight })
    }

    /// Comes back to both streams; how long the first took.
    async fn come_back(&self, at: SocketAddr, gone: Instant) -> Result<Duration, Fault> {
        let mut stream = again(&self.session, at, &self.answered, gone).await?;
        let replayed = answer(&mut stream, 1, &mut Vec::new()).await?;
        let took = gone.elapsed();
        same("what was said is said again", text(&replayed)?, &format!("{}-done", self.name))?;
        let mut stream = again(&self.session, at, &self.in_flight, gone).await?;
        let mut ids = vec![self.in_flight.clone()];
        let told = answer(&mut stream, 2, &mut ids).await?;
        let unknown = (Some(OUTCOME_UNKNOWN), json!("unknown"));
        same("what was in flight", refusal(&told), unknown)?;
        // It is said once: who comes back for what is after it is told nothing more.
        let last = ids.last().ok_or("no id")?;
        let mut rest = self.session.resume(at, last).await?;
        let more = within("the end", async {
            while let Some(event) = rest.event().await? {
                if !event.data.is_empty() {
                    return Ok::<_, Fault>(Some(event));
                }
            }
            Ok(None)
        });
        same("nothing after it", more.await?, None)?;
        let said = self.session.append(at, 3, &format!("{}-after", self.name)).await?.message()?;
        same("it goes on", text(&said)?, &format!("{}-after", self.name))?;
        Ok(took)
    }
}

async fn priming(stream: &mut Incoming) -> Result<String, Fault> {
    same("status", stream.status, 200)?;
    let first = within("the first event", stream.event()).await?.ok_or("no event")?;
    Ok(first.id.ok_or("no id")?.to_string())
}

/// Asks for a stream until it is there, as a client does whom a 503 tells to come again.
async fn again(
    session: &Session,
    at: SocketAddr,
    last_id: &str,
    gone: Instant,
) -> Result<Incoming, Fault> {
    loop {
        let stream = session.resume(at, last_id).await?;
        if stream.status == 200 {
            return Ok(stream);
        }
        let (status, text) = (stream.status, stream.reply().await?.text());
        if status != 503 || gone.elapsed() > Duration::from_secs(30) {
            return Err(format!("{status} after {:?}: {text}", gone.elapsed()).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Has the owner of many sessions go, and returns how long they took to come back elsewhere.
async fn after(stage: &mut Stage, gone: Signal) -> Result<Resumes, Fault> {
    let stage_ref = &*stage;
    let witnesses = (0..SESSIONS).map(|number| Witness::enter(stage_ref, number));
    let witnesses = try_join_all(witnesses).await?;
    for witness in &witnesses {
        let uuid = format!("{}-open", witness.name);
        until("it is in flight", || async { stage.runs(&uuid).is_ok_and(|runs| runs == 1) })
            .await?;
    }
    if gone == Signal::SIGKILL {
        stage.replicas.at_mut(0)?.kill().await?;
    } else {
        stage.replicas.at(0)?.signal(gone)?;
    }
    let (gone, others) = (Instant::now(), [stage.address(1)?, stage.address(2)?]);
    let back = witnesses
        .iter()
        .zip(others.iter().cycle())
        .map(|(witness, at)| witness.come_back(*at, gone));
    let resumes: Resumes = try_join_all(back).await?.into_iter().collect();
    for witness in &witnesses {
        for what in ["done", "open", "after"] {
            let uuid = format!("{}-{what}", witness.name);
            same(&uuid, stage.runs(&uuid)?, 1)?;
        }
    }
    Ok(resumes)
}

#[tokio::test]
async fn after_a_kill_sessions_go_on_elsewhere_within_seconds() -> Outcome {
    let mut stage = Stage::set().await?;
    let resumes = after(&mut stage, Signal::SIGKILL).await?;
    println!("taken up after kill -9: {resumes}");
    same(format!("{resumes}"), resumes.percentile(95) <= Duration::from_secs(5), true)
}

#[tokio::test]
async fn an_owner_that_takes_connections_and_says_nothing_is_replaced_too() -> Outcome {
    let mut stage = Stage::set().await?;
    let resumes = after(&mut stage, Signal::SIGSTOP).await?;
    println!("taken up from an owner that is silent: {resumes}");
    same(format!("{resumes}"), resumes.percentile(95) <= Duration::from_secs(20), true)
}

#[tokio::test]
async fn an_event_source_gets_the_end_of_its_call_from_another_replica() -> Outcome {
    let mut stage = Stage::set().await?;
    let mut stream = Request::stream("/sse/ledger").send(stage.address(0)?).await?;
    let first = within("the endpoint", stream.event()).await?.ok_or("no event")?;
    let endpoint = first.data.to_string();
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }});
    let mut ids = Vec::new();
    let hang = append(2, "open", &json!({"hang": "after"}));
    for (id, message) in (0..).zip([hello, append(1, "done", &json!({})), hang]) {
        let posted = Request::post(&endpoint, message.to_string()).reply(stage.address(1)?).await?;
        same("POST", posted.status, 202)?;
        if id < 2 {
            answer(&mut stream, id, &mut ids).await?;
        }
    }
    until("it is in flight", || async { stage.runs("open").is_ok_and(|runs| runs == 1) }).await?;
    stage.replicas.at_mut(0)?.kill().await?;
    let last = ids.last().ok_or("no id")?;
    let gone = Instant::now();
    let mut stream = loop {
        let request = Request::stream("/sse/ledger").header("Last-Event-ID", last);
        let stream = request.send(stage.address(2)?).await?;
        if stream.status == 200 {
            break stream;
        }
        same("it waits no longer", gone.elapsed() < Duration::from_secs(20), true)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let first = within("the endpoint", stream.event()).await?.ok_or("no event")?;
    same("the session is the same", first.data.as_ref(), endpoint.as_str())?;
    let told: Value = answer(&mut stream, 2, &mut ids).await?;
    same("what was in flight", refusal(&told), (Some(OUTCOME_UNKNOWN), json!("unknown")))?;
    let next = append(3, "after", &json!({})).to_string();
    let posted = Request::post(&endpoint, next).reply(stage.address(1)?).await?;
    same("POST", posted.status, 202)?;
    same("it goes on", text(&answer(&mut stream, 3, &mut ids).await?)?, "after")?;
    let place = |id: &String| {
        let place = id.split('.').next().unwrap_or_default();
        place.rsplit('-').next().and_then(|seq| seq.parse::<u64>().ok())
    };
    same("places rise", ids.iter().map(place).is_sorted_by(|a, b| a < b), true)
}
