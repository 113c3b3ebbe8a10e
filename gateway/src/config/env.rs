//! The only reader of the process environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Where variables come from, so that a test can bring its own.
pub trait Vars {
    /// The value of a variable; `None` when it is unset.
    fn var(&self, name: &str) -> Option<String>;
    /// Every variable: children of the gateway get a small allow-list of them.
    fn all(&self) -> BTreeMap<String, String>;
}

/// The path of the running program, for starting it again as a child.
#[must_use]
pub(crate) fn own_program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(|_| "mcp-gateway".to_owned(), |path| path.display().to_string())
}

/// The environment of this process. A value that is not UTF-8 counts as unset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

impl Vars for Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads them")]
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads them")]
    fn all(&self) -> BTreeMap<String, String> {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }
}

impl Vars for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }

    fn all(&self) -> BTreeMap<String, String> {
        self.clone()
    }
}
