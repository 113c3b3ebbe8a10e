//! Sessions on `/ws` that outlive their connection, for clients that ask for one.
//!
//! Frames carry no event ids, so the client counts: a frame of the gateway's own, `session`, says
//! where in the session it stands, and each JSON-RPC message after it is one place further. It is
//! said first on every connection, and again wherever places are left out, which is where a session
//! has changed its owner. `docs/websocket.md` is the contract.

use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::response::Response;
use bytestring::ByteString;
use http::Uri;
use serde::Deserialize;

use crate::http::hop::{Hopped, Opening};
use crate::http::mark::{Mark, Marks};
use crate::http::reply::{self, Fault};
use crate::http::{Edge, hop};
use crate::relay::conversation::Conversation;
use crate::relay::standin::Guest;
use crate::session::Transport;
use crate::session::outlet::Reader;
use crate::session::replay::{EventId, Gap, StreamTag};
use crate::session::tenure::Tenure;

/// What a client wants its socket to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A session that ends with the connection.
    Plain,
    /// A session that can be taken up on another connection.
    Resumable,
    /// A session that was opened so, from here on.
    Resume(Place),
}

/// How far a client got: so many messages after a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    mark: Mark,
    received: u64,
}

/// The query of `/ws`; what else is in it is passed over.
#[derive(Debug, Deserialize)]
struct Asked {
    resume: Option<String>,
    received: Option<String>,
}

/// A client's seat at its session: where it reads, and on a resumable socket what it is told of it.
pub(super) struct Seat {
    pub(super) conversation: Arc<Conversation>,
    pub(super) reader: Reader,
    pub(super) places: Option<Places>,
}

/// Tells a client where it stands, whenever its own count would not.
pub(super) struct Places {
    marks: Marks,
    /// The place that the client counts the next message to be at.
    next: u64,
    /// The first frame, until it is said.
    greeting: Option<ByteString>,
}

// === impl Wish ===

impl Wish {
    /// Reads the query.
    pub(super) fn of(uri: &Uri) -> Result<Self, Fault> {
        let bad = |what: &str| Fault::Bad(what.to_owned());
        let asked = Query::<Asked>::try_from_uri(uri);
        let Query(asked) = asked.map_err(|_twice| bad("the query may have `resume` once only"))?;
        let mark = match asked.resume.as_deref() {
            None => return Ok(Self::Plain),
            Some("") => return Ok(Self::Resumable),
            Some(text) => Mark::parse(text).filter(|it| it.event.stream == StreamTag::STANDALONE),
        };
        let what = "`resume` is no mark of this gateway's /ws; connect with an empty one";
        let mark = mark.ok_or_else(|| bad(what))?;
        let is_number = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
        let received = asked.received.filter(is_number).and_then(|text| text.parse().ok());
        let what = "`received` must say how many messages came after the mark of `resume`";
        let received = received.ok_or_else(|| bad(what))?;
        Ok(Self::Resume(Place { mark, received }))
    }
}

// === impl Seat ===

impl Seat {
    /// The seat that is asked for; a session that was taken up has one only, and the newest has it.
    pub(super) async fn of(
        edge: &Arc<Edge>,
        guest: &Guest,
        wish: Wish,
        request: &mut Request,
    ) -> Result<Self, Response> {
        match wish {
            Wish::Plain => Self::open(edge, guest, false, request).await,
            Wish::Resumable => Self::open(edge, guest, true, request).await,
            Wish::Resume(place) => {
                let (principal, id) = (guest.principal.clone(), place.mark.session.as_str());
                let named = edge.relay.sessions.named(principal, id).ok_or_else(unknown)?;
                let hopped = request.extensions().get::<Hopped>().copied();
                let found = match hop::here(edge, named.key, hopped) {
                    Some(found) => found,
                    // Where another replica serves it, that one answers.
                    None => hop::reach_socket(edge, named, request).await?,
                };
                let seat = if is_asked_for(&found, guest) {
                    Self::take(found, &place)
                } else {
                    Err(Fault::UnknownSession)
                };
                seat.map_err(|fault| reply::fault(&fault))
            }
        }
    }

    async fn open(
        edge: &Arc<Edge>,
        guest: &Guest,
        is_resumable: bool,
        request: &mut Request,
    ) -> Result<Self, Response> {
        let (principal, server) = (guest.principal.clone(), guest.server.as_deref());
        if edge.relay.standing.is_shared() {
            let opening = Opening::Socket(request);
            let elsewhere = hop::open_elsewhere(edge, &principal, server, opening);
            if let Some(response) = Box::pin(elsewhere).await {
                return Err(response);
            }
        }
        let opened = edge.relay.open(principal, Transport::WebSocket, server).await;
        let conversation = opened.map_err(|refusal| reply::not_opened(&refusal, None))?;
        if is_resumable {
            conversation.session.set_resumable();
        }
        let reader = Reader::standalone(conversation.session.clone());
        let reader = reader.ok_or_else(unknown)?;
        let places = is_resumable.then(|| Places::of(&reader, true));
        Ok(Self { conversation, reader, places })
    }

    /// Goes on after the messages that the client has, with what is left when some are gone.
    fn take(conversation: Arc<Conversation>, place: &Place) -> Result<Self, Fault> {
        let session = &conversation.session;
        let last = place.reached(&session.head(StreamTag::STANDALONE))?;
        let position = session.position(&last);
        let after = position.map_or_else(|Gap| session.remainder(&last), |(_, seq)| seq);
        let reader = Reader::attach(session.clone(), StreamTag::STANDALONE, after);
        let reader = reader.ok_or(Fault::UnknownSession)?;
        let places = Some(Places::of(&reader, position.is_ok()));
        Ok(Self { conversation, reader, places })
    }
}

