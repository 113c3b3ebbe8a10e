//! A client's socket, as hyper and a WebSocket read and write it: with a deadline for every wait
//! that the other side can draw out, and with the connection's place under its listener's cap.
//!
//! hyper polls no body and no timer of ours while a write is pending, and its own header timer
//! also runs between two requests; hence deadlines down here, where all bytes pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::config::limits::client::{LINGER, LINGER_BYTES, LINGER_READ_BYTES};
use crate::http::alarm::Alarm;
use crate::http::exchange::{Awaited, Line};
use crate::http::framing::Framing;
use crate::http::reply;
use crate::telemetry::metrics::Traffic;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the head of a request: from the first byte on, and for the first byte of all.
    pub(crate) head: Duration,
    /// For the first byte of another request.
    pub(crate) idle: Duration,
    /// For the client to take in something of what is written to it.
    pub(crate) write: Duration,
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    inner: S,
    line: Arc<Line>,
    framing: Framing,
    patience: Patience,
    reading: Alarm,
    writing: Alarm,
    /// Since when the client has not taken in anything of a write that is pending.
    stalled: Option<Instant>,
    /// Who is to read the end of the input once that write has got on.
    reader: Option<Waker>,
    /// Since when nothing is written any more, and how much was read and thrown away since.
    shut: Option<(Instant, usize)>,
    /// Counts its bytes.
    traffic: Option<Traffic>,
    /// Held as long as the socket is, an upgraded one included.
    _place: OwnedSemaphorePermit,
}

// === impl Socket ===

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// `inner` with deadlines; `line` tells what the client owes at the moment.
    pub(crate) fn new(
        inner: S,
        line: Arc<Line>,
        patience: Patience,
        (place, traffic): (OwnedSemaphorePermit, Option<Traffic>),
    ) -> Self {
        let (reading, writing) = (Alarm::default(), Alarm::default());
        let (stalled, reader) = (None, None);
        Self {
            inner,
            line,
            framing: Framing::default(),
            patience,
            reading,
            writing,
            stalled,
            reader,
            shut: None,
            traffic,
            _place: place,
        }
    }

    /// What becomes of a read that finds nothing.
    fn wait_for_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let patience = &self.patience;
        match self.line.awaits() {
            Awaited::Nothing => Poll::Pending,
            Awaited::Request { since, first: false } => {
                ready!(self.reading.poll(cx, since + patience.idle));
                // The client may still write to us: an orderly end tells it to connect again.
                Poll::Ready(Ok(()))
            }
            Awaited::Request { since, first: true } => {
                ready!(self.reading.poll(cx, since + patience.head));
                Poll::Ready(Err(too_slow("no request arrived in time")))
            }
            Awaited::Head { since } => {
                ready!(self.reading.poll(cx, since + patience.head));
                // Inside an answer that is still being written it would be taken for a part of it.
                // Whoever does not take it is cut off anyway.
                if self.stalled.is_none() {
                    let _told = Pin::new(&mut self.inner).poll_write(cx, &reply::head_too_slow());
                }
                Poll::Ready(Err(too_slow("the head of a request did not arrive in time")))
            }
        }
    }

    fn note_written(&self, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = outcome {
            self.traffic.iter().for_each(|it| it.written.inc_by(counted(*written)));
        }
    }

    /// Fails a write that has waited too long; the timer runs only while one does.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            self.reader.take().into_iter().for_each(Waker::wake);
            return outcome;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.writing.poll(cx, since + self.patience.write));
        Poll::Ready(Err(too_slow("the client does not read what is written to it")))
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Reads and throws away what the client still sends, for a while: to close with input unread
    /// is a reset, which takes the answer from a client that has yet to read it (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>, since: Instant) -> Poll<()> {
        let mut thrown = [0; LINGER_READ_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown);
            let outcome = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
            let Some((_, read)) = self.shut.as_mut() else { return Poll::Ready(()) };
            *read += buffer.filled().len();
            match outcome {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) if *read < LINGER_BYTES => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.reading.poll(cx, since + LINGER),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if outcome.is_pending() {
            return self.wait_for_bytes(cx);
        }
        ready!(outcome)?;
        let read = buffer.filled().len().saturating_sub(before);
        if read > 0 {
            self.traffic.iter().for_each(|it| it.read.inc_by(counted(read)));
            if self.line.heard() {
                let fresh = buffer.filled_mut().get_mut(before..);
                fresh.into_iter().for_each(|bytes| self.framing.follow(bytes));
            }
        } else {
            // hyper takes the end of the input for the end of the client, and drops what it has
            // yet to write: so it learns of it when the answer is out.
            ready!(self.line.poll_hang_up(cx));
            if self.stalled.is_some() {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.note_written(&outcome);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.note_written(&outcome);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = match self.shut {
            Some((since, _)) => since,
            None => {
                ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                self.shut.insert((Instant::now(), 0)).0
            }
        };
        if self.line.is_unread() {
            ready!(self.poll_linger(cx, since));
        }
        Poll::Ready(Ok(()))
    }
}

