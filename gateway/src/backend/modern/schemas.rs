//! Which arguments of which tool an HTTP server wants repeated in headers: learnt from its
//! `tools/list` when it first matters (MCP 2026-07-28, basic/transports, "Custom Headers from Tool
//! Parameters").

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wire::json;
use wire::message::Request;
use wire::method::Method;
use wire::modern::{Annotations, Heading};
use wire::refusal::Refusal;

use crate::backend::modern::{Modern, own_params};
use crate::config::limits::list::{ITEM_BYTES, ITEMS_MAX, LIST_WAIT, PAGES_MAX};

/// The `Mcp-Param-*` headers of a request, name and value as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders(pub Vec<(String, String)>);

/// The tools of a server that have such arguments.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    kept: Mutex<Kept>,
    filling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How often it was forgotten: what was asked for before then is not kept.
    forgotten: u64,
    tools: Option<Arc<Tools>>,
}

/// By name; tools without such arguments are left out.
type Tools = BTreeMap<String, Annotations>;

impl ParamHeaders {
    /// What came under a header's name.
    pub fn heading(&self, name: &str) -> Heading<'_> {
        let named = self.0.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        Heading::of(named.map(|(_, value)| value.as_bytes()))
    }
}

impl Schemas {
    /// The tools may have changed: they are asked for again when that matters.
    pub(super) fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.forgotten += 1;
        kept.tools = None;
    }

    fn tools(&self) -> Option<Arc<Tools>> {
        self.kept.lock().tools.clone()
    }
}

impl Modern {
    /// The headers that repeat the arguments of a call. When the tools cannot be asked for there
    /// are none, and the server says whether it misses any.
    pub(super) async fn mirrored(self: &Arc<Self>, request: &Request) -> ParamHeaders {
        if request.method() != Method::ToolsCall {
            return ParamHeaders::default();
        }
        let params = request.params().unwrap_or_default();
        let name = json::member(params, "name").and_then(json::string).unwrap_or_default();
        let tools = match self.tools().await {
            Ok(tools) => tools,
            Err(refusal) => {
                let (server, error) = (&self.facts.id, &refusal.message);
                tracing::warn!(server, error, "a tool's headers could not be learnt");
                return ParamHeaders::default();
            }
        };
        let arguments = json::member(params, "arguments");
        let headers = tools.get(&*name).map(|it| it.headers(arguments)).unwrap_or_default();
        ParamHeaders(headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Whether the headers of a call say what its arguments do; what contradicts an old list may
    /// agree with the one there is.
    pub(super) async fn agree(
        self: &Arc<Self>,
        request: &Request,
        headers: &ParamHeaders,
    ) -> Result<(), Refusal> {
        let params = request.params().unwrap_or_default();
        let name = json::member(params, "name").and_then(json::string).unwrap_or_default();
        let arguments = json::member(params, "arguments");
        let was_known = self.schemas.tools().is_some();
        let check = |tools: Arc<Tools>| match tools.get(&*name) {
            Some(annotations) => annotations.check(arguments, |name| headers.heading(name)),
            None => Ok(()),
        };
        match self.tools().await.map(&check) {
            Ok(Err(_)) if was_known => {
                self.schemas.forget();
                self.tools().await.map_or(Ok(()), check)
            }
            Ok(checked) => checked,
            // The call itself will tell what is wrong with the server.
            Err(_) => Ok(()),
        }
    }

    async fn tools(self: &Arc<Self>) -> Result<Arc<Tools>, Refusal> {
        if let Some(tools) = self.schemas.tools() {
            return Ok(tools);
        }
        let _filling = self.schemas.filling.lock().await;
        if let Some(tools) = self.schemas.tools() {
            return Ok(tools);
        }
        let forgotten = self.schemas.kept.lock().forgotten;
        let tools = Arc::new(self.list_tools().await?);
        let mut kept = self.schemas.kept.lock();
        if kept.forgotten == forgotten {
            kept.tools = Some(tools.clone());
        }
        Ok(tools)
    }

    /// All pages; a server that has no such list has no such tools.
    async fn list_tools(self: &Arc<Self>) -> Result<Tools, Refusal> {
        let (mut tools, mut count, mut cursor) = (Tools::new(), 0, None::<String>);
        for _ in 0..PAGES_MAX {
            let page = cursor.as_ref().map(|cursor| format!(r#"{{"cursor":{cursor}}}"#));
            let params = own_params(page.as_deref().unwrap_or("{}"));
            let response = self.ask(Method::ToolsList, params, LIST_WAIT).await?;
            let result = response.result().unwrap_or_default();
            for tool in json::elements(json::member(result, "tools").unwrap_or("[]")) {
                count += 1;
                if tool.len() <= ITEM_BYTES {
                    self.learn(&mut tools, tool);
                }
            }
            cursor =
                json::member(result, "nextCursor").filter(|it| *it != "null").map(String::from);
            if cursor.is_none() || count >= ITEMS_MAX {
                break;
            }
        }
        Ok(tools)
    }

    fn learn(&self, tools: &mut Tools, tool: &str) {
        let name = json::member(tool, "name").and_then(json::string);
        match (name, Annotations::of_tool(tool)) {
            (Some(name), Ok(annotations)) if !annotations.is_empty() => {
                tools.insert(name.into_owned(), annotations);
            }
            (_, Ok(_)) => {}
            (_, Err(fault)) => tracing::warn!(server = self.facts.id, %fault, "no headers for it"),
        }
    }
}
