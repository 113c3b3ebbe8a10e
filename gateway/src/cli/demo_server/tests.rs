//! The demo server, driven over pipes as a client drives it.

use std::io::{BufRead, BufReader, PipeWriter};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::*;

/// How long a test waits for a line before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A client of a server that runs in a thread.
struct Client {
    input: Option<PipeWriter>,
    lines: Receiver<String>,
    server: JoinHandle<io::Result<()>>,
}

impl Client {
    fn start(tick: Duration) -> Self {
        let (server_input, input) = io::pipe().unwrap();
        let (output, server_output) = io::pipe().unwrap();
        let server = thread::spawn(move || serve(server_input, Box::new(server_output), tick));
        let (sender, lines) = sync_channel(64);
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { input: Some(input), lines, server }
    }

    /// A client that has initialized with these capabilities.
    fn ready(capabilities: &Value) -> Self {
        let mut client = Self::start(TICK);
        client.initialize("2025-11-25", capabilities);
        client
    }

    fn initialize(&mut self, revision: &str, capabilities: &Value) -> Value {
        let params = json!({"protocolVersion": revision, "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"}});
        let result = self.result("initialize", &params);
        self.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        result
    }

    fn write(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    fn send(&mut self, id: u64, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(&message.to_string());
    }

    fn call(&mut self, id: u64, tool: &str, arguments: &Value) {
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}});
        self.send(id, "tools/call", &params);
    }

    fn read(&self) -> Value {
        let line = self.lines.recv_timeout(DEADLINE).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Sends a request and reads its answer, which must be the next line.
    fn answer(&mut self, method: &str, params: &Value) -> Value {
        self.send(99, method, params);
        let answer = self.read();
        assert_eq!(answer["id"], 99, "{answer}");
        answer
    }

    fn result(&mut self, method: &str, params: &Value) -> Value {
        let mut answer = self.answer(method, params);
        answer["result"].take()
    }

    /// The text a tool answers with.
    fn text(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.result("tools/call", &json!({"name": tool, "arguments": arguments}));
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Ends the input and waits for the server, which must have nothing more to say.
    fn finish(mut self) {
        drop(self.input.take());
        self.server.join().unwrap().unwrap();
        assert_eq!(self.lines.recv_timeout(DEADLINE).ok(), None);
    }
}

#[test]
fn negotiates_every_legacy_revision_and_no_other() {
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut client = Client::start(TICK);
        let result = client.initialize(asked, &json!({}));
        assert_eq!(result["protocolVersion"], agreed);
        assert_eq!(result["serverInfo"]["name"], "demo");
        assert_eq!(result["capabilities"]["resources"]["subscribe"], true);
        assert_eq!(
            client.answer("initialize", &json!({"protocolVersion": asked}))["error"]["code"],
            -32600
        );
        client.finish();
    }
}

#[test]
fn before_initialize_there_is_only_ping() {
    let mut client = Client::start(TICK);
    assert_eq!(client.answer("tools/list", &json!({}))["error"]["code"], -32600);
    assert_eq!(client.answer("ping", &json!({}))["result"], json!({}));
    client.finish();
}

