//! nginx's own counts (`stub_status`), under the names that nginx-prometheus-exporter has for them.

use tokio::time::timeout;

use crate::address::Address;
use crate::dial;
use crate::family::{Family, Kind};
use crate::limits::NGINX;
use crate::tls::Tls;

/// What nginx says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    active: u64,
    accepted: u64,
    handled: u64,
    requests: u64,
    reading: u64,
    writing: u64,
    waiting: u64,
}

/// Asks nginx, within [`NGINX`].
///
/// # Errors
/// It does not answer, or with something else.
pub(crate) async fn ask(address: &Address, tls: &Tls) -> Result<Status, String> {
    let asked = timeout(NGINX, fetch(address, tls)).await;
    asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {NGINX:?}")))
}

async fn fetch(address: &Address, tls: &Tls) -> Result<Status, String> {
    let to = dial::look_up(address).await?;
    let to = to.first().ok_or("it has no address")?;
    let stream = dial::connect(*to).await?;
    let stream: dial::Stream = match address.is_tls {
        true => dial::encrypt(stream, tls, &address.host).await?,
        false => Box::new(stream),
    };
    let path = if address.path.is_empty() { "/" } else { &address.path };
    let body = dial::get(stream, address, path, "text/plain").await?;
    let status = str::from_utf8(&body).ok().and_then(Status::parse);
    status.ok_or_else(|| "the answer is not what `stub_status` writes".to_owned())
}

impl Status {
    /// Reads what `ngx_http_stub_status_module` writes.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        let named = |name: &str| {
            let at = words.iter().position(|it| *it == name)?;
            number(at + 1)
        };
        let totals = words.iter().position(|it| *it == "requests")?;
        Some(Self {
            active: named("connections:")?,
            accepted: number(totals + 1)?,
            handled: number(totals + 2)?,
            requests: number(totals + 3)?,
            reading: named("Reading:")?,
            writing: named("Writing:")?,
            waiting: named("Waiting:")?,
        })
    }

    /// What only rises. Two of the names lack the `_total` that a counter's has to have, so those
    /// have no type.
    pub(crate) fn counters(&self) -> Vec<Family> {
        let all = [
            (
                Kind::Untyped,
                "nginx_connections_accepted",
                "Accepted client connections",
                self.accepted,
            ),
            (
                Kind::Untyped,
                "nginx_connections_handled",
                "Handled client connections",
                self.handled,
            ),
            (Kind::Counter, "nginx_http_requests_total", "Total http requests", self.requests),
        ];
        all.map(|(kind, name, help, value)| Family::new(kind, name, help).with(&[], float(value)))
            .into()
    }

    /// What rises and falls.
    pub(crate) fn gauges(&self) -> Vec<Family> {
        [
            ("nginx_connections_active", "Active client connections", self.active),
            (
                "nginx_connections_reading",
                "Connections where NGINX is reading the request header",
                self.reading,
            ),
            (
                "nginx_connections_writing",
                "Connections where NGINX is writing the response back to the client",
                self.writing,
            ),
            ("nginx_connections_waiting", "Idle client connections", self.waiting),
        ]
        .map(|(name, help, value)| Family::gauge(name, help).with(&[], float(value)))
        .into()
    }
}

/// Counts beyond 2^53 lose their last digits, as they do in Prometheus.
#[expect(clippy::cast_precision_loss, reason = "figures are floats in this format")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Active connections: 291 \nserver accepts handled requests\n \
                        16630948 16630947 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n";

    #[test]
    fn what_nginx_writes_is_read() {
        let status = Status::parse(SAID).unwrap();
        let wanted = Status {
            active: 291,
            accepted: 16_630_948,
            handled: 16_630_947,
            requests: 31_070_465,
            reading: 6,
            writing: 179,
            waiting: 106,
        };
        assert_eq!(status, wanted);
    }

    #[test]
    fn anything_else_is_not() {
        for text in ["", "<html>nginx</html>", "Active connections: 1", &SAID.replace("6 W", "x W")]
        {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }
}
