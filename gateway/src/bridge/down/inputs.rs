//! What a modern server asks the client for: `inputRequests`, read and checked.

use wire::json;
use wire::method::Method;

use crate::bridge::down::outcome::Failure;
use crate::config::limits::bridge::INPUTS_MAX;

/// One entry of `inputRequests`.
#[derive(Debug)]
pub(super) struct Input {
    /// Its key, as JSON text.
    pub(super) key: String,
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub(super) method: Method,
    /// As JSON text.
    pub(super) params: Option<String>,
}

/// The questions in an `input_required` result, and its `requestState` as JSON text. All are
/// checked before the client is asked any.
///
/// # Errors
/// The result breaks the rules, or asks for something the client did not declare.
pub(super) fn read(
    result: &str,
    capabilities: &str,
) -> Result<(Vec<Input>, Option<String>), Failure> {
    let present = |key: &str| json::member(result, key).filter(|value| *value != "null");
    let state = present("requestState").map(ToOwned::to_owned);
    if state.as_deref().is_some_and(|state| json::string(state).is_none()) {
        return Err(broken("a requestState that is no string"));
    }
    let requests = present("inputRequests").unwrap_or("{}");
    if !json::is_object(requests) {
        return Err(broken("inputRequests that are no object"));
    }
    let mut inputs = Vec::new();
    for (key, entry) in json::members(requests) {
        if inputs.len() >= INPUTS_MAX {
            return Err(broken(&format!("more than {INPUTS_MAX} inputRequests at once")));
        }
        inputs.push(input(&key, entry, capabilities)?);
    }
    if inputs.is_empty() && state.is_none() {
        return Err(broken("input_required with neither inputRequests nor requestState"));
    }
    Ok((inputs, state))
}

/// Whether these are the params of a URL elicitation.
pub(super) fn is_url(params: &str) -> bool {
    json::member(params, "mode").and_then(json::string).is_some_and(|mode| mode == "url")
}

fn input(key: &str, entry: &str, capabilities: &str) -> Result<Input, Failure> {
    let key = json::quote(key);
    let method = json::member(entry, "method").and_then(json::string);
    let Some(method) = method else {
        return Err(broken(&format!("the inputRequest {key} without a method")));
    };
    let params = json::member(entry, "params");
    if params.is_some_and(|params| !json::is_object(params)) {
        return Err(broken(&format!("the inputRequest {key} with params that are no object")));
    }
    let params = params.map(ToOwned::to_owned);
    let kind = Method::of(&method);
    let Some(needed) = capability(kind, params.as_deref()) else {
        let method = json::quote(&method);
        return Err(broken(&format!("the inputRequest {key} of the unknown kind {method}")));
    };
    if json::path(capabilities, needed).is_none_or(|it| it == "null") {
        let capability = needed.join(".");
        return Err(Failure::Input(format!(
            "the server asked for the input {key} ({method}), and the client did not declare the \
             capability {capability:?}"
        )));
    }
    Ok(Input { key, method: kind, params })
}

/// What a client must have declared to be asked this; `None` for what nobody is asked.
#[expect(clippy::wildcard_enum_match_arm, reason = "a client is asked three things")]
fn capability(method: Method, params: Option<&str>) -> Option<&'static [&'static str]> {
    match method {
        Method::SamplingCreateMessage => Some(&["sampling"]),
        Method::ElicitationCreate if params.is_some_and(is_url) => Some(&["elicitation", "url"]),
        Method::ElicitationCreate => Some(&["elicitation"]),
        Method::RootsList => Some(&["roots"]),
        _ => None,
    }
}

fn broken(what: &str) -> Failure {
    Failure::Protocol(format!("the server broke the protocol: it sent {what}"))
}