fn counted(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    const SOON: Duration = Duration::from_millis(50);
    const NEVER: Duration = Duration::from_secs(3600);
    const DEADLINE: Duration = Duration::from_secs(10);
    const PATIENT: Patience = Patience { head: NEVER, idle: NEVER, write: NEVER };

    struct Pair {
        client: DuplexStream,
        socket: Socket<DuplexStream>,
        line: Arc<Line>,
        places: Arc<Semaphore>,
        traffic: Traffic,
    }

    fn pair(patience: Patience) -> Pair {
        let (client, server) = duplex(16);
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().try_acquire_owned().unwrap();
        let line = Arc::new(Line::default());
        let traffic = Metrics::new().unwrap().traffic();
        let held = (place, Some(traffic.clone()));
        let socket = Socket::new(server, line.clone(), patience, held);
        Pair { client, socket, line, places, traffic }
    }

    async fn read(socket: &mut Socket<DuplexStream>) -> io::Result<usize> {
        timeout(DEADLINE, socket.read(&mut [0; 16])).await.unwrap()
    }

    #[tokio::test]
    async fn a_write_that_nobody_takes_in_fails() {
        let mut pair = pair(Patience { write: SOON, ..PATIENT });
        let written = timeout(DEADLINE, pair.socket.write_all(&[0; 64])).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_let_be() {
        let mut pair = pair(Patience { write: Duration::from_millis(500), ..PATIENT });
        let writing = async { pair.socket.write_all(&[0; 48]).await.unwrap() };
        let reading = async {
            for _ in 0..3 {
                // The pause is what is tested: together longer than the patience, each shorter.
                tokio::time::sleep(Duration::from_millis(200)).await;
                pair.client.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        timeout(DEADLINE, async { tokio::join!(writing, reading) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_sends_no_head_is_cut_off() {
        let mut silent = pair(Patience { head: SOON, ..PATIENT });
        let fault = read(&mut silent.socket).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        let mut halting = pair(Patience { head: SOON, ..PATIENT });
        halting.line.begin(true);
        halting.line.end();
        halting.client.write_all(b"GET").await.unwrap();
        assert_eq!(read(&mut halting.socket).await.unwrap(), 3);
        let fault = read(&mut halting.socket).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_head_is_not_answered_inside_another_answer() {
        let Pair { mut client, mut socket, line, .. } = pair(Patience { head: SOON, ..PATIENT });
        line.begin(true);
        line.end();
        client.write_all(b"GET").await.unwrap();
        assert_eq!(read(&mut socket).await.unwrap(), 3);
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut socket).poll_write(&mut cx, &[b'a'; 24]);
        assert!(matches!(written, Poll::Ready(Ok(16))));
        assert!(Pin::new(&mut socket).poll_write(&mut cx, &[b'a'; 8]).is_pending());
        client.read_exact(&mut [0; 8]).await.unwrap();
        let fault = read(&mut socket).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        drop(socket);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [b'a'; 8]);
    }

    #[tokio::test]
    async fn between_requests_there_is_more_time_than_for_a_head() {
        let mut pair = pair(Patience { head: Duration::ZERO, idle: SOON, ..PATIENT });
        pair.line.begin(true);
        pair.line.end();
        let began = Instant::now();
        assert_eq!(read(&mut pair.socket).await.unwrap(), 0, "an orderly end");
        assert!(began.elapsed() >= SOON);
    }

    #[tokio::test]
    async fn nothing_is_awaited_while_a_request_is_answered() {
        let mut pair = pair(Patience { head: Duration::ZERO, idle: Duration::ZERO, ..PATIENT });
        pair.line.begin(true);
        assert!(timeout(SOON, pair.socket.read(&mut [0; 1])).await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_the_input_waits_for_the_answer() {
        let Pair { mut client, mut socket, line, .. } = pair(PATIENT);
        line.begin(true);
        client.shutdown().await.unwrap();
        assert!(timeout(SOON, socket.read(&mut [0; 1])).await.is_err());
        let ending = async { line.end() };
        let (read, ()) = tokio::join!(read(&mut socket), ending);
        assert_eq!(read.unwrap(), 0, "the read was not woken");
    }

    #[tokio::test]
    async fn the_end_of_the_input_waits_for_a_write() {
        let Pair { mut client, socket, line, .. } = pair(PATIENT);
        line.begin(true);
        line.end();
        client.shutdown().await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(socket);
        let mut buffer = [0; 1];
        let reads = reading.read(&mut buffer);
        tokio::pin!(reads);
        let writes = writing.write_all(&[0; 24]);
        tokio::pin!(writes);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(writes.as_mut().poll(&mut cx).is_pending());
        assert!(reads.as_mut().poll(&mut cx).is_pending());
        let taking = async { client.read_exact(&mut [0; 24]).await.unwrap() };
        let all = async { tokio::join!(reads, writes, taking) };
        let (read, written, _) = timeout(DEADLINE, all).await.unwrap();
        assert_eq!(read.unwrap(), 0);
        written.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_the_input_is_told_while_a_body_is_read_and_after_an_upgrade() {
        let mut reading = pair(PATIENT);
        reading.line.begin(false);
        reading.client.shutdown().await.unwrap();
        assert_eq!(read(&mut reading.socket).await.unwrap(), 0);
        let mut upgraded = pair(Patience { head: SOON, idle: SOON, ..PATIENT });
        upgraded.line.begin(true);
        upgraded.line.upgrade();
        upgraded.line.end();
        assert!(timeout(SOON * 3, upgraded.socket.read(&mut [0; 1])).await.is_err());
        upgraded.client.shutdown().await.unwrap();
        assert_eq!(read(&mut upgraded.socket).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_sent_after_an_early_answer_is_thrown_away() {
        let Pair { mut client, mut socket, line, .. } = pair(PATIENT);
        line.begin(false);
        line.end();
        // More than the pair holds: written only if somebody reads it.
        let sending = async {
            client.write_all(&[0; 64]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let both = async { tokio::join!(socket.shutdown(), sending) };
        timeout(DEADLINE, both).await.unwrap().0.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_on_sending_nothing_or_too_much_is_not_waited_for() {
        let mut silent = pair(PATIENT);
        silent.line.begin(false);
        silent.line.end();
        let began = Instant::now();
        silent.socket.shutdown().await.unwrap();
        assert!((LINGER..LINGER * 2).contains(&began.elapsed()));
        let Pair { mut client, mut socket, line, .. } = pair(PATIENT);
        line.begin(false);
        line.end();
        let sending = async { while client.write_all(&[0; 16]).await.is_ok() {} };
        let closing = async move { socket.shutdown().await.unwrap() };
        tokio::join!(sending, closing);
    }

    #[tokio::test]
    async fn after_a_whole_request_nobody_is_waited_for() {
        let mut pair = pair(PATIENT);
        pair.line.begin(true);
        pair.line.end();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut pair.socket).poll_shutdown(&mut cx).is_ready());
    }

    #[tokio::test]
    async fn bytes_are_counted_both_ways() {
        let mut pair = pair(PATIENT);
        pair.client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut pair.socket).await.unwrap(), 5);
        pair.socket.write_all(b"hi").await.unwrap();
        assert_eq!((pair.traffic.read.get(), pair.traffic.written.get()), (5, 2));
    }

    #[tokio::test]
    async fn a_place_is_held_as_long_as_the_socket() {
        let pair = pair(PATIENT);
        assert_eq!(pair.places.available_permits(), 0);
        drop(pair.socket);
        assert_eq!(pair.places.available_permits(), 1);
    }
}
