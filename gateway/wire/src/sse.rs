//! Server-sent events: an encoder, and an incremental decoder (WHATWG HTML section 9.2.6).

use bytes::{Buf, BufMut, BytesMut};
use bytestring::ByteString;
use memchr::{memchr, memchr2};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The id, where the event has one of its own.
    pub id: Option<ByteString>,
    /// The type; `None` means `message`.
    pub event: Option<ByteString>,
    /// The data, its lines joined by line feeds.
    pub data: ByteString,
    /// How long to wait before a reconnect, in milliseconds.
    pub retry: Option<u64>,
}

/// An event was larger than the decoder's limit and was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit_bytes} bytes")]
pub struct TooLong {
    /// The limit.
    pub limit_bytes: usize,
}

/// Writes an event with its blank line.
pub fn encode(event: &Event, out: &mut BytesMut) {
    if let Some(milliseconds) = event.retry {
        retry(milliseconds, out);
    }
    encode_parts(event.id.as_deref(), event.event.as_deref(), &event.data, out);
}

/// Writes an event from its parts.
///
/// Line breaks in the data become one line each, which a decoder joins with line feeds. An id or a
/// type that cannot be written (with a line break, or an id with a NUL) is left out: it could
/// otherwise forge an event.
pub fn encode_parts(id: Option<&str>, event: Option<&str>, data: &str, out: &mut BytesMut) {
    out.reserve(data.len() + 64);
    let on_one_line = |text: &&str| memchr2(b'\n', b'\r', text.as_bytes()).is_none();
    if let Some(event) = event.filter(on_one_line) {
        field("event: ", event, out);
    }
    if let Some(id) = id.filter(on_one_line).filter(|id| !id.contains('\0')) {
        field("id: ", id, out);
    }
    let mut rest = data;
    while let Some(at) = memchr2(b'\n', b'\r', rest.as_bytes()) {
        let (line, ending) = rest.split_at(at);
        field("data: ", line, out);
        let ending_bytes = if ending.starts_with("\r\n") { 2 } else { 1 };
        rest = ending.get(ending_bytes..).unwrap_or_default();
    }
    field("data: ", rest, out);
    out.put_u8(b'\n');
}

/// Writes a comment, which keeps a connection alive and is otherwise ignored. Each line of `text`
/// becomes a comment line.
pub fn comment(text: &str, out: &mut BytesMut) {
    for line in text.split(['\n', '\r']) {
        field(":", line, out);
    }
    out.put_u8(b'\n');
}

/// Writes a reconnection time in milliseconds; it takes effect without an event.
pub fn retry(milliseconds: u64, out: &mut BytesMut) {
    field("retry: ", &milliseconds.to_string(), out);
}

fn field(name: &str, value: &str, out: &mut BytesMut) {
    out.put_slice(name.as_bytes());
    out.put_slice(value.as_bytes());
    out.put_u8(b'\n');
}

/// Reads events from a byte stream cut anywhere.
///
/// An event with an id and no data is returned with empty data, unlike in browsers: such a priming
/// event carries the id a client resumes from. Between a [`push`](Decoder::push) and the next, take
/// events until `None`: then the line coming in, the data, the id and the type of its event and the
/// last id are held, none of them much larger than the limit.
#[derive(Debug)]
pub struct Decoder {
    limit_bytes: usize,
    buffer: BytesMut,
    /// Bytes at the front of the buffer known to hold no line end.
    searched: usize,
    /// The stream has not got past the place of a byte order mark.
    at_start: bool,
    /// The last line ended with a carriage return, so that a line feed belongs to it.
    after_return: bool,
    /// The front of the line in the buffer was dropped.
    line_cut: bool,
    pending: Pending,
    last_event_id: Option<ByteString>,
    retry: Option<u64>,
}

/// The event whose lines are coming in.
#[derive(Debug, Default)]
struct Pending {
    id: Option<ByteString>,
    event: Option<ByteString>,
    data: BytesMut,
    has_data: bool,
    retry: Option<u64>,
    too_long: bool,
}

impl Decoder {
    /// Reads events whose data is at most `limit_bytes`; so is any single line.
    pub fn new(limit_bytes: usize) -> Decoder {
        Decoder {
            limit_bytes,
            buffer: BytesMut::new(),
            searched: 0,
            at_start: true,
            after_return: false,
            line_cut: false,
            pending: Pending::default(),
            last_event_id: None,
            retry: None,
        }
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The id of the last event that had one: what a reconnect sends as `Last-Event-ID`.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref().filter(|id| !id.is_empty())
    }

    /// The reconnection time last asked for, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Bytes that are kept for what is still to come.
    pub fn held_bytes(&self) -> usize {
        let Pending { id, event, data, .. } = &self.pending;
        let texts = [id, event, &self.last_event_id].into_iter().flatten().map(|text| text.len());
        self.buffer.len() + data.len() + texts.sum::<usize>()
    }

