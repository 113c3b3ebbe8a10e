//! The line framer: every way of cutting a stream gives the lines that splitting it whole gives.

use wire::lines::{Line, Lines};

use super::cuts;

/// Bytes of a line that was too long that are kept.
const HEAD_BYTES: usize = 4096;

/// Input: the limit, a seed for the cuts, then the stream.
pub fn lines(input: &[u8]) {
    let [limit, seed, stream @ ..] = input else { return };
    // Small limits meet the edges; the larger ones let a head be kept whole.
    let limit = if *limit < 128 { usize::from(*limit) } else { usize::from(*limit) * 64 };
    let expected = split(stream, limit);
    for pieces in cuts::every_way(stream, *seed) {
        let mut reader = Lines::new(limit);
        let mut read = Vec::new();
        for piece in pieces {
            reader.push(piece);
            read.extend(reader.by_ref());
            let held = reader.held_bytes();
            assert!(held <= limit + 1 + HEAD_BYTES, "{held} bytes held, limit {limit}");
        }
        assert_eq!(read.len(), expected.len(), "{read:?}, expected {expected:?}");
        for (line, expected) in read.iter().zip(&expected) {
            assert_same(line, expected, limit);
        }
    }
}

/// The lines of a stream that is there as a whole.
fn split(stream: &[u8], limit: usize) -> Vec<Line> {
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    lines.pop();
    let judged = lines.into_iter().filter_map(|line| {
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if bare.len() > limit {
            let length = u64::try_from(line.len()).expect("it fits");
            return Some(Line::TooLong { head: line.to_vec().into(), length });
        }
        let bare = bare.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bare);
        let blank = bare.iter().all(u8::is_ascii_whitespace);
        (!blank).then(|| Line::Text(bare.to_vec().into()))
    });
    judged.collect()
}

/// How much of the head is kept below the limit depends on the cuts; above it is the same always.
fn assert_same(line: &Line, expected: &Line, limit: usize) {
    let (Line::TooLong { head, length }, Line::TooLong { head: all, length: expected }) =
        (line, expected)
    else {
        assert_eq!(line, expected);
        return;
    };
    assert_eq!(length, expected);
    assert!(all.starts_with(head), "the head is not the front of the line");
    assert!(head.len() <= HEAD_BYTES && head.len() >= limit.min(HEAD_BYTES));
}
