//! Whether the headers of a call say what its arguments say, where the server cannot look: a legacy
//! one does not know of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use wire::json;
use wire::message::Request;
use wire::method::Method;
use wire::modern::Annotations;
use wire::refusal::Refusal;

use crate::backend::attachment::Attachment;
use crate::backend::modern::ParamHeaders;
use crate::config::limits::bridge::PARAMS_LOOK_AGAIN;
use crate::relay::gather::collect;
use crate::relay::standin::StandIn;
use crate::route::merge::List;

/// The tools of a server that want arguments in headers, as they were when its list was looked at.
#[derive(Debug)]
pub(super) struct Annotated {
    /// None: it could not be had, and nothing is known to be wanted.
    tools: Option<BTreeMap<String, Annotations>>,
    looked: Instant,
}

/// Checks the headers of a call, whose name is the server's own.
///
/// # Errors
/// `HEADER_MISMATCH`: a header is missing or says something else.
pub(super) async fn check(
    standin: &StandIn,
    attachment: &Attachment,
    request: &Request,
    headers: &ParamHeaders,
) -> Result<(), Refusal> {
    if request.method() != Method::ToolsCall {
        return Ok(());
    }
    let server = &attachment.server.config.id;
    let known = standin.annotated.lock().get(server).cloned();
    if let Some(known) = &known {
        let agreed = agree(known, request, headers);
        let is_good = agreed.is_ok() && known.tools.is_some();
        if is_good || known.looked.elapsed() < PARAMS_LOOK_AGAIN {
            return agreed;
        }
    }
    // What contradicts an old list may agree with the one there is.
    let listed = collect(&standin.conversation, attachment, List::Tools).await;
    let annotated = |item: &ByteString| {
        let annotations = Annotations::of_tool(item).ok().filter(|it| !it.is_empty())?;
        Some((json::string(json::member(item, "name")?)?.into_owned(), annotations))
    };
    let tools = listed.ok().map(|items| items.iter().filter_map(annotated).collect());
    let found = Arc::new(Annotated { tools, looked: Instant::now() });
    standin.annotated.lock().insert(server.clone(), found.clone());
    agree(&found, request, headers)
}

fn agree(known: &Annotated, request: &Request, headers: &ParamHeaders) -> Result<(), Refusal> {
    let params = request.params().unwrap_or_default();
    let name = json::member(params, "name").and_then(json::string).unwrap_or_default();
    let tools = known.tools.as_ref();
    let Some(annotations) = tools.and_then(|it| it.get(name.as_ref())) else { return Ok(()) };
    annotations.check(json::member(params, "arguments"), |name| headers.heading(name))
}
