//! The demo server's tools.

use std::time::{Duration, SystemTime};

use wire::json;

use super::peer::{Ability, Answer, Call, Gone, Level};

/// Steps of a countdown at most.
const STEPS: u64 = 1000;
/// Milliseconds between two steps at most.
const INTERVAL_MS: u64 = 60_000;

/// The result of `tools/list`.
pub(super) const LIST: &str = r#"{"tools":[
{"name":"echo","title":"Echo","description":"Gives the text back.",
 "inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"add","title":"Add","description":"Adds two numbers.",
 "inputSchema":{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"number"}},
  "required":["a","b"]},
 "outputSchema":{"type":"object","properties":{"sum":{"type":"number"}},"required":["sum"]},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"now","title":"Time","description":"The current time in UTC, as RFC 3339 writes it.",
 "inputSchema":{"type":"object","properties":{}},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"countdown","title":"Countdown",
 "description":"Counts down with progress and log messages; can be cancelled while it runs.",
 "inputSchema":{"type":"object","properties":{
  "steps":{"type":"integer","minimum":1,"maximum":1000,"default":5},
  "interval_ms":{"type":"integer","minimum":0,"maximum":60000,"default":1000}}},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"ask","title":"Ask","description":"Asks the user a question (elicitation).",
 "inputSchema":{"type":"object","properties":{"question":{"type":"string"}},
  "required":["question"]}},
{"name":"sample","title":"Sample","description":"Asks the client's model (sampling).",
 "inputSchema":{"type":"object","properties":{"prompt":{"type":"string"}},
  "required":["prompt"]}},
{"name":"roots","title":"Roots","description":"Lists the folders the client has opened.",
 "inputSchema":{"type":"object","properties":{}},"annotations":{"readOnlyHint":true}}
]}"#;

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The JSON text of the result.
    Result(String),
    /// There is no such tool.
    Unknown,
    /// Nobody waits for an answer.
    Gone,
}

/// Runs a tool to its end.
pub(super) fn call(call: &Call<'_>, name: &str, arguments: &str) -> End {
    let ended = match name {
        "echo" => Ok(echo(arguments)),
        "add" => Ok(add(arguments)),
        "now" => Ok(text(&time())),
        "countdown" => countdown(call, arguments),
        "ask" => ask(call, arguments),
        "sample" => sample(call, arguments),
        "roots" => roots(call),
        _ => return End::Unknown,
    };
    ended.map_or_else(|Gone| End::Gone, End::Result)
}

/// The current time in UTC, to the second.
pub(super) fn time() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn echo(arguments: &str) -> String {
    match string(arguments, "text") {
        Some(given) => text(&given),
        None => failure("`text` must be a string."),
    }
}

fn add(arguments: &str) -> String {
    let number = |key| json::member(arguments, key).filter(|raw| is_number(raw));
    let (Some(a), Some(b)) = (number("a"), number("b")) else {
        return failure("`a` and `b` must be numbers.");
    };
    let Some(sum) = sum(a, b) else {
        return failure("The sum is too large.");
    };
    format!(
        r#"{{"content":[{{"type":"text","text":"{sum}"}}],"structuredContent":{{"sum":{sum}}}}}"#
    )
}

fn countdown(call: &Call<'_>, arguments: &str) -> Result<String, Gone> {
    let (Some(steps), Some(interval_ms)) =
        (integer(arguments, "steps", 5), integer(arguments, "interval_ms", 1000))
    else {
        return Ok(failure("`steps` and `interval_ms` must be whole numbers."));
    };
    if !(1..=STEPS).contains(&steps) || interval_ms > INTERVAL_MS {
        return Ok(failure(&format!(
            "`steps` must be 1 to {STEPS} and `interval_ms` at most {INTERVAL_MS}."
        )));
    }
    for done in 1..=steps {
        call.pause(Duration::from_millis(interval_ms))?;
        let left = format!("{} to go", steps - done);
        call.progress(done, steps, &left);
        call.peer.log(Level::Info, &left);
    }
    Ok(text("Lift-off."))
}

