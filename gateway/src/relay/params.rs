//! Whether the headers of a call say what its arguments say, where the server cannot look: a legacy
//! one does not know of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::json;
use wire::message::Request;
use wire::method::Method;
use wire::modern::Annotations;
use wire::refusal::Refusal;

use crate::backend::attachment::Attachment;
use crate::backend::modern::ParamHeaders;
use crate::relay::gather::collect;
use crate::relay::standin::StandIn;
use crate::route::merge::List;

/// The tools of a server that want arguments in headers.
pub(super) type Annotated = BTreeMap<String, Annotations>;

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
    if let Some(known) = known
        && agree(&known, request, headers).is_ok()
    {
        return Ok(());
    }
    // What contradicts an old list may agree with the one there is.
    let Ok(items) = collect(&standin.conversation, attachment, List::Tools).await else {
        return Ok(());
    };
    let tools = items.iter().filter_map(|item| {
        let annotations = Annotations::of_tool(item).ok().filter(|it| !it.is_empty())?;
        Some((json::string(json::member(item, "name")?)?.into_owned(), annotations))
    });
    let tools = Arc::new(tools.collect::<Annotated>());
    standin.annotated.lock().insert(server.clone(), tools.clone());
    agree(&tools, request, headers)
}

fn agree(tools: &Annotated, request: &Request, headers: &ParamHeaders) -> Result<(), Refusal> {
    let params = request.params().unwrap_or_default();
    let name = json::member(params, "name").and_then(json::string).unwrap_or_default();
    let Some(annotations) = tools.get(name.as_ref()) else { return Ok(()) };
    annotations.check(json::member(params, "arguments"), |name| headers.heading(name))
}
