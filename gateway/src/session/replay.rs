//! The replay log: what was said to one client, per stream, for as long as it may be asked again.
//!
//! The log is also the queue: an answer is appended once, and the HTTP body, WebSocket or event
//! stream that carries it reads from here at its own pace. A stream that nobody reads (the client
//! went away, the call goes on) keeps its events until they are asked for with `Last-Event-ID`
//! (MCP 2025-11-25, basic/transports, "Resumability and Redelivery") or pushed out by the caps.
//! Replay is all or nothing: when one event of a stream is gone, the answer is a gap.
//!
//! In a session that other replicas may have to take over, some streams are kept: what is said
//! there is given to readers when the store has it ([`kept`]).
//!
//! Pure: no IO, no clock; wakers are handed back to the caller.

pub mod kept;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytestring::ByteString;
use wire::refusal::Reason;

use crate::config::limits::session::ENDED_STREAM_TTL;
use crate::session::keep::Keep;
use crate::session::replay::stream::{Reader, Stream};
use crate::session::store::StoredEvent;

/// One stream of a session: 0 is the standalone one, the others belong to a POST each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamTag(u32);

impl StreamTag {
    /// The stream that lives as long as its session: `GET /mcp`, `/sse`, `/ws`.
    pub const STANDALONE: Self = Self(0);

    /// The stream of this number.
    pub fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Its number in event ids and in the store.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The name of an event, `<stream>-<epoch>-<seq>`: unique within the session, tells its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The stream the event was said on.
    pub stream: StreamTag,
    /// Which life of the log it belongs to; 64 random bits.
    pub epoch: u64,
    /// The event's place in the session, counted from 1.
    pub seq: u64,
}

impl EventId {
    /// Reads `Last-Event-ID`; `None` when this gateway cannot have written it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (stream, epoch, seq) = (parts.next()?, parts.next()?, parts.next()?);
        if seq.len() > 15 {
            return None;
        }
        let stream = StreamTag(stream.parse().ok()?);
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let id = Self { stream, epoch, seq: seq.parse().ok()? };
        // A sign, a leading zero or a capital reads as a number and is still none of ours.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{}", self.stream.0, self.epoch, self.seq)
    }
}

/// The bounds of one session's log.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Events kept for replay.
    pub events: usize,
    /// Bytes of payload kept for replay.
    pub bytes: usize,
    /// Events a live reader may be behind before it is cut off.
    pub queue_events: usize,
    /// Bytes a live reader may be behind, the newest event not counted.
    pub queue_bytes: usize,
}

/// What an appended event is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A notification or a request of the server's: more follows.
    Note,
    /// The answer to one of the client's requests, from a backend or of our own.
    Answer,
    /// The answer to one of the client's requests: refused by the gateway for this reason.
    Refusal(Reason),
}

/// One event, as a reader gets it.
#[derive(Clone)]
pub struct Event {
    /// The event's place in the session.
    pub seq: u64,
    /// The JSON-RPC message.
    pub text: ByteString,
    /// What it is to the stream.
    pub part: Part,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text is a payload, and no payload is ever shown.
        f.debug_struct("Event").field("seq", &self.seq).field("part", &self.part).finish()
    }
}

/// What a reader finds next.
#[derive(Debug)]
pub enum Next {
    /// An event.
    Event(Event),
    /// Everything was said: the stream has given all its answers.
    End,
    /// The reader fell behind its queue and was cut off; it may resume, and may find a gap.
    Lagged,
    /// A newer reader took the stream over.
    Superseded,
}

/// The log cannot give every event after the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

/// The log of one session.
#[derive(Debug)]
pub struct Log {
    epoch: u64,
    caps: Caps,
    last_seq: u64,
    last_tag: u32,
    last_reader: u64,
    events: usize,
    bytes: usize,
    streams: BTreeMap<StreamTag, Stream>,
    /// What is yet to be written down; `None` where nobody else can take the session over.
    keep: Option<Box<Keep>>,
    /// The owner's fence, and how far former owners kept.
    fence: u64,
    spans: Vec<(u64, u64)>,
}

// === impl Log ===

