//! A scripted HTTP server, and what calls to it come to.

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{EraChoice, HttpConfig, Secret};

/// What the server does with one request.
enum Play {
    Answer(String),
    /// Says this, and no more.
    Hang(String),
    HangUp,
}

/// What the server has seen.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    /// Clients that hung up while they were owed something.
    left: AtomicUsize,
}

impl Seen {
    fn methods(&self) -> Vec<String> {
        let body = |it: &String| it.split("\r\n\r\n").nth(1).map(str::to_owned);
        let requests = self.requests.lock();
        let bodies: Vec<_> = requests.iter().filter_map(body).collect();
        bodies
            .iter()
            .map(|it| json::string(json::member(it, "method").unwrap()).unwrap().into())
            .collect()
    }

    fn last(&self) -> String {
        self.requests.lock().last().cloned().unwrap_or_default()
    }

    fn count(count: &AtomicUsize) -> usize {
        count.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Reads one request; `None` when the client has hung up.
async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        if socket.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
        let Some(end) = text.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if text.len() >= end + 4 + length {
            return Some(String::from_utf8(text).unwrap());
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    seen: Arc<Seen>,
    play: impl Fn(&str, usize) -> Play + Send + Sync + 'static,
) {
    add(&seen.connections);
    while let Some(request) = read(&mut socket).await {
        let number = seen.requests.lock().len();
        seen.requests.lock().push(request.clone());
        match play(&request, number) {
            Play::Answer(text) => socket.write_all(text.as_bytes()).await.unwrap(),
            Play::Hang(text) => {
                socket.write_all(text.as_bytes()).await.unwrap();
                if read(&mut socket).await.is_none() {
                    add(&seen.left);
                }
                return;
            }
            Play::HangUp => return,
        }
    }
}

/// A server that answers each request as `play` says, which gets it with its number.
async fn script(
    play: impl Fn(&str, usize) -> Play + Clone + Send + Sync + 'static,
) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let of_server = seen.clone();
    let tasks = Tasks::new();
    tasks.clone().spawn("test-server", async move {
        loop {
            let (socket, _from) = listener.accept().await.unwrap();
            tasks.spawn("test-connection", serve(socket, of_server.clone(), play.clone()));
        }
    });
    (url, seen)
}

fn at(urls: &[&str]) -> Arc<Server> {
    with(urls, |config| config.era = EraChoice::Modern)
}

fn with(urls: &[&str], settings: impl FnOnce(&mut ServerConfig)) -> Arc<Server> {
    let headers = BTreeMap::from([("x-key".to_owned(), Secret::new("secret"))]);
    let instances = urls.iter().map(|url| (*url).to_owned()).collect();
    server(ServerKind::Http(HttpConfig { instances, headers }), settings)
}

fn http(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn result(id: &str, result: &str) -> Play {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    Play::Answer(http("200 OK", "application/json", &body))
}

fn error(status: &str, id: &str, code: i64) -> Play {
    let error = format!(r#"{{"code":{code},"message":"no"}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    Play::Answer(http(status, "application/json", &body))
}

/// An event stream of these messages; whole, or open for ever.
fn events(messages: &[&str], is_whole: bool) -> String {
    let body: String = messages.iter().map(|it| format!("data: {it}\n\n")).collect();
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let end = if is_whole { "0\r\n\r\n" } else { "" };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    format!("{head}\r\n\r\n{chunk}{end}")
}

fn code(response: &Response) -> Option<&str> {
    json::member(response.error()?, "code")
}

const NOTE: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p"}}"#;
const DONE: &str = r#"{"jsonrpc":"2.0","id":"a/1","result":{"resultType":"complete"}}"#;
const MODERN: &str = r#"{"supportedVersions":["2026-07-28"],"ttlMs":60000}"#;

#[tokio::test]
async fn the_headers_say_what_the_body_says() {
    let (url, seen) = script(|_, _| result("7", "{}")).await;
    let modern = modern(&at(&[&url])).await;
    let uri = r#""uri":"file:///Größe","#;
    let response = answer(&modern, request("7", "resources/read", uri, "")).await;
    assert_eq!(response.text(), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
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
    let given = ParamHeaders(vec![("Mcp-Param-X".to_owned(), "1".to_owned())]);
    let called = modern.call(call_of("7", "t"), Some(given)).await.unwrap().last().await;
    assert!(called.unwrap().result().is_some());
    assert!(seen.last().contains("mcp-name: t\r\n") && seen.last().contains("mcp-param-x: 1\r\n"));
}

#[tokio::test]
async fn notes_come_before_the_answer_and_the_connection_is_used_again() {
    let (url, seen) = script(|_, _| Play::Answer(events(&[NOTE, DONE], true))).await;
    let modern = modern(&at(&[&url])).await;
    for _ in 0..3 {
        let mut answers = modern.call(request(r#""a/1""#, "x/y", "", ""), None).await.unwrap();
        let Said::Note(note) = next(&mut answers).await else { panic!("a note") };
        assert_eq!(note.text(), NOTE);
        let Said::Answer(response) = next(&mut answers).await else { panic!("an answer") };
        assert_eq!(response.text(), DONE);
        assert!(answers.next().await.is_none());
    }
    assert_eq!(Seen::count(&seen.connections), 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let (url, seen) = script(|_, _| Play::Hang(events(&[NOTE], false))).await;
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
        1 => text("200 OK", r#"{"jsonrpc":"2.0","id":2,"result":{}}"#),
        2 => text("200 OK", "{"),
        3 => Play::Answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()),
        4 => Play::HangUp,
        _ => Play::Answer(events(&[NOTE], true)),
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
    let ask = r#"{"jsonrpc":"2.0","id":"a/1","method":"roots/list"}"#;
    let (url, _) = script(move |_, _| Play::Answer(events(&[ask, DONE], true))).await;
    let modern = modern(&at(&[&url])).await;
    let response = answer(&modern, request(r#""a/1""#, "x/y", "", "")).await;
    assert_eq!(response.text(), DONE);
}

#[tokio::test]
async fn silence_is_limited_except_for_subscriptions() {
    let (url, seen) = script(|_, _| Play::Hang(events(&[NOTE], false))).await;
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
async fn instances_take_turns_and_a_dead_one_is_passed_over() {
    let (one, seen) = script(|_, _| result("1", "{}")).await;
    let (two, seen_too) = script(|_, _| result("1", "{}")).await;
    let dead = dead().await;
    let modern = modern(&at(&[&one, &dead, &two])).await;
    for _ in 0..6 {
        assert!(answer(&modern, request("1", "x/y", "", "")).await.result().is_some());
    }
    assert_eq!((seen.methods().len(), seen_too.methods().len()), (2, 4));
}

/// An address nobody listens at.
async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/mcp", listener.local_addr().unwrap())
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
    let plays: [(&str, fn() -> Play, bool); 6] = [
        ("no session", || error("400 Bad Request", "null", -32000), false),
        ("not found in band", || error("200 OK", "0", -32601), false),
        ("not found", || error("404 Not Found", "0", -32601), true),
        ("another revision", || error("400 Bad Request", "0", -32022), true),
        ("a result without revisions", || result("0", "{}"), false),
        (
            "initialize first",
            || {
                Play::Answer(events(
                    &[r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"no"}}"#],
                    true,
                ))
            },
            false,
        ),
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
    let (url, seen) = script(|_, _| Play::Hang(events(&[NOTE], false))).await;
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
