//! The form of a line of the log: one line whatever is in it, none too long, and the id of the
//! request that it is about.
//!
//! What others say gets into the log here and there: a name, the words of a fault. It must not look
//! like another line, to whoever reads it and by whatever rule they split it.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::limits::gateway::{LOG_LINE_BYTES, LOG_VALUE_CHARS};
use crate::telemetry::trail::Trail;

/// A format whose lines are put in form.
#[derive(Debug)]
pub(super) struct Formed<F> {
    inner: F,
    is_json: bool,
}

impl<F> Formed<F> {
    pub(super) fn json(inner: F) -> Self {
        Self { inner, is_json: true }
    }

    pub(super) fn text(inner: F) -> Self {
        Self { inner, is_json: false }
    }
}

impl<S, N, F> FormatEvent<S, N> for Formed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Colours are for a person at a terminal; the library escapes those in values.
        if writer.has_ansi_escapes() {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        // An event that has an id of its own is known by its fields: its words may be anybody's.
        let has_own = event.metadata().fields().field("request_id").is_some();
        let id = if has_own { None } else { Trail::current_id() };
        let id = id.map(|id| id.to_string());
        let line = match self.is_json {
            true => json(line.trim_end(), id.as_deref()),
            false => text(line.trim_end(), id.as_deref()),
        };
        writer.write_str(&one_line(&line))?;
        writer.write_char('\n')
    }
}

/// A line of JSON with the id, its values cut if it would be too long.
fn json(line: &str, id: Option<&str>) -> String {
    let mut line = Cow::Borrowed(line);
    if line.len() > LOG_LINE_BYTES
        && let Ok(mut value) = serde_json::from_str(&line)
    {
        cut(&mut value);
        line = Cow::Owned(value.to_string());
    }
    match (id, line.strip_suffix('}')) {
        (Some(id), Some(open)) => format!("{open},\"request_id\":\"{id}\"}}"),
        (Some(_) | None, _) => line.into_owned(),
    }
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((at, _)) = text.char_indices().nth(LOG_VALUE_CHARS) {
                text.truncate(at);
                text.push('…');
            }
        }
        Value::Object(members) => members.values_mut().for_each(cut),
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A line of text with the id, cut if it would be too long.
fn text(line: &str, id: Option<&str>) -> String {
    let end = line.char_indices().map(|(at, _)| at).find(|at| *at >= LOG_LINE_BYTES);
    let mut line = match end.and_then(|end| line.get(..end)) {
        Some(head) => format!("{head}…"),
        None => line.to_owned(),
    };
    if let Some(id) = id {
        line.push_str(" request_id=");
        line.push_str(id);
    }
    line
}

/// Without what any reader takes for the end of a line, or a terminal for a command. In JSON only
/// strings can hold such a character, where the escape means the same.
fn one_line(line: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if !line.contains(breaks) {
        return line.into();
    }
    let mut plain = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if breaks(c) {
            plain.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            plain.push(c);
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::telemetry::trail::RequestId;

    #[test]
    fn what_is_said_in_a_line_cannot_begin_another() {
        let line = "a\nb\r\u{1b}[2J\u{85}\u{2028}c";
        let plain = one_line(line);
        assert_eq!(plain, "a\\u000ab\\u000d\\u001b[2J\\u0085\\u2028c");
        assert_eq!(one_line("plain"), "plain");
    }

    #[test]
    fn a_line_of_json_stays_one() {
        let line = serde_json::json!({"level": "INFO", "tool": "x\u{2028}".repeat(1 << 20)});
        let formed = one_line(&json(&line.to_string(), Some("the-id"))).into_owned();
        assert!(formed.len() < 2 * LOG_LINE_BYTES, "{}", formed.len());
        let read: Value = serde_json::from_str(&formed).unwrap();
        assert_eq!((&read["level"], &read["request_id"]), (&"INFO".into(), &"the-id".into()));
    }

    /// Where lines are written to.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn words_cannot_take_the_place_of_the_id() {
        let written = Written::default();
        let to = written.clone();
        let text = Formed::text(tracing_subscriber::fmt::format().with_ansi(false));
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(text)
            .with_writer(move || to.clone())
            .finish();
        let trail = Trail::new(RequestId::given("the-true-one").unwrap(), None);
        tracing::subscriber::with_default(subscriber, || {
            trail.run(|| {
                tracing::info!(tool = "x request_id=0000", "called");
                tracing::info!(request_id = "its-own", "told");
            });
        });
        let said = String::from_utf8(written.0.lock().clone()).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].ends_with(" request_id=the-true-one"), "{said}");
        assert!(lines[1].contains("its-own") && !lines[1].contains("the-true-one"), "{said}");
    }

    #[test]
    fn a_line_of_text_ends_with_the_id() {
        assert_eq!(text("a line", Some("the-id")), "a line request_id=the-id");
        let long = text(&"ü".repeat(LOG_LINE_BYTES), None);
        assert!(long.len() <= LOG_LINE_BYTES + 8 && long.ends_with('…'));
    }
}
