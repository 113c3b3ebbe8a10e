//! The side of a log that other replicas see: what is kept of it, and how it goes on elsewhere.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use bytestring::ByteString;
use wire::id::Id;

use crate::config::limits::store::OWNERS;
use crate::session::keep::{Keep, Taken};
use crate::session::replay::stream::Stream;
use crate::session::replay::{Caps, Event, Log, Part, StreamTag};
use crate::session::store::{Estate, Page, StoredCall, StoredEvent};
use crate::session::tenure::Tenure;

/// What is to be written of a log next.
#[derive(Debug)]
pub enum Due {
    /// What is new.
    Page(Page),
    /// Everything, with the log's part of an estate filled in.
    Whole(Box<Estate>),
}

impl Log {
    /// An empty log whose session is in the store.
    pub fn stored(epoch: u64, caps: Caps, tenure: &Tenure) -> Self {
        let start = tenure.start();
        let keep = Some(Box::new(Keep::new(start, caps)));
        let mut log = Self { last_seq: start, keep, fence: tenure.fence, ..Self::new(epoch, caps) };
        for stream in log.streams.values_mut() {
            stream.read_to = start;
        }
        log
    }

    /// The log that a former owner kept. It goes on `ahead` of the first place of `tenure`: a
    /// number at random, so that even a store that lost a claim, and gives the same fence out
    /// twice, does not have two owners name two events alike.
    pub fn inherited(
        estate: &Estate,
        caps: Caps,
        tenure: &Tenure,
        ahead: u64,
        now: Instant,
    ) -> Self {
        let start = tenure.start();
        let calls = estate.calls.iter();
        let calls: BTreeMap<_, _> =
            calls.filter_map(|call| Some((Id::parse(&call.id)?, StreamTag(call.stream)))).collect();
        let mut log = Self {
            last_seq: start + ahead,
            fence: tenure.fence,
            spans: estate.spans.clone(),
            ..Self::new(estate.record.epoch, caps)
        };
        for event in &estate.events {
            log.take_in(event);
        }
        for tag in calls.values().filter(|tag| **tag != StreamTag::STANDALONE) {
            let stream = log.streams.entry(*tag).or_insert_with(|| Stream::new(Some(0)));
            stream.owed = stream.owed.map(|owed| owed + 1);
        }
        log.last_tag = log.streams.keys().map(|tag| tag.0).max().unwrap_or_default();
        for stream in log.streams.values_mut() {
            stream.is_kept = true;
            stream.lost = estate.floor;
            // What is said from here on is for a client that names no event it saw.
            stream.read_to = log.last_seq;
            stream.ended = (stream.owed == Some(0)).then_some(now);
        }
        log.keep = Some(Box::new(Keep::inherit(start, caps, calls, estate.record.notes.clone())));
        log
    }

    fn take_in(&mut self, event: &StoredEvent) {
        let tag = StreamTag(event.stream);
        let stream = self.streams.entry(tag).or_insert_with(|| Stream::new(Some(0)));
        self.events += 1;
        self.bytes += event.text.len();
        // To a stream of a former owner's, every event is one that more may follow.
        let text = event.text.clone();
        stream.entries.push_back(Event { seq: event.seq, text, part: Part::Note });
    }

    /// What is yet to be written down.
    pub fn keeping(&mut self) -> Option<&mut Keep> {
        self.keep.as_deref_mut()
    }

    /// Whether the stream is kept.
    pub fn is_kept(&self, tag: StreamTag) -> bool {
        self.streams.get(&tag).is_some_and(|stream| stream.is_kept)
    }

    /// Keeps a stream from here on; `calls` are the requests whose answers it owes. What was said
    /// on it is named anew, behind everything that is kept already: no reader was told its ids.
    /// Returns where the stream's reader began and stands, if it was not kept before.
    pub fn keep(&mut self, tag: StreamTag, calls: &[Id]) -> Option<(u64, u64)> {
        let keep = self.keep.as_mut()?;
        let stream = self.streams.get_mut(&tag).filter(|stream| !stream.is_kept)?;
        stream.is_kept = true;
        let start = self.last_seq;
        let mut stands = start;
        let delivered = stream.reader.as_ref().map(|reader| reader.delivered);
        for event in &mut stream.entries {
            self.last_seq += 1;
            if delivered.is_some_and(|delivered| event.seq <= delivered) {
                stands = self.last_seq;
            }
            event.seq = self.last_seq;
            let text = event.text.clone();
            keep.say(StoredEvent { stream: tag.0, seq: event.seq, text });
        }
        if let Some(reader) = stream.reader.as_mut() {
            reader.lagged |= stream.lost > reader.delivered;
            reader.delivered = stands;
            reader.since = self.last_seq;
        }
        stream.read_to = stream.read_to.max(start);
        calls.iter().for_each(|id| keep.begin(id, tag));
        Some((start, stands))
    }

