//! The only reader of the process environment.

use std::collections::BTreeMap;

/// Where variables come from, so that a test can bring its own.
pub(crate) trait Vars {
    /// The value of a variable; `None` when it is unset or empty.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process. A value that is not UTF-8 counts as unset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Environment;

impl Vars for Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads them")]
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|it| !it.is_empty())
    }
}

impl Vars for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).filter(|it| !it.is_empty()).cloned()
    }
}
