//! The exporter beside real gateways, a real Redis and a real nginx, and beside none of them.

mod away;
mod commands;
mod probes;
mod sums;

use edge_tests::Fault;
use edge_tests::replicas::Replicas;

/// The admin listeners of all replicas, also of those that do not run at the moment.
fn admins(replicas: &Replicas) -> Result<Vec<std::net::SocketAddr>, Fault> {
    replicas.all.iter().map(|it| Ok(it.edge()?.admin)).collect()
}
