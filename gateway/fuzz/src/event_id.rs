//! The names of events: what is written reads back, and only what is written is read.

use mcp_gateway::session::replay::EventId;

/// Input: a `Last-Event-ID`, and bytes to build ids from.
pub fn event_id(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(id) = EventId::parse(&text) {
        assert_eq!(id.to_string(), text, "an id is read that was not written like this");
    }
    let mut numbers = [0; 20];
    for (number, byte) in numbers.iter_mut().zip(input) {
        *number = *byte;
    }
    let (stream, rest) = numbers.split_first_chunk::<4>().expect("20 bytes");
    let (epoch, seq) = rest.split_first_chunk::<8>().expect("16 bytes");
    let stream = u32::from_le_bytes(*stream);
    let epoch = u64::from_le_bytes(*epoch);
    let seq = u64::from_le_bytes(*seq.first_chunk().expect("8 bytes")) % 1_000_000_000_000_000;
    let written = format!("{stream}-{epoch:016x}-{seq}");
    let id = EventId::parse(&written).expect("a written id is read");
    assert_eq!((id.epoch, id.seq, id.to_string()), (epoch, seq, written));
}
