//! Each rule of the bridge from a legacy client to a modern server, by name.

mod listening;
mod model;
mod session;
mod tasks;

use wire::json::JsonLimits;
use wire::message::Message;

use super::*;
use crate::bridge::down::client::{Client, Taken};

const HELLO: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},
    "prompts":{},"resources":{"subscribe":true,"listChanged":false},"logging":{}},
    "serverInfo":{"name":"s","version":"1"}}"#;

fn client() -> Client {
    able(r#"{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#)
}

fn able(capabilities: &str) -> Client {
    let params = format!(r#"{{"clientInfo":{{"name":"c"}},"capabilities":{capabilities}}}"#);
    Client::new("gw-7", &params, ByteString::from(HELLO))
}

fn request(method: &str, params: &str) -> Request {
    Request::new(&Id::number(5), method, Some(params))
}

fn begin(client: &mut Client, request: Request) -> (Down, Request) {
    let taken = client.take(request);
    let Taken::Call(down, first) = taken else { panic!("not a call: {taken:?}") };
    (*down, first)
}

fn call() -> (Down, Request) {
    begin(&mut client(), request("tools/call", r#"{"name":"t","arguments":{"n":1.0}}"#))
}

fn answered(client: &mut Client, method: &str, params: &str) -> Response {
    let taken = client.take(request(method, params));
    let Taken::Answer(response) = taken else { panic!("not answered: {taken:?}") };
    response
}

fn code(response: &Response) -> Option<i64> {
    json::member(response.error()?, "code")?.parse().ok()
}

fn meta<'a>(request: &'a Request, key: &str) -> Option<&'a str> {
    json::member(request.meta()?, &format!("io.modelcontextprotocol/{key}"))
}

fn result(text: &str) -> Response {
    Response::success(&Id::number(5), text)
}

fn ask(inputs: &str) -> Response {
    result(&format!(
        r#"{{"resultType":"input_required","inputRequests":{inputs},"requestState":"st\u0061te"}}"#
    ))
}

fn asked(next: Next) -> Vec<Request> {
    let Next::Ask(requests) = next else { panic!("not asked: {next:?}") };
    requests
}

fn sent(next: Next) -> (Request, Duration) {
    let Next::Send(request, after) = next else { panic!("not sent: {next:?}") };
    (request, after)
}

fn over(next: Next) -> Response {
    let Next::Answer(response) = next else { panic!("not over: {next:?}") };
    assert_eq!(response.id_text(), Some("5"));
    assert!(Message::parse(response.text().clone(), &JsonLimits::default()).is_ok());
    response
}

fn note(method: &str, params: &str) -> Notification {
    Notification::new(method, Some(params))
}

const SAMPLE: &str = r#"{"method":"sampling/createMessage","params":{"maxTokens":5}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"m"}}"#;
const URL: &str =
    r#"{"method":"elicitation/create","params":{"mode":"url","message":"m","url":"https://e/"}}"#;
const ROOTS: &str = r#"{"method":"roots/list"}"#;

#[test]
fn down_a_complete_result_loses_what_only_the_modern_era_says() {
    let theirs = r#"{ "resultType":"complete","content":[ {"x":1.0} ],"ttlMs":5,
        "cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}} }"#;
    let (mut down, _) = call();
    let answer = over(down.answer(&result(theirs)));
    let left: Vec<_> = json::members(answer.result().unwrap()).collect();
    assert_eq!(left, [("content".into(), r#"[ {"x":1.0} ]"#)]);
    let other = r#"{"content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{},"x":1}}"#;
    let answer = over(down.answer(&result(other)));
    assert_eq!(answer.result(), Some(r#"{"content":[],"_meta":{"x":1}}"#));
}

#[test]
fn down_an_error_keeps_its_code() {
    for own in [-32602, -32601, -32021, -32020, 7] {
        let theirs =
            Response::failure(Some(&Id::parse("\"5/3\"").unwrap()), own, "no", Some("[1.0]"));
        let (mut down, _) = call();
        let answer = over(down.answer(&theirs));
        assert_eq!(code(&answer), Some(own));
        assert_eq!(json::member(answer.error().unwrap(), "data"), Some("[1.0]"));
    }
    let (mut down, _) = call();
    let nameless = Response::failure(None, -32600, "what?", None);
    assert_eq!(code(&over(down.answer(&nameless))), Some(-32600));
}

#[test]
fn down_an_unknown_resource_has_the_legacy_code_when_the_error_names_it() {
    let read = |data: Option<&str>| {
        let read = request("resources/read", r#"{"uri":"f:\u0061"}"#);
        let (mut down, _) = begin(&mut client(), read);
        code(&over(down.answer(&Response::failure(Some(&Id::number(5)), -32602, "no", data))))
    };
    assert_eq!(read(Some(r#"{"uri":"f:a"}"#)), Some(-32002));
    assert_eq!(read(Some(r#"{"uri":"f:b"}"#)), Some(-32602));
    assert_eq!(read(Some("{}")), Some(-32602));
    assert_eq!(read(None), Some(-32602));
    let (mut down, _) = call();
    let data = Some(r#"{"uri":"f:a"}"#);
    let of_a_tool = Response::failure(Some(&Id::number(5)), -32602, "no", data);
    assert_eq!(code(&over(down.answer(&of_a_tool))), Some(-32602));
}

#[test]
fn down_a_task_that_nobody_asked_for_is_an_error() {
    let (mut down, _) = call();
    let answer = over(down.answer(&result(r#"{"resultType":"task","taskId":"t"}"#)));
    assert_eq!(code(&answer), Some(-31008));
    assert!(answer.error().unwrap().contains("task"));
}

#[test]
fn down_input_is_asked_by_real_requests_and_collected() {
    let (mut down, _) = call();
    let inputs = format!(r#"{{"a\u0062":{SAMPLE},"b":{FORM},"c":{ROOTS}}}"#);
    let questions = asked(down.answer(&ask(&inputs)));
    let methods: Vec<_> = questions.iter().map(Request::method).collect();
    assert_eq!(
        methods,
        [Method::SamplingCreateMessage, Method::ElicitationCreate, Method::RootsList]
    );
    assert_eq!(questions[0].params(), Some(r#"{"maxTokens":5}"#));
    assert_eq!(questions[2].params(), None);
    assert!(questions.iter().all(|it| call_of(it.id()) == Some(5)));
    let said = |at: usize, text: &str| Response::success(questions[at].id(), text);
    assert_eq!(down.reply(&said(2, r#"{"roots":[]}"#)), None);
    assert_eq!(down.reply(&said(2, r#"{"roots":["twice"]}"#)), None);
    assert_eq!(down.reply(&Response::success(&Id::number(5), "{}")), None, "nobody asked");
    assert_eq!(down.reply(&said(0, r#"{"role":"assistant"}"#)), None);
    let last = down.reply(&said(1, r#"{"action":"decline"}"#));
    let (again, _) = sent(last.unwrap());
    let responses = r#"{"ab":{"role":"assistant"},"b":{"action":"decline"},"c":{"roots":[]}}"#;
    assert_eq!(json::member(again.params().unwrap(), "inputResponses"), Some(responses));
}

#[test]
fn down_the_call_is_made_again_with_the_same_params_under_another_id() {
    let (mut down, first) = call();
    let questions = asked(down.answer(&ask(&format!(r#"{{"a":{ROOTS}}}"#))));
    let last = down.reply(&Response::success(questions[0].id(), "{}"));
    let (again, after) = sent(last.unwrap());
    assert_eq!(after, Duration::ZERO);
    assert_ne!(again.id(), first.id());
    assert_eq!(again.method(), Method::ToolsCall);
    let params = again.params().unwrap();
    assert_eq!(json::member(params, "requestState"), Some(r#""st\u0061te""#), "byte for byte");
    for key in ["name", "arguments", "_meta"] {
        let before = json::member(first.params().unwrap(), key);
        assert_eq!(json::member(params, key), before, "{key}");
    }
    assert_eq!(over(down.answer(&result(r#"{"content":[]}"#))).result(), Some(r#"{"content":[]}"#));
}

#[test]
fn down_a_round_has_its_own_inputs_and_state_only() {
    let (mut down, _) = call();
    let first = asked(down.answer(&ask(&format!(r#"{{"a":{ROOTS}}}"#))));
    let (one, _) = sent(down.reply(&Response::success(first[0].id(), "{}")).unwrap());
    let stateless =
        result(&format!(r#"{{"resultType":"input_required","inputRequests":{{"b":{ROOTS}}}}}"#));
    let second = asked(down.answer(&stateless));
    assert_ne!(first[0].id(), second[0].id());
    let (two, _) = sent(down.reply(&Response::success(second[0].id(), "{}")).unwrap());
    let params = two.params().unwrap();
    assert_ne!(one.id(), two.id());
    assert_eq!(json::member(params, "inputResponses"), Some(r#"{"b":{}}"#));
    assert_eq!(json::member(params, "requestState"), None);
}

#[test]
fn down_a_state_alone_is_brought_back_after_a_growing_pause() {
    let (mut down, _) = call();
    let state =
        |n: u32| result(&format!(r#"{{"resultType":"input_required","requestState":"{n}"}}"#));
    let mut pauses = Vec::new();
    for round in 0..5 {
        let (again, after) = sent(down.answer(&state(round)));
        let params = again.params().unwrap();
        assert_eq!(json::member(params, "requestState"), Some(format!("\"{round}\"").as_str()));
        assert_eq!(json::member(params, "inputResponses"), None);
        pauses.push(after.as_millis());
    }
    assert_eq!(pauses, [50, 100, 200, 250, 250]);
    let questions = asked(down.answer(&ask(&format!(r#"{{"a":{ROOTS}}}"#))));
    down.reply(&Response::success(questions[0].id(), "{}")).unwrap();
    assert_eq!(sent(down.answer(&state(9))).1.as_millis(), 50, "something was said meanwhile");
}

#[test]
fn down_the_rounds_are_bounded() {
    let (mut down, _) = call();
    let again = r#"{"resultType":"input_required","requestState":""}"#;
    for _ in 0..10 {
        sent(down.answer(&result(again)));
    }
    let answer = over(down.answer(&result(again)));
    assert_eq!(json::member(answer.result().unwrap(), "isError"), Some("true"));
    assert!(answer.result().unwrap().contains("10 times"));
}

#[test]
fn down_an_error_of_the_client_fails_the_call() {
    let refused = |method: &str| {
        let (mut down, _) = begin(&mut client(), request(method, r#"{"name":"t","uri":"u"}"#));
        let questions = asked(down.answer(&ask(&format!(r#"{{"who":{FORM},"b":{ROOTS}}}"#))));
        let no = Response::failure(Some(questions[0].id()), -1, "User \"rejected\"", None);
        let answer = over(down.reply(&no).unwrap());
        assert_eq!(down.reply(&Response::success(questions[1].id(), "{}")), None);
        answer
    };
    let answer = refused("tools/call");
    let text = json::path(answer.result().unwrap(), &["content"]).unwrap();
    assert!(text.contains(r#"User \"rejected\""#) && text.contains("who"), "{text}");
    assert_eq!(json::member(answer.result().unwrap(), "isError"), Some("true"));
    for method in ["prompts/get", "resources/read"] {
        let answer = refused(method);
        assert_eq!(code(&answer), Some(-32603), "{method}");
        assert!(answer.error().unwrap().contains("rejected"), "{method}");
    }
}

#[test]
fn down_input_the_client_did_not_declare_fails_the_call_before_anything_is_asked() {
    for (declared, input, capability) in [
        ("{}", SAMPLE, "sampling"),
        (r#"{"sampling":{}}"#, FORM, "elicitation"),
        (r#"{"elicitation":{"form":{}}}"#, URL, "elicitation.url"),
        (r#"{"sampling":{},"elicitation":{},"roots":null}"#, ROOTS, "roots"),
    ] {
        let tool = request("tools/call", r#"{"name":"t"}"#);
        let (mut down, _) = begin(&mut able(declared), tool);
        let first = if declared.contains("sampling\":") { SAMPLE } else { input };
        let answer = over(down.answer(&ask(&format!(r#"{{"0":{first},"1":{input}}}"#))));
        let text = answer.result().unwrap();
        assert!(text.contains(&format!("\\\"{capability}\\\"")), "{text}");
        assert_eq!(json::member(text, "isError"), Some("true"));
        let (mut down, _) = begin(&mut able(declared), request("prompts/get", "{}"));
        assert_eq!(code(&over(down.answer(&ask(&format!(r#"{{"0":{input}}}"#))))), Some(-32603));
    }
}

#[test]
fn down_a_url_elicitation_gets_an_id_of_ours() {
    let (mut down, _) = call();
    let questions = asked(down.answer(&ask(&format!(r#"{{"a":{URL},"b":{URL},"c":{FORM}}}"#))));
    let id = |at: usize| {
        let params = questions.get(at).and_then(|it: &Request| it.params()).unwrap_or_default();
        json::member(params, "elicitationId").and_then(json::string).map(|it| it.to_string())
    };
    assert_eq!(id(0).as_deref(), Some("gw-7/5/1/1"));
    assert_eq!(id(1).as_deref(), Some("gw-7/5/1/2"));
    assert_eq!(id(2), None);
    let url = questions[0].params().and_then(|it| json::member(it, "url"));
    assert_eq!(url, Some("\"https://e/\""));
}

#[test]
fn down_a_server_that_breaks_the_rules_of_input_is_told_apart() {
    let many: Vec<_> = (0..65).map(|n| format!("\"{n}\":{ROOTS}")).collect();
    let many =
        format!(r#"{{"resultType":"input_required","inputRequests":{{{}}}}}"#, many.join(","));
    for broken in [
        r#"{"resultType":"input_required"}"#,
        r#"{"resultType":"input_required","inputRequests":{}}"#,
        r#"{"resultType":"input_required","inputRequests":null,"requestState":null}"#,
        r#"{"resultType":"input_required","requestState":5}"#,
        r#"{"resultType":"input_required","inputRequests":[]}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":1}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"ping"}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list",
            "params":[]}}}"#,
        r#"{"resultType":5}"#,
        many.as_str(),
    ] {
        let (mut down, _) = call();
        assert_eq!(code(&over(down.answer(&result(broken)))), Some(-31008), "{broken}");
    }
}

#[test]
fn down_only_what_belongs_to_a_call_is_said_in_its_course() {
    let (down, _) = call();
    for (method, passes) in [
        ("notifications/progress", true),
        ("notifications/message", true),
        ("notifications/x/own", true),
        ("notifications/tools/list_changed", false),
        ("notifications/resources/updated", false),
        ("notifications/cancelled", false),
        ("notifications/subscriptions/acknowledged", false),
    ] {
        let said = note(method, "{}");
        assert_eq!(down.note(said.clone()), passes.then_some(said), "{method}");
    }
}

#[test]
fn down_an_answer_leads_back_to_its_call() {
    let of = |text: &str| call_of(&Id::parse(text).unwrap());
    assert_eq!(of("\"17/1/2\""), Some(17));
    for other in ["17", "\"x/1\"", "\"\"", "\"listen/1\""] {
        assert_eq!(of(other), None, "{other}");
    }
}
