//! The ids of events, and what a client sends back as `Last-Event-ID`.
//!
//! On `/mcp` an id is `<stream>-<epoch>-<seq>`, and a header of its own names the session. A
//! browser's `EventSource` has only the id to come back with, so that on `/sse` the session's id is
//! part of it, and likewise in the marks of a `/ws` that can be resumed:
//! `<stream>-<epoch>-<seq>.<session>`. Who guesses the first part alone has nothing.

use std::fmt::Write as _;

use crate::session::Transport;
use crate::session::id::SessionId;
use crate::session::outlet::Reader;
use crate::session::replay::EventId;

/// Writes the ids of one stream: between two of them only the number changes.
pub(super) struct Marks {
    text: String,
    /// Where the number begins.
    number_at: usize,
    /// What follows the number.
    tail: String,
}

/// A place in a session's stream: what was said up to here has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) event: EventId,
    pub(super) session: SessionId,
}

impl Marks {
    /// Those of the stream that is read.
    pub(super) fn of(reader: &Reader) -> Self {
        let session = reader.session();
        let mut text = session.event_id(reader.stream(), 0).to_string();
        text.pop();
        let tail = match session.transport {
            Transport::Sse | Transport::WebSocket => format!(".{}", session.id.as_str()),
            Transport::Streamable | Transport::StandIn => String::new(),
        };
        Self { number_at: text.len(), text, tail }
    }

    /// The id of the event at `seq`.
    pub(super) fn at(&mut self, seq: u64) -> &str {
        self.text.truncate(self.number_at);
        let _infallible = write!(self.text, "{seq}{}", self.tail);
        &self.text
    }
}

impl Mark {
    /// Reads an id that was given on `/sse`, or a mark of `/ws`; `None` when it cannot be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (event, session) = text.split_once('.')?;
        Some(Self { event: EventId::parse(event)?, session: SessionId::parse(session)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::session::fixture::{self, BOUNDS};
    use crate::session::replay::StreamTag;

    fn marks(transport: Transport) -> (Marks, Reader) {
        let session = Arc::new(fixture::bounded(transport, BOUNDS));
        let reader = Reader::standalone(session).unwrap();
        (Marks::of(&reader), reader)
    }

    #[test]
    fn the_id_of_an_event_is_the_logs_own() {
        let (mut marks, reader) = marks(Transport::Streamable);
        for seq in [0, 9, 10, 1_000_000] {
            let id = reader.session().event_id(StreamTag::STANDALONE, seq);
            assert_eq!(marks.at(seq), id.to_string());
        }
    }

    #[test]
    fn where_no_header_names_the_session_it_does_and_is_read_back() {
        for transport in [Transport::Sse, Transport::WebSocket] {
            let (mut marks, reader) = marks(transport);
            for seq in [0, 9, 10, 1_000_000] {
                let mark = Mark::parse(marks.at(seq)).unwrap();
                assert_eq!(mark.event, reader.session().event_id(StreamTag::STANDALONE, seq));
                assert_eq!(mark.session, reader.session().id);
            }
        }
    }

    #[test]
    fn what_no_gateway_wrote_is_no_mark() {
        let (mut marks, _reader) = marks(Transport::Sse);
        let good = marks.at(7).to_owned();
        let (event, session) = good.split_once('.').unwrap();
        for text in [
            String::new(),
            "../".to_owned(),
            event.to_owned(),
            session.to_owned(),
            format!("{event}."),
            format!(".{session}"),
            format!("{good}A"),
            format!("{good}.{session}"),
            format!(" {good}"),
            format!("0{good}"),
            "0".repeat(10_000),
        ] {
            assert_eq!(Mark::parse(&text), None, "{text:?}");
        }
    }
}
