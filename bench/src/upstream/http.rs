//! The server on HTTP: Streamable HTTP at `/mcp`, HTTP+SSE at `/sse` and `/message`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::http::response::Builder;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::answer;

/// Events that wait for a reader; each client has one call in flight.
const QUEUE_EVENTS: usize = 16;

type Reply = Response<Either<Full<Bytes>, Events>>;

/// The open streams, by session.
#[derive(Default)]
struct Streams {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, mpsc::Sender<Bytes>>>,
}

/// The body of an event stream; its end ends the session.
struct Events {
    session: u64,
    queue: mpsc::Receiver<Bytes>,
    streams: Arc<Streams>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().queue.poll_recv(context);
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.streams.open.lock().remove(&self.session);
    }
}

/// Serves until the process ends.
///
/// # Errors
///
/// When connections cannot be accepted.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let streams = Arc::new(Streams::default());
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let streams = streams.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| reply(request, streams.clone()));
            // A client that hangs up is how each of these ends.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn reply(request: Request<Incoming>, streams: Arc<Streams>) -> Result<Reply> {
    let path = request.uri().path();
    if request.method() == Method::GET {
        let is_legacy = path == "/sse";
        return Ok(open(&streams, is_legacy)?);
    }
    if request.method() != Method::POST {
        return Ok(whole(Response::builder(), Bytes::new())?);
    }
    let is_legacy = path == "/message";
    let session = request.uri().query().and_then(|query| query.rsplit('=').next()?.parse().ok());
    let message = request.into_body().collect().await?.to_bytes();
    let answer = answer::to(&message);
    if is_legacy {
        if let Some(answer) = answer {
            send(&streams, session, format!("event: message\ndata: {}\n\n", answer.text)).await;
        }
        return Ok(whole(accepted(), Bytes::from_static(b"Accepted"))?);
    }
    let Some(answer) = answer else { return Ok(whole(accepted(), Bytes::new())?) };
    let mut reply = Response::builder().header(CONTENT_TYPE, "application/json");
    if answer.opens {
        let session = streams.next.fetch_add(1, Ordering::Relaxed);
        reply = reply.header("mcp-session-id", format!("upstream-{session:08x}"));
    }
    Ok(whole(reply, answer.text.into())?)
}

fn open(streams: &Arc<Streams>, is_legacy: bool) -> hyper::http::Result<Reply> {
    let session = streams.next.fetch_add(1, Ordering::Relaxed);
    let (sender, queue) = mpsc::channel(QUEUE_EVENTS);
    let first = if is_legacy {
        format!("event: endpoint\ndata: /message?sessionId={session}\n\n")
    } else {
        ": open\n\n".to_owned()
    };
    // The queue is new and has room.
    sender.try_send(first.into()).ok();
    streams.open.lock().insert(session, sender);
    let events = Events { session, queue, streams: streams.clone() };
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .header(CACHE_CONTROL, "no-store")
        .body(Either::Right(events))
}

async fn send(streams: &Streams, session: Option<u64>, event: String) {
    let stream = session.and_then(|session| streams.open.lock().get(&session).cloned());
    if let Some(stream) = stream {
        // A stream that closed meanwhile has nobody to read the answer.
        stream.send(event.into()).await.ok();
    }
}

fn accepted() -> Builder {
    Response::builder().status(StatusCode::ACCEPTED)
}

fn whole(reply: Builder, body: Bytes) -> hyper::http::Result<Reply> {
    reply.body(Either::Left(Full::new(body)))
}
