//! Server-sent events: the decoder agrees with the standard's algorithm wherever the stream is
//! cut, holds a bounded number of bytes, and reads back what the encoder writes.

use bytes::BytesMut;
use wire::sse::{self, Decoder, Event, TooLong};

use super::cuts;

/// What a decoder gave: its events, the last id and the reconnection time.
type Decoded = (Vec<Result<Event, TooLong>>, Option<String>, Option<u64>);

/// Input: the limit, a seed for the cuts, then the stream.
pub fn sse_decoder(input: &[u8]) {
    let [limit, seed, stream @ ..] = input else { return };
    let limit = if *limit < 128 { usize::from(*limit) } else { usize::from(*limit) * 64 };
    let mut ways = cuts::every_way(stream, *seed).into_iter();
    let whole = decode(&ways.next().unwrap_or_default(), limit);
    for pieces in ways {
        assert_eq!(decode(&pieces, limit), whole, "the cuts changed what was read");
    }
    let (events, ..) = &whole;
    if stream.len() <= limit {
        assert_eq!(whole, by_the_book(stream), "not what the standard says");
    }
    for event in events.iter().flatten() {
        assert!(event.data.len() <= limit.saturating_mul(3), "more data than the limit");
        read_back(event);
    }
}

fn decode(pieces: &[&[u8]], limit: usize) -> Decoded {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    // The buffer, the data, an id, a type and the last id; each may grow by replacement
    // characters, of three bytes, and each line by its field's name.
    let most = 5 * 3 * (limit + 16);
    for piece in pieces {
        decoder.push(piece);
        events.extend(decoder.by_ref());
        let held = decoder.held_bytes();
        assert!(held <= most, "{held} bytes held, limit {limit}");
    }
    (events, decoder.last_event_id().map(str::to_owned), decoder.retry())
}

/// WHATWG HTML section 9.2.6 as it is written, for a stream that is there as a whole; an event
/// with an id and no data is dispatched too.
fn by_the_book(stream: &[u8]) -> Decoded {
    let bare = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let text = String::from_utf8_lossy(bare).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut last_id, mut retry) = (Vec::new(), None, None);
    let mut event = Event::default();
    let mut data: Option<String> = None;
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            _ if line.is_empty() => {
                let mut done = std::mem::take(&mut event);
                let has_data = data.is_some();
                done.data = data.take().unwrap_or_default().into();
                last_id = done.id.clone().or(last_id);
                if has_data || done.id.is_some() {
                    events.push(Ok(done));
                }
            }
            "data" => match &mut data {
                Some(data) => data.extend(["\n", value]),
                None => data = Some(value.to_owned()),
            },
            "event" => event.event = Some(value.into()).filter(|_| !value.is_empty()),
            "id" if !value.contains('\0') => event.id = Some(value.into()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                event.retry = value.parse().ok().or(event.retry);
                retry = value.parse().ok().or(retry);
            }
            _ => {}
        }
    }
    (events, last_id.map(|id| id.to_string()).filter(|id| !id.is_empty()), retry)
}

/// An event that was read is the same after it is written and read again.
fn read_back(event: &Event) {
    let mut stream = BytesMut::new();
    sse::comment("a comment\n\n is skipped", &mut stream);
    sse::encode(event, &mut stream);
    let mut decoder = Decoder::new(stream.len());
    decoder.push(&stream);
    assert_eq!(decoder.next(), Some(Ok(event.clone())));
    assert_eq!(decoder.next(), None);
}
