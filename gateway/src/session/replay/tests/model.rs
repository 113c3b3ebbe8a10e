//! The log against a naive model that keeps everything ever said and never evicts.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One step; streams are chosen among those opened so far, forgotten ones included.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open { answers: usize },
    Append { stream: usize, bytes: usize, part: Part },
    Abandon { stream: usize },
    Attach { stream: usize, back: u64 },
    Poll { stream: usize, times: usize },
    PollFormer { which: usize },
    Detach { stream: usize },
    DetachFormer { which: usize },
    Forget { stream: usize },
    Wait { seconds: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let part = prop_oneof![
        4 => Just(Part::Note),
        1 => Just(Part::Answer),
        1 => Just(Part::Refusal(Reason::Overloaded)),
    ];
    let stream = || 0_usize..64;
    prop_oneof![
        2 => (1_usize..4).prop_map(|answers| Step::Open { answers }),
        12 => (stream(), 0_usize..12, part)
            .prop_map(|(stream, bytes, part)| Step::Append { stream, bytes, part }),
        1 => stream().prop_map(|stream| Step::Abandon { stream }),
        4 => (stream(), 0_u64..6).prop_map(|(stream, back)| Step::Attach { stream, back }),
        6 => (stream(), 1_usize..6).prop_map(|(stream, times)| Step::Poll { stream, times }),
        1 => stream().prop_map(|which| Step::PollFormer { which }),
        2 => stream().prop_map(|stream| Step::Detach { stream }),
        1 => stream().prop_map(|which| Step::DetachFormer { which }),
        1 => stream().prop_map(|stream| Step::Forget { stream }),
        1 => (0_u64..400).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn any_caps() -> impl Strategy<Value = Caps> {
    (0_usize..10, 0_usize..60, 1_usize..8, 0_usize..40).prop_map(
        |(events, bytes, queue_events, queue_bytes)| Caps {
            events,
            bytes,
            queue_events,
            queue_bytes,
        },
    )
}

struct Said {
    tag: StreamTag,
    seq: u64,
    text: ByteString,
}

struct Listener {
    number: u64,
    delivered: u64,
    /// The newest event when it began to read.
    since: u64,
    /// It fell behind, or began in a gap: it may only hear that it lags.
    cut: bool,
    /// It began in a gap, and so long as it is not told it holds events back like any other.
    gapped: bool,
    waiting: bool,
}

struct Channel {
    owed: Option<usize>,
    ended: Option<Instant>,
    read_to: u64,
    listener: Option<Listener>,
}

struct Model {
    log: Log,
    now: Instant,
    said: Vec<Said>,
    /// Every stream that was ever opened; `None` once it was forgotten.
    channels: BTreeMap<StreamTag, Option<Channel>>,
    formers: Vec<(StreamTag, u64)>,
}

impl Channel {
    fn new(owed: Option<usize>) -> Self {
        Self { owed, ended: None, read_to: 0, listener: None }
    }

    fn settle(&mut self, now: Instant) {
        let Some(owed) = self.owed else { return };
        self.owed = Some(owed.saturating_sub(1));
        if owed <= 1 {
            self.ended = Some(now);
        }
    }

    fn wake(&mut self) -> bool {
        self.listener.as_mut().is_some_and(|it| std::mem::take(&mut it.waiting))
    }
}

impl Model {
    fn new(caps: Caps) -> Self {
        Self {
            log: log(caps),
            now: Instant::now(),
            said: Vec::new(),
            channels: BTreeMap::from([(ZERO, Some(Channel::new(None)))]),
            formers: Vec::new(),
        }
    }

    fn tag(&self, stream: usize) -> StreamTag {
        *self.channels.keys().nth(stream % self.channels.len()).unwrap()
    }

    fn channel(&mut self, tag: StreamTag) -> Option<&mut Channel> {
        self.channels.get_mut(&tag)?.as_mut()
    }

    /// What was said on `tag` after `seq`.
    fn later(&self, tag: StreamTag, seq: u64) -> Vec<&Said> {
        self.said.iter().filter(|it| it.tag == tag && it.seq > seq).collect()
    }

    fn take(&mut self, step: Step) {
        let before = self.everything_kept();
        match step {
            Step::Open { answers } => {
                let tag = self.log.open(answers);
                let former = self.channels.insert(tag, Some(Channel::new(Some(answers))));
                assert!(former.is_none(), "a stream's number is used once");
            }
            Step::Append { stream, bytes, part } => {
                if self.append(self.tag(stream), bytes, part) {
                    self.check_eviction(&before);
                }
            }
            Step::Abandon { stream } => {
                let (tag, now) = (self.tag(stream), self.now);
                let woken = self.log.abandon(tag, now).is_some();
                let expected = self.channel(tag).is_some_and(|channel| {
                    channel.settle(now);
                    channel.wake()
                });
                assert_eq!(woken, expected);
            }
            Step::Attach { stream, back } => self.attach(self.tag(stream), back),
            Step::Poll { stream, times } => {
                let tag = self.tag(stream);
                (0..times).for_each(|_| self.poll(tag));
            }
            Step::PollFormer { which } => {
                let Some((tag, number)) = self.former(which) else { return };
                let expected =
                    if self.channel(tag).is_some() { Seen::Superseded } else { Seen::End };
                assert_eq!(poll(&mut self.log, tag, number), expected);
            }
            Step::Detach { stream } => {
                if self.detach(self.tag(stream)) {
                    self.check_eviction(&before);
                }
            }
            Step::DetachFormer { which } => {
                let Some((tag, number)) = self.former(which) else { return };
                self.log.detach(tag, number);
                assert_eq!(self.everything_kept(), before);
            }
            Step::Forget { stream } => {
                let tag = self.tag(stream);
                self.log.forget(tag);
                self.channels.insert(tag, None);
            }
            Step::Wait { seconds } => self.wait(Duration::from_secs(seconds)),
        }
    }

    fn former(&self, which: usize) -> Option<(StreamTag, u64)> {
        self.formers.get(which % self.formers.len().max(1)).copied()
    }

    /// True when the stream took the event.
    fn append(&mut self, tag: StreamTag, bytes: usize, part: Part) -> bool {
        let (caps, now) = (self.log.caps, self.now);
        let text = ByteString::from("x".repeat(bytes));
        let woken = self.log.append(tag, text.clone(), part, now).is_some();
        if self.channel(tag).is_none() {
            assert!(!woken);
            return false;
        }
        let seq = self.said.last().map_or(1, |it| it.seq + 1);
        self.said.push(Said { tag, seq, text });
        assert_eq!(kept(&self.log, tag).last(), Some(&seq), "the newest event is kept");
        let from = self.channel(tag).and_then(|it| {
            let listener = it.listener.as_ref()?;
            Some(listener.delivered.max(listener.since))
        });
        let behind = self.later(tag, from.unwrap_or_default());
        let behind_bytes: usize = behind.iter().map(|it| it.text.len()).sum();
        let slow = behind.len() > 1
            && (behind.len() > caps.queue_events || behind_bytes - bytes > caps.queue_bytes);
        let channel = self.channel(tag).unwrap();
        if part != Part::Note {
            channel.settle(now);
        }
        assert_eq!(woken, channel.wake());
        if let Some(listener) = &mut channel.listener {
            listener.cut |= slow;
        }
        true
    }

    fn attach(&mut self, tag: StreamTag, back: u64) {
        let seq = self.log.last_seq.saturating_sub(back);
        let place = self.log.position(&self.log.event_id(tag, seq));
        let attached = self.log.attach(tag, seq);
        let since = self.log.last_seq;
        let Some(channel) = self.channel(tag) else {
            assert_eq!(place, Err(Gap));
            assert!(attached.is_none());
            return;
        };
        let (number, woken) = attached.unwrap();
        assert_eq!(woken.is_some(), channel.wake());
        let gapped = place.is_err();
        let fresh = Listener { number, delivered: seq, since, cut: gapped, gapped, waiting: false };
        if let Some(former) = channel.listener.replace(fresh) {
            channel.read_to = channel.read_to.max(former.delivered);
            self.formers.push((tag, former.number));
        }
    }

    fn poll(&mut self, tag: StreamTag) {
        let Some(channel) = self.channel(tag) else { return };
        let Some(listener) = &channel.listener else { return };
        let (number, ended) = (listener.number, channel.owed == Some(0));
        let (cut, delivered) = (listener.cut, listener.delivered);
        let expected = match self.later(tag, delivered).first() {
            _ if cut => Seen::Lagged,
            Some(said) => Seen::Event(said.seq),
            None if ended => Seen::End,
            None => Seen::Pending,
        };
        assert_eq!(poll(&mut self.log, tag, number), expected);
        let listener = self.channel(tag).and_then(|it| it.listener.as_mut()).unwrap();
        match expected {
            Seen::Event(seq) => listener.delivered = seq,
            Seen::Pending => listener.waiting = true,
            Seen::End | Seen::Lagged | Seen::Superseded => {}
        }
    }

    fn detach(&mut self, tag: StreamTag) -> bool {
        let Some(channel) = self.channel(tag) else { return false };
        let Some(gone) = channel.listener.take() else { return false };
        channel.read_to = channel.read_to.max(gone.delivered);
        self.formers.push((tag, gone.number));
        self.log.detach(tag, gone.number);
        true
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.log.sweep(now);
        for channel in self.channels.values_mut() {
            let over = |it: &mut Channel| {
                it.listener.is_none() && it.ended.is_some_and(|at| now - at > ENDED_STREAM_TTL)
            };
            channel.take_if(over);
        }
    }

    fn everything_kept(&self) -> BTreeSet<u64> {
        let streams = self.log.streams.values();
        streams.flat_map(|it| it.entries.iter().map(|event| event.seq)).collect()
    }

    /// After an eviction: within the caps unless all that is left is protected, and nothing was
    /// pushed out that had room.
    fn check_eviction(&self, before: &BTreeSet<u64>) {
        let (caps, (events, bytes)) = (self.log.caps, totals(&self.log));
        if events > caps.events || bytes > caps.bytes {
            for (tag, channel) in &self.channels {
                let Some(front) = kept(&self.log, *tag).first().copied() else { continue };
                let listener = channel.as_ref().and_then(|it| it.listener.as_ref());
                let unread = listener.is_some_and(|it| !it.cut && it.delivered < front);
                let gapped = listener.is_some_and(|it| it.gapped);
                assert!(unread || gapped || front == self.log.last_seq, "{front} should be gone");
            }
        }
        if let Some(last) = before.difference(&self.everything_kept()).last() {
            let size = self.said.iter().find(|it| it.seq == *last).unwrap().text.len();
            assert!(events + 1 > caps.events || bytes + size > caps.bytes, "{last} had room");
        }
    }

    /// What holds after every step.
    fn check(&self) {
        assert_eq!((self.log.events, self.log.bytes), totals(&self.log));
        for (tag, channel) in &self.channels {
            let Some(channel) = channel else {
                assert!(!self.log.streams.contains_key(tag));
                continue;
            };
            let all: Vec<_> = self.later(*tag, 0).iter().map(|it| it.seq).collect();
            let left = kept(&self.log, *tag);
            assert!(all.ends_with(&left), "{left:?} is not the end of {all:?}");
            let gone = all.iter().rev().nth(left.len()).copied().unwrap_or_default();
            self.check_places(*tag, gone);
            let listener = channel.listener.as_ref();
            assert_eq!(self.log.is_read(*tag), listener.is_some());
            if let Some(listener) = listener.filter(|it| !it.cut) {
                assert!(listener.delivered >= gone, "an unread event of a live reader is gone");
            }
            let read = channel.read_to.max(listener.map_or(0, |it| it.delivered));
            assert_eq!(self.log.unread(*tag), read.max(gone));
        }
    }

    /// A place gives every later event or a gap: a gap exactly when a later event is gone.
    fn check_places(&self, tag: StreamTag, gone: u64) {
        let last = self.log.last_seq;
        for seq in 0..=last {
            let place = self.log.position(&self.log.event_id(tag, seq));
            assert_eq!(place, if seq < gone { Err(Gap) } else { Ok((tag, seq)) });
        }
        assert_eq!(self.log.position(&self.log.event_id(tag, last + 1)), Err(Gap));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_log_agrees_with_all_that_was_ever_said(
        caps in any_caps(),
        steps in vec(any_step(), 0..120),
    ) {
        let mut model = Model::new(caps);
        for step in steps {
            model.take(step);
            model.check();
        }
    }

    #[test]
    fn every_event_id_reads_back(stream: u32, epoch: u64, seq in 0_u64..1_000_000_000_000_000) {
        let id = EventId { stream: StreamTag(stream), epoch, seq };
        prop_assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn what_is_read_as_an_event_id_is_one(text in "[0-9]{1,2}-[0-9a-fA-F+ ]{16}-[0-9]{1,3}") {
        if let Some(id) = EventId::parse(&text) {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