impl Log {
    /// An empty log with its standalone stream.
    pub fn new(epoch: u64, caps: Caps) -> Self {
        let streams = BTreeMap::from([(StreamTag::STANDALONE, Stream::new(None))]);
        Self {
            epoch,
            caps,
            last_seq: 0,
            last_tag: 0,
            last_reader: 0,
            events: 0,
            bytes: 0,
            streams,
            keep: None,
            fence: 0,
            spans: Vec::new(),
        }
    }

    /// Opens a stream that owes `answers` answers.
    pub fn open(&mut self, answers: usize) -> StreamTag {
        self.last_tag = self.last_tag.wrapping_add(1).max(1);
        let tag = StreamTag(self.last_tag);
        // A former owner may have given out ids of a stream of this number that was not kept.
        let born = if self.keep.is_some() { self.last_seq } else { 0 };
        self.streams.insert(tag, Stream { born, ..Stream::new(Some(answers)) });
        tag
    }

    /// The id of an event at `seq` on `stream`.
    pub fn event_id(&self, stream: StreamTag, seq: u64) -> EventId {
        EventId { stream, epoch: self.epoch, seq }
    }

    /// The id that stands before everything yet to come on `stream`: a priming event's.
    pub fn head(&self, stream: StreamTag) -> EventId {
        self.event_id(stream, self.last_seq)
    }

    /// Appends an event and returns the reader to wake.
    ///
    /// A stream that was forgotten takes nothing: late notes of a finished call end here.
    pub fn append(
        &mut self,
        tag: StreamTag,
        text: ByteString,
        part: Part,
        now: Instant,
    ) -> Option<Waker> {
        let caps = self.caps;
        let stream = self.streams.get_mut(&tag)?;
        self.last_seq += 1;
        self.events += 1;
        self.bytes += text.len();
        let newest = text.len();
        let keep = self.keep.as_mut().filter(|_| stream.is_kept);
        let ripe = keep.map_or(u64::MAX, |keep| {
            keep.say(StoredEvent { stream: tag.0, seq: self.last_seq, text: text.clone() });
            keep.ripe()
        });
        stream.entries.push_back(Event { seq: self.last_seq, text, part });
        if part != Part::Note {
            stream.settle(now);
        }
        let waker = stream.reader.as_mut().and_then(|reader| reader.waker.take());
        stream.cut_off_slow_reader(caps, newest, ripe);
        self.evict();
        waker
    }

    /// Notes that one answer will not come (its request was cancelled); returns whom to wake.
    pub fn abandon(&mut self, tag: StreamTag, now: Instant) -> Option<Waker> {
        let stream = self.streams.get_mut(&tag)?;
        stream.settle(now);
        stream.reader.as_mut().and_then(|reader| reader.waker.take())
    }

