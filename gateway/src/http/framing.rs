//! Request heads that two readers could take for different requests, found before hyper sees them.
//!
//! hyper takes a length beside `Transfer-Encoding`, equal lengths, and lines that end without a
//! carriage return, all of which RFC 9112 (§2.2, §6.3) lets a server take or refuse. A proxy in
//! front may read such a head otherwise, and then one request becomes two. So the framing is
//! followed here, and a head that is not plain is made unreadable: hyper answers it with 400 and
//! closes the connection.

use crate::config::limits::client::HEAD_BYTES;

/// Follows the requests of one connection, read by read.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    at: At,
    /// The beginning of a line of a head, or of a chunk's size, whose end is still to come.
    line: Vec<u8>,
    head: Head,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// A body, and how much of it is to come.
    Body(u64),
    /// The line with a chunk's size.
    Size,
    /// A chunk with the end of its line, and how much of it is to come.
    Chunk(u64),
    /// The lines after the last chunk.
    Trailer,
    /// Nothing that could be told: hyper will refuse it.
    Lost,
}

/// What is known of a head so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
}

// === impl Framing ===

impl Framing {
    /// Takes in what was read, and spoils it from the line on that is not plain.
    pub(crate) fn follow(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match self.at {
                At::Lost => return,
                At::Body(left) => self.skip(left, bytes.len(), At::Body, At::Head),
                At::Chunk(left) => self.skip(left, bytes.len(), At::Chunk, At::Size),
                At::Head | At::Size | At::Trailer => match self.line(bytes) {
                    Some(taken) => taken,
                    None => return,
                },
            };
            let Some((_, rest)) = bytes.split_at_mut_checked(taken) else { return };
            bytes = rest;
        }
    }

    fn skip(&mut self, left: u64, there: usize, same: fn(u64) -> At, next: At) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left.saturating_sub(taken as u64);
        self.at = if left == 0 { next } else { same(left) };
        taken
    }

    /// Takes one line; `None` when there is no whole one, or it was spoiled.
    fn line(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            if self.line.len() > HEAD_BYTES {
                // A head of this length hyper refuses, with 431; of a chunk's size it reads any
                // number of leading zeros.
                if self.at != At::Head {
                    bytes.fill(0);
                }
                self.at = At::Lost;
            }
            return None;
        };
        let taken = end + 1;
        let part = bytes.get(..taken)?;
        let next = if self.line.is_empty() {
            self.read(part)
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(part);
            self.read(&line)
        };
        match next {
            Some(at) => self.at = at,
            None => {
                bytes.fill(0);
                self.at = At::Lost;
                return None;
            }
        }
        Some(taken)
    }

    /// Reads a line with its end; `None` when it is not plain.
    fn read(&mut self, line: &[u8]) -> Option<At> {
        let text = line.strip_suffix(b"\r\n")?;
        Some(match self.at {
            At::Size => {
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                match text.get(..digits).and_then(|it| number(it, 16)) {
                    Some(0) => At::Trailer,
                    Some(size) => At::Chunk(size.saturating_add(2)),
                    None => At::Lost,
                }
            }
            At::Trailer if text.is_empty() => At::Head,
            At::Head if text.is_empty() && self.head.begun => std::mem::take(&mut self.head).end(),
            At::Head if text.is_empty() => At::Head,
            At::Head if self.head.begun => {
                self.head.note(text)?;
                At::Head
            }
            // Who speaks HTTP/2 gets an answer, where hyper would only hang up.
            At::Head if text == b"PRI * HTTP/2.0" => return None,
            At::Head => {
                self.head.begun = true;
                At::Head
            }
            other @ (At::Trailer | At::Body(_) | At::Chunk(_) | At::Lost) => other,
        })
    }
}

// === impl Head ===

impl Head {
    /// Takes in a header line; `None` when it says again, or otherwise, how long the body is or
    /// whom the request is for.
    fn note(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon)?;
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let is_framed = self.chunked || self.length.is_some();
        if is("content-length") {
            // What is no number hyper refuses.
            self.length = Some(number(value.get(1..)?.trim_ascii(), 10).unwrap_or_default());
            return (!is_framed).then_some(());
        }
        if is("transfer-encoding") {
            self.chunked = true;
            return (!is_framed).then_some(());
        }
        if is("host") {
            self.hosts = self.hosts.saturating_add(1);
            return (self.hosts == 1).then_some(());
        }
        Some(())
    }

    fn end(self) -> At {
        match self.length {
            _ if self.chunked => At::Size,
            Some(0) | None => At::Head,
            Some(length) => At::Body(length),
        }
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\n\n\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        4;x=y\r\na\nb\n\r\n0\r\nX: y\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// What hyper gets of `text` when it comes in pieces of `step` bytes.
    fn passed(text: &str, step: usize) -> Vec<u8> {
        let mut framing = Framing::default();
        let mut bytes = text.as_bytes().to_vec();
        bytes.chunks_mut(step).for_each(|piece| framing.follow(piece));
        bytes
    }

    #[test]
    fn plain_requests_pass_in_pieces_of_any_size() {
        for step in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(passed(PLAIN, step), PLAIN.as_bytes(), "{step}");
        }
    }

    #[test]
    fn a_line_of_a_chunk_that_is_too_long_to_follow_is_spoiled() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let zeros = "0".repeat(HEAD_BYTES + 4096);
        for begun in ["", "4;x=", "0\r\nX: "] {
            for step in [64, 4096] {
                let text = format!("{head}{begun}{zeros}4\r\nabcd\r\n0\r\n\r\n");
                assert!(passed(&text, step).contains(&0), "{begun:?} in pieces of {step}");
            }
        }
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_spoiled() {
        for head in [
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\ncontent-length: 3\r\n",
            "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a\nContent-Length: 3\r\n",
        ] {
            for step in [1, 5, 4096] {
                let text = format!("{PLAIN}POST / HTTP/1.1\r\n{head}\r\nabc");
                let (before, after) = (PLAIN.len(), passed(&text, step));
                assert_eq!(after.get(..before), Some(PLAIN.as_bytes()), "{head}");
                assert!(after.contains(&0), "{head} in pieces of {step}");
            }
        }
    }
}
