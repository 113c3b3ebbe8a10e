//! A modern response as a legacy one.

use bytestring::ByteString;
use wire::json;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::modern;
use wire::refusal::Reason;

/// What a response of a modern server comes to.
pub(super) enum Outcome {
    /// The answer to the client.
    Final(Response),
    /// This result, which asks for something.
    InputRequired(ByteString),
}

/// Why a call failed that the server did not answer with an error.
#[derive(Debug)]
pub(super) enum Failure {
    /// What it needs could not be had of the client.
    Input(String),
    /// The server broke the protocol.
    Protocol(String),
}

/// Reads the answer to `request`, under whatever id it came.
pub(super) fn read(response: &Response, request: &Request) -> Outcome {
    let Some(result) = response.result() else {
        return Outcome::Final(error(response, request));
    };
    let kind =
        json::member(result, "resultType").map(|kind| json::string(kind).unwrap_or_default());
    match kind.as_deref() {
        // A server of an earlier revision says none (2026-07-28 basic, "Result types").
        None | Some("complete") => {
            Outcome::Final(Response::success(request.id(), &modern::strip(result)))
        }
        Some("input_required") => Outcome::InputRequired(response.text().slice_ref(result)),
        Some(other) => {
            let what = format!(
                "the server broke the protocol: it answered with the result type {}, which \
                 nobody declared to understand",
                json::quote(other)
            );
            Outcome::Final(fail(request, &Failure::Protocol(what)))
        }
    }
}

/// The client's answer for a call that failed: a result that says so of a tool, as models read
/// those, and an error of anything else. A server's fault is always an error.
pub(super) fn fail(request: &Request, failure: &Failure) -> Response {
    match failure {
        Failure::Input(what) if request.method() == Method::ToolsCall => {
            let text = json::quote(what);
            let content = format!(r#"{{"type":"text","text":{text}}}"#);
            let result = format!(r#"{{"content":[{content}],"isError":true}}"#);
            Response::success(request.id(), &result)
        }
        Failure::Input(what) => {
            Response::failure(Some(request.id()), Reason::Internal.code(), what, None)
        }
        Failure::Protocol(what) => {
            Response::failure(Some(request.id()), Reason::BackendProtocol.code(), what, None)
        }
    }
}

/// An error of the server's. That a resource does not exist has a code of its own in the legacy
/// revisions, and in 2026-07-28 shows in the URI that the error names (server/resources, "Error
/// handling").
fn error(response: &Response, request: &Request) -> Response {
    let error = response.error().unwrap_or_default();
    let code = json::member(error, "code").and_then(|code| code.parse().ok());
    let uri =
        |object: Option<&str>| Some(json::string(json::member(object?, "uri")?)?.into_owned());
    let named = uri(json::member(error, "data"));
    let is_unknown = request.method() == Method::ResourcesRead
        && code == Some(Reason::InvalidParams.code())
        && named.is_some()
        && named == uri(request.params());
    if !is_unknown && response.id().is_some() {
        return response.with_id(request.id());
    }
    // An error without an id stands in answer to this request all the same.
    let own = code.unwrap_or(Reason::Internal.code());
    let code = if is_unknown { Reason::ResourceNotFound.code() } else { own };
    let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
    Response::failure(Some(request.id()), code, &message, json::member(error, "data"))
}
