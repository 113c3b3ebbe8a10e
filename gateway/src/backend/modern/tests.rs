//! Calls of the modern era against real sockets and real processes.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use tokio::time::timeout;

use super::*;
use crate::config::ServerConfig;
use crate::supervise::Tasks;

mod eras;
mod http;
mod processes;
mod scripted;

/// Far beyond what anything here takes; a test that runs into it has failed.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a server is waited for that never answers.
const SHORT: Duration = Duration::from_millis(300);
/// Between the parts of an answer that comes slowly.
const PAUSE: Duration = Duration::from_millis(200);

const META: &str = concat!(
    r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{}"#,
);

fn server(kind: ServerKind, settings: impl FnOnce(&mut ServerConfig)) -> Arc<Server> {
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let context = Context { environment, ..Context::plain() };
    let mut config = ServerConfig::new("s", kind);
    settings(&mut config);
    Arc::new(Server::new(config, Arc::new(context)))
}

async fn modern(server: &Arc<Server>) -> Arc<Modern> {
    let modern = timeout(DEADLINE, server.modern()).await.expect("known in time");
    modern.unwrap().expect("a server of the modern era")
}

/// A request with these members in its params and these in its `_meta`.
fn request(id: &str, method: &str, params: &str, meta: &str) -> Request {
    let params = format!("{{{params}{META}{meta}}}}}");
    Request::new(&Id::parse(id).unwrap(), method, Some(&params))
}

fn call_of(id: &str, tool: &str) -> Request {
    request(id, "tools/call", &format!(r#""name":"{tool}","arguments":{{"region":"r"}},"#), "")
}

async fn next(answers: &mut Answers) -> Said {
    timeout(DEADLINE, answers.next()).await.expect("said in time").expect("something said")
}

async fn answer(modern: &Arc<Modern>, request: Request) -> Response {
    let asking = async { modern.call(request, None).await?.last().await };
    timeout(DEADLINE, asking).await.expect("answered in time").expect("an answer")
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "{what}");
}
