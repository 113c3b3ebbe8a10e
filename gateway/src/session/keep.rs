//! What a session still has to write down, and how far the store has got: a machine without IO or
//! clock.
//!
//! One write is under way at a time. A page whose answer was lost is sent again as it was, because
//! the store tells by its places whether it has it; so a page that says anything moves the place
//! on, if need be past a place that no event has. When the store forgot something, or more waits
//! than the log would hold, everything is written once more instead.

use std::collections::BTreeMap;

use bytestring::ByteString;
use wire::id::Id;

use crate::session::replay::{Caps, StreamTag};
use crate::session::store::{Page, StoredCall, StoredEvent};

/// What a session has kept, and has yet to keep.
#[derive(Debug)]
pub struct Keep {
    caps: Caps,
    /// The place up to which the store has everything.
    durable: u64,
    /// That place before the last write: readers had a write's time to read so far.
    ripe: u64,
    pending: Page,
    pending_bytes: usize,
    under_way: Option<UnderWay>,
    /// A page that may have been written.
    doubtful: Option<(Page, u64)>,
    calls: BTreeMap<Id, StreamTag>,
    notes: BTreeMap<String, ByteString>,
    /// What was recorded, counted; and how much of it the store has.
    said: u64,
    kept: u64,
    is_away: bool,
    is_behind: bool,
    /// More waited than may: whoever has yet to read it counts as slow.
    is_overfull: bool,
    is_ended: bool,
    is_lost: bool,
    is_queued: bool,
    wants_touch: bool,
}

/// A write whose answer is not there yet.
#[derive(Debug)]
enum UnderWay {
    Page(Page, u64),
    Whole { seq: u64, said: u64 },
}

/// What is to be written next.
#[derive(Debug)]
pub enum Taken {
    /// What is new.
    Page(Page),
    /// Everything, up to this place.
    Whole(u64),
}

impl Keep {
    /// Nothing to write down yet, in a store that has everything up to `start`. No more waits than
    /// `caps` lets a log hold.
    pub fn new(start: u64, caps: Caps) -> Self {
        Self {
            caps,
            durable: start,
            ripe: start,
            pending: Page::default(),
            pending_bytes: 0,
            under_way: None,
            doubtful: None,
            calls: BTreeMap::new(),
            notes: BTreeMap::new(),
            said: 0,
            kept: 0,
            is_away: false,
            is_behind: false,
            is_overfull: false,
            is_ended: false,
            is_lost: false,
            is_queued: false,
            wants_touch: false,
        }
    }

    /// As [`new`](Self::new), with what a former owner kept.
    pub fn inherit(
        start: u64,
        caps: Caps,
        calls: BTreeMap<Id, StreamTag>,
        notes: BTreeMap<String, ByteString>,
    ) -> Self {
        Self { calls, notes, ..Self::new(start, caps) }
    }

    // === What is recorded ===

    /// Something was said on a kept stream.
    pub fn say(&mut self, event: StoredEvent) {
        self.said += 1;
        if !self.is_behind {
            self.pending_bytes += event.text.len();
            self.pending.events.push(event);
            self.bound();
        }
    }

    /// A request came in whose answer is owed on a kept stream. One that is known is not recorded
    /// twice.
    pub fn begin(&mut self, id: &Id, stream: StreamTag) {
        if self.calls.contains_key(id) {
            return;
        }
        self.said += 1;
        let text = ByteString::from(id.as_str());
        // A call that is begun replaces a former one of its name; its end must not undo it.
        self.pending.ended.retain(|ended| *ended != text);
        self.calls.insert(id.clone(), stream);
        if !self.is_behind {
            self.pending.begun.push(StoredCall { id: text, stream: stream.number() });
        }
    }

    /// A request was answered or given up. One that was not recorded needs no end.
    pub fn end(&mut self, id: &Id) {
        let Some((id, _)) = self.calls.remove_entry(id) else { return };
        self.said += 1;
        if !self.is_behind {
            self.pending.begun.retain(|call| *call.id != *id.as_str());
            // Even if its beginning was never written: a former call of its name may have been.
            self.pending.ended.push(ByteString::from(id.as_str()));
            self.bound();
        }
    }

    /// Sets a note, or takes one away.
    pub fn set_note(&mut self, name: &str, note: Option<ByteString>) {
        if self.notes.get(name) == note.as_ref() {
            return;
        }
        self.said += 1;
        match note.clone() {
            Some(note) => self.notes.insert(name.to_owned(), note),
            None => self.notes.remove(name),
        };
        if !self.is_behind {
            self.pending.notes.retain(|(other, _)| other != name);
            self.pending.notes.push((name.to_owned(), note));
        }
    }

    /// The agreement was made.
    pub fn agree(&mut self, revision: &str, params: ByteString) {
        self.said += 1;
        self.pending.agreement = Some((revision.to_owned(), params));
    }

    /// The handshake was finished.
    pub fn set_ready(&mut self) {
        self.said += 1;
        self.pending.is_ready = true;
    }

    /// The store is to hear of the session, whether or not there is anything to say.
    pub fn touch(&mut self) {
        self.wants_touch = true;
    }