#[test]
fn faults_have_their_codes() {
    let mut client = Client::ready(&json!({}));
    for (method, params, code) in [
        ("tools/call", json!({"name": "none"}), -32602),
        ("tools/call", json!({}), -32602),
        ("tools/call", json!({"name": "echo", "arguments": [1]}), -32602),
        ("no/such", json!({}), -32601),
        ("resources/read", json!({"uri": "demo://none"}), -32002),
        ("resources/subscribe", json!({"uri": "demo://none"}), -32002),
        ("prompts/get", json!({"name": "none"}), -32602),
        ("prompts/get", json!({"name": "haiku"}), -32602),
        ("completion/complete", json!({}), -32602),
        ("logging/setLevel", json!({"level": "loud"}), -32602),
    ] {
        assert_eq!(client.answer(method, &params)["error"]["code"], code, "{method}");
    }
    client.write("{\"jsonrpc\":");
    let parse = client.read();
    assert_eq!((&parse["error"]["code"], &parse["id"]), (&json!(-32700), &Value::Null));
    client.write(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#);
    assert_eq!(client.read()["error"]["code"], -32600);
    client.write(&"x".repeat(LINE_BYTES + 2));
    assert_eq!(client.read()["error"]["code"], -32600);
    assert_eq!(client.answer("ping", &json!({}))["result"], json!({}));
    client.finish();
}

#[test]
fn simple_tools_answer() {
    let mut client = Client::ready(&json!({}));
    assert_eq!(client.result("tools/list", &json!({}))["tools"].as_array().unwrap().len(), 7);
    assert_eq!(client.text("echo", &json!({"text": "a \"b\"\n\u{1F600}"})), "a \"b\"\n\u{1F600}");
    let sum = client.result("tools/call", &json!({"name": "add", "arguments": {"a": 2, "b": 0.5}}));
    assert_eq!(sum["structuredContent"]["sum"], 2.5);
    let time = client.text("now", &json!({}));
    assert!(time.len() == 20 && time.ends_with('Z') && time.starts_with("20"), "{time}");
    let failed = client.result("tools/call", &json!({"name": "echo", "arguments": {}}));
    assert_eq!(failed["isError"], true);
    let failed =
        client.result("tools/call", &json!({"name": "countdown", "arguments": {"steps": 0}}));
    assert_eq!(failed["isError"], true);
    client.finish();
}

#[test]
fn a_countdown_reports_its_progress() {
    let mut client = Client::ready(&json!({}));
    client.call(1, "countdown", &json!({"steps": 2, "interval_ms": 1}));
    for done in 1..=2 {
        let progress = client.read();
        assert_eq!(progress["method"], "notifications/progress");
        assert_eq!(progress["params"]["progressToken"], "p");
        assert_eq!(progress["params"]["progress"], done);
        assert_eq!(client.read()["params"]["level"], "info");
    }
    assert_eq!(client.read()["result"]["content"][0]["text"], "Lift-off.");
    assert_eq!(client.result("logging/setLevel", &json!({"level": "warning"})), json!({}));
    client.call(2, "countdown", &json!({"steps": 1, "interval_ms": 0}));
    assert_eq!(client.read()["method"], "notifications/progress");
    assert_eq!(client.read()["id"], 2);
    client.finish();
}

#[test]
fn a_countdown_hears_ping_and_cancel() {
    let mut client = Client::ready(&json!({}));
    client.call(7, "countdown", &json!({"steps": 1000, "interval_ms": 60_000}));
    assert_eq!(client.answer("ping", &json!({}))["result"], json!({}));
    client.call(7, "echo", &json!({"text": "the same id"}));
    assert_eq!(client.read()["error"]["code"], -32600);
    client
        .write(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#);
    // Once the cancelled call is gone its id is free, and nothing was said about it.
    loop {
        client.call(7, "echo", &json!({"text": "free"}));
        let answer = client.read();
        if answer["error"]["code"] != -32600 {
            assert_eq!(answer["result"]["content"][0]["text"], "free");
            break;
        }
    }
    client.finish();
}

#[test]
fn the_end_of_input_ends_running_calls() {
    let mut client = Client::ready(&json!({"elicitation": {}}));
    client.call(1, "countdown", &json!({"steps": 1000, "interval_ms": 60_000}));
    client.call(2, "ask", &json!({"question": "Anybody?"}));
    assert_eq!(client.read()["method"], "elicitation/create");
    drop(client.input.take());
    client.server.join().unwrap().unwrap();
}

#[test]
fn asks_a_client_that_can_answer() {
    let mut client = Client::ready(&json!({"elicitation": {}, "sampling": {}, "roots": {}}));
    let mut round = |tool: &str, arguments: Value, method: &str, reply: Value| {
        client.call(5, tool, &arguments);
        let question = client.read();
        assert_eq!(question["method"], method);
        let mut answer = json!({"jsonrpc": "2.0", "id": question["id"]});
        answer.as_object_mut().unwrap().extend(reply.as_object().unwrap().clone());
        client.write(&answer.to_string());
        let result = client.read();
        assert_eq!(result["id"], 5);
        result["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let ask = json!({"question": "Who?"});
    let create = "elicitation/create";
    let accept = json!({"result": {"action": "accept", "content": {"answer": "Ada"}}});
    assert_eq!(round("ask", ask.clone(), create, accept), "The user answered: Ada");
    let decline = json!({"result": {"action": "decline"}});
    assert_eq!(round("ask", ask.clone(), create, decline), "The user declined to answer.");
    let error = json!({"error": {"code": -1, "message": "busy"}});
    assert_eq!(round("ask", ask, create, error), "The client answered with an error: busy");
    let said = json!({"result": {"role": "assistant", "model": "m",
        "content": {"type": "text", "text": "Yes."}}});
    let prompt = json!({"prompt": "Well?"});
    assert_eq!(round("sample", prompt, "sampling/createMessage", said), "The model said: Yes.");
    let roots = json!({"result": {"roots": [{"uri": "file:///a"}, {"uri": "file:///b"}]}});
    assert_eq!(round("roots", json!({}), "roots/list", roots), "file:///a\nfile:///b");
    client.finish();
}

#[test]
fn says_so_when_the_client_cannot() {
    let mut client = Client::ready(&json!({}));
    for (tool, arguments) in [
        ("ask", json!({"question": "Who?"})),
        ("sample", json!({"prompt": "Well?"})),
        ("roots", json!({})),
    ] {
        assert!(client.text(tool, &arguments).starts_with("Sorry, this client cannot"));
    }
    client.finish();
}

#[test]
fn a_cancelled_question_is_taken_back() {
    let mut client = Client::ready(&json!({"elicitation": {}}));
    client.call(3, "ask", &json!({"question": "Who?"}));
    let question = client.read();
    client
        .write(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    let taken_back = client.read();
    assert_eq!(taken_back["method"], "notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], question["id"]);
    client.finish();
}

#[test]
fn the_clock_ticks_for_subscribers_only() {
    let mut client = Client::start(Duration::from_millis(5));
    client.initialize("2025-11-25", &json!({}));
    let uri = json!({"uri": "demo://clock"});
    assert_eq!(client.result("resources/subscribe", &uri), json!({}));
    for _ in 0..2 {
        let tick = client.read();
        assert_eq!(tick["method"], "notifications/resources/updated");
        assert_eq!(tick["params"], uri);
    }
    client.send(9, "resources/unsubscribe", &uri);
    while client.read()["id"] != 9 {}
    let clock = client.result("resources/read", &uri);
    assert!(clock["contents"][0]["text"].as_str().unwrap().ends_with('Z'));
    client.finish();
}

#[test]
fn resources_and_prompts_answer() {
    let mut client = Client::ready(&json!({}));
    let resources = client.result("resources/list", &json!({}));
    assert_eq!(resources["resources"][1]["uri"], "demo://clock");
    let templates = client.result("resources/templates/list", &json!({}));
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "demo://greeting/{name}");
    let greeting = client.result("resources/read", &json!({"uri": "demo://greeting/Ada"}));
    assert_eq!(greeting["contents"][0]["text"], "Welcome, Ada.");
    let prompts = client.result("prompts/list", &json!({}));
    assert_eq!(prompts["prompts"][0]["name"], "haiku");
    let topic = json!({"name": "haiku", "arguments": {"topic": "rain"}});
    let prompt = client.result("prompts/get", &topic);
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("about rain"));
    let completion = json!({"ref": {"type": "ref/prompt", "name": "haiku"},
        "argument": {"name": "topic", "value": "ri"}});
    let completed = client.result("completion/complete", &completion);
    assert_eq!(completed["completion"]["values"], json!(["rivers"]));
    client.finish();
}

#[test]
fn a_batch_is_answered_by_one_array() {
    let mut client = Client::start(TICK);
    client.initialize("2025-03-26", &json!({}));
    let echo = json!({"name": "echo", "arguments": {"text": "b"}});
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": echo},
        {"id": 3},
    ]);
    client.write(&batch.to_string());
    let answers = client.read();
    let mut ids: Vec<String> =
        answers.as_array().unwrap().iter().map(|answer| answer["id"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    client.finish();
}
