//! What a caller says of the trace that its request is part of (W3C Trace Context, Level 1): read
//! and written, never trusted with anything but a place in somebody's traces.

use std::fmt;
use std::sync::Arc;

use crate::config::limits::trace::STATE_BYTES;

/// The key in `_meta`, and the header, that names the trace and the caller's span.
pub const TRACEPARENT: &str = "traceparent";
/// The key in `_meta`, and the header, with what tracing systems tell each other.
pub const TRACESTATE: &str = "tracestate";

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub span_id: u64,
    /// Bit 0: whether the caller records it.
    pub flags: u8,
    /// What tracing systems tell each other, as it came.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// Reads the two values. A `tracestate` without a usable `traceparent` means nothing
    /// (W3C Trace Context §3.3), and one that is too long is left out (§3.3.1.5).
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut parts = parent.trim_matches([' ', '\t']).splitn(5, '-');
        let (version, trace_id) = (parts.next()?, parts.next()?);
        let (span_id, flags) = (parts.next()?, parts.next()?);
        let is_plain = version == "00" && parts.next().is_none();
        let version = u8::try_from(hex(version, 2)?).ok()?;
        // A later version may have more parts, and begins with these.
        if !is_plain && matches!(version, 0 | 0xff) {
            return None;
        }
        let trace_id = hex(trace_id, 32).filter(|it| *it != 0)?;
        let span_id = u64::try_from(hex(span_id, 16)?).ok().filter(|it| *it != 0)?;
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        let is_usable = |text: &&str| {
            !text.is_empty()
                && text.len() <= STATE_BYTES
                && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        };
        Some(Self { trace_id, span_id, flags, state: state.filter(is_usable).map(Arc::from) })
    }
}

impl fmt::Display for TraceContext {
    /// As `traceparent`, in the version that every reader knows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags & 1)
    }
}

/// A number of exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = text.len() == digits && text.bytes().all(is_digit);
    is_whole.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written() {
        let context = TraceContext::parse(GOOD, Some("vendor=1,other=2")).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.state.as_deref(), Some("vendor=1,other=2"));
        assert_eq!(context.flags, 1);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(TraceContext::parse(&later, None).unwrap().to_string(), GOOD);
        let longer = format!("{later}-what-ever");
        assert_eq!(TraceContext::parse(&longer, None).unwrap().to_string(), GOOD);
    }

    #[test]
    fn what_breaks_the_form_is_no_context() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b70-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1\n",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad:?}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_passed_on_is_left_out() {
        let long = "x".repeat(STATE_BYTES + 1);
        for bad in ["", "a=\n", "a=\u{2028}", &long] {
            assert_eq!(TraceContext::parse(GOOD, Some(bad)).unwrap().state, None, "{bad:?}");
        }
    }
}
