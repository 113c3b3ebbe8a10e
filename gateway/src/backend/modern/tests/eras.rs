//! Servers that change their era, or seem to, and how each is met.

use super::http::{MODERN, at, with};
use super::scripted::{Play, error, http, result, script};
use super::*;
use crate::backend::handshake::own_params;
use crate::backend::members::Members;
use crate::backend::patience::Patience;
use crate::backend::pending::{Call, Caller};
use crate::backend::upstream::Owner;
use crate::config::limits::server::DOUBTS_MAX;

/// The answer to `initialize`, under the id that came.
fn greeting(request: &str) -> Play {
    let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
    result(json::member(body, "id").unwrap_or("0"), GREETING)
}

/// It has tasks.
const TASKS: &str = concat!(
    r#"{"supportedVersions":["2026-07-28"],"#,
    r#""capabilities":{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#,
);
const BOTH: &str = r#"{"supportedVersions":["2026-07-28","2025-11-25"]}"#;
const GREETING: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#;

/// Whether the server is met in the legacy era by a client that has only that.
async fn meets_legacy(server: &Arc<Server>) -> Result<bool, Refusal> {
    server.trouble.lock().is_over();
    let met = timeout(DEADLINE, server.start(|| Owner::Stateless, &own_params())).await;
    Ok(met.expect("met in time")?.is_some())
}

#[tokio::test]
async fn a_server_of_both_eras_that_failed_once_is_met_in_the_legacy_one_again() {
    let (url, _) = script(|request, number| match number {
        _ if request.contains("server/discover") => result("0", BOTH),
        1 => Play::Answer(http("503 Service Unavailable", "text/plain", "later")),
        _ => greeting(request),
    })
    .await;
    let server = with(&[&url], |_| {});
    assert!(server.modern().await.unwrap().is_some());
    assert!(meets_legacy(&server).await.is_err(), "it is away");
    assert!(meets_legacy(&server).await.unwrap(), "it is back");
    assert_eq!(server.era(), Some("both"));
}

#[tokio::test]
async fn a_legacy_server_that_turned_modern_is_noticed_when_it_does_not_start() {
    let (url, _) = script(|request, number| match number {
        0 => error("200 OK", "0", -32601),
        _ if request.contains("server/discover") => result("0", MODERN),
        _ => Play::Answer(http("400 Bad Request", "text/plain", "no")),
    })
    .await;
    let server = with(&[&url], |_| {});
    assert!(server.modern().await.unwrap().is_none());
    assert!(!meets_legacy(&server).await.unwrap());
    assert_eq!(server.era(), Some("modern"));
}

#[tokio::test]
async fn a_status_that_comes_of_the_hour_says_nothing_of_the_era() {
    for status in ["401 No", "403 No", "407 No", "429 No", "502 No", "503 No", "504 No"] {
        for has_error in [true, false] {
            let (url, _) = script(move |_, number| match number {
                0 if has_error => error(status, "null", -32000),
                0 => Play::Answer(http(status, "text/plain", "no")),
                _ => result("0", MODERN),
            })
            .await;
            let server = with(&[&url], |_| {});
            let refusal = server.modern().await.unwrap_err();
            assert_eq!((refusal.dispatched, server.era()), (Dispatched::No, None), "{status}");
            server.era.note_legacy_start(Instant::now());
            assert!(server.modern().await.unwrap().is_some(), "{status}");
        }
    }
}

#[tokio::test]
async fn a_modern_server_that_turned_legacy_is_noticed_by_a_call() {
    for (first, code) in [(MODERN, -32000), ("", -32601)] {
        let (url, _) = script(move |request, number| match number {
            0 if !first.is_empty() => result("0", first),
            // It only looks modern: it says so of every method.
            _ if first.is_empty() && request.contains("server/discover") => {
                error("404 Not Found", "0", code)
            }
            _ => error("400 Bad Request", "null", -32000),
        })
        .await;
        let server = with(&[&url], |_| {});
        let modern = modern(&server).await;
        let response = answer(&modern, request("1", "x/y", "", "")).await;
        assert_eq!(
            response.error().and_then(|it| json::member(it, "code")),
            Some("-32000"),
            "the answer is passed on"
        );
        assert!(server.modern().await.unwrap().is_none(), "{code}");
    }
}

#[tokio::test]
async fn an_unclear_answer_does_not_make_a_modern_server_legacy_at_once() {
    let (url, _) = script(|_, number| match number {
        0 | 4 => result("0", MODERN),
        _ => Play::Answer(http("404 Not Found", "text/html", "<html>")),
    })
    .await;
    let server = with(&[&url], |_| {});
    let modern = modern(&server).await;
    assert!(modern.call(request("1", "x/y", "", ""), None).await.is_err());
    for _ in 0..2 {
        let refusal = server.modern().await.unwrap_err();
        assert_eq!((refusal.dispatched, server.era()), (Dispatched::No, None));
        server.era.note_legacy_start(Instant::now());
    }
    assert!(server.modern().await.unwrap().is_some(), "it is back");
    server.forget_era();
    for _ in 0..DOUBTS_MAX {
        assert!(server.modern().await.is_err());
        server.era.note_legacy_start(Instant::now());
    }
    assert!(server.modern().await.unwrap().is_none(), "not for ever");
}

#[tokio::test]
async fn a_task_that_is_polled_lives_longer_than_one_answer_may_take() {
    let task = |status: &str, more: &str| {
        format!(
            concat!(
                r#"{{"resultType":"task","taskId":"t","status":"{}","ttlMs":null,"#,
                r#""createdAt":"","lastUpdatedAt":"","pollIntervalMs":100{}}}"#,
            ),
            status, more
        )
    };
    let (url, seen) = script(move |request, number| {
        let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
        let text = match number {
            0 => TASKS.to_owned(),
            1..8 => task("working", ""),
            _ => task("completed", r#","result":{"resultType":"complete","content":[]}"#),
        };
        result(json::member(body, "id").unwrap_or("0"), &text)
    })
    .await;
    let server = at(&[&url]);
    let owner = || Owner::Shared(Members::default());
    let upstream = server.meet(owner, &own_params()).await.unwrap();
    let params = r#"{"name":"x","arguments":{},"task":{}}"#;
    let made = upstream.ask(Method::ToolsCall, Some(params), DEADLINE).await.unwrap();
    assert!(made.result().is_some(), "{}", made.text());
    let (tell, told) = tokio::sync::oneshot::channel();
    let patience = Patience { idle: SHORT, total: DEADLINE };
    let call = Call::new(Caller::Gateway(tell), Method::TasksResult, patience, Instant::now());
    let number = upstream.pending.lock().insert(call);
    let params = Some(r#"{"taskId":"t"}"#);
    let asked = Request::new(&Id::number(number), "tasks/result", params);
    upstream.dispatch_patiently(number, asked.text().clone(), SHORT).await.unwrap();
    until("it is answered", || {
        upstream.sweep(Instant::now());
        upstream.in_flight() == 0
    })
    .await;
    let response = told.await.expect("an answer");
    assert!(response.result().is_some(), "{}", response.text());
    assert!(seen.methods().len() > 8, "it was polled");
}
