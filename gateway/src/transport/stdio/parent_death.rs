//! A child that dies with the gateway, however the gateway dies.
//!
//! Linux sends the parent-death signal when the *thread* that forked the child ends, not the
//! process (prctl(2), `PR_SET_PDEATHSIG`). So a child must be forked by a thread that lives as
//! long as the gateway; [`launch`](super::launch) owns that thread. A worker thread of the runtime
//! would not do: `block_in_place` turns it into a blocking thread, which ends after idling, and a
//! dropped runtime ends all of them.
//!
//! The signal reaches the leader only. Its own children notice by their closed pipes.

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use tokio::process::Command;

/// Asks the kernel to kill the child as soon as the calling process is gone.
#[expect(unsafe_code, reason = "pre_exec is the only way to run code between fork and exec")]
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, because another
    // thread may have held a lock at the moment of the fork. `bind_to` makes the system calls
    // prctl and getppid, compares integers, and builds `io::Error`s from plain error numbers; it
    // allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || bind_to(parent));
    }
}

/// Runs in the child, between fork and exec.
fn bind_to(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The gateway may have died before the call above; then no signal ever comes.
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}
