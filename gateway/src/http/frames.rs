//! A `WebSocket`'s bytes, looked at frame by frame before they become messages: what the library
//! that puts frames together does not bound is bounded here.
//!
//! A message in fragments is one message to that library, however many fragments it has and
//! however long it takes, and control frames never reach a reader that counts them. Framing:
//! RFC 6455 §5.2. Whether a frame is right is the library's to judge.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::limits::websocket::{CONTROLS_PER_SECOND, FRAGMENTS_MAX};

/// The longest head of a frame.
const HEAD_BYTES: usize = 14;

/// What a client may not do, though each of its frames is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A message was begun and not finished in time.
    Unfinished,
    /// A message came in too many pieces.
    Fragments,
    /// Pings or pongs came too fast.
    Flood,
}

/// Counts the frames of one direction. Pure: time is an argument.
#[derive(Debug)]
pub(crate) struct Frames {
    part: Part,
    /// Since when a message is being received.
    open: Option<Instant>,
    fragments: u32,
    second: Instant,
    controls: u32,
}

/// Where in a frame the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Within the head, of which so much is there.
    Head { bytes: [u8; HEAD_BYTES], have: usize },
    /// Within the payload; `ends` is whether the message ends with this frame.
    Payload { left: u64, ends: bool },
}

/// A connection whose incoming frames are counted.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    frames: Frames,
    patience: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Nothing is counted any more: the client is being told why.
    breached: bool,
}

// === impl Frames ===

impl Frames {
    pub(crate) fn new(now: Instant) -> Self {
        Self { part: Part::HEAD, open: None, fragments: 0, second: now, controls: 0 }
    }

    /// Takes in what was read.
    ///
    /// # Errors
    /// The client has done what it may not.
    pub(crate) fn push(&mut self, mut read: &[u8], now: Instant) -> Result<(), Breach> {
        while let Some((first, rest)) = read.split_first() {
            match &mut self.part {
                Part::Head { bytes, have } => {
                    if let Some(place) = bytes.get_mut(*have) {
                        *place = *first;
                    }
                    *have += 1;
                    read = rest;
                    let (bytes, have) = (*bytes, *have);
                    if have >= head_length(&bytes, have) {
                        self.begin(&bytes, now)?;
                    } else if have == 1 && !is_control(&bytes) {
                        self.open.get_or_insert(now);
                    }
                }
                Part::Payload { left, ends } => {
                    let taken = read.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    let (is_over, ends) = (*left == 0, *ends);
                    read = read.get(taken..).unwrap_or_default();
                    if is_over {
                        self.finish(ends);
                    }
                }
            }
        }
        Ok(())
    }

    /// Since when a message is being received; `None` between messages.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.open
    }

    /// A frame's head is complete.
    fn begin(&mut self, head: &[u8; HEAD_BYTES], now: Instant) -> Result<(), Breach> {
        let ends = if is_control(head) {
            if now.duration_since(self.second) >= Duration::from_secs(1) {
                (self.second, self.controls) = (now, 0);
            }
            self.controls += 1;
            if self.controls > CONTROLS_PER_SECOND {
                return Err(Breach::Flood);
            }
            // A control frame may stand between the fragments of a message.
            false
        } else {
            self.fragments += 1;
            if self.fragments > FRAGMENTS_MAX {
                return Err(Breach::Fragments);
            }
            head.first().is_some_and(|byte| byte & 0x80 != 0)
        };
        self.part = Part::Payload { left: payload_length(head), ends };
        if payload_length(head) == 0 {
            self.finish(ends);
        }
        Ok(())
    }

    fn finish(&mut self, ends: bool) {
        self.part = Part::HEAD;
        if ends {
            (self.open, self.fragments) = (None, 0);
        }
    }
}

impl Part {
    const HEAD: Self = Self::Head { bytes: [0; HEAD_BYTES], have: 0 };
}

/// Whether a head is that of a close, ping or pong (RFC 6455 §5.5).
fn is_control(head: &[u8; HEAD_BYTES]) -> bool {
    head.first().is_some_and(|byte| byte & 0x08 != 0)
}

/// How long a head is of which `have` bytes are known; never less than what can be told.
fn head_length(head: &[u8; HEAD_BYTES], have: usize) -> usize {
    let Some(second) = head.get(1).filter(|_| have > 1) else { return 2 };
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 != 0 { 4 } else { 0 }
}

