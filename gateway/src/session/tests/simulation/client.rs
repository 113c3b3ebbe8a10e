//! The client of the simulation: it calls, reads, comes back anywhere with its last id, and holds
//! the gateway to its word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wire::id::Id;

use super::node::{Executing, Node};
use super::{NODES, Place, World};
use crate::session::fixture::ready;
use crate::session::id::{SessionId, SessionKey};
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{Event, EventId, Gap, Next, StreamTag};
use crate::session::{Session, Streams as _, Transport};

pub(super) struct Client {
    pub(super) transport: Transport,
    pub(super) session: Option<(SessionKey, SessionId)>,
    opening: Arc<Mutex<Option<Arc<Session>>>>,
    readers: BTreeMap<StreamTag, (usize, Reader)>,
    /// Streams that are on their way to the client.
    coming: Vec<Coming>,
    last: BTreeMap<StreamTag, EventId>,
    seen: BTreeMap<(StreamTag, u64), String>,
    calls: BTreeMap<u64, Call>,
    number: u64,
}

/// A stream on its way from a replica; empty until its promise is kept.
type Coming = Arc<Mutex<Option<(usize, Reader)>>>;

/// A call, as its client sees it.
struct Call {
    stream: StreamTag,
    /// The gateway has promised an answer.
    is_promised: Arc<AtomicBool>,
    /// The client was told that it may have missed something.
    is_excused: bool,
    answers: usize,
}

impl Call {
    fn is_settled(&self) -> bool {
        let is_owed = self.is_promised.load(Ordering::Relaxed) && !self.is_excused;
        self.answers == 1 || !is_owed
    }
}

impl Client {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            session: None,
            opening: Arc::default(),
            readers: BTreeMap::new(),
            coming: Vec::new(),
            last: BTreeMap::new(),
            seen: BTreeMap::new(),
            calls: BTreeMap::new(),
            number: 0,
        }
    }

    /// The store lost what it had.
    pub(super) fn forgive(&mut self) {
        self.calls.values_mut().for_each(|call| call.is_excused = true);
    }

    /// Whether everything promised was given.
    pub(super) fn is_content(&self) -> bool {
        self.coming.is_empty() && self.calls.values().all(Call::is_settled)
    }

    /// Everything promised was given.
    pub(super) fn check_end(&self) {
        for (number, call) in &self.calls {
            assert!(call.is_settled(), "call {number} has {} answers", call.answers);
        }
    }

    fn hear_of_gap(&mut self, stream: StreamTag) {
        let calls = self.calls.values_mut().filter(|call| call.stream == stream);
        calls.for_each(|call| call.is_excused = true);
        self.last.remove(&stream);
        self.seen.retain(|(tag, _), _| *tag != stream || stream == StreamTag::STANDALONE);
    }

    fn lose_session(&mut self) {
        *self = Self { number: self.number, ..Self::new(self.transport) };
    }
}

impl World {
    /// The client does something.
    pub(super) fn act(&mut self) {
        self.arrive();
        let at = self.dice.below(NODES);
        if self.client.session.is_none() {
            self.open(at);
            return;
        }
        match self.dice.below(5) {
            0 => self.call(at),
            1 => self.listen(at),
            2 => self.hang_up(),
            _ => self.read(),
        }
    }

    /// The client comes back for everything that it is owed.
    pub(super) fn come_back(&mut self) {
        self.arrive();
        if self.client.session.is_some() {
            self.read();
            (0..NODES).for_each(|at| self.listen(at));
            self.read();
        }
    }

    fn open(&mut self, at: usize) {
        let opened = self.client.opening.lock().take();
        if let Some(session) = opened {
            self.client.session = Some((session.key, session.id.clone()));
            return;
        }
        let node = &mut self.nodes[at];
        if !node.runs {
            return;
        }
        let (sessions, slot) = (node.sessions.clone(), self.client.opening.clone());
        let transport = self.client.transport;
        node.spawn(async move {
            let opened =
                sessions.open(Principal::anonymous(), transport, None, |session| session).await;
            if let Ok(session) = opened {
                *slot.lock() = Some((*session).clone());
            }
        });
    }

