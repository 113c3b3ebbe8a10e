//! What the server asks in the course of a call, and how it gets its answers.

use super::*;

#[test]
fn up_a_question_suspends_the_call_and_its_answer_resumes_it() {
    let mut call = Call::begin();
    assert_eq!(call.hear(ELICIT), NOTHING);
    assert_eq!(call.up.due(), Some(call.now + QUESTIONS_WINDOW));
    assert_eq!(shown(&call.up.wake(call.now)), NOTHING);
    let asked = "suspend 1 {\"user_name\":{\"method\":\"elicitation/create\",\"params\":\
        {\"message\":\"Who?\",\n    \"requestedSchema\":{\"type\":\"object\",\
        \"properties\":{\"user_name\":{\"type\":\"string\"}}}}}}";
    assert_eq!(call.wait(), [asked]);
    assert_eq!(call.up.due(), None);
    let back = retry(2, r#"{"user_name":{"action":"accept","content":{"name":"Ada"}}}"#);
    assert_eq!(
        call.retry(&back, 1),
        [r#"reply {"id":"e1","result":{"action":"accept","content":{"name":"Ada"}}}"#]
    );
    assert_eq!(call.hear(DONE), [ANSWER.replace("1,", "2,")]);
    assert_eq!(call.hear(DONE), NOTHING);
}

#[test]
fn up_questions_asked_at_once_go_together() {
    let mut call = Call::begin();
    for question in [ELICIT, SAMPLE, ROOTS] {
        assert_eq!(call.hear(question), NOTHING);
        call.now += QUESTIONS_WINDOW / 5;
    }
    let asked = call.wait().concat();
    let roots = r#""roots":{"method":"roots/list","params":{}}"#;
    assert!(asked.starts_with("suspend 1 {\"user_name\":") && asked.contains(roots), "{asked}");
    assert!(asked.contains(r#""sampling":{"method":"sampling/createMessage","params":{"mess"#));
    let back = retry(2, r#"{"roots":{"roots":[]},"user_name":{"action":"decline"}}"#);
    assert_eq!(
        call.retry(&back, 1),
        [
            r#"reply {"id":"e1","result":{"action":"decline"}}"#,
            r#"reply {"id":6,"result":{"roots":[]}}"#
        ]
    );
    let asked = call.wait();
    assert!(asked.concat().starts_with("suspend 2 {\"sampling\":{"), "what is missing: {asked:?}");
}

#[test]
fn up_a_question_after_the_window_waits_for_the_next_turn() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    call.wait();
    assert_eq!(call.hear(ROOTS), NOTHING);
    assert_eq!(call.wait(), NOTHING);
    assert_eq!(call.retry(&retry(2, r#"{"user_name":{}}"#), 1).len(), 1);
    let asked = r#"suspend 2 {"roots":{"method":"roots/list","params":{}}}"#;
    assert_eq!(call.wait(), [asked]);
}

#[test]
fn up_keys_never_come_twice() {
    let mut call = Call::begin();
    let plain = r#"{"id":8,"method":"elicitation/create","params":{"message":"?"}}"#;
    let many = r#"{"id":8,"method":"elicitation/create","params":{"message":"?",
        "requestedSchema":{"properties":{"a":{},"b":{}}}}}"#;
    for question in [SAMPLE, ELICIT, SAMPLE, ELICIT, plain, many, ROOTS] {
        call.hear(question);
    }
    call.wait();
    let Phase::Suspended { .. } = call.up.phase else { panic!() };
    let requests = call.up.questions.to_json();
    let keys: Vec<_> = json::members(&requests).map(|(key, _)| key.into_owned()).collect();
    assert_eq!(
        keys,
        [
            "sampling",
            "user_name",
            "sampling_2",
            "user_name_2",
            "elicitation",
            "elicitation_2",
            "roots"
        ]
    );
}

#[test]
fn up_a_call_asks_only_so_often() {
    let mut call = Call::begin();
    for _ in 0..crate::config::limits::bridge::QUESTIONS_MAX {
        assert_eq!(call.hear(ROOTS), NOTHING);
    }
    let refused = call.hear(ROOTS).concat();
    assert!(refused.contains("-31006") && refused.starts_with("reply {\"id\":6"), "{refused}");
}

#[test]
fn up_a_capability_that_is_missing_fails_the_call() {
    let url = r#"{"id":5,"method":"elicitation/create","params":{"mode":"url","url":"u"}}"#;
    let tools = r#"{"id":5,"method":"sampling/createMessage","params":{"tools":[]}}"#;
    let form = r#"{"id":5,"method":"elicitation/create","params":{"message":"?"}}"#;
    let roots = r#"{"id":5,"method":"roots/list"}"#;
    for (capabilities, question, required) in [
        ("{}", SAMPLE, r#"{"sampling":{}}"#),
        (r#"{"sampling":null}"#, SAMPLE, r#"{"sampling":{}}"#),
        (r#"{"sampling":{}}"#, tools, r#"{"sampling":{"tools":{}}}"#),
        (r#"{"sampling":{}}"#, form, r#"{"elicitation":{"form":{}}}"#),
        (r#"{"elicitation":{"url":{}}}"#, form, r#"{"elicitation":{"form":{}}}"#),
        (r#"{"elicitation":{}}"#, url, r#"{"elicitation":{"url":{}}}"#),
        ("{}", roots, r#"{"roots":{}}"#),
    ] {
        let mut call = Call::of(&tool_call(1, capabilities, "", ""));
        let says = call.hear(question);
        assert_eq!(says.len(), 2, "{says:?}");
        assert!(says[0].starts_with("reply {\"id\":5,\"error\":{\"code\":-32601"), "{says:?}");
        let data = format!("\"data\":{{\"requiredCapabilities\":{required}}}");
        assert!(says[1].starts_with("fail {\"id\":1,\"error\":{\"code\":-32021"), "{says:?}");
        assert!(says[1].contains(&data), "{says:?}");
        assert_eq!(call.hear(DONE), NOTHING);
    }
    for (capabilities, question) in [
        (r#"{"elicitation":{}}"#, form),
        (r#"{"elicitation":{"form":{}}}"#, form),
        (r#"{"elicitation":{"url":{}}}"#, url),
        (r#"{"sampling":{"tools":{}}}"#, tools),
    ] {
        assert_eq!(Call::of(&tool_call(1, capabilities, "", "")).hear(question), NOTHING);
    }
}

#[test]
fn up_what_the_client_is_able_to_do_is_what_its_latest_request_says() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    call.hear(SAMPLE);
    call.wait();
    let responses = r#","inputResponses":{"user_name":{}}"#;
    let says = call.retry(&tool_call(2, r#"{"elicitation":{}}"#, responses, ""), 1);
    assert_eq!(says[0], r#"reply {"id":"e1","result":{}}"#);
    assert!(says[1].starts_with("reply {\"id\":5,\"error\":"), "{says:?}");
    assert!(says[2].starts_with("fail {\"id\":2,\"error\":{\"code\":-32021"), "{says:?}");
}

#[test]
fn up_only_calls_that_can_wait_are_suspended() {
    for method in ["tools/list", "prompts/list", "completion/complete"] {
        let mut call = Call::of(&request(1, method, ABLE, "", ""));
        let says = call.hear(ROOTS);
        assert!(says.concat().starts_with("reply {\"id\":6,\"error\":{\"code\":-32601"));
        assert_eq!(call.up.due(), None);
        assert!(call.hear(r#"{"id":70,"result":{}}"#).concat().starts_with("answer {\"id\":1,"));
    }
    for method in ["prompts/get", "resources/read"] {
        let mut call = Call::of(&request(1, method, ABLE, "", ""));
        assert_eq!(call.hear(ELICIT), NOTHING);
        assert!(call.wait().concat().starts_with("suspend 1 "));
    }
}

#[test]
fn up_what_a_client_cannot_be_asked_is_answered_here() {
    let mut call = Call::begin();
    assert_eq!(call.hear(r#"{"id":9,"method":"ping"}"#), [r#"reply {"id":9,"result":{}}"#]);
    for method in ["tasks/get", "tasks/list", "vendor/x", "tools/list"] {
        let says = call.hear(&format!("{{\"id\":9,\"method\":\"{method}\"}}"));
        assert!(says.concat().starts_with("reply {\"id\":9,\"error\":{\"code\":-32601"));
    }
    assert_eq!(call.up.due(), None);
}

#[test]
fn up_what_only_a_session_gives_meaning_to_is_not_asked() {
    let mut call = Call::begin();
    call.hear(
        r#"{"id":1,"method":"elicitation/create","params":{"mode":"url","url":"https://x",
           "elicitationId":"7","message":"Go","_meta":{"progressToken":1}, "task":{"ttl":1}}}"#,
    );
    let asked = "suspend 1 {\"elicitation\":{\"method\":\"elicitation/create\",\
        \"params\":{\"mode\":\"url\",\"url\":\"https://x\",\n           \"message\":\"Go\"}}}";
    assert_eq!(call.wait(), [asked]);
}

#[test]
fn up_a_server_may_stop_asking() {
    let mut call = Call::begin();
    call.hear(ELICIT);
    let cancelled = r#"{"method":"notifications/cancelled","params":{"requestId":"e1"}}"#;
    assert_eq!(call.hear(cancelled), NOTHING);
    assert_eq!((call.up.due(), call.wait()), (None, Vec::new()));
    call.hear(SAMPLE);
    call.wait();
    call.hear(r#"{"method":"notifications/cancelled","params":{"requestId":5}}"#);
    assert_eq!(call.retry(&retry(2, r#"{"sampling":{}}"#), 1), NOTHING);
    assert_eq!(call.up.due(), None);
    assert_eq!(call.hear(DONE), [ANSWER.replace("1,", "2,")]);
}

#[test]
fn up_answers_brought_before_the_question_are_used_when_it_comes() {
    let early = r#","inputResponses":{"user_name":{"a":1},"unknown":{},"roots":{"roots":[]}}"#;
    let mut call = Call::of(&tool_call(1, ABLE, early, ""));
    assert_eq!(call.hear(ELICIT), [r#"reply {"id":"e1","result":{"a":1}}"#]);
    assert_eq!(call.up.due(), None);
    assert_eq!(call.hear(ELICIT), NOTHING, "an answer is used once");
    assert!(call.wait().concat().starts_with("suspend 1 {\"user_name_2\""));
    call.hear(ROOTS);
    let says = call.retry(&retry(2, "{}"), 1);
    assert_eq!(says, [r#"reply {"id":6,"result":{"roots":[]}}"#]);
    let mut wrong = Call::of(&tool_call(1, ABLE, r#","inputResponses":{"wrong_key":{}}"#, ""));
    wrong.hear(ELICIT);
    assert!(wrong.wait().concat().starts_with("suspend 1 {\"user_name\""));
}