fn payload_length(head: &[u8; HEAD_BYTES]) -> u64 {
    let [_, second, rest @ ..] = head;
    let size = match second & 0x7F {
        126 => 2,
        127 => 8,
        short => return u64::from(short),
    };
    let long = rest.iter().take(size);
    long.fold(0, |length: u64, byte| length.wrapping_shl(8) | u64::from(*byte))
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// `inner`, on which a message may take as long as `patience`.
    pub(crate) fn new(inner: S, patience: Duration) -> Self {
        let frames = Frames::new(Instant::now());
        Self { inner, frames, patience, alarm: None, breached: false }
    }

    /// From here on whatever comes passes.
    pub(crate) fn stop_counting(&mut self) {
        self.breached = true;
    }

    fn breach(&mut self, breach: Breach) -> io::Error {
        self.breached = true;
        io::Error::other(breach)
    }

    /// Ready once the message that is being received has taken too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.frames.open_since().filter(|_| !self.breached) else {
            self.alarm = None;
            return Poll::Pending;
        };
        let deadline = since + self.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(self.breach(Breach::Unfinished)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if outcome.is_pending() {
            return self.poll_patience(cx);
        }
        ready!(outcome)?;
        if !self.breached {
            let read = buffer.filled().get(before..).unwrap_or_default();
            let counted = self.frames.push(read, Instant::now());
            counted.map_err(|breach| self.breach(breach))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

// === impl Breach ===

impl Breach {
    /// What the client is told.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Unfinished => "a message was not finished in time (limits.body_timeout)",
            Self::Fragments => "the message is in too many fragments",
            Self::Flood => "too many pings",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Breach {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame, masked with zeros.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..126 => bytes.push(0x80 | u8::try_from(payload).unwrap()),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![0xFF; payload]);
        bytes
    }

    fn all(frames: &[Vec<u8>]) -> Result<Option<Instant>, Breach> {
        let now = Instant::now();
        let mut counted = Frames::new(now);
        counted.push(&frames.concat(), now)?;
        Ok(counted.open_since())
    }

    #[test]
    fn a_message_is_open_from_its_first_byte_to_its_last() {
        for payload in [0, 5, 125, 126, 65_535, 65_536] {
            let whole = frame(0x81, payload);
            assert_eq!(all(std::slice::from_ref(&whole)), Ok(None), "{payload}");
            let (last, most) = whole.split_last().unwrap();
            assert!(all(&[most.to_vec()]).unwrap().is_some(), "{payload} without {last}");
        }
        assert!(all(&[frame(0x01, 3), frame(0x00, 3)]).unwrap().is_some());
        assert_eq!(all(&[frame(0x01, 3), frame(0x89, 3), frame(0x80, 3)]), Ok(None));
        assert_eq!(all(&[frame(0x89, 3), frame(0x8A, 0), frame(0x88, 2)]), Ok(None));
    }

    #[test]
    fn fragments_are_counted_for_each_message() {
        let pieces = |count: usize| {
            let mut frames = vec![frame(0x01, 1)];
            frames.resize(count - 1, frame(0x00, 1));
            frames.push(frame(0x80, 1));
            frames
        };
        assert_eq!(all(&[pieces(4096), pieces(4096)].concat()), Ok(None));
        assert_eq!(all(&pieces(4097)), Err(Breach::Fragments));
    }

    #[test]
    fn control_frames_are_counted_for_each_second() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            (0..20).for_each(|_| frames.push(&frame(0x89, 4), now).unwrap());
        }
        let now = start + Duration::from_millis(2999);
        assert_eq!(frames.push(&frame(0x8A, 0), now), Err(Breach::Flood));
    }

    proptest! {
        /// Where the reads happen to be cut makes no difference.
        #[test]
        fn cuts_do_not_matter(
            frames in proptest::collection::vec((0_u8..=255, 0_usize..300), 1..6),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let now = Instant::now();
            let frames = frames.iter().map(|(first, size)| frame(*first, *size));
            let bytes: Vec<u8> = frames.flatten().collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut whole = Frames::new(now);
            let wanted = whole.push(&bytes, now).map(|()| whole.open_since());
            let mut cut = Frames::new(now);
            let mut got = Ok(());
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                got = got.and_then(|()| cut.push(&bytes[from..to], now));
                from = to;
            }
            prop_assert_eq!(got.map(|()| cut.open_since()), wanted);
        }
    }
}
