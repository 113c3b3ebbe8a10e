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

/// Carries the call out, checking each retry.
fn carried(
    turns: &[Turn],
    ending: bool,
    refuses: Option<usize>,
    backwards: bool,
) -> (usize, usize, Ending) {
    let (mut down, first) = call();
    let mut ids = vec![first.id().clone()];
    let mut asked_ids: Vec<Id> = Vec::new();
    let mut round = 0;
    loop {
        let last = match ending {
            true => result(r#"{"resultType":"complete","done":1}"#),
            false => Response::failure(Some(first.id()), -1, "no", None),
        };
        let turn = turns.get(round);
        let mut next = down.answer(&turn.map_or(last, |turn| said(turn, round)));
        if let Next::Ask(mut questions) = next {
            let before = asked_ids.len();
            asked_ids.extend(questions.iter().map(|it| it.id().clone()));
            let mut numbers: Vec<_> = (before..asked_ids.len()).collect();
            if backwards {
                questions.reverse();
                numbers.reverse();
            }
            let mut replied = None;
            for (question, number) in questions.iter().zip(numbers) {
                assert!(replied.is_none(), "it went on before everything was said");
                let reply = if refuses == Some(number) {
                    Response::failure(Some(question.id()), -1, "no", None)
                } else {
                    Response::success(question.id(), &format!(r#"{{"said":{number}}}"#))
                };
                replied = down.reply(&reply);
                if refuses == Some(number) {
                    break;
                }
            }
            next = replied.expect("everything was said");
        }
        match next {
            Next::Send(request, _) => {
                let params = request.params().unwrap();
                let state = json::member(params, "requestState").map(ToOwned::to_owned);
                let has_state = !matches!(turn, Some(Turn::Ask(_, false)));
                assert_eq!(state, has_state.then(|| format!("\"state {round}\"")));
                let responses = json::member(params, "inputResponses").unwrap_or("{}");
                let count = match turn {
                    Some(Turn::Ask(count, _)) => usize::from(*count),
                    Some(Turn::State) | None => 0,
                };
                let base = asked_ids.len() - count;
                let keys: Vec<_> =
                    json::members(responses).map(|(k, v)| (k.to_string(), v.to_owned())).collect();
                let wanted: Vec<_> = (0..count)
                    .map(|n| (format!("k{n}"), format!(r#"{{"said":{}}}"#, base + n)))
                    .collect();
                assert_eq!(keys, wanted);
                assert!(!ids.contains(request.id()), "an id was used twice");
                ids.push(request.id().clone());
                round += 1;
            }
            Next::Ask(_) => unreachable!("questions were answered above"),
            Next::Answer(answer) => {
                let text = answer.result().unwrap_or_default();
                let end = match (json::member(text, "done"), answer.error()) {
                    (Some(_), _) => Ending::Result,
                    (None, Some(_)) => Ending::Error,
                    (None, None) if text.contains("more than 10 times") => Ending::TooOften,
                    (None, None) => Ending::Refused,
                };
                return (ids.len(), asked_ids.len(), end);
            }
        }
    }
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
