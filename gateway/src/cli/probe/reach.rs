//! How a server is reached: its address, headers and trust, and the connection to it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::super::awaiting::{self, milliseconds};
use super::explain;
use super::report::Report;
use crate::config::limits::gateway::PROBE_ANSWER_BYTES;
use crate::transport::http::{BadTarget, Client, Dialled, HttpFault, Target, Trust, dial};
use crate::transport::ws::Address;

/// Where a server is and how to be there.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Reach {
    /// Its address, such as `http://localhost:3000/sse`, /ws or /mcp; the path may be left out
    url: String,
    /// A header to send, as `Name: value`; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Send this as `Authorization: Bearer`; `@FILE` reads it from a file, where nobody sees it in
    /// the list of processes
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Trust the authorities in this file (PEM) instead of the system's, such as the ca.crt of
    /// `mcp-gateway certs`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust whatever certificate is shown
    #[arg(short = 'k', long, conflicts_with = "ca")]
    insecure: bool,
    /// How long to connect may take, and each answer
    #[arg(short, long, value_name = "TIME", default_value = "10", value_parser = awaiting::time)]
    timeout: Duration,
    /// Print a JSON object a line
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What is needed to reach it, checked.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Route {
    /// The address as it was written, with a scheme.
    pub(in crate::cli) url: String,
    pub(in crate::cli) headers: Vec<(String, String)>,
    pub(in crate::cli) trust: Trust,
    pub(in crate::cli) timeout: Duration,
}

impl Reach {
    /// Checks it.
    ///
    /// # Errors
    /// A sentence that says which part is wrong.
    pub(in crate::cli) fn route(&self) -> Result<Route, String> {
        let mut headers = headers(&self.headers)?;
        if let Some(token) = &self.token {
            let token = match token.strip_prefix('@') {
                Some(path) => fs::read_to_string(path)
                    .map_err(|error| format!("--token: {path} cannot be read: {error}"))?,
                None => token.clone(),
            };
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.trim())));
        }
        Ok(Route {
            url: with_scheme(&self.url, "http"),
            headers,
            trust: trust(self.ca.as_ref(), self.insecure)?,
            timeout: self.timeout,
        })
    }
}

/// An address with the scheme that is meant where none is written, as curl and browsers have it.
pub(in crate::cli) fn with_scheme(url: &str, usual: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("{usual}://{url}") }
}

/// Headers written as `Name: value`, in their parts.
///
/// # Errors
/// There is no colon in one.
pub(in crate::cli) fn headers(texts: &[String]) -> Result<Vec<(String, String)>, String> {
    texts.iter().map(|text| header(text)).collect()
}

/// `Name: value` in its parts.
///
/// # Errors
/// There is no colon in it.
pub(in crate::cli) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        // What stands behind the name may be a password, and so may a single word.
        let is_of_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
        let name: String = text.chars().take_while(is_of_name).collect();
        let name = if name.len() == text.len() { "…".to_owned() } else { format!("{name} …") };
        format!("a header is written as `Name: value`, and `{name}` has no colon")
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `USER:PASSWORD` as the value of `Authorization` (RFC 7617).
pub(in crate::cli) fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

/// Whom to trust.
///
/// # Errors
/// The file of authorities cannot be used.
pub(in crate::cli) fn trust(ca: Option<&PathBuf>, insecure: bool) -> Result<Trust, String> {
    if insecure {
        return Ok(Trust::Anybody);
    }
    let Some(path) = ca else { return Ok(Trust::System) };
    let shown = path.display();
    let text = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    Trust::of_pem(&text).map_err(|what| format!("{shown} {what}"))
}

impl Route {
    /// A way to this address; one without a scheme is `http://`, and the path of an endpoint at its
    /// end is left out.
    pub(in crate::cli) fn new(
        url: &str,
        headers: Vec<(String, String)>,
        trust: Trust,
        timeout: Duration,
    ) -> Self {
        let url = with_scheme(url.trim_end_matches('/'), "http");
        let ends = ["/mcp", "/sse", "/ws", "/health"];
        let base = ends.iter().find_map(|end| url.strip_suffix(end)).unwrap_or(&url).to_owned();
        Self { url: base, headers, trust, timeout }
    }

    /// The way to another path of it.
    pub(in crate::cli) fn at(&self, path: &str) -> Self {
        Self { url: format!("{}{path}", self.url.trim_end_matches('/')), ..self.clone() }
    }

    /// The address to connect to: `ws` is `http` until the upgrade. `usual` is the path when none
    /// was written.
    ///
    /// # Errors
    /// It is no address, or a header is none.
    pub(in crate::cli) fn target(&self, usual: &str) -> Result<Target, String> {
        let url = self.address("http", usual)?;
        Target::new(&url, self.pairs()).map_err(|fault| self.wrong(&fault))
    }

