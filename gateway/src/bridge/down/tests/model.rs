//! One call against a model of it: a server that asks in rounds, and a client that answers in any
//! order or refuses.

use proptest::prelude::*;

use super::*;

/// What the server says to one request.
#[derive(Clone, Debug)]
enum Turn {
    /// So many questions, and whether a state comes along.
    Ask(u8, bool),
    /// To be asked again.
    State,
}

/// How the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Result,
    Error,
    /// It was asked too often.
    TooOften,
    /// The client refused this question, counted over all rounds.
    Refused,
}

/// What a call should come to, by counting alone: how many requests the server saw, how many
/// questions the client, and the end.
fn expected(turns: &[Turn], ending: bool, refuses: Option<usize>) -> (usize, usize, Ending) {
    let mut questions = 0;
    for (round, turn) in turns.iter().enumerate() {
        if round >= 10 {
            return (round + 1, questions, Ending::TooOften);
        }
        if let Turn::Ask(count, _) = turn {
            let before = questions;
            questions += usize::from(*count);
            if refuses.is_some_and(|at| (before..questions).contains(&at)) {
                return (round + 1, questions, Ending::Refused);
            }
        }
    }
    let end = if ending { Ending::Result } else { Ending::Error };
    (turns.len() + 1, questions, end)
}

fn said(turn: &Turn, round: usize) -> Response {
    let state = format!(r#""requestState":"state {round}""#);
    result(&match turn {
        Turn::State => format!(r#"{{"resultType":"input_required",{state}}}"#),
        Turn::Ask(count, has_state) => {
            let inputs: Vec<_> = (0..*count).map(|n| format!(r#""k{n}":{ROOTS}"#)).collect();
            let state = if *has_state { format!(",{state}") } else { String::new() };
            let inputs = inputs.join(",");
            format!(r#"{{"inputRequests":{{{inputs}}},"resultType":"input_required"{state}}}"#)
        }
    })
}

/// Answers the questions of a round, in order or backwards; what comes of the last one.
fn replied(down: &mut Down, questions: &[(usize, Request)], refuses: Option<usize>) -> Next {
    for (at, (number, question)) in questions.iter().enumerate() {
        let is_refused = refuses == Some(*number);
        let reply = match is_refused {
            true => Response::failure(Some(question.id()), -1, "no", None),
            false => Response::success(question.id(), &format!(r#"{{"said":{number}}}"#)),
        };
        let next = down.reply(&reply);
        assert_eq!(next.is_some(), is_refused || at + 1 == questions.len());
        if let Some(next) = next {
            return next;
        }
    }
    panic!("nothing was asked");
}

/// Holds a retry to what was asked for in this turn; `asked` is how much was, in all.
fn check_retry(request: &Request, turn: &Turn, round: usize, asked: usize) {
    let params = request.params().unwrap();
    let (count, has_state) = match turn {
        Turn::Ask(count, has_state) => (usize::from(*count), *has_state),
        Turn::State => (0, true),
    };
    let state = has_state.then(|| format!("\"state {round}\""));
    assert_eq!(json::member(params, "requestState"), state.as_deref());
    let responses = json::member(params, "inputResponses").unwrap_or("{}");
    let responses: Vec<_> =
        json::members(responses).map(|(key, said)| (key.to_string(), said.to_owned())).collect();
    let said = |n: usize| (format!("k{n}"), format!(r#"{{"said":{}}}"#, asked - count + n));
    assert_eq!(responses, (0..count).map(said).collect::<Vec<_>>());
}

fn ending(answer: &Response) -> Ending {
    let text = answer.result().unwrap_or_default();
    match (json::member(text, "done"), answer.error()) {
        (Some(_), _) => Ending::Result,
        (None, Some(_)) => Ending::Error,
        (None, None) if text.contains("more than 10 times") => Ending::TooOften,
        (None, None) => Ending::Refused,
    }
}

/// Carries the call out, checking each retry.
fn carried(
    turns: &[Turn],
    succeeds: bool,
    refuses: Option<usize>,
    backwards: bool,
) -> (usize, usize, Ending) {
    let (mut down, first) = call();
    let (mut ids, mut asked) = (vec![first.id().clone()], 0);
    let last = match succeeds {
        true => result(r#"{"resultType":"complete","done":1}"#),
        false => Response::failure(Some(first.id()), -1, "no", None),
    };
    for round in 0.. {
        let turn = turns.get(round);
        let said = turn.map_or_else(|| last.clone(), |turn| said(turn, round));
        let mut next = down.answer(&said);
        if let Next::Ask(questions) = next {
            let mut questions: Vec<_> = (asked..).zip(questions).collect();
            asked += questions.len();
            if backwards {
                questions.reverse();
            }
            next = replied(&mut down, &questions, refuses);
        }
        match (next, turn) {
            (Next::Send(request, _), Some(turn)) => {
                check_retry(&request, turn, round, asked);
                assert!(!ids.contains(request.id()), "an id was used twice");
                ids.push(request.id().clone());
            }
            (Next::Answer(answer), _) => return (ids.len(), asked, ending(&answer)),
            (next, _) => panic!("{next:?}"),
        }
    }
    panic!("it never ends");
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        (1..5_u8, any::<bool>()).prop_map(|(count, state)| Turn::Ask(count, state)),
        Just(Turn::State),
    ];
    prop::collection::vec(turn, 0..13)
}

proptest! {
    #[test]
    fn down_a_call_goes_as_its_model(
        turns in turns(),
        ending in any::<bool>(),
        refuses in prop::option::of(0..24_usize),
        backwards in any::<bool>(),
    ) {
        let carried = carried(&turns, ending, refuses, backwards);
        prop_assert_eq!(carried, expected(&turns, ending, refuses));
    }
}
