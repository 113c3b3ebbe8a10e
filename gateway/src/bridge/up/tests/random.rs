//! Random calls, the machine beside the model.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Model, Seen, Server, UNABLE};
use super::*;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Withdraw(usize),
    Progress,
    Log,
    Answer,
    Refuse(usize),
    Pass(u64),
    Retry(Retry),
}

/// A client that comes back.
#[derive(Debug, Clone, Copy)]
struct Retry {
    /// Which of the open questions it answers, by their bits, from the oldest on.
    answers: u8,
    able: bool,
    token: bool,
    declines: bool,
    /// Whether it comes back to a turn that is past.
    stale: bool,
}

const KINDS: [(&str, &str, &str); 5] = [
    ("name", "elicitation/create", r#"{"requestedSchema":{"properties":{"name":{}}}}"#),
    ("color", "elicitation/create", r#"{"requestedSchema":{"properties":{"color":{}}}}"#),
    ("elicitation", "elicitation/create", "{}"),
    ("sampling", "sampling/createMessage", "{}"),
    ("roots", "roots/list", "{}"),
];

/// The machine, the model, and what was counted.
struct Run {
    up: Up,
    model: Model,
    /// How often each of the server's requests was answered.
    replies: BTreeMap<u64, u32>,
    withdrawn: BTreeSet<u64>,
    /// How often each of the client's requests was answered, refusals counted.
    responses: BTreeMap<u64, u32>,
    ends: u32,
    last_id: u64,
    last_asked: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let flag = any::<bool>();
    let rarely = || proptest::bool::weighted(0.1);
    prop_oneof![
        6 => (0..KINDS.len()).prop_map(Step::Ask),
        1 => (0_usize..4).prop_map(Step::Withdraw),
        1 => Just(Step::Progress),
        1 => Just(Step::Log),
        1 => Just(Step::Answer),
        1 => (1_usize..3).prop_map(Step::Refuse),
        4 => (1_u64..40).prop_map(Step::Pass),
        6 => (any::<u8>(), proptest::bool::weighted(0.9), flag, rarely(), rarely()).prop_map(
            |(answers, able, token, declines, stale)| {
                Step::Retry(Retry { answers, able, token, declines, stale })
            }
        ),
    ]
}

fn seen(say: &Say) -> Seen {
    let id = |response: &Response| response.id().and_then(Id::as_u64).unwrap();
    let code = |response: &Response| match response.error() {
        Some(error) => json::member(error, "code").unwrap().parse().unwrap(),
        None => 0,
    };
    match say {
        Say::Note(note) if note.method() == Method::Progress => {
            let token = json::member(note.params().unwrap(), "progressToken").unwrap();
            Seen::Progress { token: token.parse().unwrap() }
        }
        Say::Note(_) => Seen::Log,
        Say::Answer(response) => Seen::Answer { id: id(response), code: code(response) },
        Say::Fail(response) => {
            assert_eq!(code(response), UNABLE);
            Seen::Fail { id: id(response) }
        }
        Say::Suspend { turn, requests } => {
            let keys = json::members(requests).map(|(key, _)| key.into_owned()).collect();
            Seen::Suspend { turn: *turn, keys }
        }
        Say::Reply(response) => {
            let key = response.result().and_then(|result| json::member(result, "for"));
            let answer = key.and_then(json::string).map(|key| key.into_owned());
            Seen::Reply { id: id(response), answer }
        }
        Say::Call(request) => Seen::Call { id: request.id().as_u64().unwrap() },
    }
}

/// What a request of the client's with this id brings along.
fn brought(id: u64, keys: &[String], able: bool, token: bool, declines: bool) -> Request {
    let action = if declines { "decline" } else { "accept" };
    let response = |key: &String| {
        let key = json::quote(key);
        format!("{key}:{{\"for\":{key},\"action\":\"{action}\"}}")
    };
    let responses: Vec<_> = keys.iter().map(response).collect();
    let responses = format!(",\"inputResponses\":{{{}}}", responses.join(","));
    let mut meta = if token { format!(",\"progressToken\":{id}") } else { String::new() };
    if token {
        meta.push_str(",\"io.modelcontextprotocol/logLevel\":\"info\"");
    }
    tool_call(id, if able { ABLE } else { "{}" }, &responses, &meta)
}

impl Run {
    fn begin(early: &[&str], able: bool) -> Run {
        let keys: Vec<_> = early.iter().map(|&key| key.to_owned()).collect();
        let (up, _) =
            Up::begin(&brought(1000, &keys, able, true, false), Id::number(1), false).unwrap();
        let model = Model::begin(1000, able, keys.into_iter().collect());
        let (replies, responses) = (BTreeMap::new(), BTreeMap::from([(1000, 0)]));
        Run {
            up,
            model,
            replies,
            withdrawn: BTreeSet::new(),
            responses,
            ends: 0,
            last_id: 1000,
            last_asked: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        let (expected, said) = match *step {
            Step::Ask(kind) => {
                let (base, method, params) = KINDS[kind];
                self.last_asked += 1;
                let id = self.last_asked;
                self.replies.insert(id, 0);
                let text = format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}");
                (self.model.ask(id, base), self.hear(&text))
            }
            Step::Withdraw(at) => {
                let open: Vec<_> = self.model.open.iter().filter_map(|(id, _)| *id).collect();
                let Some(id) = open.get(at).copied() else { return };
                self.withdrawn.insert(id);
                let text = format!(
                    "{{\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
                );
                (self.model.withdraw(id), self.hear(&text))
            }
            Step::Progress => {
                let text = format!(
                    "{{\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{}}}}}",
                    self.model.call
                );
                let heard = self.model.listening.filter(|_| self.model.token);
                let expected = heard.map(|token| Seen::Progress { token });
                (expected.into_iter().collect(), self.hear(&text))
            }
            Step::Log => {
                let text = r#"{"method":"notifications/message","params":{"level":"error"}}"#;
                let heard = self.model.listening.filter(|_| self.model.token);
                (heard.map(|_| Seen::Log).into_iter().collect(), self.hear(text))
            }
            Step::Answer => {
                let text = format!("{{\"id\":{},\"result\":{{}}}}", self.model.call);
                (self.model.answer(Server::Answered), self.hear(&text))
            }
            Step::Refuse(count) => {
                let urls = vec!["{\"url\":\"u\"}"; count].join(",");
                let text = format!(
                    "{{\"id\":{},\"error\":{{\"code\":-32042,\"message\":\"\",\
                     \"data\":{{\"elicitations\":[{urls}]}}}}}}",
                    self.model.call
                );
                (self.model.answer(Server::Refused(count)), self.hear(&text))
            }
            Step::Pass(milliseconds) => {
                self.model.now += Duration::from_millis(milliseconds);
                let said = self.up.wake(self.model.now);
                (self.model.pass(), said)
            }
            Step::Retry(retry) => match self.retry(retry) {
                Some(pair) => pair,
                None => return,
            },
        };
        let said: Vec<_> = said.iter().map(seen).collect();
        assert_eq!(said, expected, "{step:?} {:#?}", self.model);
        assert_eq!(self.up.due(), self.model.window_ends.filter(|_| !self.model.is_over));
        said.iter().for_each(|seen| self.count(seen));
    }

    fn hear(&mut self, text: &str) -> Vec<Say> {
        self.up.hear(&parse(text), self.model.now)
    }

    /// What has to be said and what is; `None` when the retry is refused, as it has to be.
    fn retry(&mut self, retry: Retry) -> Option<(Vec<Seen>, Vec<Say>)> {
        let Retry { answers, able, token, declines, stale } = retry;
        self.last_id += 1;
        let id = self.last_id;
        let is_answered = |at: usize| answers >> at.min(7) & 1 == 1;
        let open = self.model.open.iter().enumerate();
        let mut keys: Vec<_> =
            open.filter(|(at, _)| is_answered(*at)).map(|(_, (_, key))| key.clone()).collect();
        keys.push("unknown".to_owned());
        let request = brought(id, &keys, able, token, declines);
        let turn = self.model.turn - u32::from(stale && self.model.turn > 0);
        let fresh = Id::number(self.model.call + 1);
        let said = self.up.retry(&request, turn, fresh, self.model.now);
        self.responses.insert(id, 0);
        let before = (self.model.able, self.model.token);
        (self.model.able, self.model.token) = (able, token);
        let Some(expected) = self.model.retry(id, turn, &keys, declines) else {
            assert!(said.is_err());
            (self.model.able, self.model.token) = before;
            self.responses.insert(id, 1);
            return None;
        };
        Some((expected, said.unwrap()))
    }

    /// Counts what went where. A suspension answers the latest request that has no answer.
    fn count(&mut self, seen: &Seen) {
        match seen {
            Seen::Reply { id, .. } => *self.replies.entry(*id).or_default() += 1,
            Seen::Answer { id, .. } | Seen::Fail { id } => {
                self.ends += 1;
                *self.responses.entry(*id).or_default() += 1;
            }
            Seen::Suspend { .. } => {
                let waiting = self.responses.values_mut().rev().find(|count| **count == 0);
                *waiting.expect("a suspension answers a request") += 1;
            }
            Seen::Progress { .. } | Seen::Log | Seen::Call { .. } => {}
        }
    }

    /// Lets everybody do their part until the client has its answer, and takes stock.
    fn finish(mut self) {
        for _ in 0..50 {
            self.step(&Step::Pass(40));
            let (able, token, declines, stale) = (true, true, false, false);
            self.step(&Step::Retry(Retry { answers: 255, able, token, declines, stale }));
            self.step(&Step::Answer);
        }
        assert_eq!(self.ends, 1, "exactly one answer");
        for (id, count) in self.replies {
            let due = u32::from(!self.withdrawn.contains(&id));
            assert_eq!(count, due, "the server's request {id}");
        }
        for (id, count) in self.responses {
            assert_eq!(count, 1, "the client's request {id}");
        }
    }
}

proptest! {
    #[test]
    fn up_whatever_happens_everybody_gets_their_answer_once(
        early in proptest::sample::subsequence(vec!["name", "color_2", "roots", "sampling"], 0..=4),
        able in proptest::bool::weighted(0.9),
        steps in vec(step(), 0..60),
    ) {
        let mut run = Run::begin(&early, able);
        steps.iter().for_each(|step| run.step(step));
        run.finish();
    }
}
