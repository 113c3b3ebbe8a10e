//! An upstream that is a child process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tokio_util::sync::CancellationToken;
use wire::refusal::{Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::inbound::Source;
use crate::backend::places::Place;
use crate::backend::server::Facts;
use crate::backend::upstream::{NotSent, Owner, Pipe, Upstream};
use crate::config::limits::process::{CLOSE_GRACE, QUEUE_LINES};
use crate::config::{Secret, StdioConfig, VEIL};
use crate::transport::stdio::{
    self, Command, Incoming, Process, Reader, SendError, Ticket, Writer,
};

/// A child process, seen from an upstream.
#[derive(Debug)]
pub struct StdioPipe {
    writer: Writer,
    process: Process,
    gone: CancellationToken,
    /// What it was given to keep to itself.
    secrets: Vec<Secret>,
}

impl StdioPipe {
    /// Puts a line into the process's queue.
    ///
    /// The ticket tells after the process's end whether the line can have been read.
    pub(crate) fn send(&self, text: ByteString) -> Result<Ticket, NotSent> {
        self.writer.submit(text).map_err(not_sent)
    }

    /// Whether lines can still be queued.
    pub(super) fn takes_lines(&self) -> bool {
        !self.writer.is_closed()
    }

    /// How many lines wait to be written to it.
    pub(super) fn queued(&self) -> usize {
        self.writer.queued()
    }

    /// Drops what is queued and not written: the process never sees it.
    pub(crate) fn seal(&self) {
        self.writer.seal();
    }

    /// Whether the process can have read what was queued under this ticket.
    pub(crate) fn may_have_been_read(&self, ticket: Ticket) -> bool {
        self.writer.may_have_been_read(ticket)
    }

    /// Puts a line into the process's queue as soon as there is room, within `limit`.
    pub(crate) async fn send_within(
        &self,
        text: ByteString,
        limit: Duration,
    ) -> Result<Ticket, NotSent> {
        self.writer.send(text, limit).await.map_err(not_sent)
    }

    /// Fires when the process has ended and its place is free.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Whether it is in the middle of a line that is longer than the limit already.
    pub(crate) fn is_in_long_line(&self) -> bool {
        self.process.is_in_long_line()
    }

    /// The process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The last lines it wrote to stderr, without the secrets of its environment.
    pub fn stderr_tail(&self) -> Vec<String> {
        let mut lines = self.process.stderr_tail();
        for secret in &self.secrets {
            lines.iter_mut().for_each(|line| *line = line.replace(secret.expose(), VEIL));
        }
        lines
    }

    /// Ends the process: stdin closed, then SIGTERM, then SIGKILL.
    pub(crate) fn close(&self, context: &Context) {
        let process = self.process.clone();
        context.tasks.spawn("process-close", async move { process.close(CLOSE_GRACE).await });
    }
}

fn not_sent(fault: SendError) -> NotSent {
    match fault {
        SendError::Full => NotSent::Full,
        SendError::Closed => NotSent::Closed,
    }
}

/// Starts the process of a server; the upstream still has to be initialised.
///
/// # Errors
/// `BACKEND_UNAVAILABLE` with what to do when the program cannot be started.
pub(crate) fn start(
    facts: &Arc<Facts>,
    config: &StdioConfig,
    context: &Arc<Context>,
    (owner, place): (Owner, Place),
) -> Result<Arc<Upstream>, Refusal> {
    let command = Command {
        argv: config.argv.clone(),
        env: stdio::environment(&context.environment, &config.env),
        cwd: config.cwd.clone(),
        line_limit: context.limits.line_bytes,
        queue_lines: QUEUE_LINES,
    };
    let (writer, reader, process) = stdio::spawn(&command, &context.tasks).map_err(|fault| {
        tracing::error!(server = facts.id, %fault, "the server's process could not be started");
        let what = format!("server {:?} could not be started: {fault}", facts.id);
        Refusal::new(Reason::BackendUnavailable, what)
    })?;
    let pid = process.id();
    tracing::info!(server = facts.id, pid, "process started");
    context.metrics.process_starts.with_label_values(&[&facts.id]).inc();
    let gone = CancellationToken::new();
    let pipe = Pipe::Stdio(StdioPipe { writer, process, gone, secrets: config.secrets() });
    let upstream = Upstream::new(facts.clone(), context.clone(), owner, pipe);
    context.tasks.spawn("process-read", read(upstream.clone(), reader, place));
    Ok(upstream)
}

/// Reads the process's stdout until it ends.
async fn read(upstream: Arc<Upstream>, mut reader: Reader, place: Place) {
    loop {
        match reader.next().await {
            Incoming::Line(line) => {
                upstream.rest.stir();
                upstream.receive(&line, Source::Pipe);
            }
            Incoming::TooLong { head, length } => upstream.refuse_long(&head, length),
            Incoming::Closed(exit) => {
                let asked = !upstream.is_open();
                let server = &upstream.facts.id;
                if asked {
                    tracing::info!(server, %exit, "process ended");
                } else {
                    upstream.crashed.get_or_init(Instant::now);
                    let stderr = tail(&upstream).join(" | ");
                    tracing::warn!(server, %exit, stderr, "process ended by itself");
                }
                upstream.close(format!("its process {exit}"));
                if !asked {
                    upstream.tell_lists_changed();
                }
                break;
            }
        }
    }
    drop(place);
    if let Pipe::Stdio(pipe) = &upstream.pipe {
        pipe.gone.cancel();
    }
}

/// Waits until the process of an upstream has ended and its place is free.
pub(super) async fn gone(upstream: &Upstream) {
    if let Pipe::Stdio(pipe) = &upstream.pipe {
        pipe.gone.cancelled().await;
    }
}

/// The last stderr lines of an upstream's process; none for another kind of upstream.
pub(crate) fn tail(upstream: &Upstream) -> Vec<String> {
    match &upstream.pipe {
        Pipe::Stdio(pipe) => pipe.stderr_tail(),
        Pipe::Http(_) | Pipe::Link(_) | Pipe::Modern(_) => Vec::new(),
    }
}