    /// Drops a byte order mark at the start of the stream; false while that cannot be told yet.
    fn skip_mark(&mut self) -> bool {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        if self.at_start {
            if self.buffer.starts_with(MARK) {
                self.buffer.advance(MARK.len());
            } else if MARK.starts_with(&self.buffer) {
                return false;
            }
            self.at_start = false;
        }
        true
    }

    /// Takes one whole line from the buffer, without its end.
    fn take_line(&mut self) -> Option<BytesMut> {
        if self.after_return && !self.buffer.is_empty() {
            self.after_return = false;
            if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
            }
        }
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(offset) = memchr2(b'\n', b'\r', unsearched) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + offset);
        self.searched = 0;
        self.after_return = self.buffer.first() == Some(&b'\r');
        self.buffer.advance(1);
        Some(line)
    }

    /// Drops what is buffered of a line over the limit.
    fn drop_excess(&mut self) {
        if self.line_cut || self.is_excess(self.buffer.len()) {
            self.line_cut = true;
            self.pending.overflow();
            self.buffer = BytesMut::new();
            self.searched = 0;
        }
    }

    /// Whether a line of so many bytes is too long, be there its end or not.
    fn is_excess(&self, line_bytes: usize) -> bool {
        // The field name, colon and space come on top of the data.
        line_bytes > self.limit_bytes.saturating_add(16)
    }

    fn take_event(&mut self) -> Option<Result<Event, TooLong>> {
        let pending = std::mem::take(&mut self.pending);
        if pending.too_long {
            return Some(Err(TooLong { limit_bytes: self.limit_bytes }));
        }
        if let Some(id) = &pending.id {
            self.last_event_id = Some(id.clone());
        }
        if !pending.has_data && pending.id.is_none() {
            return None;
        }
        let Pending { id, event, data, retry, .. } = pending;
        Some(Ok(Event { id, event, data: text_of(data), retry }))
    }

    fn take_field(&mut self, mut line: BytesMut) {
        let colon = memchr(b':', &line).unwrap_or(line.len());
        let name = line.split_to(colon);
        if !line.is_empty() {
            line.advance(1);
        }
        if line.first() == Some(&b' ') {
            line.advance(1);
        }
        match name.as_ref() {
            b"data" => self.pending.add_data(line, self.limit_bytes),
            b"event" => self.pending.event = Some(text_of(line)).filter(|event| !event.is_empty()),
            b"id" if !line.contains(&0) => self.pending.id = Some(text_of(line)),
            b"retry" if line.iter().all(u8::is_ascii_digit) => {
                if let Ok(milliseconds) = text_of(line).parse() {
                    self.retry = Some(milliseconds);
                    self.pending.retry = Some(milliseconds);
                }
            }
            _ => (),
        }
    }
}

/// Takes events out; `None` means that more bytes are needed, not that the stream ended.
impl Iterator for Decoder {
    type Item = Result<Event, TooLong>;

    fn next(&mut self) -> Option<Result<Event, TooLong>> {
        if !self.skip_mark() {
            return None;
        }
        loop {
            let Some(line) = self.take_line() else {
                self.drop_excess();
                return None;
            };
            if std::mem::take(&mut self.line_cut) {
                continue;
            }
            if self.is_excess(line.len()) {
                self.pending.overflow();
            } else if !line.is_empty() {
                self.take_field(line);
            } else if let Some(event) = self.take_event() {
                return Some(event);
            }
        }
    }
}

impl Pending {
    fn add_data(&mut self, line: BytesMut, limit_bytes: usize) {
        let joined = self.data.len() + usize::from(self.has_data) + line.len();
        if self.too_long || joined > limit_bytes {
            self.overflow();
        } else if self.has_data {
            self.data.put_u8(b'\n');
            self.data.put_slice(&line);
        } else {
            // The usual event has one line, which then needs no copy.
            self.data = line;
            self.has_data = true;
        }
    }

    fn overflow(&mut self) {
        self.data = BytesMut::new();
        self.too_long = true;
    }
}

