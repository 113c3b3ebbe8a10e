//! Stand-ins for wire::lines and wire::sse until that crate has them.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::all, clippy::pedantic, clippy::allow_attributes, clippy::allow_attributes_without_reason, clippy::indexing_slicing)]
pub mod lines {
    use bytes::Bytes;
    #[derive(Debug)]
    pub enum Line { Text(Bytes), TooLong { head: Bytes, length: u64 } }
    #[derive(Debug)]
    pub struct Lines { limit: usize, buf: Vec<u8>, len: u64, out: std::collections::VecDeque<Line> }
    impl Lines {
        pub fn new(limit: usize) -> Self { Self { limit, buf: vec![], len: 0, out: Default::default() } }
        pub fn push(&mut self, b: &[u8]) {
            for &c in b {
                if c == b'\n' {
                    let mut t = std::mem::take(&mut self.buf);
                    let n = std::mem::take(&mut self.len);
                    if n > self.limit as u64 { t.truncate(4096); self.out.push_back(Line::TooLong { head: t.into(), length: n }) }
                    else { if t.last() == Some(&13) { t.pop(); } if !t.is_empty() { self.out.push_back(Line::Text(t.into())) } }
                } else { self.len += 1; if self.buf.len() <= self.limit { self.buf.push(c) } }
            }
        }
        pub fn next(&mut self) -> Option<Line> { self.out.pop_front() }
    }
}
pub mod sse {
    use bytestring::ByteString;
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Event { pub id: Option<ByteString>, pub event: Option<ByteString>, pub data: ByteString, pub retry: Option<u64> }
    #[derive(Debug)]
    pub struct TooLong;
    #[derive(Debug)]
    pub struct Decoder { limit: usize }
    impl Decoder {
        pub fn new(limit: usize) -> Self { Self { limit } }
        pub fn push(&mut self, _: &[u8]) {}
        pub fn next(&mut self) -> Option<Result<Event, TooLong>> { None }
        pub fn last_event_id(&self) -> Option<&ByteString> { None }
        pub fn retry(&self) -> Option<u64> { None }
    }
}
