//! A replica that cannot know whether its sessions are still its own does nothing for them, and
//! what it had of them ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_tests::edge::puppet;
use edge_tests::http1::{Incoming, Request};
use edge_tests::proxy::Weather;
use edge_tests::troupe::{Strings, troupe};
use edge_tests::{Fault, Outcome, same, until, within};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{STORE_UNAVAILABLE, Session, Stage, append, refusal, text};

/// A session is another's by then.
const CLAIMED: Duration = Duration::from_secs(25);

/// Calls through this replica until that is answered; the number of the call.
async fn goes_on(stage: &Stage, session: &Session, number: usize) -> Result<String, Fault> {
    let begun = Instant::now();
    for id in 100_u64.. {
        let uuid = format!("again-{id}");
        let reply = session.append(stage.address(number)?, id, &uuid).await?;
        let message = reply.message()?;
        if text(&message).is_ok() {
            return Ok(uuid);
        }
        let told = refusal(&message).1;
        same(format!("{message}"), told != json!(false) && told.is_boolean(), false)?;
        same(format!("not within {CLAIMED:?}"), begun.elapsed() < CLAIMED, true)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err("never".into())
}

#[tokio::test]
async fn a_replica_parted_from_redis_refuses_and_another_goes_on() -> Outcome {
    let stage = Stage::set().await?;
    let session = stage.session(0, "ledger").await?;
    same("before", session.append(stage.address(1)?, 1, "before").await?.status, 200)?;
    let first = stage.lines()?.last().map(|line| line.pid).ok_or("no line")?;
    stage.replicas.at(0)?.proxy.set(Weather::Hole);
    let begun = Instant::now();
    // As long as its lease lasts it serves on.
    let during = session.append(stage.address(0)?, 2, "during").await?.message()?;
    same("in its lease", text(&during)?, "during")?;
    until("it refuses", || async {
        let uuid = format!("late-{}", begun.elapsed().as_millis());
        let Ok(at) = stage.address(0) else { return false };
        let Ok(reply) = session.append(at, 3, &uuid).await else { return false };
        let refused =
            reply.message().is_ok_and(|it| refusal(&it) == (Some(STORE_UNAVAILABLE), json!(false)));
        refused && stage.runs(&uuid).is_ok_and(|runs| runs == 0)
    })
    .await?;
    println!("it refuses after {} ms", begun.elapsed().as_millis());
    let uuid = goes_on(&stage, &session, 1).await?;
    println!("another goes on after {} ms", begun.elapsed().as_millis());
    let second = stage.lines()?.iter().find(|it| it.uuid == uuid).map(|it| it.pid);
    same("another process", second != Some(first), true)?;
    stage.replicas.at(0)?.proxy.set(Weather::Clear);
    until("the first process is gone", || async {
        edge_tests::processes::Process::find(first).is_none()
    })
    .await?;
    // Through the replica that lost it, the session is served by its owner.
    let after = session.append(stage.address(0)?, 900, "after").await?.message()?;
    same("afterwards", text(&after)?, "after")?;
    let last = stage.lines()?.last().map(|line| line.pid);
    same("by the new owner's process", last, second)
}

#[tokio::test]
async fn an_owner_that_was_stopped_and_goes_on_writes_nothing_more() -> Outcome {
    let stage = Stage::set().await?;
    let session = stage.session(0, "ledger").await?;
    same("before", session.append(stage.address(0)?, 1, "before").await?.status, 200)?;
    let first = stage.lines()?.last().map(|line| line.pid).ok_or("no line")?;
    let call = append(2, "in-flight", &json!({"ms": 2_000}));
    let mut attached = session.post(&call).send(stage.address(0)?).await?;
    within("the first event", attached.event()).await?.ok_or("no event")?;
    stage.replicas.at(0)?.signal(Signal::SIGSTOP)?;
    // This one waits in its socket until it wakes up.
    let late = session.post(&append(3, "late", &json!({}))).begin(stage.address(0)?).await?;
    let uuid = goes_on(&stage, &session, 1).await?;
    stage.replicas.at(0)?.signal(Signal::SIGCONT)?;
    let late = within("an answer's head", Incoming::read_head(late)).await?;
    let late = late.reply().await?.message()?;
    let second = stage.lines()?.iter().find(|it| it.uuid == uuid).map(|it| it.pid);
    same("another process", second != Some(first), true)?;
    // It is refused, or carried to the new owner; the old process never sees it.
    let by_first = |uuid: &str| {
        let lines = stage.lines()?;
        Ok::<_, Fault>(lines.iter().filter(|it| it.uuid == uuid && it.pid == first).count())
    };
    same(format!("by the old process: {late}"), by_first("late")?, 0)?;
    if text(&late).is_err() {
        same(format!("{late}"), (refusal(&late).1, stage.runs("late")?), (json!(false), 0))?;
    }
    until("its process is gone", || async {
        edge_tests::processes::Process::find(first).is_none()
    })
    .await?;
    // Its answer to the call in flight reaches nobody: the successor has said that it is unknown.
    let end = within("the end of the old stream", async {
        while let Some(event) = attached.event().await? {
            if !event.data.is_empty() {
                return Ok::<_, Fault>(Some(event));
            }
        }
        Ok(None)
    });
    same("the old stream says nothing", end.await.ok().flatten(), None)?;
    same("it ran once at the most", stage.runs("in-flight")? <= 1, true)
}

#[tokio::test]
async fn no_client_is_told_of_a_session_that_only_its_owner_knows() -> Outcome {
    let mut tasks = JoinSet::new();
    let (asked, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let (is_asked, may_go) = (asked.clone(), go.clone());
    let play = move |mut strings: Strings| {
        let (is_asked, may_go) = (is_asked.clone(), may_go.clone());
        async move {
            let Some(hello) = strings.hear().await else { return };
            is_asked.notify_one();
            may_go.notified().await;
            let _said = strings.greet(&hello).await && strings.next_call("none").await.is_some();
        }
    };
    let port = troupe(&mut tasks, play).await?;
    let stage = Stage::set_with(|it| it.server("slow", json!({"command": puppet(port)}))).await?;
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "client", "version": "1"}
    });
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let hello = Request::post("/mcp/slow", hello.to_string());
    let begun = hello.begin(stage.address(0)?).await?;
    let is_asked = async {
        asked.notified().await;
        Ok::<_, Fault>(())
    };
    within("the server is asked", is_asked).await?;
    stage.replicas.at(0)?.proxy.set(Weather::Hole);
    go.notify_one();
    let reply = within("an answer's head", Incoming::read_head(begun)).await?.reply().await?;
    let message = reply.message()?;
    same(format!("{message}"), refusal(&message), (Some(STORE_UNAVAILABLE), json!(false)))
}
