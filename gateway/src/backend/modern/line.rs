//! From the reader of a process to one caller: bounded, and the answer always fits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use wire::message::Notification;

use crate::backend::modern::Said;
use crate::config::limits::session::{QUEUE_BYTES, QUEUE_EVENTS};

/// Where the reader puts what is said to a caller. It never waits: a caller who does not read
/// must not keep what is said to others.
#[derive(Debug)]
pub struct Line {
    sender: mpsc::Sender<Said>,
    held_bytes: Arc<AtomicUsize>,
}

/// Where the caller hears it.
#[derive(Debug)]
pub(super) struct Ear {
    receiver: mpsc::Receiver<Said>,
    held_bytes: Arc<AtomicUsize>,
}

impl Line {
    /// A line and its other end.
    pub(super) fn new() -> (Self, Ear) {
        // One place more than notes get: the last message's.
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS + 1);
        let held_bytes = Arc::new(AtomicUsize::new(0));
        (Self { sender, held_bytes: held_bytes.clone() }, Ear { receiver, held_bytes })
    }

    /// Passes a notification on; false when too much waits to be heard already.
    pub(super) fn note(&self, note: Notification) -> bool {
        let (held, length) = (self.held_bytes.load(Ordering::Relaxed), note.text().len());
        if self.sender.capacity() <= 1 || (held > 0 && held + length > QUEUE_BYTES) {
            return false;
        }
        self.held_bytes.fetch_add(length, Ordering::Relaxed);
        self.sender.try_send(Said::Note(note)).is_ok()
    }

    /// Says the last thing.
    pub(crate) fn finish(self, said: Said) {
        if self.sender.try_send(said).is_err() {
            tracing::debug!("a caller did not wait for the answer");
        }
    }
}

impl Ear {
    pub(super) async fn hear(&mut self) -> Option<Said> {
        let said = self.receiver.recv().await;
        if let Some(Said::Note(note)) = &said {
            self.held_bytes.fetch_sub(note.text().len(), Ordering::Relaxed);
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::Id;
    use wire::message::Response;

    fn note(length: usize) -> Notification {
        Notification::new("notifications/x", Some(&format!(r#"{{"x":"{}"}}"#, "x".repeat(length))))
    }

    #[tokio::test]
    async fn a_full_line_loses_notes_and_never_the_answer() {
        let (line, mut ear) = Line::new();
        let taken = (0..QUEUE_EVENTS + 10).filter(|_| line.note(note(1))).count();
        assert_eq!(taken, QUEUE_EVENTS);
        assert!(matches!(ear.hear().await, Some(Said::Note(_))));
        assert!(line.note(note(1)) && !line.note(note(1)));
        let answer = Said::Answer(Response::success(&Id::number(1), "{}"));
        line.finish(answer.clone());
        for _ in 0..QUEUE_EVENTS {
            assert!(matches!(ear.hear().await, Some(Said::Note(_))));
        }
        assert_eq!(ear.hear().await, Some(answer));
        assert_eq!(ear.hear().await, None);
    }

    #[tokio::test]
    async fn bytes_are_counted_until_they_are_heard() {
        let (line, mut ear) = Line::new();
        assert!(line.note(note(QUEUE_BYTES)), "one note may be as long as it is");
        assert!(!line.note(note(1)));
        assert!(ear.hear().await.is_some());
        assert!(line.note(note(1)));
    }
}
