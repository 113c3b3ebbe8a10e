//! Whatever is said passes byte for byte, apart from the ids, progress tokens and names that have
//! to be rewritten: through every pair of client transport and kind of server, in both directions.

mod cases;
mod links;
mod speech;
mod stage;
mod template;

use std::sync::Arc;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use cases::{Case, IDS, SPREAD, cases};
use stage::{Kind, Line, Stage};
use template::{fill, flat, numbers, on_one_line};

/// How often a call is repeated until it is answered as a JSON text: an answer that is late comes
/// on a stream.
const JSON_ATTEMPTS: u32 = 20;

/// The ways in, and how a POST on `/mcp` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    McpJson,
    McpStream,
    Sse,
    Ws,
}

impl Way {
    const ALL: [Self; 4] = [Self::McpJson, Self::McpStream, Self::Sse, Self::Ws];

    fn transport(self) -> Transport {
        match self {
            Self::McpJson | Self::McpStream => Transport::Mcp,
            Self::Sse => Transport::Sse,
            Self::Ws => Transport::Ws,
        }
    }
}

#[tokio::test]
async fn every_pair_is_transparent_on_the_endpoint_of_one_server() -> Outcome {
    every_pair(false).await
}

#[tokio::test]
async fn every_pair_is_transparent_on_the_endpoint_of_all_servers() -> Outcome {
    every_pair(true).await
}

async fn every_pair(is_aggregate: bool) -> Outcome {
    let mut tasks = JoinSet::new();
    let (mut gateway, mut stages) = (edge(), Vec::new());
    for kind in Kind::ALL {
        let (stage, config) = Stage::open(kind, &mut tasks).await?;
        gateway = gateway.server(kind.name(), config);
        stages.push((kind, stage));
    }
    let edge = gateway.start().await?;
    let edge = &edge;
    // One way after the other: a message that names nobody is passed on by a shared process only
    // while one session calls there.
    let kinds = stages.iter().map(|(kind, stage)| async move {
        let mut ran = Vec::new();
        for way in Way::ALL {
            let pair = Pair { edge, way, kind: *kind, stage: stage.clone(), is_aggregate };
            let result = Box::pin(pair.run()).await;
            result.map_err(|fault| format!("{way:?} × {kind:?}: {fault}\n{}", edge.log_tail()))?;
            ran.push((way, *kind));
        }
        Ok::<_, Fault>(ran)
    });
    let mut ran = Vec::new();
    for kind in join_all(kinds).await {
        ran.extend(kind?);
    }
    tell(&format!("{} pairs: {ran:?}", ran.len()));
    same("pairs", ran.len(), 20)
}

#[expect(clippy::print_stderr, reason = "the pairs that ran are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// One client transport in front of one kind of server.
struct Pair<'a> {
    edge: &'a Edge,
    way: Way,
    kind: Kind,
    stage: Arc<Stage>,
    is_aggregate: bool,
}

