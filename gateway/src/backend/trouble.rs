//! A server that does not start is tried again, ever more seldom, and never given up.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use wire::refusal::{Dispatched, Refusal};

use crate::config::limits::server::{FIRST_REST, LONGEST_REST};

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

#[cfg(test)]
mod tests {
    use super::*;
    use wire::refusal::Reason;

    #[test]
    fn each_failure_doubles_the_rest_up_to_a_minute_and_it_is_never_given_up() {
        let start = Instant::now();
        let refusal = Refusal::new(Reason::BackendUnavailable, "it exited");
        let mut trouble = Trouble::default();
        let mut now = start;
        for rest_s in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            trouble.note(&refusal, now);
            let rest = Duration::from_secs(rest_s);
            let told = trouble.allow(now + rest / 2).unwrap_err();
            assert_eq!(told.retry_after, Some(rest / 2));
            assert!(told.message.starts_with("it exited (failure "), "{}", told.message);
            now += rest;
            assert!(trouble.allow(now).is_ok(), "after {rest_s} s");
        }
        trouble.is_over();
        assert!(trouble.allow(start).is_ok() && trouble.fault().is_none());
    }
}
