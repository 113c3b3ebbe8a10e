//! The exporter's own pages: the figures, its health, and one for people.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::family;
use crate::limits::{ACCEPT_AGAIN, CONNECTION, CONNECTIONS, HEAD, ROUND, ROUND_MARGIN, STOP};
use crate::page;
use crate::rounds::{Rounds, Watched};
use crate::settings::Settings;
use crate::state::Access;

/// How long Prometheus waits, which it sends along.
const PATIENCE: &str = "x-prometheus-scrape-timeout-seconds";

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot listen.
pub(crate) async fn run(settings: Settings) -> Result<(), String> {
    let listener = TcpListener::bind(settings.listen).await;
    let wrong = |fault| format!("cannot listen at {}: {fault}", settings.listen);
    let listener = listener.map_err(wrong)?;
    let listen = listener.local_addr().map_err(wrong)?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|fault| format!("no signals: {fault}"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|fault| format!("no signals: {fault}"))?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let watched = Watched::new(&settings, Access::Keep);
    let rounds = Arc::new(Rounds::new(watched.prober()));
    if let Some(prober) = watched.prober() {
        tasks.spawn(prober.run(settings.probe_every, stop.clone()));
    }
    tasks.spawn(Box::pin(Arc::clone(&rounds).run(watched, stop.clone())));
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(%listen, gateways = settings.gateways.len(), version, "started");
    let router = router(rounds);
    tokio::select! {
        () = accept(&listener, &router, &tasks, &stop) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    drop(listener);
    stop.cancel();
    tasks.close();
    let ended = timeout(STOP, tasks.wait()).await;
    if ended.is_err() {
        tracing::warn!("stopped while answers were being given");
    }
    Ok(())
}

/// Takes connections, at most [`CONNECTIONS`] at a time; does not end by itself.
async fn accept(
    listener: &TcpListener,
    router: &Router,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn(async move {
                    serve(stream, router, stop).await;
                    drop(place);
                });
            }
            Err(fault) => {
                tracing::warn!(%fault, "no connection can be taken");
                // Without file descriptors the next one would fail at once.
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Answers on one connection until it ends, is idle, or is old.
async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        _ended = &mut connection => return,
        () = stop.cancelled() => {}
        () = sleep(CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Whoever does not read its answer is not waited for.
    timeout(ROUND + STOP, connection).await.ok();
}

fn router(rounds: Arc<Rounds>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .fallback(unknown)
        .with_state(rounds)
}

async fn metrics(State(rounds): State<Arc<Rounds>>, headers: HeaderMap) -> Response {
    let (snapshot, is_new) = rounds.ask(patience(&headers)).await;
    let Some(snapshot) = snapshot else {
        let what = "nobody could be asked in time, and nothing is known yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    };
    let kind = HeaderValue::from_static(family::CONTENT_TYPE);
    ([(CONTENT_TYPE, kind)], rounds.text(&snapshot, is_new)).into_response()
}

/// A little less than Prometheus waits, at most [`ROUND`].
fn patience(headers: &HeaderMap) -> Duration {
    let given = headers.get(PATIENCE).and_then(|it| it.to_str().ok()?.parse::<f64>().ok());
    let given = given.and_then(|it| Duration::try_from_secs_f64(it).ok());
    given.map_or(ROUND, |it| it.saturating_sub(ROUND_MARGIN).min(ROUND))
}

async fn page(State(rounds): State<Arc<Rounds>>) -> Response {
    let _asked = rounds.ask(ROUND).await;
    let secure = [
        (CACHE_CONTROL.as_str(), "no-store"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("x-content-type-options", "nosniff"),
    ];
    (secure, Html(page::render(&rounds))).into_response()
}

/// The program runs; whatever it watches is another matter.
async fn health() -> Response {
    ([(CONTENT_TYPE, "application/json")], "{\"status\":\"healthy\"}\n").into_response()
}

/// Whether figures can be served: everybody was asked once, and the kept sums are read.
async fn ready(State(rounds): State<Arc<Rounds>>) -> Response {
    let is_ready = rounds.latest().is_some_and(|it| !it.is_waiting);
    let (status, text) = match is_ready {
        true => (StatusCode::OK, "{\"status\":\"ready\"}\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"starting\"}\n"),
    };
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "only /, /metrics, /health and /ready are here\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_prometheus_is_kept() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PATIENCE, HeaderValue::from_static(text));
            patience(&headers)
        };
        assert_eq!(of("5"), Duration::from_millis(4_500));
        assert_eq!(of("0.1"), Duration::ZERO);
        assert_eq!(of("60"), ROUND);
        assert_eq!(of("-1"), ROUND);
        assert_eq!(of("soon"), ROUND);
        assert_eq!(patience(&HeaderMap::new()), ROUND);
    }
}
