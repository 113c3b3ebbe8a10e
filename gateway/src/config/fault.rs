//! A fault of the configuration: the place, what is wrong there, and what to do.

use std::fmt;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named, `--port`, or `environment variable MCP_GATEWAY_PORT`.
    pub source: String,
    /// Line and column, both counted from 1; `None` outside a file.
    pub position: Option<(usize, usize)>,
}

/// One thing that is wrong, or that is accepted and not applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong and what to do, in one sentence that holds no secret.
    pub message: String,
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl Place {
    /// A place that is not in a file.
    pub(crate) fn outside(source: impl Into<String>) -> Self {
        Self { source: source.into(), position: None }
    }
}

impl Fault {
    /// A fault at a place. Control characters of what is quoted from a file are written as escapes,
    /// so that a fault stays on its line and a terminal shows it as it is.
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        let message: String = message.into();
        if !message.contains(char::is_control) {
            return Self { place, message };
        }
        let shown = |letter: char| match letter.is_control() {
            true => letter.escape_default().to_string(),
            false => letter.to_string(),
        };
        Self { place, message: message.chars().map(shown).collect() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.iter();
        if let Some(first) = lines.next() {
            write!(f, "{first}")?;
        }
        lines.try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Place};

    #[test]
    fn what_is_quoted_cannot_disturb_a_terminal() {
        let fault = Fault::new(Place::outside("--host"), "not \"\u{1b}[2J\r\n\u{9b}é\"");
        assert_eq!(fault.to_string(), r#"--host: not "\u{1b}[2J\r\n\u{9b}é""#);
    }
}
