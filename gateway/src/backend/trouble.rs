//! A server that does not start, or that crashes again and again, is tried ever more seldom, and
//! never given up: no more than five processes are started a minute where none of them lasts.
//!
//! Pure: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::config::limits::server::{
    CRASHES_MAX, FIRST_REST, GARBAGE_LINES, LONGEST_REST, TROUBLE_SPAN,
};
use crate::telemetry::metrics::outlook::Circuit;

/// The failures of a server since it last started.
#[derive(Debug, Default)]
pub struct Trouble {
    failures: u32,
    last: Option<(Refusal, Instant)>,
}

impl Trouble {
    /// Whether the server may be started.
    ///
    /// # Errors
    /// It rests; the refusal says why it failed and when to try again.
    pub fn allow(&self, now: Instant) -> Result<(), Refusal> {
        let Some((refusal, at)) = &self.last else { return Ok(()) };
        let left = (*at + self.rest()).saturating_duration_since(now);
        if left.is_zero() {
            return Ok(());
        }
        let mut refusal = refusal.clone().dispatched(Dispatched::No).retry_after(left);
        refusal.message = format!(
            "{} (failure {}; tried again in {} s)",
            refusal.message,
            self.failures,
            left.as_secs() + 1
        );
        Err(refusal)
    }

    /// What [`allow`](Self::allow) says, as a figure.
    pub fn circuit(&self, now: Instant) -> Circuit {
        match (&self.last, self.allow(now)) {
            (None, _) => Circuit::Closed,
            (Some(_), Ok(())) => Circuit::HalfOpen,
            (Some(_), Err(_)) => Circuit::Open,
        }
    }

    /// It failed to start.
    pub fn note(&mut self, refusal: &Refusal, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some((refusal.clone(), now));
    }

    /// It started.
    pub fn is_over(&mut self) {
        *self = Self::default();
    }

    /// Why it failed last.
    pub fn fault(&self) -> Option<String> {
        self.last.as_ref().map(|(refusal, _)| refusal.message.clone())
    }

    fn rest(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST)
    }
}

/// The crashes of the processes that had one place: a session's own, or one of a pool. A place of
/// its own, so that a client whose calls crash its process does not take the server from others.
#[derive(Debug, Default)]
pub struct Crashes(Mutex<VecDeque<Instant>>);

impl Crashes {
    /// The process that had the place ended by itself, then.
    pub fn note(&self, at: Instant) {
        let mut crashes = self.0.lock();
        crashes.push_back(at);
        while crashes.len() > CRASHES_MAX {
            crashes.pop_front();
        }
    }

    /// Whether another process may be started in this place.
    ///
    /// # Errors
    /// It crashed too often within a minute; the refusal says when to try again.
    pub fn allow(&self, server: &str, now: Instant) -> Result<(), Refusal> {
        let crashes = self.0.lock();
        let Some(oldest) = crashes.front().filter(|_| crashes.len() >= CRASHES_MAX) else {
            return Ok(());
        };
        let left = (*oldest + TROUBLE_SPAN).saturating_duration_since(now);
        if left.is_zero() {
            return Ok(());
        }
        let what = format!(
            "server {server:?} crashed {CRASHES_MAX} times within a minute; it is started again \
             in {} s",
            left.as_secs() + 1
        );
        Err(Refusal::new(Reason::BackendUnavailable, what).retry_after(left))
    }
}

/// How much of what a process writes is garbage.
#[derive(Debug, Default)]
pub struct Garbage {
    begun: Option<Instant>,
    lines: u32,
}

impl Garbage {
    /// A line that is no message came; whether that was one too many within a minute.
    pub fn note(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now.duration_since(begun) >= TROUBLE_SPAN) {
            *self = Self { begun: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        self.lines > GARBAGE_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_rest_up_to_a_minute_and_it_is_never_given_up() {
        let start = Instant::now();
        let refusal = Refusal::new(Reason::BackendUnavailable, "it exited");
        let mut trouble = Trouble::default();
        let mut now = start;
        for rest_s in [2, 4, 8, 16, 32, 60, 60, 60] {
            trouble.note(&refusal, now);
            let rest = Duration::from_secs(rest_s);
            let told = trouble.allow(now + rest / 2).unwrap_err();
            assert_eq!(told.retry_after, Some(rest / 2));
            assert_eq!(trouble.circuit(now + rest / 2), Circuit::Open);
            assert!(told.message.starts_with("it exited (failure "), "{}", told.message);
            now += rest;
            assert!(trouble.allow(now).is_ok(), "after {rest_s} s");
            assert_eq!(trouble.circuit(now), Circuit::HalfOpen);
        }
        trouble.is_over();
        assert_eq!(trouble.circuit(now), Circuit::Closed);
        assert!(trouble.allow(start).is_ok() && trouble.fault().is_none());
    }

    #[test]
    fn five_crashes_within_a_minute_are_waited_out() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let crashes = Crashes::default();
        for second in [0, 10, 20, 30] {
            crashes.note(at(second));
            assert!(crashes.allow("s", at(second)).is_ok(), "after {second} s");
        }
        crashes.note(at(40));
        let told = crashes.allow("s", at(40)).unwrap_err();
        assert_eq!((told.reason, told.dispatched), (Reason::BackendUnavailable, Dispatched::No));
        assert_eq!(told.retry_after, Some(Duration::from_secs(20)));
        assert!(crashes.allow("s", at(60)).is_ok());
        crashes.note(at(61));
        assert_eq!(crashes.allow("s", at(61)).unwrap_err().retry_after, Some(at(70) - at(61)));
    }

    #[test]
    fn a_hundred_lines_of_garbage_a_minute_are_borne() {
        let start = Instant::now();
        let mut garbage = Garbage::default();
        assert!((0..100).all(|_| !garbage.note(start)), "a hundred");
        assert!(garbage.note(start + TROUBLE_SPAN / 2), "one more");
        assert!(!garbage.note(start + TROUBLE_SPAN), "a minute later");
    }
}
