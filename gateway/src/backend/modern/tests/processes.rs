//! Shell scripts as servers: one process for every caller.

use super::*;
use crate::backend::handshake::own_params;
use crate::backend::members::Members;
use crate::backend::upstream::Owner;
use crate::config::{EraChoice, StdioConfig};
use wire::modern::LOG_LEVEL;

const SCRIPT: &str = include_str!("server.sh");

fn shell(script: &str) -> Arc<Server> {
    with(script, |_| {})
}

fn with(script: &str, settings: impl FnOnce(&mut ServerConfig)) -> Arc<Server> {
    server(ServerKind::Stdio(StdioConfig::new(["sh", "-c", script])), settings)
}

fn tool(id: &str, name: &str, meta: &str) -> Request {
    request(id, "tools/call", &format!(r#""name":"{name}","#), meta)
}

async fn called(modern: &Arc<Modern>, request: Request) -> Answers {
    timeout(DEADLINE, modern.call(request, None)).await.unwrap().unwrap()
}

fn member<'a>(response: &'a Response, key: &str) -> &'a str {
    json::member(response.result().expect("a result"), key).unwrap()
}

#[tokio::test]
async fn two_callers_with_one_id_share_a_process_and_get_their_own_back() {
    let server = shell(SCRIPT);
    let modern = modern(&server).await;
    let mut one = called(&modern, tool(r#""x""#, "first", "")).await;
    let mut two = called(&modern, tool(r#""x""#, "both", r#","progressToken":"12:34""#)).await;
    let Said::Note(note) = next(&mut two).await else { panic!("a note") };
    let params = r#"{"progressToken":"12:34","progress":1.50}"#;
    assert_eq!(note.params(), Some(params));
    let Said::Answer(second) = next(&mut two).await else { panic!("an answer") };
    let Said::Answer(first) = next(&mut one).await else { panic!("an answer") };
    assert_eq!((first.id_text(), second.id_text()), (Some(r#""x""#), Some(r#""x""#)));
    assert!(member(&second, "heard").parse::<u64>().is_ok(), "the server has a token of ours");
    assert_eq!(member(&first, "pid"), member(&second, "pid"));
    assert!(one.next().await.is_none() && two.next().await.is_none());
    assert_eq!((server.upstreams().len(), server.era()), (1, Some("both")));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let modern = modern(&shell(SCRIPT)).await;
    let mut waiting =
        called(&modern, tool("1", "wait", &format!(r#","{LOG_LEVEL}":"info""#))).await;
    let Said::Note(note) = next(&mut waiting).await else { panic!("a note") };
    assert_eq!(note.params(), Some(r#"{"data":"waiting"}"#));
    assert_eq!(member(&answer(&modern, tool("2", "cancelled", "")).await, "cancelled"), r#""""#);
    let Inner::Stdio(flow) = &waiting.inner else { panic!("a process") };
    let number = flow.number();
    drop(waiting);
    let response = answer(&modern, tool("2", "cancelled", "")).await;
    assert_eq!(member(&response, "cancelled"), format!(r#""{number}""#));
    // One that was answered is not.
    answer(&modern, tool("3", "any", "")).await;
    let response = answer(&modern, tool("2", "cancelled", "")).await;
    assert_eq!(member(&response, "cancelled"), format!(r#""{number}""#));
}

#[tokio::test]
async fn log_messages_go_to_nobody_when_two_could_be_meant() {
    let modern = modern(&shell(SCRIPT)).await;
    let logs = format!(r#","{LOG_LEVEL}":"info""#);
    let mut one = called(&modern, tool("1", "first", &logs)).await;
    let mut two = called(&modern, tool("2", "wait", &logs)).await;
    answer(&modern, tool("3", "any", "")).await;
    assert!(timeout(SHORT, one.next()).await.is_err() && timeout(SHORT, two.next()).await.is_err());
}

#[tokio::test]
async fn a_request_of_the_servers_is_dropped() {
    let modern = modern(&shell(SCRIPT)).await;
    let mut answers = called(&modern, tool("1", "ask", "")).await;
    assert!(matches!(next(&mut answers).await, Said::Answer(_)));
}

#[tokio::test]
async fn a_subscription_hears_what_is_its_own_under_its_own_id() {
    let modern = modern(&shell(SCRIPT)).await;
    let listen = || request(r#""l""#, "subscriptions/listen", r#""notifications":{},"#, "");
    let tagged = r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}"#;
    for end in ["finish", "give_up"] {
        let mut listening = called(&modern, listen()).await;
        answer(&modern, tool("1", "change", "")).await;
        for method in
            ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"]
        {
            let Said::Note(note) = next(&mut listening).await else { panic!("a note") };
            assert_eq!((note.method_name(), note.params()), (method, Some(tagged)));
        }
        answer(&modern, tool("1", end, "")).await;
        let Said::Answer(response) = next(&mut listening).await else { panic!("the end") };
        assert_eq!(response.id_text(), Some(r#""l""#));
        let named = json::path(response.result().unwrap(), &["_meta", SUBSCRIPTION_ID]);
        assert_eq!(named, Some(r#""l""#), "{end}");
    }
}

#[tokio::test]
async fn a_caller_who_does_not_read_keeps_nobody_waiting() {
    let modern = modern(&shell(SCRIPT)).await;
    let mut flooded = called(&modern, tool("1", "flood", r#","progressToken":1"#)).await;
    assert!(answer(&modern, tool("2", "any", "")).await.result().is_some());
    let mut heard = 0;
    while timeout(SHORT, flooded.next()).await.is_ok() {
        heard += 1;
    }
    assert_eq!(heard, crate::config::limits::session::QUEUE_EVENTS);
}

#[tokio::test]
async fn a_process_that_dies_is_replaced_and_its_calls_are_told() {
    let server = shell(SCRIPT);
    let modern = modern(&server).await;
    let before = modern.discover().await.unwrap();
    let mut answers = called(&modern, tool("1", "crash", "")).await;
    let Said::Refused(refusal) = next(&mut answers).await else { panic!("a refusal") };
    assert_eq!(refusal.reason, Reason::OutcomeUnknown);
    assert_eq!(refusal.dispatched, Dispatched::Unknown);
    assert!(answer(&modern, tool("1", "any", "")).await.result().is_some());
    assert_ne!(modern.discover().await.unwrap(), before, "another process was asked");
}

#[tokio::test]
async fn time_is_limited_for_calls() {
    let server = with(SCRIPT, |config| config.call_timeout = SHORT);
    let modern = modern(&server).await;
    let mut answers = called(&modern, tool("1", "wait", "")).await;
    until("its time is up", || {
        server.upstreams().iter().for_each(|it| it.sweep(Instant::now()));
        server.upstreams().iter().all(|it| it.in_flight() == 0)
    })
    .await;
    let Said::Refused(refusal) = next(&mut answers).await else { panic!("a refusal") };
    assert_eq!(refusal.reason, Reason::BackendTimeout);
}

#[tokio::test]
async fn subscriptions_end_when_the_server_is_taken_away() {
    let server = shell(SCRIPT);
    let modern = modern(&server).await;
    let listen = request("1", "subscriptions/listen", r#""notifications":{},"#, "");
    let mut listening = called(&modern, listen).await;
    assert!(matches!(next(&mut listening).await, Said::Note(_)));
    server.retire();
    let Said::Answer(end) = next(&mut listening).await else { panic!("the end") };
    assert_eq!(end.id_text(), Some("1"));
    assert!(server.upstreams().iter().all(|it| it.in_flight() == 0));
    server.close();
    assert!(server.upstreams().is_empty());
}

#[tokio::test]
async fn legacy_servers_are_told_apart_and_ended() {
    for (what, script, is_certain) in [
        ("an error", include_str!("legacy.sh"), true),
        ("it exits", "read -r line; echo 'initialize first' >&2; exit 1", false),
        ("it exits at once", "exit 0", false),
    ] {
        let server = shell(script);
        assert!(server.modern().await.unwrap().is_none(), "{what}");
        assert!(server.modern().await.unwrap().is_none(), "{what}");
        assert_eq!(server.era(), Some("legacy"), "{what}");
        let processes = server.facts.processes.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(processes, 0, "{what}");
        let found = Modern::new(&server).probe(DEADLINE).await.unwrap();
        let Finding::Legacy(misfit) = found else { panic!("legacy: {what}") };
        assert_eq!(misfit.is_certain, is_certain, "{what}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_question_is_legacy_for_the_time_being() {
    let server = shell("cat > /dev/null");
    let found = Modern::new(&server).probe(SHORT).await.unwrap();
    let Finding::Legacy(misfit) = found else { panic!("legacy") };
    assert!(!misfit.is_certain && misfit.refusal.message.contains("server/discover"));
}

#[tokio::test]
async fn a_start_goes_on_when_whoever_came_first_is_gone() {
    let script = format!("sleep 1\n{SCRIPT}");
    let server = shell(&script);
    assert!(timeout(SHORT, server.modern()).await.is_err(), "it gives up");
    let modern = modern(&server).await;
    assert_eq!(server.starts(), 1);
    let crash = async { modern.call(tool("1", "crash", ""), None).await?.last().await };
    assert!(timeout(DEADLINE, crash).await.unwrap().is_err());
    let call = modern.call(tool("2", "any", ""), None);
    assert!(timeout(SHORT, call).await.is_err(), "it gives up");
    assert!(answer(&modern, tool("3", "any", "")).await.result().is_some());
    assert_eq!(server.starts(), 2);
}

/// A legacy server, which ignores what it does not know.
const OLD: &str = include_str!("old.sh");

#[tokio::test]
async fn a_legacy_server_whose_processes_are_all_in_use_is_known_as_one() {
    let mut config = StdioConfig::new(["sh", "-c", OLD]);
    config.max_processes = 1;
    let server = server(ServerKind::Stdio(config), |_| {});
    let owner = || Owner::Shared(Members::default());
    let open = timeout(DEADLINE, server.start(owner, &own_params())).await.unwrap();
    assert!(open.unwrap().is_some());
    let found = timeout(DEADLINE, server.modern()).await.unwrap();
    assert!(found.unwrap().is_none());
    assert_eq!(server.era(), Some("legacy"));
}

#[tokio::test]
async fn a_process_that_is_slow_to_start_is_found_out_within_its_start_timeout() {
    let server = with("cat > /dev/null", |config| config.start_timeout = SHORT);
    let found = timeout(DEADLINE / 2, server.modern()).await.expect("sooner than 10 s");
    assert!(found.unwrap().is_none());
    let limits = [(2, 2), (30, 30), (120, 30)];
    for (start_s, probe_s) in limits {
        let start = Duration::from_secs(start_s);
        let limit = with("", |config| config.start_timeout = start).probe_limit();
        assert_eq!(limit, Duration::from_secs(probe_s));
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_the_era_open() {
    let kind = ServerKind::Stdio(StdioConfig::new(["/nowhere/to/be/found"]));
    let server = server(kind, |_| {});
    let refusal = server.modern().await.unwrap_err();
    assert_eq!((refusal.reason, refusal.dispatched), (Reason::BackendUnavailable, Dispatched::No));
    assert_eq!(server.era(), None);
}

#[tokio::test]
async fn a_server_configured_as_modern_that_is_not_says_why_it_did_not_start() {
    let server = with("echo 'out of order' >&2", |config| config.era = EraChoice::Modern);
    let modern = modern(&server).await;
    let refusal = modern.call(tool("1", "any", ""), None).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.dispatched), (Reason::BackendUnavailable, Dispatched::No));
    assert!(refusal.message.contains("its last words: out of order"), "{refusal}");
}
