//! A child's stderr: always drained, only its last lines kept.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::sync::oneshot;

use super::life::State;
use crate::config::limits::process::{KEPT_CHARACTERS, KEPT_LINES, STDERR_READ_BYTES};

/// The last lines of stderr, raw. They are escaped when somebody asks for them, so that a flood
/// costs no more than finding the line ends at the end of every read.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The line that has no end yet, cut at [`KEPT_CHARACTERS`] bytes.
    open: Vec<u8>,
    bytes: u64,
}

impl Tail {
    /// The kept lines, oldest first, control characters escaped; an unfinished one comes last.
    pub(super) fn lines(&self) -> Vec<String> {
        let open = Some(&self.open).filter(|line| !is_blank(line));
        let skipped = (self.lines.len() + usize::from(open.is_some())).saturating_sub(KEPT_LINES);
        self.lines.iter().chain(open).skip(skipped).map(|line| printable(line)).collect()
    }

    /// How many bytes the child has written in all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes in one read. Lines that later lines of the same read push out are never copied.
    fn push(&mut self, read: &[u8]) {
        self.bytes += read.len() as u64;
        let mut parts = read.splitn(2, |&byte| byte == b'\n');
        append(&mut self.open, parts.next().unwrap_or_default());
        let Some(rest) = parts.next() else { return };
        let ended = std::mem::take(&mut self.open);
        self.keep(&ended);

        let mut backwards = rest.rsplit(|&byte| byte == b'\n');
        append(&mut self.open, backwards.next().unwrap_or_default());
        let newest = backwards.filter(|line| !is_blank(line)).take(KEPT_LINES);
        for line in newest.collect::<Vec<&[u8]>>().into_iter().rev() {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: &[u8]) {
        if is_blank(line) {
            return;
        }
        let full = self.lines.len() >= KEPT_LINES;
        let mut place = if full { self.lines.pop_front() } else { None }.unwrap_or_default();
        place.clear();
        append(&mut place, line.strip_suffix(b"\r").unwrap_or(line));
        self.lines.push_back(place);
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, [] | [b'\r'])
}

/// Appends as much as fits below [`KEPT_CHARACTERS`].
fn append(line: &mut Vec<u8>, more: &[u8]) {
    let room = KEPT_CHARACTERS.saturating_sub(line.len());
    line.extend_from_slice(more.get(..room).unwrap_or(more));
}

/// The line with control characters escaped and bad UTF-8 replaced, at most
/// [`KEPT_CHARACTERS`] long, so that it can neither move a terminal's cursor nor forge a log line.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let escaped = text.chars().flat_map(|character| {
        let control = character.is_control();
        let escape = control.then(|| character.escape_default());
        let plain = (!control).then_some(character);
        escape.into_iter().flatten().chain(plain)
    });
    escaped.take(KEPT_CHARACTERS).collect()
}

/// Reads until the pipe ends, then drops `done`; no longer than until the child's end is told, for
/// a process that left its group may hold the pipe for good.
pub(super) async fn drain(mut pipe: ChildStderr, state: Arc<State>, done: oneshot::Sender<()>) {
    let mut buffer = vec![0; STDERR_READ_BYTES];
    let mut exited = pin!(state.exited());
    loop {
        let read = tokio::select! {
            biased;
            _exit = &mut exited => break,
            read = pipe.read(&mut buffer) => read,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(length) => state.stderr.lock().push(buffer.get(..length).unwrap_or_default()),
        }
    }
    drop(done);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Where the reads happen to be cut makes no difference.
        #[test]
        fn the_tail_is_that_of_the_whole(text in "[a-c\\n]{0,120}", cuts in any::<[u8; 4]>()) {
            let mut cuts: Vec<usize> =
                cuts.iter().map(|&cut| usize::from(cut) % (text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut tail = Tail::default();
            let mut from = 0;
            for to in cuts.into_iter().chain([text.len()]) {
                tail.push(&text.as_bytes()[from..to]);
                from = to;
            }
            let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
            let wanted = lines.get(lines.len().saturating_sub(KEPT_LINES)..).unwrap();
            prop_assert_eq!(tail.lines(), wanted);
        }
    }

    fn kept(reads: &[&str]) -> Vec<String> {
        let mut tail = Tail::default();
        for read in reads {
            tail.push(read.as_bytes());
        }
        tail.lines()
    }

    #[test]
    fn lines_are_put_together_over_reads() {
        assert_eq!(kept(&["one\ntw", "o\r\n", "\n", "thr", "ee"]), ["one", "two", "three"]);
        assert_eq!(kept(&["a", "b", "\n", "c\n"]), ["ab", "c"]);
        assert_eq!(kept(&[]), [""; 0]);
    }

    #[test]
    fn the_last_twenty_are_kept() {
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let wanted = numbers.get(80..).unwrap();
        assert_eq!(kept(&[&(numbers.join("\n") + "\n")]), wanted);
        assert_eq!(kept(&[&numbers.join("\n")]), wanted);
        let reads: Vec<String> = numbers.iter().map(|number| format!("{number}\n")).collect();
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        assert_eq!(kept(&reads), wanted);
    }

    #[test]
    fn blank_lines_push_nothing_out() {
        assert_eq!(kept(&["a\n\nb\n", &"\n".repeat(100), "\r\n\r\nc"]), ["a", "b", "c"]);
    }

    #[test]
    fn exactly_as_many_lines_as_are_kept_in_one_read() {
        let read = "x\n".repeat(KEPT_LINES);
        let lines = kept(&["op", &format!("en{read}")]);
        assert_eq!(lines.len(), KEPT_LINES);
        assert_eq!(lines.first().unwrap(), "openx");
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_escaped() {
        let lines = kept(&[&"x".repeat(2000), &"y".repeat(2000), "\n\u{1b}[31mred\u{7}\n"]);
        assert_eq!(lines, ["x".repeat(512), "\\u{1b}[31mred\\u{7}".to_owned()]);
        assert_eq!(kept(&[&"\u{7}".repeat(600)]).concat().chars().count(), 512);
    }
}