    /// Notes a request that came in, if its answer is owed on a kept stream.
    pub fn begin(&mut self, id: &Id, tag: StreamTag) {
        if !self.is_kept(tag) {
            return;
        }
        if let Some(keep) = self.keep.as_mut() {
            keep.begin(id, tag);
        }
    }

    /// Notes that a request was answered or given up.
    pub fn end(&mut self, id: &Id) {
        if let Some(keep) = self.keep.as_mut() {
            keep.end(id);
        }
    }

    /// What is to be written next.
    pub fn take_due(&mut self) -> Option<Due> {
        let keep = self.keep.as_mut()?;
        match keep.take(&mut self.last_seq)? {
            Taken::Page(page) => Some(Due::Page(page)),
            Taken::Whole(seq) => Some(Due::Whole(Box::new(self.estate(seq)))),
        }
    }

    /// Everything that is kept, up to `seq`.
    fn estate(&self, seq: u64) -> Estate {
        let mut estate = Estate { seq, spans: self.spans.clone(), ..Estate::default() };
        estate.record.epoch = self.epoch;
        for (tag, stream) in self.streams.iter().filter(|(_, stream)| stream.is_kept) {
            estate.floor = estate.floor.max(stream.lost);
            estate.events.extend(stream.entries.iter().map(|event| StoredEvent {
                stream: tag.0,
                seq: event.seq,
                text: event.text.clone(),
            }));
        }
        estate.events.sort_by_key(|event| event.seq);
        if let Some(keep) = &self.keep {
            let calls = keep.calls().iter();
            estate.calls = calls
                .map(|(id, tag)| StoredCall { id: ByteString::from(id.as_str()), stream: tag.0 })
                .collect();
            estate.record.notes.clone_from(keep.notes());
        }
        estate
    }

    /// The store has what was under way; returns whom to wake.
    pub fn confirm(&mut self) -> Vec<Waker> {
        self.keep.iter_mut().for_each(|keep| keep.confirm());
        self.kept_wakers()
    }

    /// The store is away: readers are given everything. Returns whom to wake.
    pub fn set_away(&mut self) -> Vec<Waker> {
        let Some(keep) = self.keep.as_mut().filter(|keep| !keep.is_away()) else {
            return Vec::new();
        };
        keep.set_away();
        let readers = self.streams.values_mut().filter_map(|stream| stream.reader.as_mut());
        // What they are given all at once is no delay of their own.
        readers.for_each(|reader| reader.since = self.last_seq);
        self.kept_wakers()
    }

    /// The session is another's: nothing is written, and readers of kept streams are given what the
    /// store had and nothing more. Returns whom to wake.
    pub fn disown(&mut self) -> Vec<Waker> {
        self.keep.iter_mut().for_each(|keep| keep.end_all(true));
        self.kept_wakers()
    }

    /// The session ends: nothing is written, and readers are given everything. Returns whom to
    /// wake.
    pub fn end_keeping(&mut self) -> Vec<Waker> {
        self.keep.iter_mut().for_each(|keep| keep.end_all(false));
        self.wakers()
    }

    /// The session goes on under a later tenure of the same owner. Places go on as in a log that
    /// was [inherited](Self::inherited).
    pub fn renew(&mut self, tenure: &Tenure, ahead: u64) {
        self.spans.push((self.fence, self.last_seq));
        if self.spans.len() > OWNERS {
            self.spans.remove(0);
        }
        self.fence = tenure.fence;
        self.last_seq = tenure.start() + ahead;
    }

    /// Whether an event was given the place, by this owner or by a former one that kept it.
    pub(super) fn was_given_out(&self, seq: u64) -> bool {
        let fence = Tenure::fence_of(seq);
        if self.keep.is_none() || fence == self.fence {
            return seq <= self.last_seq;
        }
        self.spans.iter().any(|(former, end)| *former == fence && seq <= *end)
    }

    fn kept_wakers(&mut self) -> Vec<Waker> {
        let kept = self.streams.values_mut().filter(|stream| stream.is_kept);
        kept.filter_map(|stream| stream.reader.as_mut()?.waker.take()).collect()
    }
}