    /// Makes a new reader of `tag` that starts after `seq`; the newest reader wins.
    pub fn attach(&mut self, tag: StreamTag, seq: u64) -> Option<(u64, Option<Waker>)> {
        self.last_reader += 1;
        let number = self.last_reader;
        let stream = self.streams.get_mut(&tag)?;
        let reader =
            Reader { number, delivered: seq, since: self.last_seq, lagged: false, waker: None };
        let former = stream.reader.replace(reader);
        stream.read_to = former.as_ref().map_or(0, |it| it.delivered).max(stream.read_to);
        Some((number, former.and_then(|reader| reader.waker)))
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether someone reads `tag` at this moment.
    pub fn is_read(&self, tag: StreamTag) -> bool {
        self.streams.get(&tag).is_some_and(|stream| stream.reader.is_some())
    }

    /// Where a client that saw `id` last goes on, or a gap.
    pub fn position(&self, id: &EventId) -> Result<(StreamTag, u64), Gap> {
        let stream = self.streams.get(&id.stream).ok_or(Gap)?;
        let oldest = stream.lost.max(stream.born);
        let known = id.epoch == self.epoch && id.seq >= oldest && self.was_given_out(id.seq);
        if known { Ok((id.stream, id.seq)) } else { Err(Gap) }
    }

    /// The next event for `reader`, or when there is none yet, its waker is kept.
    pub fn poll_next(&mut self, tag: StreamTag, reader: u64, cx: &Context<'_>) -> Poll<Next> {
        let Some(stream) = self.streams.get_mut(&tag) else { return Poll::Ready(Next::End) };
        let Some(mine) = stream.reader.as_mut().filter(|it| it.number == reader) else {
            return Poll::Ready(Next::Superseded);
        };
        if mine.lagged || stream.lost > mine.delivered {
            return Poll::Ready(Next::Lagged);
        }
        let keep = self.keep.as_ref().filter(|_| stream.is_kept);
        let at = stream.entries.partition_point(|event| event.seq <= mine.delivered);
        match stream.entries.get(at) {
            Some(event) if keep.is_none_or(|keep| event.seq <= keep.ceiling()) => {
                mine.delivered = event.seq;
                return Poll::Ready(Next::Event(event.clone()));
            }
            Some(_) | None if keep.is_some_and(|keep| keep.is_lost()) => {
                return Poll::Ready(Next::End);
            }
            None if stream.owed == Some(0) => return Poll::Ready(Next::End),
            Some(_) | None => {}
        }
        mine.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The reader is gone; what it did not read stays for a resume.
    pub fn detach(&mut self, tag: StreamTag, reader: u64) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if let Some(gone) = stream.reader.take_if(|it| it.number == reader) {
            stream.read_to = stream.read_to.max(gone.delivered);
            self.evict();
        }
    }

    /// Where a reader starts that names no event: after what was read, or what is left of it.
    pub fn unread(&self, tag: StreamTag) -> u64 {
        self.streams.get(&tag).map_or(0, |stream| {
            let delivered = stream.reader.as_ref().map_or(0, |reader| reader.delivered);
            stream.read_to.max(delivered).max(stream.lost)
        })
    }

    /// Where a reader of the standalone stream goes on after a gap: with the oldest event that is
    /// kept when `id` is older than that, else as one that names no event.
    pub fn remainder(&self, id: &EventId) -> u64 {
        let tag = StreamTag::STANDALONE;
        let lost = self.streams.get(&tag).map_or(0, |stream| stream.lost);
        let is_older = id.stream == tag && id.epoch == self.epoch && id.seq < lost;
        if is_older { lost } else { self.unread(tag) }
    }

    /// Drops a stream and its events: nobody can ask for them.
    pub fn forget(&mut self, tag: StreamTag) {
        if let Some(stream) = self.streams.remove(&tag) {
            self.events -= stream.entries.len();
            self.bytes -= stream.entries.iter().map(|event| event.text.len()).sum::<usize>();
        }
    }

    /// Forgets streams that ended [`ENDED_STREAM_TTL`] ago and have no reader.
    pub fn sweep(&mut self, now: Instant) {
        let over = |stream: &Stream| {
            let ended = stream.ended.is_some_and(|at| now.duration_since(at) > ENDED_STREAM_TTL);
            ended && stream.reader.is_none()
        };
        let tags: Vec<_> =
            self.streams.iter().filter(|(_, stream)| over(stream)).map(|(tag, _)| *tag).collect();
        tags.into_iter().for_each(|tag| self.forget(tag));
    }

    /// Wakes every reader: the session is over.
    pub fn wakers(&mut self) -> Vec<Waker> {
        let readers = self.streams.values_mut().filter_map(|stream| stream.reader.as_mut());
        readers.filter_map(|reader| reader.waker.take()).collect()
    }

    /// Pushes out the oldest events that no live reader still has to read.
    fn evict(&mut self) {
        while self.events > self.caps.events || self.bytes > self.caps.bytes {
            let oldest = self
                .streams
                .values_mut()
                .filter(|stream| stream.front_is_spare(self.last_seq))
                .min_by_key(|stream| stream.entries.front().map(|event| event.seq));
            let Some(stream) = oldest else { return };
            let Some(event) = stream.entries.pop_front() else { return };
            stream.lost = event.seq;
            self.events -= 1;
            self.bytes -= event.text.len();
        }
    }
}

#[cfg(test)]
mod tests;
