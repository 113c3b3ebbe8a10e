//! Calls to an HTTP server: what is sent, and what comes back.

use super::scripted::{Play, Seen, chunk, dead, end, error, events, head, http, result, script};
use super::*;
use crate::config::{EraChoice, HttpConfig, Secret};

pub(super) fn at(urls: &[&str]) -> Arc<Server> {
    with(urls, |config| config.era = EraChoice::Modern)
}

pub(super) fn with(urls: &[&str], settings: impl FnOnce(&mut ServerConfig)) -> Arc<Server> {
    let headers = BTreeMap::from([("x-key".to_owned(), Secret::new("secret"))]);
    let instances = urls.iter().map(|url| (*url).to_owned()).collect();
    server(ServerKind::Http(HttpConfig { instances, headers }), settings)
}

fn code(response: &Response) -> Option<&str> {
    json::member(response.error()?, "code")
}

fn note() -> String {
    let params = Some(r#"{"progressToken":"p"}"#);
    Notification::new("notifications/progress", params).text().to_string()
}

fn done() -> String {
    Response::success(&a1(), r#"{"resultType":"complete"}"#).text().to_string()
}

fn failure() -> String {
    Response::failure(Some(&Id::number(0)), -32600, "no", None).text().to_string()
}

/// An id that looks like two.
fn a1() -> Id {
    Id::parse(r#""a/1""#).unwrap()
}

pub(super) const MODERN: &str = r#"{"supportedVersions":["2026-07-28"],"ttlMs":60000}"#;

#[tokio::test]
async fn the_headers_say_what_the_body_says() {
    let (url, seen) = script(|_, _| result("7", "{}")).await;
    let modern = modern(&at(&[&url])).await;
    let uri = r#""uri":"file:///Größe","#;
    let response = answer(&modern, request("7", "resources/read", uri, "")).await;
    assert_eq!((response.id_text(), response.result()), (Some("7"), Some("{}")));
    let last = seen.last();
    for header in [
        "mcp-protocol-version: 2026-07-28",
        "mcp-method: resources/read",
        "mcp-name: =?base64?ZmlsZTovLy9HcsO2w59l?=",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "x-key: secret",
    ] {
        let has = last.lines().any(|it| it.eq_ignore_ascii_case(header));
        assert!(has, "{header} is missing in {last}");
    }
    let given = [("Mcp-Param-X", "1"), ("X-Key", "another")];
    let given = ParamHeaders(given.map(|(name, value)| (name.into(), value.into())).into());
    let called = modern.call(call_of("7", "t"), Some(given)).await.unwrap().last().await;
    assert!(called.unwrap().result().is_some());
    assert!(seen.last().contains("mcp-name: t\r\n") && seen.last().contains("mcp-param-x: 1\r\n"));
    assert!(seen.last().contains("x-key: secret\r\n"), "a caller sets no other header");
}

#[tokio::test]
async fn notes_come_before_the_answer_and_the_connection_is_used_again() {
    let (url, seen) = script(|_, _| Play::Answer(events(&[&note(), &done()], true))).await;
    let modern = modern(&at(&[&url])).await;
    for _ in 0..3 {
        let mut answers = modern.call(request(r#""a/1""#, "x/y", "", ""), None).await.unwrap();
        let Said::Note(said) = next(&mut answers).await else { panic!("a note") };
        assert_eq!(said.text(), &note());
        let Said::Answer(response) = next(&mut answers).await else { panic!("an answer") };
        assert_eq!(response.text(), &done());
        assert!(answers.next().await.is_none());
    }
    assert_eq!(Seen::count(&seen.connections), 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let (url, seen) = script(|_, _| Play::Hang(events(&[&note()], false))).await;
    let modern = modern(&at(&[&url])).await;
    let mut answers = modern.call(call_of("1", "t"), Some(ParamHeaders::default())).await.unwrap();
    assert!(matches!(next(&mut answers).await, Said::Note(_)));
    assert_eq!(Seen::count(&seen.left), 0);
    drop(answers);
    until("the server sees it", || Seen::count(&seen.left) == 1).await;
    // Before the answer has begun it is the same.
    let (url, seen) = script(|_, _| Play::Hang(String::new())).await;
    let modern = super::modern(&at(&[&url])).await;
    let call = modern.call(call_of("1", "t"), Some(ParamHeaders::default()));
    assert!(timeout(SHORT, call).await.is_err());
    until("the server sees it", || Seen::count(&seen.left) == 1).await;
}

#[tokio::test]
async fn errors_of_the_server_are_answers_whatever_their_status() {
    let (url, _) = script(|_, number| match number {
        0 => error("404 Not Found", "1", -32601),
        1 => error("400 Bad Request", "1", -32020),
        _ => error("400 Bad Request", "null", -32602),
    })
    .await;
    let modern = modern(&at(&[&url])).await;
    for expected in ["-32601", "-32020", "-32602"] {
        let response = answer(&modern, request("1", "x/y", "", "")).await;
        assert_eq!(code(&response), Some(expected));
        assert_eq!(response.id_text(), Some("1"));
    }
}

#[tokio::test]
async fn other_statuses_and_broken_answers_are_refused() {
    let text = |status: &str, body: &str| Play::Answer(http(status, "application/json", body));
    let (url, seen) = script(move |_, number| match number {
        0 => text("503 Service Unavailable", "later"),
        1 => result("2", "{}"),
        2 => text("200 OK", "{"),
        3 => Play::Answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()),
        4 => Play::HangUp,
        _ => Play::Answer(events(&[&note()], true)),
    })
    .await;
    let modern = modern(&at(&[&url])).await;
    let expected = [
        (Reason::OutcomeUnknown, Dispatched::Unknown),
        (Reason::BackendProtocol, Dispatched::Yes),
        (Reason::BackendProtocol, Dispatched::Yes),
        (Reason::BackendProtocol, Dispatched::Unknown),
        (Reason::OutcomeUnknown, Dispatched::Unknown),
        (Reason::OutcomeUnknown, Dispatched::Unknown),
    ];
    for (reason, dispatched) in expected {
        let asking = async { modern.call(request("1", "x/y", "", ""), None).await?.last().await };
        let refusal = timeout(DEADLINE, asking).await.unwrap().unwrap_err();
        assert_eq!((refusal.reason, refusal.dispatched), (reason, dispatched), "{refusal}");
    }
    assert_eq!(seen.requests.lock().len(), expected.len(), "nothing was sent twice");
}

#[tokio::test]
async fn a_request_of_the_servers_is_dropped() {
    let ask = || Request::new(&a1(), "roots/list", None).text().to_string();
    let (url, _) = script(move |_, _| Play::Answer(events(&[&ask(), &done()], true))).await;
    let modern = modern(&at(&[&url])).await;
    let response = answer(&modern, request(r#""a/1""#, "x/y", "", "")).await;
    assert_eq!(response.text(), &done());
}

#[tokio::test]
async fn silence_is_limited_except_for_subscriptions() {
    let (url, seen) = script(|_, _| Play::Hang(events(&[&note()], false))).await;
    let server = with(&[&url], |config| {
        config.era = EraChoice::Modern;
        (config.call_timeout, config.call_timeout_max) = (SHORT, SHORT * 4);
    });
    let modern = modern(&server).await;
    let mut answers = modern.call(request("1", "x/y", "", ""), None).await.unwrap();
    assert!(matches!(next(&mut answers).await, Said::Note(_)));
    let Said::Refused(refusal) = next(&mut answers).await else { panic!("a refusal") };
    assert_eq!(refusal.reason, Reason::BackendTimeout);
    assert_eq!(refusal.dispatched, Dispatched::Unknown);
    until("the server sees it", || Seen::count(&seen.left) == 1).await;
    let listen = request("1", "subscriptions/listen", r#""notifications":{},"#, "");
    let mut listening = modern.call(listen, None).await.unwrap();
    assert!(matches!(next(&mut listening).await, Said::Note(_)));
    assert!(timeout(SHORT * 3, listening.next()).await.is_err(), "a subscription has no limit");
}

#[tokio::test]
async fn progress_is_heard_and_a_stream_that_ends_late_is_used_again() {
    let slow = || Play::Slowly(vec![head(), chunk(&note()), chunk(&note()), chunk(&done()), end()]);
    let (url, seen) = script(move |_, _| slow()).await;
    let server = with(&[&url], |config| {
        config.era = EraChoice::Modern;
        // Each part comes in time; all of them together would not.
        config.call_timeout = PAUSE * 3;
    });
    let modern = modern(&server).await;
    let calling = async {
        // The end of a stream comes when nobody reads it any more, and may miss the next call.
        loop {
            let call = request(r#""a/1""#, "x/y", "", "");
            let mut answers = modern.call(call, None).await.unwrap();
            assert!(matches!(next(&mut answers).await, Said::Note(_)));
            assert!(matches!(next(&mut answers).await, Said::Note(_)));
            assert!(matches!(next(&mut answers).await, Said::Answer(_)));
            if Seen::count(&seen.connections) < seen.requests.lock().len() {
                return;
            }
        }
    };
    timeout(DEADLINE, calling).await.expect("a connection used again");
}

#[tokio::test]
async fn headers_are_made_from_the_schema_and_once_more_from_a_fresh_one() {
    let (url, seen) = script(|request, number| {
        let header = if number < 2 { "Old" } else { "Region" };
        let schema = format!(r#"{{"region":{{"type":"string","x-mcp-header":"{header}"}}}}"#);
        let tool =
            format!(r#"{{"name":"t","inputSchema":{{"type":"object","properties":{schema}}}}}"#);
        if request.contains("mcp-method: tools/list") {
            result("0", &format!(r#"{{"tools":[{tool}]}}"#))
        } else if request.contains("mcp-param-region: r\r\n") {
            result("5", "{}")
        } else {
            error("400 Bad Request", "5", -32020)
        }
    })
    .await;
    let modern = modern(&at(&[&url])).await;
    assert!(answer(&modern, call_of("5", "t")).await.result().is_some());
    assert_eq!(seen.methods(), ["tools/list", "tools/call", "tools/list", "tools/call"]);
    assert!(answer(&modern, call_of("5", "t")).await.result().is_some());
    assert_eq!(seen.methods().len(), 5, "the schema is kept");
    // A tool that no header satisfies is not called again and again.
    let other = call_of("5", "other");
    assert_eq!(code(&answer(&modern, other).await), Some("-32020"));
    assert_eq!(seen.methods().len(), 7, "called once, and the tools looked at again");
}

#[tokio::test]
async fn a_server_that_serves_the_revision_it_refused_is_asked_once_more() {
    let refusal = |supported: &str| {
        let data = format!(r#"{{"supported":{supported}}}"#);
        let id = Id::parse(r#""5""#).unwrap();
        let body = Response::failure(Some(&id), -32022, "no", Some(&data));
        Play::Answer(http("400 Bad Request", "application/json", body.text()))
    };
    let (url, seen) = script(move |request, number| match number {
        _ if request.contains("never") => refusal(r#"["2026-07-28"]"#),
        _ if request.contains("other") => refusal(r#"["2099-01-01"]"#),
        0 => refusal(r#"["2099-01-01","2026-07-28"]"#),
        _ => result("\"5\"", "{}"),
    })
    .await;
    let modern = modern(&at(&[&url])).await;
    let asked = async |method: &str| answer(&modern, request("\"5\"", method, "", "")).await;
    assert!(asked("prompts/list").await.result().is_some());
    assert_eq!(seen.methods().len(), 2);
    assert_eq!(code(&asked("x/never").await), Some("-32022"));
    assert_eq!(seen.methods().len(), 4, "once more and not for ever");
    assert_eq!(code(&asked("x/other").await), Some("-32022"));
    assert_eq!(seen.methods().len(), 5);
}

#[tokio::test]
async fn instances_take_turns_and_a_dead_one_is_passed_over() {
    let (one, seen) = script(|_, _| result("1", "{}")).await;
    let (two, seen_too) = script(|_, _| result("1", "{}")).await;
    let dead = dead().await;
    let modern = modern(&at(&[&one, &dead, &two])).await;
    for _ in 0..6 {
        assert!(answer(&modern, request("1", "x/y", "", "")).await.result().is_some());
    }
    assert_eq!((seen.methods().len(), seen_too.methods().len()), (2, 4));
    let server = at(&[&dead]);
    let modern = super::modern(&server).await;
    let refusal = modern.call(request("1", "x/y", "", ""), None).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.dispatched), (Reason::BackendUnavailable, Dispatched::No));
    assert_eq!(server.fault(), Some(refusal.message));
}

#[tokio::test]
async fn the_era_is_found_out_once() {
    let (url, seen) = script(|_, _| result("0", MODERN)).await;
    let server = with(&[&url], |_| {});
    assert_eq!(server.era(), None);
    let (one, two) = tokio::join!(server.modern(), server.modern());
    assert!(one.unwrap().is_some() && two.unwrap().is_some());
    assert_eq!(
        (server.era(), seen.methods()),
        (Some("modern"), vec!["server/discover".to_owned()])
    );
    let modern = modern(&server).await;
    let discovered = modern.discover().await.unwrap();
    assert_eq!(discovered, MODERN);
    assert_eq!(modern.discover().await.unwrap(), MODERN);
    assert_eq!(seen.methods().len(), 2, "what was discovered is kept");
    server.forget_era();
    assert!(server.modern().await.unwrap().is_some());
    assert_eq!(seen.methods().len(), 3);
}

#[tokio::test]
async fn legacy_servers_are_told_apart() {
    let page = |status: &str| Play::Answer(http(status, "text/html", "<html>"));
    type Case = (&'static str, fn() -> Play, bool);
    let plays: [Case; 6] = [
        ("no session", || error("400 Bad Request", "null", -32000), false),
        ("not found in band", || error("200 OK", "0", -32601), false),
        ("not found", || error("404 Not Found", "0", -32601), true),
        ("another revision", || error("400 Bad Request", "0", -32022), true),
        ("a result without revisions", || result("0", "{}"), false),
        ("in a stream", || Play::Answer(events(&[&failure()], true)), false),
    ];
    for (what, play, is_modern) in plays {
        let (url, seen) = script(move |_, _| play()).await;
        let server = with(&[&url], |_| {});
        for _ in 0..2 {
            assert_eq!(server.modern().await.unwrap().is_some(), is_modern, "{what}");
        }
        assert_eq!(seen.methods().len(), 1, "{what}");
    }
    let (url, seen) = script(move |_, _| page("404 Not Found")).await;
    let server = with(&[&url], |_| {});
    assert!(server.modern().await.unwrap().is_none());
    assert_eq!((server.era(), seen.methods().len()), (Some("legacy"), 1));
}

#[tokio::test]
async fn what_was_not_reached_is_not_known() {
    let dead = dead().await;
    let server = with(&[&dead], |_| {});
    let refusal = server.modern().await.unwrap_err();
    assert_eq!((refusal.reason, refusal.dispatched), (Reason::BackendUnavailable, Dispatched::No));
    assert_eq!(server.era(), None);
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_probe_is_legacy_for_the_time_being() {
    let (url, _) = script(|_, _| Play::Hang(String::new())).await;
    let modern = modern(&at(&[&url])).await;
    let found = modern.probe(SHORT).await.unwrap();
    assert!(matches!(found, Finding::Legacy(misfit) if !misfit.is_certain));
}

#[tokio::test]
async fn the_configuration_may_say_the_era() {
    let dead = dead().await;
    let legacy = with(&[&dead], |config| config.era = EraChoice::Legacy);
    assert!(legacy.modern().await.unwrap().is_none());
    assert_eq!(legacy.era(), Some("legacy"));
    assert_eq!(at(&[&dead]).era(), Some("modern"));
    let kind = ServerKind::Sse(HttpConfig { instances: vec![dead], headers: BTreeMap::new() });
    let sse = server(kind, |_| {});
    assert!(sse.modern().await.unwrap().is_none());
}

#[tokio::test]
async fn subscriptions_end_when_the_server_is_taken_away_and_calls_when_the_gateway_stops() {
    let (url, seen) = script(|_, _| Play::Hang(events(&[&note()], false))).await;
    let server = at(&[&url]);
    let modern = modern(&server).await;
    let listen = request(r#""l""#, "subscriptions/listen", r#""notifications":{},"#, "");
    let mut listening = modern.call(listen, None).await.unwrap();
    let mut calling = modern.call(request("1", "x/y", "", ""), None).await.unwrap();
    for answers in [&mut listening, &mut calling] {
        assert!(matches!(next(answers).await, Said::Note(_)));
    }
    server.retire();
    let Said::Answer(end) = next(&mut listening).await else { panic!("the end") };
    let named = json::path(end.result().unwrap(), &["_meta", SUBSCRIPTION_ID]);
    assert_eq!((end.id_text(), named), (Some(r#""l""#), Some(r#""l""#)));
    assert!(timeout(SHORT, calling.next()).await.is_err(), "a call goes on");
    until("one is closed", || Seen::count(&seen.left) == 1).await;
    server.close();
    let Said::Refused(refusal) = next(&mut calling).await else { panic!("a refusal") };
    assert_eq!(refusal.reason, Reason::OutcomeUnknown);
    until("both are closed", || Seen::count(&seen.left) == 2).await;
}