    fn call(&mut self, at: usize) {
        // The address to call at comes with the stream, and with it the first id.
        let is_connected = self.client.last.contains_key(&StreamTag::STANDALONE);
        if self.client.transport == Transport::Sse && !is_connected {
            return;
        }
        let Place::At(owner) = self.find(at) else { return };
        let Some((node, session)) = self.owner(owner) else { return };
        if !node.is_firm(&session, &self.time) {
            return;
        }
        self.client.number += 1;
        let id = Id::number(self.client.number);
        let is_promised = Arc::new(AtomicBool::new(false));
        let promise = is_promised.clone();
        let node = &mut self.nodes[owner];
        let stream = if self.client.transport == Transport::Sse {
            let stream = StreamTag::STANDALONE;
            session.begin_on(stream, &id, None).unwrap();
            let session = session.clone();
            node.spawn(async move {
                session.kept().await;
                promise.store(is_sure(&session), Ordering::Relaxed);
            });
            stream
        } else {
            let (outlet, mut reader) = session.open_stream(1);
            session.begin_on(outlet.stream(), &id, None).unwrap();
            let slot = Arc::new(Mutex::new(None));
            self.client.coming.push(slot.clone());
            node.spawn(async move {
                reader.keep(None).await;
                promise.store(is_sure(reader.session()), Ordering::Relaxed);
                *slot.lock() = Some((owner, reader));
            });
            outlet.stream()
        };
        node.executing.push(Executing { session, stream, id });
        let call = Call { stream, is_promised, is_excused: false, answers: 0 };
        self.client.calls.insert(self.client.number, call);
    }

    /// Streams that were promised arrive, with the id to come back with.
    fn arrive(&mut self) {
        let coming = std::mem::take(&mut self.client.coming);
        for slot in coming {
            if Arc::strong_count(&slot) == 1 && slot.lock().is_none() {
                // Its replica was killed, and the client never heard of the stream.
                continue;
            }
            let arrived = slot.lock().take();
            let Some((at, reader)) = arrived else {
                self.client.coming.push(slot);
                continue;
            };
            let is_mine = |(key, _): &(SessionKey, SessionId)| *key == reader.session().key;
            if self.client.session.as_ref().is_some_and(is_mine) {
                let stream = reader.stream();
                let head = reader.session().event_id(stream, reader.start());
                self.client.last.insert(stream, head);
                self.client.readers.insert(stream, (at, reader));
            }
        }
    }

    /// Takes a stream up: the standalone one, or one that owes an answer.
    fn listen(&mut self, at: usize) {
        let Place::At(owner) = self.find(at) else { return };
        let mut streams = vec![StreamTag::STANDALONE];
        streams.extend(self.client.last.keys().filter(|it| **it != StreamTag::STANDALONE));
        let stream = streams[self.dice.below(streams.len())];
        let all = if self.faults_are_over() { streams } else { vec![stream] };
        for stream in all {
            self.take_up(owner, stream);
        }
    }

    fn faults_are_over(&self) -> bool {
        self.nodes.iter().all(|node| node.runs && !node.store.is_away())
    }

    fn take_up(&mut self, owner: usize, stream: StreamTag) {
        if self.client.readers.contains_key(&stream) {
            return;
        }
        let Some((_, session)) = self.owner(owner) else { return };
        let last = self.client.last.get(&stream).cloned();
        let after = match &last {
            Some(last) => match session.position(last) {
                Ok((_, seq)) => Some(seq),
                Err(Gap) => {
                    self.client.hear_of_gap(stream);
                    (stream == StreamTag::STANDALONE).then(|| session.remainder(last))
                }
            },
            None => None,
        };
        let reader = match after {
            Some(after) => Reader::attach(session.clone(), stream, after),
            None if stream == StreamTag::STANDALONE => Reader::standalone(session.clone()),
            None => None,
        };
        let Some(reader) = reader else { return };
        // Nothing before it was promised to a client that was not here, or heard of a gap.
        let start = session.event_id(stream, reader.start());
        self.client.last.entry(stream).or_insert(start);
        self.client.readers.insert(stream, (owner, reader));
    }

