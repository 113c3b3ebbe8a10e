//! Newline framing for stdio: push bytes, take lines, in bounded memory.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::limits::LINE_HEAD_BYTES;

/// A line of so many bytes may well become one of the longest.
const LARGE_BYTES: usize = 1 << 20;

/// A limit for lines above which no buffer for the longest one is made at once.
const HUGE_BYTES: usize = 64 << 20;

/// Cuts a byte stream into lines (2025-11-25 basic/transports, "stdio").
///
/// Blank lines are skipped; a carriage return before the newline and a byte order mark are cut
/// off. A line over the limit is dropped as it arrives and reported at its newline, and the next
/// line is read as usual. Between a [`push`](Lines::push) and the next, take lines until `None`:
/// then no more than the limit and one push is held.
#[derive(Debug)]
pub struct Lines {
    limit_bytes: usize,
    buffer: BytesMut,
    /// Bytes at the front of the buffer known to hold no newline.
    searched: usize,
    /// The line that is being dropped: its head, and its length so far.
    dropping: Option<(Bytes, u64)>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line within the limit, without its line ending.
    Text(Bytes),
    /// A line that was too long and was dropped.
    TooLong {
        /// Its first bytes, at most 4 KiB.
        head: Bytes,
        /// Its length in bytes up to the newline.
        length: u64,
    },
}

impl Lines {
    /// Reads lines of at most `limit_bytes`, line ending not counted.
    pub fn new(limit_bytes: usize) -> Lines {
        Lines { limit_bytes, buffer: BytesMut::new(), searched: 0, dropping: None }
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// Makes room for so many bytes. A line that is large already gets a buffer for the longest one
    /// at once: growing it step by step would leave twice as much behind in pieces, while memory
    /// that was never written to costs nothing.
    pub fn reserve(&mut self, more_bytes: usize) {
        let needed = self.buffer.len().saturating_add(more_bytes);
        let is_small = needed <= LARGE_BYTES || self.limit_bytes > HUGE_BYTES;
        if needed <= self.buffer.capacity() || is_small {
            self.buffer.reserve(more_bytes);
            return;
        }
        let most = self.limit_bytes.saturating_add(more_bytes).saturating_add(2);
        let mut grown = BytesMut::with_capacity(most.max(needed));
        grown.extend_from_slice(&self.buffer);
        self.buffer = grown;
    }

    /// The buffer itself, to read into without a copy. Only append to it.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes of the stream that are kept: the line coming in, or the head of one being dropped.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() + self.dropping.as_ref().map_or(0, |(head, _)| head.len())
    }

    /// Whether the line coming in is over the limit already and is dropped as it comes.
    pub fn is_dropping(&self) -> bool {
        self.dropping.is_some()
    }

    /// Cuts off the front `length` bytes and the newline behind them.
    fn take_line(&mut self, length: usize) -> Option<Line> {
        let mut line = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        if length > LARGE_BYTES / 2 {
            // Its buffer may have room for the longest line; nothing but this line is to keep it.
            self.buffer = BytesMut::from(&*self.buffer);
        }
        if let Some((head, dropped)) = self.dropping.take() {
            return Some(Line::TooLong { head, length: dropped + length_of(&line) });
        }
        let length = length_of(&line);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > self.limit_bytes {
            return Some(Line::TooLong { head: head_of(&line), length });
        }
        if line.starts_with(b"\xEF\xBB\xBF") {
            line.advance(3);
        }
        let blank = line.iter().all(u8::is_ascii_whitespace);
        (!blank).then_some(Line::Text(line))
    }

    /// Drops what is buffered of a line that is or became too long.
    fn drop_excess(&mut self) {
        self.searched = self.buffer.len();
        // One byte more may be the carriage return of a line that just fits.
        if self.dropping.is_none() && self.buffer.len() <= self.limit_bytes.saturating_add(1) {
            return;
        }
        let (_, length) = self.dropping.get_or_insert_with(|| (head_of(&self.buffer), 0));
        *length += length_of(&self.buffer);
        if self.buffer.capacity() > self.limit_bytes {
            self.buffer = BytesMut::new();
        }
        self.buffer.clear();
        self.searched = 0;
    }
}

/// Takes lines out; `None` means that more bytes are needed, not that the stream ended.
impl Iterator for Lines {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(offset) = memchr(b'\n', unsearched) else {
                self.drop_excess();
                return None;
            };
            if let Some(line) = self.take_line(self.searched + offset) {
                return Some(line);
            }
        }
    }
}

/// A copy of the front of a line, so that the long buffer can be freed.
fn head_of(line: &[u8]) -> Bytes {
    Bytes::copy_from_slice(line.get(..LINE_HEAD_BYTES).unwrap_or(line))
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit_bytes: usize, chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::new(limit_bytes);
        let mut taken = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            taken.extend(lines.by_ref());
        }
        taken
    }

    fn text(line: &'static str) -> Line {
        Line::Text(Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn tolerates_returns_marks_and_blank_lines() {
        let input: &[u8] = b"\xEF\xBB\xBF{}\r\n\r\n \t\n\n\xEF\xBB\xBF\n[]\n";
        assert_eq!(lines(16, &[input]), [text("{}"), text("[]")]);
    }

    #[test]
    fn keeps_a_partial_line_back() {
        assert_eq!(lines(16, &[b"a", b"b"]), []);
        assert_eq!(lines(16, &[b"a", b"b\nc"]), [text("ab")]);
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_the_limit() {
        assert_eq!(lines(3, &[b"abc", b"\r", b"\nabc\n"]), [text("abc"), text("abc")]);
    }

    #[test]
    fn a_long_line_is_reported_and_the_next_one_read() {
        let long = Line::TooLong { head: Bytes::from_static(b"abcd"), length: 4 };
        assert_eq!(lines(3, &[b"abcd\nok\n"]), [long, text("ok")]);
        let longer = Line::TooLong { head: Bytes::from_static(b"abcde"), length: 9 };
        assert_eq!(lines(3, &[b"abcde", b"fgh", b"i\nok\n"]), [longer, text("ok")]);
    }

    #[test]
    fn a_large_line_takes_its_buffer_along() {
        let mut lines = Lines::new(16 << 20);
        for length in [LARGE_BYTES - 10, LARGE_BYTES + 10, 15 << 20] {
            for chunk in vec![b'x'; length].chunks(1 << 16) {
                lines.push(chunk);
                assert_eq!(lines.next(), None);
            }
            lines.push("\nok\n{");
            let Some(Line::Text(large)) = lines.next() else { panic!("no line") };
            assert_eq!(large.len(), length);
            assert!(lines.buffer.capacity() < 1 << 16);
            assert!(large.is_unique());
            assert_eq!(lines.next(), Some(text("ok")));
            lines.push("}\n");
            assert_eq!(lines.next(), Some(text("{}")));
        }
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut lines = Lines::new(10_000);
        let chunk = [b'x'; 8192];
        for _ in 0..1000 {
            lines.push(chunk);
            assert_eq!(lines.next(), None);
            assert!(lines.buffer.capacity() <= 40_000);
        }
        lines.push("\n");
        let Some(Line::TooLong { head, length }) = lines.next() else { panic!("no line") };
        assert_eq!((head.len(), length), (4096, 8_192_000));
    }
}
