//! One call, rule by rule; `random` drives it against the plain account of `model`.

mod asking;
mod model;
mod random;

use wire::json::JsonLimits;
use wire::modern::{CLIENT_CAPABILITIES, LOG_LEVEL};

use super::*;

/// Everything a client can be asked for.
const ABLE: &str = r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{}}"#;

/// A call under way, and the time.
struct Call {
    up: Up,
    now: Instant,
}

impl Call {
    /// `tools/call` under id 1 of a client that is able to do everything.
    fn begin() -> Call {
        Call::of(&tool_call(1, ABLE, "", ""))
    }

    fn of(request: &Request) -> Call {
        let (up, _) = Up::begin(request, Id::number(70), false).unwrap();
        Call { up, now: Instant::now() }
    }

    fn hear(&mut self, message: &str) -> Vec<String> {
        shown(&self.up.hear(&parse(message), self.now))
    }

    /// Lets the window pass.
    fn wait(&mut self) -> Vec<String> {
        self.now += QUESTIONS_WINDOW;
        shown(&self.up.wake(self.now))
    }

    fn retry(&mut self, request: &Request, turn: u32) -> Vec<String> {
        shown(&self.up.retry(request, turn, Id::number(71), self.now).unwrap())
    }
}

fn parse(text: &str) -> Message {
    let text = text.replacen('{', r#"{"jsonrpc":"2.0","#, 1);
    Message::parse(text.as_str(), &JsonLimits::default()).expect(&text)
}

/// A call of a tool, with more members for `params` and `_meta`.
fn tool_call(id: u64, capabilities: &str, params: &str, meta: &str) -> Request {
    request(id, "tools/call", capabilities, params, meta)
}

fn request(id: u64, method: &str, capabilities: &str, params: &str, meta: &str) -> Request {
    let key = CLIENT_CAPABILITIES;
    let params = format!("{{\"name\":\"t\"{params},\"_meta\":{{\"{key}\":{capabilities}{meta}}}}}");
    Request::new(&Id::number(id), method, Some(&params))
}

/// A retry that brings `responses`.
fn retry(id: u64, responses: &str) -> Request {
    let responses = format!(",\"requestState\":\"s\",\"inputResponses\":{responses}");
    tool_call(id, ABLE, &responses, "")
}

fn shown(says: &[Say]) -> Vec<String> {
    let message =
        |kind: &str, text: &str| format!("{kind} {}", text.replacen("\"jsonrpc\":\"2.0\",", "", 1));
    let show = |say: &Say| match say {
        Say::Note(note) => message("note", note.text()),
        Say::Answer(response) => message("answer", response.text()),
        Say::Fail(response) => message("fail", response.text()),
        Say::Reply(response) => message("reply", response.text()),
        Say::Call(request) => message("call", request.text()),
        Say::Suspend { turn, requests } => format!("suspend {turn} {requests}"),
    };
    says.iter().map(show).collect()
}

const NOTHING: [&str; 0] = [];
const ELICIT: &str = r#"{"id":"e1","method":"elicitation/create","params":{"message":"Who?",
    "requestedSchema":{"type":"object","properties":{"user_name":{"type":"string"}}}}}"#;
const SAMPLE: &str =
    r#"{"id":5,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":9}}"#;
const ROOTS: &str = r#"{"id":6,"method":"roots/list"}"#;
const DONE: &str = r#"{"id":70,"result":{"content":[]}}"#;
const ANSWER: &str = r#"answer {"id":1,"result":{"content":[],"resultType":"complete"}}"#;

