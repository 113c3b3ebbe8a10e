//! What a successor needs to go on with a session at its servers, written down as notes of the
//! session.
//!
//! `wish/<server>` is what the client asked the server to keep up, `used/<server>` says that the
//! session had something there that is lost with its replica, and `seat/<server>` is the session
//! that an HTTP server keeps itself: whoever knows its id can go on with it.

use std::sync::Arc;

use bytestring::ByteString;
use wire::json;

use crate::backend::context::Context;
use crate::backend::http;
use crate::backend::server::Server;
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::backend::wishes::Wishes;
use crate::config::limits::store::NOTE_BYTES;
use crate::config::{Isolation, OwnerLoss, ServerKind};
use crate::session::Session;
use crate::session::id::SessionKey;
use crate::session::store::Record;

/// A session that an HTTP server keeps.
pub(crate) struct Seat {
    /// The instance that keeps it.
    pub(super) url: String,
    /// Its id there: whoever knows it can speak for the client.
    pub(super) session_id: String,
    /// What the server answered to `initialize`.
    pub(super) hello: String,
    /// The server was told `notifications/initialized`.
    pub(super) is_introduced: bool,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// What the client asked the server to keep up.
    Wishes,
    /// The session that an HTTP server keeps.
    Seat,
    /// That the server held something for the session.
    Use,
}

impl Matter {
    /// The name of the note about this server.
    pub(super) fn of(self, server: &str) -> String {
        let matter = match self {
            Self::Wishes => "wish",
            Self::Seat => "seat",
            Self::Use => "used",
        };
        format!("{matter}/{server}")
    }
}

impl Seat {
    /// The seat that a former owner of the session left at this server.
    pub(super) fn of(session: &Session, server: &str, context: &Context) -> Option<Self> {
        let sealed = session.note(&Matter::Seat.of(server))?;
        Self::opened((session.key, server), &sealed, context)
    }

