//! What a legacy server answers, as 2026-07-28 has it answered.

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::Response;
use wire::method::Method;
use wire::refusal::Reason;

/// The caching hints of a result nobody may keep: whether a legacy server's results hold for
/// others, or for how long, is not known (2026-07-28 server/utilities/caching).
pub(super) const NOT_CACHED: [(&str, &str); 2] = [("ttlMs", "0"), ("cacheScope", "\"private\"")];

/// "URL elicitation required" of 2025-11-25, which 2026-07-28 says with `input_required`.
const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The `data` of the error with which a server of 2025-11-25 says that the client has to send its
/// user somewhere and then make the call again; `None` for every other response.
pub(super) fn elicitations(response: &Response) -> Option<&str> {
    let error = response.error()?;
    let elicitations = json::path(error, &["data", "elicitations"])?;
    let some = json::elements(elicitations).next().is_some();
    (code(error) == Some(URL_ELICITATION_REQUIRED) && some).then_some(elicitations)
}

/// The response to the request `id` of `method`: a result is marked complete, and not to be cached
/// where the method's results can be; an error gets the code that 2026-07-28 has for it. All else
/// is the server's.
pub(super) fn translated(response: &Response, method: Method, id: &Id) -> Response {
    let Some(result) = response.result() else { return error(response, id) };
    if !json::is_object(result) {
        let message = "The server's result is not an object.";
        return Response::failure(Some(id), Reason::BackendProtocol.code(), message, None);
    }
    let mut edit = Edit::of(result);
    edit.insert_member(result, "resultType", "\"complete\"");
    if is_cacheable(method) {
        for (key, value) in NOT_CACHED {
            edit.insert_member(result, key, value);
        }
    }
    Response::success(id, &edit.finish())
}

/// The error that is left of a server's demand for URL elicitation when it cannot be met: its
/// words under a code that 2026-07-28 allows.
pub(super) fn unmet(response: &Response, id: &Id) -> Response {
    with_code(response, id, Reason::Internal.code())
}

fn error(response: &Response, id: &Id) -> Response {
    let code = response.error().and_then(code);
    if code == Some(Reason::ResourceNotFound.code()) {
        return with_code(response, id, Reason::InvalidParams.code());
    }
    if code == Some(URL_ELICITATION_REQUIRED) {
        return unmet(response, id);
    }
    if response.id().is_none() {
        return with_code(response, id, code.unwrap_or(Reason::Internal.code()));
    }
    response.with_id(id)
}

/// The same error under another code, and under the id where it came without one.
fn with_code(response: &Response, id: &Id, code: i64) -> Response {
    let error = response.error().unwrap_or("{}");
    let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
    Response::failure(Some(id), code, &message, json::member(error, "data"))
}

fn code(error: &str) -> Option<i64> {
    json::member(error, "code")?.parse().ok()
}

/// Whether a result of this method says for how long it holds (2026-07-28
/// server/utilities/caching).
fn is_cacheable(method: Method) -> bool {
    const CACHEABLE: [Method; 6] = [
        Method::ServerDiscover,
        Method::ToolsList,
        Method::PromptsList,
        Method::ResourcesList,
        Method::ResourcesTemplatesList,
        Method::ResourcesRead,
    ];
    CACHEABLE.contains(&method)
}