#[test]
fn up_what_only_the_modern_era_knows_is_taken_out() {
    let text = r#"{"id":"a","method":"tools/call","params":{ "name":"t","inputResponses":{"k":{}},
        "arguments":{"n":1.0,"_meta":{"io.modelcontextprotocol/x":1}}, "requestState":"s",
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-a",
        "io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p"}}}"#;
    let Message::Request(request) = parse(text) else { panic!() };
    let (_, call) = Up::begin(&request, Id::number(70), false).unwrap();
    assert_eq!(
        call.text().replace("\n        ", ""),
        "{\"jsonrpc\":\"2.0\",\"id\":70,\"method\":\"tools/call\",\"params\":{ \"name\":\"t\",\
         \"arguments\":{\"n\":1.0,\"_meta\":{\"io.modelcontextprotocol/x\":1}}, \
         \"_meta\":{\"traceparent\":\"00-a\",\"progressToken\":70}}}"
    );
    let (_, call) = Up::begin(&tool_call(1, "{}", "", ""), Id::number(7), false).unwrap();
    assert_eq!(call.params(), Some(r#"{"name":"t"}"#));
}

#[test]
fn up_a_task_is_asked_for_where_it_can_be_had() {
    let text = r#"{"id":1,"method":"tools/call","params":{"name":"t","task":{"ttl":5}}}"#;
    let Message::Request(request) = parse(text) else { panic!() };
    let (_, call) = Up::begin(&request, Id::number(70), false).unwrap();
    assert_eq!(call.params(), Some(r#"{"name":"t"}"#), "the client has no say");
    let (mut up, call) = Up::begin(&request, Id::number(70), true).unwrap();
    assert_eq!(call.params(), Some(r#"{"name":"t","task":{}}"#));
    let created = parse(r#"{"id":70,"result":{"task":{"taskId":"x","status":"working"}}}"#);
    let says = up.hear(&created, Instant::now());
    let [Say::Answer(answer)] = says.as_slice() else { panic!("{says:?}") };
    let wanted = r#"{"resultType":"task","taskId":"x","status":"working","ttlMs":null}"#;
    assert_eq!(answer.result(), Some(wanted));
}

#[test]
fn up_a_result_is_complete() {
    assert_eq!(Call::begin().hear(DONE), [ANSWER]);
    let mut call = Call::of(&request(1, "resources/read", "{}", "", ""));
    let answer = call.hear(r#"{"id":70,"result":{"contents":[ 1.0 ],"resultType":"other"}}"#);
    assert_eq!(
        answer,
        ["answer {\"id\":1,\"result\":{\"contents\":[ 1.0 ],\"resultType\":\"complete\",\
          \"ttlMs\":0,\"cacheScope\":\"private\"}}"]
    );
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let mut call = Call::of(&request(1, method, "{}", "", ""));
        let answer = call.hear(r#"{"id":70,"result":{}}"#).concat();
        assert!(answer.contains(r#""ttlMs":0,"cacheScope":"private""#), "{method}: {answer}");
    }
    let answer = Call::begin().hear(r#"{"id":70,"result":7}"#).concat();
    assert!(answer.contains("-31008"), "{answer}");
}

#[test]
fn up_log_messages_are_those_the_request_wants() {
    let log = |level| {
        format!("{{\"method\":\"notifications/message\",\"params\":{{\"level\":\"{level}\"}}}}")
    };
    let wanting = |level| {
        let level = format!(",\"{LOG_LEVEL}\":\"{level}\"");
        Call::of(&tool_call(1, ABLE, "", &level))
    };
    assert_eq!(Call::begin().hear(&log("emergency")), NOTHING);
    assert_eq!(wanting("loud").hear(&log("emergency")), NOTHING);
    let mut call = wanting("warning");
    assert_eq!(call.hear(&log("notice")), NOTHING);
    assert_eq!(call.hear(&log("loud")), NOTHING);
    let heard = |level| format!("note {}", log(level));
    assert_eq!(call.hear(&log("warning")), [heard("warning")]);
    assert_eq!(call.hear(&log("alert")), [heard("alert")]);
}

#[test]
fn up_progress_goes_to_the_latest_request_under_its_token() {
    let progress = |token| {
        format!(
            "{{\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\
             \"progress\":1.0}}}}"
        )
    };
    let with_token = |token| tool_call(1, ABLE, "", &format!(",\"progressToken\":{token}"));
    let mut call = Call::of(&with_token("\"70\""));
    assert_eq!(call.hear(&progress("70")), [format!("note {}", progress("\"70\""))]);
    assert_eq!(call.hear(&progress("\"70\"")), NOTHING);
    assert_eq!(call.hear(&progress("71")), NOTHING);
    call.hear(ELICIT);
    call.wait();
    assert_eq!(call.hear(&progress("70")), NOTHING);
    call.retry(&with_token("18446744073709551615"), 1);
    let note = format!("note {}", progress("18446744073709551615"));
    assert_eq!(call.hear(&progress("70")), [note]);
    call.wait();
    call.retry(&retry(3, "{}"), 2);
    assert_eq!(call.hear(&progress("70")), NOTHING);
}

#[test]
fn up_no_other_notification_reaches_the_client() {
    for method in [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
        "notifications/elicitation/complete",
        "notifications/tasks/status",
        "notifications/vendor",
    ] {
        let log = format!(",\"{LOG_LEVEL}\":\"debug\",\"progressToken\":1");
        let mut call = Call::of(&tool_call(1, ABLE, "", &log));
        let note = format!("{{\"method\":\"{method}\",\"params\":{{\"level\":\"error\"}}}}");
        assert_eq!(call.hear(&note), NOTHING, "{method}");
    }
}

#[test]
fn up_an_answer_that_did_not_wait_is_kept_for_the_retry() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    call.wait();
    let says = call.hear(DONE);
    assert!(says.concat().starts_with("reply {\"id\":\"e1\",\"error\":{\"code\":-32600"));
    assert!(call.hear(ROOTS).concat().starts_with("reply {\"id\":6,\"error\":"));
    assert_eq!(call.retry(&retry(2, r#"{"user_name":{}}"#), 1), [ANSWER.replace("1,", "2,")]);
}

#[test]
fn up_a_turn_is_used_once() {
    let mut call = Call::begin();
    let back = retry(2, r#"{"user_name":{}}"#);
    let refused = |call: &mut Call, turn| {
        let refusal = call.up.retry(&back, turn, Id::number(71), call.now).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidParams);
        assert!(refusal.message.ends_with("call again without requestState."));
    };
    refused(&mut call, 0);
    call.hear(ELICIT);
    call.wait();
    refused(&mut call, 0);
    refused(&mut call, 2);
    assert_eq!(call.retry(&back, 1).len(), 1);
    refused(&mut call, 1);
    call.hear(DONE);
    refused(&mut call, 1);
}

#[test]
fn up_a_response_of_the_wrong_shape_is_refused_by_its_key() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    call.wait();
    for (responses, word) in [
        (r#"{"user_name":12345}"#, "\"user_name\""),
        (r#"{"other":null}"#, "\"other\""),
        ("null", "an object"),
        ("[]", "an object"),
    ] {
        let wrong = retry(2, responses);
        let refusal = call.up.retry(&wrong, 1, Id::number(71), call.now).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidParams);
        assert!(refusal.message.contains(word), "{refusal}");
        assert!(Up::begin(&wrong, Id::number(1), false).is_err());
    }
    let says = call.retry(&retry(3, r#"{"user_name":{}}"#), 1);
    assert_eq!(says, [r#"reply {"id":"e1","result":{}}"#], "the call still waits");
}

#[test]
fn up_a_call_given_up_leaves_no_question_unanswered() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    call.hear(SAMPLE);
    call.wait();
    let replies: Vec<_> = call.up.abandon().iter().map(|it| it.id().cloned()).collect();
    assert_eq!(replies, [Id::parse("\"e1\""), Id::parse("5")]);
    assert!(call.up.abandon().is_empty());
    assert!(call.hear(ROOTS).concat().starts_with("reply {\"id\":6,\"error\":"));
    assert_eq!(call.hear(DONE), NOTHING);
}

#[test]
fn up_errors_get_the_codes_of_the_modern_era() {
    let answer = |error: &str| Call::begin().hear(&format!("{{\"id\":70,\"error\":{error}}}"));
    assert_eq!(
        answer(r#"{"code":-32002,"message":"No \"x\"","data":{"uri":"x"}}"#),
        [r#"answer {"id":1,"error":{"code":-32602,"message":"No \"x\"","data":{"uri":"x"}}}"#]
    );
    let other = r#"{"code":-31999,"message":"m","data":[1.0],"more":1}"#;
    assert_eq!(answer(other), [format!("answer {{\"id\":1,\"error\":{other}}}")]);
    let nameless = Call::begin().hear(r#"{"error":{"code":-32600,"message":"m"}}"#);
    assert_eq!(nameless, [r#"answer {"id":1,"error":{"code":-32600,"message":"m"}}"#]);
    for data in ["null", "{}", r#"{"elicitations":[]}"#, r#"{"elicitations":7}"#] {
        let error = format!("{{\"code\":-32042,\"message\":\"m\",\"data\":{data}}}");
        let unmet = format!("answer {{\"id\":1,\"error\":{}}}", error.replace("-32042", "-32603"));
        assert_eq!(answer(&error), [unmet]);
    }
}

const REFUSED: &str = r#"{"id":70,"error":{"code":-32042,"message":"Go first.","data":{
    "elicitations":[{"mode":"url","elicitationId":"i","url":"https://a","message":"A"},
    {"url":"https://b","message":"B"}]}}}"#;
const BOTH_ASKED: &str = "{\"elicitation\":{\"method\":\"elicitation/create\",\"params\":\
    {\"mode\":\"url\",\"url\":\"https://a\",\"message\":\"A\"}},\"elicitation_2\":{\"method\":\
    \"elicitation/create\",\"params\":{\"url\":\"https://b\",\"message\":\"B\",\"mode\":\"url\"}}}";

#[test]
fn up_a_call_refused_until_the_user_has_been_somewhere_is_made_again() {
    let mut call = Call::begin();
    assert_eq!(call.hear(REFUSED), [format!("suspend 1 {BOTH_ASKED}")]);
    assert!(call.hear(ROOTS).concat().starts_with("reply {\"id\":6,\"error\":"));
    let first = retry(2, r#"{"elicitation":{"action":"accept"}}"#);
    assert_eq!(call.retry(&first, 1), NOTHING);
    assert!(call.wait().concat().starts_with("suspend 2 {\"elicitation_2\":"));
    let second = retry(3, r#"{"elicitation_2":{"action":"accept"}}"#);
    assert_eq!(
        call.retry(&second, 2),
        [r#"call {"id":71,"method":"tools/call","params":{"name":"t"}}"#]
    );
    assert_eq!(call.hear(&DONE.replace("70", "71")), [ANSWER.replace("1,", "3,")]);
}

#[test]
fn up_a_user_who_would_not_go_ends_the_call() {
    let mut call = Call::begin();
    call.hear(REFUSED);
    let back =
        retry(2, r#"{"elicitation":{"action":"accept"},"elicitation_2":{"action":"cancel"}}"#);
    let says = call.retry(&back, 1).concat();
    assert!(says.starts_with(r#"answer {"id":2,"error":{"code":-32603,"message":"Go first.""#));
    assert_eq!(call.hear(DONE), NOTHING);
}

#[test]
fn up_a_client_that_cannot_send_its_user_anywhere_is_told() {
    let mut call = Call::of(&tool_call(1, r#"{"elicitation":{}}"#, "", ""));
    let says = call.hear(REFUSED);
    assert!(says.concat().starts_with(r#"answer {"id":1,"error":{"code":-32021"#), "{says:?}");
    assert!(says.concat().contains(r#""requiredCapabilities":{"elicitation":{"url":{}}}"#));
    let mut list = Call::of(&request(1, "tools/list", ABLE, "", ""));
    assert!(list.hear(REFUSED).concat().contains("-32603"));
}

#[test]
fn up_input_required_carries_requests_and_state() {
    let response = input_required(&Id::number(4), r#"{"k":{}}"#, "a\"b");
    assert_eq!(
        response.text(),
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{\"resultType\":\"input_required\",\
         \"inputRequests\":{\"k\":{}},\"requestState\":\"a\\\"b\"}}"
    );
}