impl Pair<'_> {
    async fn run(&self) -> Outcome {
        let server = (!self.is_aggregate).then(|| self.kind.name());
        let can = json!({"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}});
        let mut client = Client::open_able(self.edge, self.way.transport(), server, can).await?;
        client.listen().await?;
        let cases = cases(&self.mark("case"), &self.stage.uri());
        for (at, case) in cases.iter().filter(|it| !self.is_aggregate || !it.is_direct).enumerate()
        {
            let result = Box::pin(self.call(&mut client, case, at)).await;
            result.map_err(|fault| format!("{}: {fault}", case.what))?;
        }
        for (at, is_error) in [false, true].into_iter().enumerate() {
            let asked = Box::pin(self.ask_in_a_call(&mut client, at, is_error)).await;
            asked.map_err(|fault| format!("a question of the server: {fault}"))?;
        }
        self.cancel(&mut client).await.map_err(|fault| format!("a cancellation: {fault}"))?;
        self.tell_server(&mut client).await.map_err(|fault| format!("a client's note: {fault}"))?;
        let unasked = Box::pin(self.say_unasked(&mut client)).await;
        unasked.map_err(|fault| format!("said unasked: {fault}").into())
    }

    fn mark(&self, what: &str) -> String {
        format!("{:?}-{}-{what}", self.way, self.kind.name())
    }

    /// What a tool or prompt is called by the client, and by its server.
    fn names(&self) -> (String, &'static str) {
        if self.is_aggregate {
            (format!("\"{}__s\\u0061me\"", self.kind.name()), "\"same\"")
        } else {
            ("\"s\\u0061me\"".to_owned(), "\"s\\u0061me\"")
        }
    }

    /// Sends a case, and compares all that arrives at either end.
    async fn call(&self, client: &mut Client, case: &Case, at: usize) -> Outcome {
        let (id, token) = (at_turn(at), at_turn(at + 3));
        let (name, own_name) = self.names();
        let is_spread = case.request.contains(SPREAD);
        self.stage.rehearse(&case.mark, case.lines(self.way != Way::McpJson));
        for attempt in 1.. {
            let gaps = [("ID", id), ("TOKEN", token), ("NAME", name.as_str())];
            client.send_text(fill(&case.request, &gaps)).await?;
            let heard = self.stage.heard(&case.mark).await?;
            let expected = fill(&case.request, &[("NAME", own_name)]);
            if is_spread {
                numbers(&on_one_line(&expected), &on_one_line(&heard))?;
            } else {
                numbers(&expected, &heard)?;
            }
            let notes = case.notes.iter().filter(|_| self.way != Way::McpJson);
            for expected in notes.chain([&case.answer]) {
                let expected = fill(expected, &gaps);
                let got = next(client, &case.mark).await?;
                if is_spread {
                    same("to the client", on_one_line(&got), on_one_line(&expected))?;
                } else {
                    same("to the client", got, expected)?;
                }
            }
            let wanted = match self.way {
                Way::McpJson => Some(false),
                Way::McpStream => Some(true),
                Way::Sse | Way::Ws => None,
            };
            if wanted.is_none_or(|wanted| client.is_streamed == wanted) {
                return Ok(());
            }
            same("answered as a stream", attempt < JSON_ATTEMPTS, self.way == Way::McpJson)?;
        }
        Ok(())
    }

    /// The server asks the client in the course of a call, hears of progress, and is answered.
    async fn ask_in_a_call(&self, client: &mut Client, at: usize, is_error: bool) -> Outcome {
        let mark = self.mark(&format!("ask-{at}."));
        let asked = question(&mark, at_turn(at + 1), at_turn(at + 4));
        let reply = format!("{mark}reply");
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":‹ID›,"result":{{"content":[],"mark":"{mark}"}}}}"#);
        let lines = vec![Line::Say(asked), Line::Hear(reply), Line::Say(answer.clone())];
        self.stage.rehearse(&mark, lines);
        let call = flat(&format!(
            r#"{{"jsonrpc":"2.0","id":"{mark}","method":"tools/call",⏎
                "params":{{"name":{},"arguments":{{"mark":"{mark}"}}}}}}"#,
            self.names().0
        ));
        client.send_text(call).await?;
        self.stage.heard(&mark).await?;
        self.answer(client, &mark, at, is_error).await?;
        let got = next(client, &mark).await?;
        same("the answer", got, fill(&answer, &[("ID", &format!("\"{mark}\""))]))
    }

    /// Takes the question with this mark, reports progress on it and answers.
    async fn answer(&self, client: &mut Client, mark: &str, at: usize, is_error: bool) -> Outcome {
        let got = next(client, mark).await?;
        let number = numbers(&question(mark, "‹ASK›", "‹ASK-TOKEN›"), &got)?;
        let number = number.get("ASK").ok_or("no number")?.to_string();
        let ours = [("ASK", number.as_str()), ("ASK-TOKEN", number.as_str())];
        let progress = flat(&format!(
            r#"{{"x":1.0,"jsonrpc":"2.0","method":"notifications/progress",⏎
                "params":{{"progress":0.10,"progressToken":‹ASK-TOKEN›,⏎
                "x":"\u0061{mark}progress"}},"y":-0}}"#
        ));
        client.send_text(fill(&progress, &ours)).await?;
        let heard = self.stage.heard(&format!("{mark}progress")).await?;
        same("progress of the client", heard, fill(&progress, &own(at)))?;
        let outcome = if is_error {
            r#""error":{"code":-1,"message":"\u0061","data":[1.0,18446744073709551615],"x":null}"#
        } else {
            r#""result":{"role":"assistant","content":{"x":1e400},"y":[-0.0,"\/"],"_meta":{}}"#
        };
        let reply = format!(
            r#"{{"x":{{"id":1}},{outcome},"id":‹ASK›,"jsonrpc":"2.0","mark":"{mark}reply"}}"#
        );
        client.send_text(fill(&reply, &ours)).await?;
        let heard = self.stage.heard(&format!("{mark}reply")).await?;
        same("the client's answer", heard, fill(&reply, &own(at)))
    }

    async fn cancel(&self, client: &mut Client) -> Outcome {
        let (mark, stop) = (self.mark("long."), self.mark("stop."));
        // It is answered all the same: a call that is left open would keep a shared process from
        // speaking to the next session.
        let answer = r#"{"jsonrpc":"2.0","id":‹ID›,"result":{}}"#.to_owned();
        self.stage.rehearse(&mark, vec![Line::Hear(stop.clone()), Line::Say(answer)]);
        let call = flat(&format!(
            r#"{{"jsonrpc":"2.0","id":"c:\u0061","method":"tools/call",⏎
                "params":{{"name":{},"arguments":{{"mark":"{mark}"}}}}}}"#,
            self.names().0
        ));
        client.send_text(call).await?;
        self.stage.heard(&mark).await?;
        let note = flat(&format!(
            r#"{{"x":1.0,"jsonrpc":"2.0","method":"notifications/cancelled",⏎
                "params":{{"x":1.0,"requestId":‹ID›,"reason":"\u0061{stop}",⏎
                "_meta":{{"a":-0}}}},"y":[1e400]}}"#
        ));
        client.send_text(fill(&note, &[("ID", "\"c:\\u0061\"")])).await?;
        let heard = self.stage.heard(&stop).await?;
        numbers(&note, &heard).map(drop)
    }

    async fn tell_server(&self, client: &mut Client) -> Outcome {
        for method in ["roots/list_changed", "example.org/own", "tasks/status"] {
            let mark = self.mark(&format!("{method}."));
            let note = flat(&format!(
                r#"{{"x":18446744073709551615,"jsonrpc":"2.0","params":{{"a":1.0,⏎
                    "b":"\u0061","_meta":{{"progressToken":9.0,"mark":"{mark}"}}}},⏎
                    "method":"notifications/{method}","y":{{ }}}}"#
            ));
            client.send_text(note.clone()).await?;
            same(method, self.stage.heard(&mark).await?, note)?;
        }
        Ok(())
    }

    /// What is said in the course of no call: a shared process may only speak of what a session has
    /// subscribed to, the others also to their own client, and ask it.
    async fn say_unasked(&self, client: &mut Client) -> Outcome {
        let mark = self.mark("subscribe.");
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":‹ID›,"result":{{"x":1.0,"mark":"{mark}"}}}}"#);
        self.stage.rehearse(&mark, vec![Line::Say(answer.clone())]);
        let uri = self.stage.uri();
        let subscribe = flat(&format!(
            r#"{{"jsonrpc":"2.0","id":‹ID›,"method":"resources/subscribe",⏎
                "params":{{"uri":"{uri}","x":"{mark}","y":1.0}}}}"#
        ));
        client.send_text(fill(&subscribe, &[("ID", "\"s\"")])).await?;
        numbers(&subscribe, &self.stage.heard(&mark).await?)?;
        let got = next(client, &mark).await?;
        same("subscribed", got, fill(&answer, &[("ID", "\"s\"")]))?;
        let all = ["resources/updated", "message", "tasks/status", "example.org/own"];
        let only_updates = self.kind == Kind::Pooled;
        for method in all.into_iter().filter(|it| !only_updates || it.starts_with("resources")) {
            let mark = self.mark(&format!("unasked-{method}."));
            let note = flat(&format!(
                r#"{{"x":18446744073709551615,"params":{{"uri":"{uri}",⏎
                    "level":"info","data":[1.0,-0,1e400],⏎
                    "_meta":{{"mark":"{mark}"}}}},"jsonrpc":"2.0",⏎
                    "method":"notifications/{method}","y":"\u0061"}}"#
            ));
            self.stage.say(note.clone()).await?;
            same(method, next(client, &mark).await?, note)?;
        }
        if only_updates {
            return Ok(());
        }
        let mark = self.mark("unasked.");
        self.stage.say(fill(&question(&mark, "‹ASK›", "‹ASK-TOKEN›"), &own(2))).await?;
        self.answer(client, &mark, 2, false).await
    }
}

/// A request of a server.
fn question(mark: &str, id: &str, token: &str) -> String {
    flat(&format!(
        r#"{{"x":1.0,"id":{id},"params":{{"messages":[],"maxTokens":1.0,⏎
            "task":{{"ttl":-0}},"_meta":{{"progressToken":{token},"mark":"{mark}",⏎
            "b":"\u0061"}}}},"method":"sampling/createMessage","jsonrpc":"2.0",⏎
            "y":[{{"id":5}}]}}"#
    ))
}

/// The id and token that a server itself gives its question.
fn own(at: usize) -> [(&'static str, &'static str); 2] {
    [("ASK", at_turn(at + 1)), ("ASK-TOKEN", at_turn(at + 4))]
}

fn at_turn(at: usize) -> &'static str {
    IDS.iter().cycle().nth(at).copied().unwrap_or("1")
}

/// The next message with this mark.
async fn next(client: &mut Client, mark: &str) -> Result<String, Fault> {
    loop {
        let text = client.text().await?;
        if text.contains(mark) {
            return Ok(text);
        }
    }
}