    fn hang_up(&mut self) {
        let streams: Vec<_> = self.client.readers.keys().copied().collect();
        if !streams.is_empty() {
            let which = self.dice.below(streams.len());
            self.client.readers.remove(&streams[which]);
        }
    }

    fn read(&mut self) {
        let streams: Vec<_> = self.client.readers.keys().copied().collect();
        for stream in streams {
            while let Some((at, reader)) = self.client.readers.get_mut(&stream) {
                let is_gone = self.nodes[*at].name != reader_owner(reader);
                if !self.nodes[*at].runs && !is_gone {
                    break;
                }
                match ready(reader).filter(|_| !is_gone) {
                    Some(Next::Event(event)) => self.see(stream, &event),
                    None if !is_gone => break,
                    None | Some(Next::End | Next::Lagged | Next::Superseded) => {
                        self.client.readers.remove(&stream);
                    }
                }
            }
        }
    }

    /// What the client holds the gateway to, event by event.
    fn see(&mut self, stream: StreamTag, event: &Event) {
        let (_, reader) = &self.client.readers[&stream];
        let may_be_seen = self.may_be_seen(reader.session().key, (stream.number(), event.seq));
        let client = &mut self.client;
        let (_, reader) = &client.readers[&stream];
        let session = reader.session();
        let id = session.event_id(stream, event.seq);
        let text = event.text.to_string();
        let former = client.seen.insert((stream, event.seq), text.clone());
        assert!(former.as_ref().is_none_or(|it| *it == text), "{id} names {former:?} and {text:?}");
        let last = client.last.insert(stream, id.clone());
        let after = last.map_or(0, |last| last.seq);
        assert!(event.seq > after, "{id} came after {after}");
        let kept = self.kept.entry(session.key).or_default();
        let place = (stream.number(), event.seq);
        assert!(may_be_seen || is_away(session), "{id} is not in the store");
        let between = (stream.number(), after + 1)..place;
        let missed: Vec<_> = kept.range(between).map(|(place, _)| place.1).collect();
        assert!(missed.is_empty(), "{missed:?} were passed over before {id}");
        let mut words = text.split(' ');
        if words.next() == Some("answer") {
            let number: u64 = words.next().unwrap().parse().unwrap();
            if let Some(call) = client.calls.get_mut(&number).filter(|_| former.is_none()) {
                call.answers += 1;
                // An answer given while the store was away may be given again after a gap.
                let is_final = call.answers == 1 || call.is_excused;
                assert!(is_final, "call {number} has two answers");
            }
        }
    }

    fn find(&mut self, at: usize) -> Place {
        let place = self.locate(at);
        if place == Place::Unknown {
            assert!(self.has_forgotten, "session not found");
            self.client.lose_session();
        }
        place
    }

    fn owner(&self, at: usize) -> Option<(&Node, Arc<Session>)> {
        let node = self.nodes.get(at).filter(|node| node.runs)?;
        let (key, _) = self.client.session.as_ref()?;
        Some((node, node.session(*key)?))
    }
}

/// Whether a promise that was waited for is in the store.
fn is_sure(session: &Session) -> bool {
    !session.is_disowned() && !is_away(session)
}

fn is_away(session: &Session) -> bool {
    session.log.lock().keeping().is_some_and(|keep| keep.is_away())
}

fn reader_owner(reader: &Reader) -> crate::session::tenure::Replica {
    reader.session().tenure().unwrap().replica
}
