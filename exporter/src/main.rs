//! `gateway-exporter`: figures of the whole edge stack for Prometheus, a program of its own so
//! that it stays up when everything it watches is down.
//!
//! `cli` reads the command line and `rounds` is what happens at a scrape; the others are what it
//! asks (`replicas`, `redis`, `nginx`, `probe`), what it makes of the answers (`sums`, `gauges`)
//! and how it shows them (`family`, `serve`, `page`).

mod address;
mod check;
mod cli;
mod clock;
mod dial;
mod env;
mod family;
mod gauges;
mod limits;
mod log;
mod nginx;
mod page;
mod parse;
mod probe;
mod redis;
mod replicas;
mod rounds;
mod serve;
mod settings;
mod snapshot;
mod state;
mod sums;
mod tls;

fn main() -> std::process::ExitCode {
    cli::main()
}