    fn opened(place: (SessionKey, &str), sealed: &str, context: &Context) -> Option<Self> {
        let plain = context.vault.open(&binding(place), sealed)?;
        Self::read(std::str::from_utf8(&plain).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        let own = |name| Some(json::string(json::member(text, name)?)?.into_owned());
        Some(Self {
            url: own("url")?,
            session_id: own("session")?,
            hello: json::member(text, "hello").map(ToOwned::to_owned)?,
            is_introduced: json::member(text, "introduced") == Some("true"),
        })
    }

    fn written(&self) -> String {
        let (url, session) = (json::quote(&self.url), json::quote(&self.session_id));
        let (hello, introduced) = (&self.hello, self.is_introduced);
        format!(r#"{{"url":{url},"session":{session},"introduced":{introduced},"hello":{hello}}}"#)
    }

    fn keep(&self, session: &Session, server: &str, context: &Context) {
        let sealed = context.vault.seal(&binding((session.key, server)), self.written().as_bytes());
        // Without the note, a successor opens another session there.
        let fits = sealed.len() <= NOTE_BYTES;
        session.set_note(&Matter::Seat.of(server), fits.then_some(sealed));
    }
}

/// What a seat is sealed for: it is of no use with another session, or at another server.
fn binding((key, server): (SessionKey, &str)) -> Vec<u8> {
    format!("{key}/{server}").into_bytes()
}

/// Writes down what the client asked a server to keep up.
pub(super) fn keep_wishes(session: &Session, server: &str, wishes: &Wishes) {
    if !session.is_kept() {
        return;
    }
    let text = wishes.written();
    if text.as_ref().is_some_and(|it| it.len() > NOTE_BYTES) {
        let what = "a session subscribes to more than its successor could be told of";
        tracing::warn!(server, session = %session.key, "{what}");
        return;
    }
    session.set_note(&Matter::Wishes.of(server), text);
}

impl Upstream {
    /// Writes down where the session is kept, if the server keeps it.
    pub(super) fn keep_seat(&self) {
        let (Pipe::Http(pipe), Owner::Session(session, _)) = (&self.pipe, &self.owner) else {
            return;
        };
        let Some(session) = session.upgrade().filter(|it| it.is_kept()) else { return };
        let hello = self.hello();
        // Closed, it took the note away, and it must not come back.
        if hello.is_empty() || !self.is_open() {
            return;
        }
        let Some(session_id) = pipe.session_id() else { return };
        let is_introduced = self.is_introduced();
        let url = pipe.instance().to_owned();
        let seat = Seat { url, session_id, hello: hello.to_string(), is_introduced };
        seat.keep(&session, &self.facts.id, &self.context);
    }

    /// Takes the note away: the server is told to end its session.
    pub(super) fn forget_seat(&self) {
        if let Owner::Session(session, _) = &self.owner
            && let Some(session) = session.upgrade().filter(|it| it.is_kept())
        {
            session.set_note(&Matter::Seat.of(&self.facts.id), None);
        }
    }
}

impl Server {
    /// Whether a session with this record ends with its replica: it had something here that is lost
    /// then, and its client is to know.
    pub fn ends_with_owner(&self, record: &Record) -> bool {
        let has = |matter: Matter| record.notes.contains_key(&matter.of(&self.config.id));
        match self.config.on_owner_loss {
            OwnerLoss::Reinitialize => false,
            OwnerLoss::End => has(Matter::Use) || has(Matter::Seat),
        }
    }

    /// Notes that the session has something here that is lost with its replica. What all sessions
    /// share belongs to none, and a server of the modern era keeps nothing.
    pub(super) fn note_use(&self, session: &Session, upstream: &Upstream) {
        let holds = match &upstream.pipe {
            Pipe::Stdio(_) | Pipe::Http(_) | Pipe::Link(_) => true,
            Pipe::Modern(_) => false,
        };
        if self.config.on_owner_loss == OwnerLoss::End
            && holds
            && self.isolation() != Isolation::Pooled
            && session.is_kept()
        {
            let note = ByteString::from_static("1");
            session.set_note(&Matter::Use.of(&self.config.id), Some(note));
        }
    }

    /// Ends what this server keeps for a session that nobody goes on with.
    pub fn end_seat(&self, key: SessionKey, record: &Record) {
        let (ServerKind::Http(config), id) = (&self.config.kind, &self.config.id) else { return };
        let Some(sealed) = record.notes.get(&Matter::Seat.of(id)) else { return };
        let seat = Seat::opened((key, id), sealed, &self.context);
        let Some(seat) = seat.filter(|it| config.instances.contains(&it.url)) else { return };
        http::leave(&self.facts, config, &self.context, &seat);
    }

    /// Goes on with the session that this server keeps; `None` when there is none, or its instance
    /// is not configured any more. When the server has lost it too, the first message finds out,
    /// and another one is opened with the client's `initialize` `params`.
    pub(super) fn rejoin(
        &self,
        session: &Arc<Session>,
        params: &str,
        wishes: &Arc<Wishes>,
    ) -> Option<Arc<Upstream>> {
        let ServerKind::Http(config) = &self.config.kind else { return None };
        let seat = Seat::of(session, &self.config.id, &self.context)?;
        json::member(&seat.hello, "protocolVersion")?;
        if !config.instances.contains(&seat.url) {
            return None;
        }
        let owner = Owner::Session(Arc::downgrade(session), wishes.clone());
        let house = (&self.context, owner);
        let upstream = http::rejoin(&self.facts, config, house, (&seat, params)).ok()?;
        self.enlist(&upstream);
        tracing::info!(server = self.config.id, session = %session.key, "session joined again");
        Some(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_read_as_it_was_written() {
        let seat = Seat {
            url: "http://h/\"mcp".to_owned(),
            session_id: "\\x\u{e4}".to_owned(),
            hello: r#"{ "protocolVersion":"2025-06-18", "x":[1.0] }"#.to_owned(),
            is_introduced: true,
        };
        let read = Seat::read(&seat.written()).unwrap();
        assert_eq!((&read.url, &read.session_id), (&seat.url, &seat.session_id));
        assert_eq!((&read.hello, read.is_introduced), (&seat.hello, true));
        let unsaid = Seat { is_introduced: false, ..seat };
        assert!(!Seat::read(&unsaid.written()).unwrap().is_introduced);
        for wrong in ["", "{}", r#"{"url":"x","session":1,"hello":{}}"#] {
            assert!(Seat::read(wrong).is_none(), "{wrong}");
        }
    }
}
