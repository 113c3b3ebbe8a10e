//! One list from many.

use bytestring::ByteString;
use wire::edit::Edit;
use wire::json;
use wire::method::Method;

/// The `_meta` key that names the servers a merged list lacks.
pub const MISSING: &str = "mcp-gateway/missing";

/// A kind of list: how it is asked for, and where its items stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

/// A server whose items a list lacks, or has only from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The server's id.
    pub server: String,
    /// Why.
    pub reason: String,
    /// Whether its last known items are in the list.
    pub from_memory: bool,
}

impl List {
    /// The list a method asks for.
    pub fn of(method: Method) -> Option<Self> {
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates]
            .into_iter()
            .find(|list| list.method() == method)
    }

    /// The method that asks for it.
    pub fn method(self) -> Method {
        match self {
            Self::Tools => Method::ToolsList,
            Self::Prompts => Method::PromptsList,
            Self::Resources => Method::ResourcesList,
            Self::Templates => Method::ResourcesTemplatesList,
        }
    }

    /// The capability of a server that has it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// The notification that it changed.
    pub fn changed(self) -> Method {
        match self {
            Self::Tools => Method::ToolsListChanged,
            Self::Prompts => Method::PromptsListChanged,
            Self::Resources | Self::Templates => Method::ResourcesListChanged,
        }
    }

    /// The member of the result that holds the items.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that tells it from others.
    pub fn item_key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The items of one page, and the cursor of the next. An empty cursor is a cursor.
    pub fn page(self, result: &ByteString) -> (Vec<ByteString>, Option<String>) {
        let array = json::member(result, self.key()).unwrap_or_default();
        let items = json::elements(array).map(|item| result.slice_ref(item)).collect();
        let cursor = json::member(result, "nextCursor").and_then(json::string);
        (items, cursor.map(std::borrow::Cow::into_owned))
    }

    /// What tells this item from others.
    pub fn name_of(self, item: &str) -> Option<String> {
        Some(json::string(json::member(item, self.item_key())?)?.into_owned())
    }

    /// The merged result.
    pub fn result(self, items: &[ByteString], missing: &[Missing]) -> String {
        let length: usize = items.iter().map(|item| item.len() + 1).sum();
        let mut text = String::with_capacity(length + 64);
        text.push_str("{\"");
        text.push_str(self.key());
        text.push_str("\":[");
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(item);
        }
        text.push(']');
        if !missing.is_empty() {
            let entries: Vec<_> = missing.iter().map(Missing::to_json).collect();
            text.push_str(&format!(r#","_meta":{{"{MISSING}":[{}]}}"#, entries.join(",")));
        }
        text.push('}');
        text
    }
}

impl Missing {
    fn to_json(&self) -> String {
        let (server, reason) = (json::quote(&self.server), json::quote(&self.reason));
        format!(r#"{{"server":{server},"reason":{reason},"fromMemory":{}}}"#, self.from_memory)
    }
}

/// An item under another name.
pub fn renamed(item: &ByteString, name: &str) -> ByteString {
    let Some(own) = json::member(item, "name") else { return item.clone() };
    if json::string(own).is_some_and(|own| own == name) {
        return item.clone();
    }
    let mut edit = Edit::of(item);
    edit.replace(own, json::quote(name));
    edit.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_taken_apart_and_put_together_unchanged() {
        let page = r#"{"x":1,"tools":[{"name":"a","x-vendor":1.0},{"name":"b"}],"nextCursor":""}"#;
        let (items, cursor) = List::Tools.page(&ByteString::from(page));
        assert_eq!(items, [r#"{"name":"a","x-vendor":1.0}"#, r#"{"name":"b"}"#]);
        assert_eq!(cursor.as_deref(), Some(""));
        let text = List::Tools.result(&items, &[]);
        assert_eq!(text, r#"{"tools":[{"name":"a","x-vendor":1.0},{"name":"b"}]}"#);
    }

    #[test]
    fn what_is_missing_is_told() {
        let missing = Missing {
            server: "git".to_owned(),
            reason: "it \"died\"".to_owned(),
            from_memory: false,
        };
        assert_eq!(
            List::Prompts.result(&[], &[missing]),
            concat!(
                r#"{"prompts":[],"_meta":{"mcp-gateway/missing":["#,
                r#"{"server":"git","reason":"it \"died\"","fromMemory":false}]}}"#
            )
        );
    }

    #[test]
    fn an_item_is_renamed_by_its_bytes_alone() {
        let item = ByteString::from_static(r#"{"description":"name", "name" : "read" }"#);
        assert_eq!(renamed(&item, "git__read"), r#"{"description":"name", "name" : "git__read" }"#);
        assert_eq!(renamed(&item, "read"), item);
    }
}