/// The bytes as text; what is not UTF-8 becomes U+FFFD, as the standard asks.
fn text_of(bytes: BytesMut) -> ByteString {
    let bytes = bytes.freeze();
    ByteString::try_from(bytes.clone())
        .unwrap_or_else(|_| ByteString::from(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(stream: &str) -> (Vec<Event>, Decoder) {
        let mut decoder = Decoder::new(1024);
        decoder.push(stream.as_bytes());
        let events = decoder.by_ref().map(Result::unwrap).collect();
        (events, decoder)
    }

    fn data_of(stream: &str) -> Vec<String> {
        decode(stream).0.into_iter().map(|event| event.data.to_string()).collect()
    }

    fn event(id: Option<&'static str>, data: &'static str) -> Event {
        Event {
            id: id.map(ByteString::from_static),
            data: ByteString::from_static(data),
            ..Event::default()
        }
    }

    #[test]
    fn reads_the_examples_of_the_standard() {
        assert_eq!(data_of("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let (events, decoder) = decode(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
        );
        let expected =
            [event(Some("1"), "first event"), event(Some(""), "second"), event(None, " third")];
        assert_eq!(events, expected);
        assert_eq!(decoder.last_event_id(), None);
        assert_eq!(data_of("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data_of("data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_line_end_counts_and_the_mark_is_skipped() {
        assert_eq!(data_of("\u{FEFF}data: a\r\rdata: b\r\n\r\ndata: c\n\n"), ["a", "b", "c"]);
        assert_eq!(data_of("data: \u{FEFF}\n\n"), ["\u{FEFF}"]);
    }

    #[test]
    fn a_priming_event_is_returned() {
        let (events, decoder) = decode("id: s-1\nretry: 5000\ndata: \n\nid: s-2\n\n");
        let mut primed = event(Some("s-1"), "");
        primed.retry = Some(5000);
        assert_eq!(events, [primed, event(Some("s-2"), "")]);
        assert_eq!((decoder.last_event_id(), decoder.retry()), (Some("s-2"), Some(5000)));
    }

    #[test]
    fn ignores_what_has_no_meaning() {
        let (events, decoder) = decode(
            "retry: 1x\nretry: -1\nretry:\nid: a\0b\nfoo: bar\nDATA: x\nevent: e\n\n:c\nid: kept\n",
        );
        assert_eq!(events, []);
        assert_eq!((decoder.last_event_id(), decoder.retry()), (None, None));
    }

    #[test]
    fn the_type_lasts_one_event_and_the_id_stays() {
        let (events, decoder) = decode("event: endpoint\nid: 1\ndata: /m\n\ndata: x\n\n");
        assert_eq!(events[0].event.as_deref(), Some("endpoint"));
        assert_eq!((events[1].event.as_deref(), events[1].id.as_deref()), (None, None));
        assert_eq!(decoder.last_event_id(), Some("1"));
    }

    #[test]
    fn an_event_over_the_limit_is_reported_once_and_the_next_read() {
        let streams =
            ["data: aaaaa\n\n", "data: aaa\ndata: b\n\n", "data: aaa\ndata: b\ndata: c\n\n"];
        for stream in streams {
            let mut decoder = Decoder::new(4);
            decoder.push(format!("id: 7\n{stream}data: next\n\n").as_bytes());
            assert_eq!(decoder.next(), Some(Err(TooLong { limit_bytes: 4 })));
            assert_eq!(decoder.next(), Some(Ok(event(None, "next"))));
            assert_eq!((decoder.next(), decoder.last_event_id()), (None, None));
        }
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_wherever_it_is_cut() {
        for field in ["event: ", "id: ", ":", "unknown: "] {
            let stream = format!("{field}{}\ndata: a\n\ndata: b\n\n", "x".repeat(40));
            for cut in [0, 1, 30, stream.len()] {
                let mut decoder = Decoder::new(4);
                let (front, back) = stream.as_bytes().split_at(cut);
                decoder.push(front);
                let mut events: Vec<_> = decoder.by_ref().collect();
                decoder.push(back);
                events.extend(decoder.by_ref());
                let too_long = Err(TooLong { limit_bytes: 4 });
                assert_eq!(events, [too_long, Ok(event(None, "b"))], "{field} cut at {cut}");
                assert_eq!(decoder.last_event_id(), None);
            }
        }
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut decoder = Decoder::new(10_000);
        decoder.push(b"data: ");
        for _ in 0..1000 {
            decoder.push(&[b'x'; 8192]);
            assert_eq!(decoder.next(), None);
            assert!(decoder.buffer.capacity() <= 40_000);
        }
        decoder.push(b"\n\ndata: next\n\n");
        assert_eq!(decoder.next(), Some(Err(TooLong { limit_bytes: 10_000 })));
        assert_eq!(decoder.next(), Some(Ok(event(None, "next"))));
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        let mut decoder = Decoder::new(64);
        decoder.push(b"data: a\xFFb\n\n");
        assert_eq!(decoder.next(), Some(Ok(event(None, "a\u{FFFD}b"))));
    }

    #[test]
    fn writes_the_fields_a_client_expects() {
        let mut out = BytesMut::new();
        let mut primed = event(Some("s-1"), "");
        primed.retry = Some(3000);
        encode(&primed, &mut out);
        encode_parts(Some("s-2"), Some("message"), "{\r\n}", &mut out);
        comment("", &mut out);
        let expected = "retry: 3000\nid: s-1\ndata: \n\n\
                        event: message\nid: s-2\ndata: {\ndata: }\n\n:\n\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn no_field_can_forge_an_event() {
        let mut out = BytesMut::new();
        encode_parts(Some("1\n\ndata: x"), Some("a\rdata: x"), "y", &mut out);
        encode_parts(Some("a\0"), None, "y", &mut out);
        comment("c\n\rdata: x", &mut out);
        assert_eq!(out, "data: y\n\ndata: y\n\n:c\n:\n:data: x\n\n");
    }
}
