//! The atomic steps: each is one script, whose keys are all in one slot of a cluster.

use futures_util::future::try_join_all;
use redis::Script;
use redis_target::target::Line;

/// A step, with what all steps share before it.
macro_rules! step {
    ($name:literal) => {
        Script::new(concat!(include_str!("common.lua"), "\n", include_str!($name)))
    };
}

/// All of them, by name.
pub(super) struct Scripts {
    pub(super) open: Script,
    pub(super) keep: Script,
    pub(super) claim: Script,
    pub(super) release: Script,
    pub(super) remove: Script,
    pub(super) show: Script,
    pub(super) admit: Script,
    pub(super) count: Script,
    pub(super) pin: Script,
    pub(super) beat: Script,
    pub(super) pulses: Script,
    pub(super) retire: Script,
    pub(super) take: Script,
}

impl Scripts {
    /// Has a server learn all of them, in one round trip: the first caller of each would need two
    /// more, and may not have the time. One that was not learned is when it is first called.
    pub(super) async fn teach(&self, line: &Line) {
        let teaching = self.all().map(|script| {
            let mut line = line.clone();
            async move { script.prepare_invoke().load_async(&mut line).await }
        });
        if let Err(fault) = try_join_all(teaching).await {
            tracing::debug!(kind = ?fault.kind(), "Redis did not learn a script");
        }
    }

    fn all(&self) -> [&Script; 13] {
        let Self { open, keep, claim, release, remove, show, .. } = self;
        let Self { admit, count, pin, beat, pulses, retire, take, .. } = self;
        [open, keep, claim, release, remove, show, admit, count, pin, beat, pulses, retire, take]
    }

    pub(super) fn new() -> Self {
        Self {
            open: step!("open.lua"),
            keep: step!("keep.lua"),
            claim: step!("claim.lua"),
            release: step!("release.lua"),
            remove: step!("remove.lua"),
            show: step!("show.lua"),
            admit: step!("admit.lua"),
            count: step!("count.lua"),
            pin: step!("pin.lua"),
            beat: step!("beat.lua"),
            pulses: step!("pulses.lua"),
            retire: step!("retire.lua"),
            take: step!("take.lua"),
        }
    }
}
