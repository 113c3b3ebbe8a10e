//! The way that clients take: the proxy in front, its name and its certificate.

use std::time::SystemTime;

use http::Uri;
use tokio::time::Instant;

use super::Finding;
use super::surface::{self, Ask, fetch};
use crate::cli::awaiting::milliseconds;
use crate::cli::certificate::{Certificate, day};
use crate::cli::probe::explain;
use crate::cli::probe::reach::Route;
use crate::config::limits::command::CERTIFICATE_NOTICE;
use crate::transport::http::{DialFault, Dialled, Target, Trust, dial};

const PART: &str = "front";

/// Looks at it as a client would.
pub(super) async fn examine(route: &Route) -> Vec<Finding> {
    let target = match route.target("") {
        Ok(target) => target,
        Err(fault) => return vec![Finding::fail(PART, "address", fault, "mend --url")],
    };
    let mut found = Vec::new();
    match dial(&target, &route.trust, Instant::now() + route.timeout).await {
        Ok(dialled) => found.extend(connected(&dialled, &target, &route.trust)),
        Err(fault) => {
            let told = explain::unreached(&fault, &target, route.timeout);
            found.push(Finding::of_fault(PART, "connection", &told));
            if matches!(fault, DialFault::Certificate(_)) {
                found.extend(shown_all_the_same(&target, route).await);
            }
            return found;
        }
    }
    found.extend(surface::examine(PART, route).await);
    found.push(figures(route).await);
    found
}

fn connected(dialled: &Dialled, target: &Target, trust: &Trust) -> Vec<Finding> {
    let told = format!("{} in {}", dialled.address, milliseconds(dialled.steps.connected));
    let mut found = vec![Finding::ok(PART, "connection", told)];
    let Some(version) = &dialled.tls else {
        let host = target.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        let near = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        found.push(if near {
            Finding::ok(PART, "TLS", "none, on this machine alone")
        } else {
            let fix = "give the proxy a certificate, and clients an https:// address";
            Finding::warn(PART, "TLS", "whoever is in between reads and changes everything", fix)
        });
        return found;
    };
    let took = dialled.steps.secured.unwrap_or_default().saturating_sub(dialled.steps.connected);
    found.push(Finding::ok(PART, "TLS", format!("{version} in {}", milliseconds(took))));
    found.push(certificate(dialled, target.uri()));
    if matches!(trust, Trust::Anybody) {
        let fix = "examine it again with --ca, or without --insecure";
        found.push(Finding::skipped(PART, "trust", "the certificate was believed unseen", fix));
    }
    found
}

/// The certificate that was shown.
fn certificate(dialled: &Dialled, uri: &Uri) -> Finding {
    let subject = "certificate";
    let Some(leaf) = dialled.chain.first().and_then(|der| Certificate::of_der(der)) else {
        let fix = "renew it";
        return Finding::fail(PART, subject, "it cannot be read", fix);
    };
    let ends = day(leaf.ends);
    let told = format!(
        "for {}, from `{}`, until {ends}, {} in the chain",
        leaf.names.join(", "),
        leaf.issuer,
        dialled.chain.len()
    );
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if !leaf.is_for(host) {
        let fix = format!("use one of its names, or `mcp-gateway certs --name {host}`");
        return Finding::fail(PART, subject, format!("not for {host}; {told}"), fix);
    }
    if leaf.ends < SystemTime::now() {
        let fix = "renew it: `mcp-gateway certs --if-missing`, or your authority's client";
        return Finding::fail(PART, subject, format!("it has ended; {told}"), fix);
    }
    if leaf.ends < SystemTime::now() + CERTIFICATE_NOTICE {
        let fix = "renew it: `mcp-gateway certs --if-missing`, or your authority's client; then \
                   reload the proxy";
        return Finding::warn(PART, subject, told, fix);
    }
    Finding::ok(PART, subject, told)
}

/// What a certificate says that is not believed.
async fn shown_all_the_same(target: &Target, route: &Route) -> Option<Finding> {
    let deadline = Instant::now() + route.timeout;
    let dialled = dial(target, &Trust::Anybody, deadline).await.ok()?;
    Some(certificate(&dialled, target.uri()))
}

/// What is for operators is not for everybody.
async fn figures(route: &Route) -> Finding {
    match fetch(route, Ask::get("/metrics")).await {
        Ok(reply) if reply.status.is_success() => Finding::warn(
            PART,
            "/metrics",
            "figures can be read by everybody",
            "have the proxy answer 404 for /metrics and /internal",
        ),
        Ok(reply) => {
            Finding::ok(PART, "/metrics", format!("not for clients ({})", reply.status.as_u16()))
        }
        Err(fault) => Finding::of_fault(PART, "/metrics", &fault),
    }
}