    /// The store is away: readers are given everything.
    pub fn set_away(&mut self) {
        self.is_away = true;
    }

    /// The store is back: readers wait for it again, or what it does not have is written first.
    pub fn come_back(&mut self) {
        if self.is_ended || !self.is_away {
            return;
        }
        self.is_away = self.has_work() || self.under_way.is_some();
    }

    /// Nothing more is written: the session has ended, or with `is_lost` it is another's.
    pub fn end_all(&mut self, is_lost: bool) {
        self.is_ended = true;
        self.is_lost |= is_lost;
        self.is_away = true;
        self.under_way = None;
        self.drop_pending();
    }

    // === What is known ===

    /// The last place that readers may be given. What the store had when the session was lost, the
    /// successor has as well.
    pub fn ceiling(&self) -> u64 {
        if self.is_away && !self.is_lost { u64::MAX } else { self.durable }
    }

    /// The last place that a reader in time has read.
    pub fn ripe(&self) -> u64 {
        if self.is_away || self.is_overfull { u64::MAX } else { self.ripe }
    }

    /// Whether readers are given what the store does not have.
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// Whether the session is another's: readers of kept streams are given nothing more than what
    /// the store had.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether anybody is to wait until something is kept: not when the store is away.
    pub fn is_waited_for(&self, said: u64) -> bool {
        !self.is_away && !self.is_ended && self.kept < said
    }

    /// Whether the store has what was recorded up to there, or nothing of it needs to be there.
    pub fn has(&self, said: u64) -> bool {
        self.is_ended || self.kept >= said
    }

    /// How much was recorded so far.
    pub fn said(&self) -> u64 {
        self.said
    }

    /// The requests in flight on kept streams.
    pub fn calls(&self) -> &BTreeMap<Id, StreamTag> {
        &self.calls
    }

    /// The notes.
    pub fn notes(&self) -> &BTreeMap<String, ByteString> {
        &self.notes
    }

    /// Whether somebody has to be told that there is something to write; says so once until it is
    /// taken.
    pub fn is_due(&mut self) -> bool {
        let is_new = !self.is_queued && self.under_way.is_none() && self.has_work();
        self.is_queued |= is_new;
        is_new
    }

    // === What is written ===

    /// What is to be written next, if anything is and nothing is under way. `last` is the last
    /// place that was given out, and moves on when the write needs one of its own.
    pub fn take(&mut self, last: &mut u64) -> Option<Taken> {
        self.is_queued = false;
        if self.under_way.is_some() || !self.has_work() {
            return None;
        }
        self.wants_touch = false;
        if self.is_behind {
            self.drop_pending();
            self.is_behind = false;
            // A place of its own: a page of before that comes late does not fit behind it.
            *last += 1;
            self.under_way = Some(UnderWay::Whole { seq: *last, said: self.said });
            return Some(Taken::Whole(*last));
        }
        let (page, said) = self.doubtful.take().unwrap_or_else(|| self.next_page(last));
        self.under_way = Some(UnderWay::Page(page.clone(), said));
        Some(Taken::Page(page))
    }

    fn next_page(&mut self, last: &mut u64) -> (Page, u64) {
        let is_empty = self.pending == Page::default();
        let mut page = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if !is_empty && *last <= self.durable {
            *last += 1;
        }
        page.prev = self.durable;
        page.seq = if is_empty { self.durable } else { *last };
        (page, self.said)
    }

    /// What is under way was written.
    pub fn confirm(&mut self) {
        let (seq, said) = match self.under_way.take() {
            Some(UnderWay::Page(page, said)) => (page.seq, said),
            Some(UnderWay::Whole { seq, said }) => (seq, said),
            None => return,
        };
        self.ripe = if self.is_away { seq } else { self.durable };
        self.durable = seq;
        self.kept = said;
        self.is_away = false;
        self.is_overfull = false;
    }

    /// It is not known whether what is under way was written.
    pub fn fail(&mut self) {
        match self.under_way.take() {
            Some(UnderWay::Page(page, said)) => self.doubtful = Some((page, said)),
            Some(UnderWay::Whole { .. }) => self.is_behind = true,
            None => {}
        }
    }

    /// As [`fail`](Self::fail), and nothing is due before it is taken or
    /// [`fall_behind`](Self::fall_behind) is told.
    pub fn hold(&mut self) {
        self.fail();
        self.is_queued = true;
    }

    /// The store knows less than it was told: everything is written next.
    pub fn fall_behind(&mut self) {
        self.under_way = None;
        self.is_behind = true;
        self.is_queued = false;
        self.drop_pending();
    }

    fn drop_pending(&mut self) {
        self.pending = Page::default();
        self.pending_bytes = 0;
        self.doubtful = None;
    }

    fn has_work(&self) -> bool {
        let waits = self.wants_touch || self.is_behind || self.doubtful.is_some();
        !self.is_ended && (waits || self.pending != Page::default())
    }

    fn bound(&mut self) {
        let caps = self.caps;
        let events = self.pending.events.len().max(self.pending.ended.len());
        if events > caps.events || self.pending_bytes > caps.bytes {
            self.is_behind = true;
            self.is_overfull = true;
            self.drop_pending();
        }
    }
}

#[cfg(test)]
mod tests;