    /// The same as a WebSocket is asked for.
    ///
    /// # Errors
    /// As [`Route::target`].
    pub(in crate::cli) fn socket(&self, usual: &str) -> Result<Address, String> {
        let url = self.address("ws", usual)?;
        Address::new(&url, self.pairs()).map_err(|fault| self.wrong(&fault))
    }

    fn wrong(&self, fault: &BadTarget) -> String {
        format!("{}: {fault}", explain::shown(&self.url))
    }

    /// The address, with a scheme of this family (`http` or `ws`).
    ///
    /// # Errors
    /// Its scheme is another.
    pub(in crate::cli) fn address(&self, family: &str, usual: &str) -> Result<String, String> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let s = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => "",
            "https" | "wss" => "s",
            other => {
                return Err(format!(
                    "`{other}://` is not spoken here; write http, https, ws or wss"
                ));
            }
        };
        let path = if rest.trim_end_matches('/').contains(['/', '?']) { "" } else { usual };
        let rest = if path.is_empty() { rest } else { rest.trim_end_matches('/') };
        Ok(format!("{family}{s}://{rest}{path}"))
    }

    /// The headers, as they are asked for elsewhere.
    pub(in crate::cli) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A client for everything that comes after the first connection.
    pub(in crate::cli) fn client(&self) -> Client {
        Client::trusting(self.trust.clone())
            .with_answer_limit(PROBE_ANSWER_BYTES)
            .with_connect_timeout(self.timeout)
    }

    /// Connects once, to tell how long that takes, or else why it does not work.
    ///
    /// # Errors
    /// A sentence with what helps.
    pub(super) async fn connect(
        &self,
        target: &Target,
        report: &Report,
    ) -> Result<Dialled, String> {
        let dialled = dial(target, &self.trust, Instant::now() + self.timeout).await;
        let dialled = dialled.map_err(|fault| explain::unreached(&fault, target, self.timeout))?;
        let (steps, address) = (dialled.steps, dialled.address);
        let mut text = format!(
            "{address} (name {}, TCP {}",
            milliseconds(steps.resolved),
            milliseconds(steps.connected.saturating_sub(steps.resolved))
        );
        let secured = steps.secured.map(|secured| secured.saturating_sub(steps.connected));
        if let (Some(secured), Some(version)) = (secured, &dialled.tls) {
            text = format!("{text}, {version} {}", milliseconds(secured));
        }
        report.say(
            "connected",
            &format!("{text})"),
            json!({
                "address": address.to_string(),
                "name_seconds": steps.resolved.as_secs_f64(),
                "connect_seconds": steps.connected.as_secs_f64(),
                "tls_seconds": steps.secured.map(|secured| secured.as_secs_f64()),
                "tls": dialled.tls,
            }),
        );
        Ok(dialled)
    }

    /// Waits for a step of a conversation.
    ///
    /// # Errors
    /// A sentence with what helps, also when it took too long.
    pub(in crate::cli) async fn within<T>(
        &self,
        what: &str,
        target: &Target,
        step: impl Future<Output = Result<T, HttpFault>>,
    ) -> Result<T, String> {
        match timeout_at(Instant::now() + self.timeout, step).await {
            Ok(done) => done.map_err(|fault| explain::refused(&fault, target)),
            Err(_elapsed) => Err(explain::silent(what, target, self.timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(url: &str) -> Route {
        let timeout = Duration::from_secs(1);
        Route { url: with_scheme(url, "http"), headers: Vec::new(), trust: Trust::System, timeout }
    }

    #[test]
    fn an_address_gets_what_it_lacks() {
        for (url, address) in [
            ("localhost:3000", "http://localhost:3000/sse"),
            ("localhost:3000/", "http://localhost:3000/sse"),
            ("https://a/edge/sse", "https://a/edge/sse"),
            ("WSS://a/ws?resume", "https://a/ws?resume"),
            ("ws://[::1]:3000", "http://[::1]:3000/sse"),
        ] {
            assert_eq!(route(url).address("http", "/sse"), Ok(address.to_owned()));
        }
        assert_eq!(route("http://a/ws").address("ws", "/ws"), Ok("ws://a/ws".to_owned()));
        assert!(route("ftp://a").address("http", "/").unwrap_err().contains("`ftp://`"));
    }

    #[test]
    fn a_header_has_a_colon() {
        assert_eq!(header("A: b:c "), Ok(("A".to_owned(), "b:c".to_owned())));
        assert!(header("nothing").unwrap_err().contains("no colon"));
        let told = header("Authorization Bearer canary").unwrap_err();
        assert!(told.contains("`Authorization …`") && !told.contains("canary"), "{told}");
    }
}