fn ask(call: &Call<'_>, arguments: &str) -> Result<String, Gone> {
    let Some(question) = string(arguments, "question") else {
        return Ok(failure("`question` must be a string."));
    };
    if !call.peer.is_able(Ability::Elicitation) {
        return Ok(cannot("ask its user (elicitation)"));
    }
    let params = format!(
        r#"{{"message":{},"requestedSchema":{{"type":"object","properties":{{"answer":{{
        "type":"string","title":"Answer"}}}},"required":["answer"]}}}}"#,
        json::quote(&question)
    );
    Ok(told(call.ask("elicitation/create", Some(&params))?, |result| {
        let action = string(result, "action")?;
        let answer = json::path(result, &["content", "answer"]).and_then(json::string);
        Some(match (&*action, answer) {
            ("accept", Some(answer)) => format!("The user answered: {answer}"),
            ("accept", None) => "The user answered nothing.".to_owned(),
            ("decline", _) => "The user declined to answer.".to_owned(),
            (_, _) => "The user closed the question.".to_owned(),
        })
    }))
}

fn sample(call: &Call<'_>, arguments: &str) -> Result<String, Gone> {
    let Some(prompt) = string(arguments, "prompt") else {
        return Ok(failure("`prompt` must be a string."));
    };
    if !call.peer.is_able(Ability::Sampling) {
        return Ok(cannot("lend its model (sampling)"));
    }
    let params = format!(
        r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":{}}}}}],
        "maxTokens":256}}"#,
        json::quote(&prompt)
    );
    Ok(told(call.ask("sampling/createMessage", Some(&params))?, |result| {
        let content = json::path(result, &["content", "text"]).and_then(json::string)?;
        Some(format!("The model said: {content}"))
    }))
}

fn roots(call: &Call<'_>) -> Result<String, Gone> {
    if !call.peer.is_able(Ability::Roots) {
        return Ok(cannot("list its folders (roots)"));
    }
    Ok(told(call.ask("roots/list", None)?, |result| {
        let uris: Vec<String> = json::elements(json::member(result, "roots")?)
            .filter_map(|root| Some(string(root, "uri")?.to_string()))
            .collect();
        Some(if uris.is_empty() { "The client has none.".to_owned() } else { uris.join("\n") })
    }))
}

/// What a client's answer comes to, in words.
fn told(answer: Answer, words: impl Fn(&str) -> Option<String>) -> String {
    match answer {
        Answer::Result(result) => match words(&result) {
            Some(told) => text(&told),
            None => failure("The client's answer is not one this tool can read."),
        },
        Answer::Error(error) => {
            let message = string(&error, "message").unwrap_or_default();
            failure(&format!("The client answered with an error: {message}"))
        }
        Answer::Late => failure("The client did not answer in time."),
    }
}

fn cannot(what: &str) -> String {
    failure(&format!("Sorry, this client cannot {what}. Try another tool, or another client."))
}

fn text(words: &str) -> String {
    format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, json::quote(words))
}

/// A failure the model may read and mend (2025-11-25 server/tools, "Error Handling").
fn failure(words: &str) -> String {
    let words = json::quote(words);
    format!(r#"{{"content":[{{"type":"text","text":{words}}}],"isError":true}}"#)
}

fn string<'a>(object: &'a str, key: &str) -> Option<std::borrow::Cow<'a, str>> {
    json::member(object, key).and_then(json::string)
}

fn integer(arguments: &str, key: &str, default: u64) -> Option<u64> {
    json::member(arguments, key).map_or(Some(default), |raw| raw.parse().ok())
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Whole numbers are added exactly; others as floating point, if the sum is one.
fn sum(a: &str, b: &str) -> Option<String> {
    if let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) {
        return Some((i128::from(a) + i128::from(b)).to_string());
    }
    let sum = a.parse::<f64>().ok()? + b.parse::<f64>().ok()?;
    sum.is_finite().then(|| sum.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_without_losing_digits() {
        assert_eq!(sum("9223372036854775807", "1").unwrap(), "9223372036854775808");
        assert_eq!(sum("1.5", "2").unwrap(), "3.5");
        assert_eq!(sum("1e308", "1e308"), None);
        assert!(add(r#"{"a":"1","b":2}"#).contains("must be numbers"));
        assert!(add(r#"{"a":-1,"b":2}"#).contains(r#""structuredContent":{"sum":1}"#));
    }

    #[test]
    fn the_list_is_sound_json() {
        json::check(LIST, &json::JsonLimits::default()).unwrap();
        assert_eq!(json::elements(json::member(LIST, "tools").unwrap()).count(), 7);
    }
}