fn unknown() -> Response {
    reply::fault(&Fault::UnknownSession)
}

/// Whether a client that asks so may have this session: it was opened at this path, to be resumed.
fn is_asked_for(conversation: &Conversation, guest: &Guest) -> bool {
    let session = &conversation.session;
    session.transport == Transport::WebSocket
        && session.is_resumable()
        && conversation.server() == guest.server.as_deref()
}

// === impl Place ===

impl Place {
    /// The last event that the client has.
    fn reached(&self, head: &EventId) -> Result<EventId, Fault> {
        let mark = &self.mark.event;
        let owner = Tenure::fence_of(mark.seq);
        let seq = mark.seq.checked_add(self.received);
        // One owner's places are in a row. How far a former owner got, its successor may not know:
        // that is for the log to say, and a gap.
        let is_said = |seq: &u64| {
            Tenure::fence_of(*seq) == owner
                && (*seq <= head.seq || owner != Tenure::fence_of(head.seq))
        };
        let what = "`received` is more than was said after the mark of `resume`";
        let seq = seq.filter(is_said).ok_or_else(|| Fault::Bad(what.to_owned()))?;
        Ok(EventId { seq, ..mark.clone() })
    }
}

// === impl Places ===

impl Places {
    fn of(reader: &Reader, is_whole: bool) -> Self {
        let (start, mut marks) = (reader.start(), Marks::of(reader));
        let greeting = Some(frame(marks.at(start), is_whole));
        Self { marks, next: start.saturating_add(1), greeting }
    }

    /// The first frame of the connection.
    pub(super) fn greeting(&mut self) -> Option<ByteString> {
        self.greeting.take()
    }

    /// What is to be said before the message at `seq`, if the client would count it elsewhere.
    pub(super) fn before(&mut self, seq: u64) -> Option<ByteString> {
        let is_next = seq == std::mem::replace(&mut self.next, seq.saturating_add(1));
        (!is_next).then(|| frame(self.marks.at(seq.saturating_sub(1)), true))
    }
}

/// The frame that says where the client stands; a mark needs no escapes.
fn frame(mark: &str, is_whole: bool) -> ByteString {
    let gap = if is_whole { "" } else { r#","gap":true"# };
    format!(r#"{{"type":"session","resume":"{mark}"{gap}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Streams as _;
    use crate::session::fixture::{self, BOUNDS};

    fn address(query: &str) -> Uri {
        format!("/ws{query}").parse().unwrap()
    }

    fn wish(query: &str) -> Result<Wish, Fault> {
        Wish::of(&address(query))
    }

    fn reader() -> Reader {
        let session = Arc::new(fixture::bounded(Transport::WebSocket, BOUNDS));
        Reader::standalone(session).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_told_by_the_query() {
        assert_eq!(wish(""), Ok(Wish::Plain));
        assert_eq!(wish("?ticket=1&ticket=2&received=x"), Ok(Wish::Plain));
        assert_eq!(wish("?resume"), Ok(Wish::Resumable));
        assert_eq!(wish("?a=b&resume="), Ok(Wish::Resumable));
        let mark = Marks::of(&reader()).at(7).to_owned();
        let place = Place { mark: Mark::parse(&mark).unwrap(), received: 3 };
        assert_eq!(wish(&format!("?received=3&resume={mark}")), Ok(Wish::Resume(place)));
        for received in ["", "&received=", "&received=-1", "&received=%2B1", "&received=1e3"] {
            assert!(wish(&format!("?resume={mark}{received}")).is_err(), "{received:?}");
        }
        let other = mark.replacen('0', "1", 1);
        for wrong in ["x", &"0".repeat(7_000), &other, &format!("&resume={mark}")] {
            assert!(wish(&format!("?received=1&resume={wrong}")).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_has_received_more_than_was_said() {
        let reader = reader();
        let head = EventId { seq: 5, ..reader.session().head(StreamTag::STANDALONE) };
        let place = |seq: u64, received: u64| {
            let mark = Mark::parse(Marks::of(&reader).at(seq)).unwrap();
            Place { mark, received }
        };
        assert_eq!(place(2, 3).reached(&head).unwrap().seq, 5);
        for received in [4, 1_000_000_000, u64::MAX] {
            assert!(place(2, received).reached(&head).is_err(), "{received}");
        }
        // What a former owner said may never have been kept, but it too had its bound.
        let later = EventId { seq: 3_000_000_000, ..head };
        assert_eq!(place(2, 9).reached(&later).unwrap().seq, 11);
        assert!(place(2, 2_999_999_998).reached(&later).is_err());
    }

    #[test]
    fn a_client_is_told_where_it_stands_when_its_count_would_not() {
        let mut reader = reader();
        let said = |text: &'static str| reader.session().standalone().emit(text.into());
        said("one");
        let mut places = Places::of(&reader, false);
        let (mut marks, greeting) = (Marks::of(&reader), places.greeting().unwrap());
        let expected = format!(r#"{{"type":"session","resume":"{}","gap":true}}"#, marks.at(0));
        assert_eq!(greeting, expected);
        assert!(places.greeting().is_none(), "it is said once");
        assert_eq!(fixture::texts(&mut reader), ["one"]);
        assert_eq!((places.before(1), places.before(2)), (None, None));
        let expected = format!(r#"{{"type":"session","resume":"{}"}}"#, marks.at(1_000_000_000));
        assert_eq!(places.before(1_000_000_001).unwrap(), expected);
        assert_eq!(places.before(1_000_000_002), None);
    }
}
