//! The gateway's replicas: found by name at each round, and asked for their figures all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt as _, join_all};
use tokio::time::timeout;

use crate::address::Address;
use crate::dial;
use crate::family::Family;
use crate::limits::{PROCESS_NAME_BYTES, REPLICA_SERIES, REPLICAS, SCRAPE};
use crate::parse::{IDENTITY, Parsed, START, parse};
use crate::sums::Life;
use crate::tls::Tls;

/// The path of a replica's figures.
const PATH: &str = "/metrics";
/// What names of figures begin with that are taken from replicas: all else is each process's own.
const PREFIX: &str = "mcp_";
/// The label of [`IDENTITY`].
const IDENTITY_LABEL: &str = "process";

/// The replicas that are watched, by the names they are found under.
pub(crate) struct Replicas {
    named: Vec<Name>,
    tls: Tls,
}

struct Name {
    address: Address,
    /// What it meant when it could last be looked up.
    known: Vec<SocketAddr>,
}

/// What one round found of one replica.
#[derive(Debug)]
pub(crate) struct Found {
    /// `address:port`.
    pub(crate) instance: Arc<str>,
    /// Which run of it answered, and its figures.
    pub(crate) said: Result<(Life, Vec<Family>), String>,
    /// Series of it that were left out because there were too many.
    pub(crate) left_out: usize,
    /// How long the answer took.
    pub(crate) took: Duration,
    /// Another address leads to the same process, and its answer is the one that counts.
    pub(crate) is_twin: bool,
}

/// What one round found of all.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Each replica, by its name.
    pub(crate) found: Vec<Found>,
    /// What kept names from being looked up.
    pub(crate) faults: Vec<String>,
}

impl Replicas {
    /// Under these names.
    pub(crate) fn new(addresses: Vec<Address>, tls: Tls) -> Self {
        let name = |address| Name { address, known: Vec::new() };
        Self { named: addresses.into_iter().map(name).collect(), tls }
    }

    /// Looks the names up and asks whom they mean. A name that cannot be looked up means whom it
    /// meant before; one that never could is itself a replica that is down.
    pub(crate) async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let mut all: BTreeMap<SocketAddr, &Address> = BTreeMap::new();
        let looked_up = self.named.iter().map(|it| dial::look_up(&it.address));
        let looked_up = join_all(looked_up).await;
        for (name, looked_up) in self.named.iter_mut().zip(looked_up) {
            match looked_up {
                Ok(found) => name.known = dial::one_family(found),
                Err(fault) if name.known.is_empty() => {
                    let instance = name.address.instance().into();
                    let said = Err(fault.clone());
                    let took = Duration::ZERO;
                    round.found.push(Found { instance, said, left_out: 0, took, is_twin: false });
                    round.faults.push(fault);
                }
                Err(fault) => round.faults.push(fault),
            }
            all.extend(name.known.iter().map(|it| (*it, &name.address)));
        }
        if all.len() > REPLICAS {
            round.faults.push(format!("{} replicas: only {REPLICAS} are asked", all.len()));
        }
        let asked = all.into_iter().take(REPLICAS);
        let asked = asked.map(|(to, address)| ask(to, address.clone(), self.tls.clone()).boxed());
        let asked: Vec<_> = asked.collect();
        round.found.extend(join_all(asked).await);
        tell_twins(&mut round.found);
        round
    }
}

/// Of the answers of one process, the first counts.
fn tell_twins(found: &mut [Found]) {
    let mut lives = BTreeSet::new();
    for it in found {
        it.is_twin = it.said.as_ref().is_ok_and(|(life, _)| !lives.insert(life.clone()));
    }
}

async fn ask(to: SocketAddr, address: Address, tls: Tls) -> Found {
    let begun = Instant::now();
    let instance: Arc<str> = to.to_string().into();
    let answered = timeout(SCRAPE, fetch(to, &address, &tls)).await;
    let answered = answered.unwrap_or_else(|_elapsed| Err(format!("no answer within {SCRAPE:?}")));
    let left_out = answered.as_ref().map_or(0, |it| it.left_out);
    let said = answered.map(|it| (life(&instance, &it.families), ours(it.families)));
    Found { instance, said, left_out, took: begun.elapsed(), is_twin: false }
}

async fn fetch(to: SocketAddr, address: &Address, tls: &Tls) -> Result<Parsed, String> {
    let stream = dial::connect(to).await?;
    let stream: dial::Stream = match address.is_tls {
        true => dial::encrypt(stream, tls, &address.host).await?,
        false => Box::new(stream),
    };
    let path = format!("{}{PATH}", address.path);
    let body = dial::get(stream, address, &path, "text/plain;version=0.0.4").await?;
    let text = str::from_utf8(&body).map_err(|_fault| "the figures are no text")?;
    parse(text, REPLICA_SERIES)
}

fn life(instance: &Arc<str>, families: &[Family]) -> Life {
    let start = families.iter().find(|it| &*it.name == START);
    let seconds = start.and_then(|it| it.samples.first()).map_or(0.0, |(_, value)| *value);
    let start_ms = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_millis();
    let identity = families.iter().find(|it| &*it.name == IDENTITY);
    let first = identity.and_then(|it| it.samples.first());
    let name = first.and_then(|(series, _)| series.labels.get(IDENTITY_LABEL));
    let name = name.filter(|it| (1..=PROCESS_NAME_BYTES).contains(&it.len()));
    let process = name.map_or_else(|| Arc::clone(instance), Arc::from);
    Life { process, start_ms: u64::try_from(start_ms).unwrap_or(0) }
}

fn ours(mut families: Vec<Family>) -> Vec<Family> {
    // Who a process is says nothing about all of them.
    families.retain(|it| it.name.starts_with(PREFIX) && &*it.name != IDENTITY);
    families
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_replica_that_says_too_much_is_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let series = (0..=REPLICA_SERIES).map(|n| format!("mcp_many{{x=\"{n}\"}} 1\n"));
        let body: String =
            series.chain(["mcp_one 7\n".to_owned(), format!("{START} 5\n")]).collect();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            assert_ne!(stream.read(&mut head).await.unwrap(), 0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            stream
        };
        let address = Address::parse(&format!("http://{to}")).unwrap();
        let (found, _stream) = tokio::join!(ask(to, address, Tls::new(None)), serve);
        assert_eq!(found.left_out, REPLICA_SERIES + 1);
        let (life, families) = found.said.unwrap();
        assert_eq!(life.start_ms, 5_000);
        let counts: Vec<_> = families.iter().map(|it| (&*it.name, it.samples.len())).collect();
        assert_eq!(counts, [("mcp_many", 0), ("mcp_one", 1)]);
    }

    #[test]
    fn a_process_is_told_from_others_however_much_it_says() {
        let own = format!("{IDENTITY}{{process=\"one\"}} 1\n{START} 5\n");
        let small: String = (0..150).map(|n| format!("mcp_f{n} 1\n")).collect();
        let large: String = (0..150).map(|n| format!("mcp_f{{x=\"{n}\"}} 1\n")).collect();
        let names: String =
            (0..150).map(|n| format!("{IDENTITY}{{process=\"{n}\"}} 1\n")).collect();
        for (text, left_out) in [
            (format!("{small}{own}"), 50),
            (format!("{large}{own}"), 150),
            (format!("{own}{small}{names}"), 202),
        ] {
            let parsed = parse(&text, 100).unwrap();
            let life = life(&"a:1".into(), &parsed.families);
            assert_eq!((&*life.process, life.start_ms, parsed.left_out), ("one", 5_000, left_out));
        }
    }

    #[test]
    fn a_process_is_itself_at_each_of_its_addresses() {
        let says = |name: &str| {
            let text =
                format!("# TYPE {IDENTITY} gauge\n{IDENTITY}{{process=\"{name}\"}} 1\n{START} 5\n");
            parse(&text, 10).unwrap().families
        };
        let found = |at: &str, families: Vec<Family>| {
            let instance: Arc<str> = at.into();
            let said = Ok((life(&instance, &families), ours(families)));
            Found { instance, said, left_out: 0, took: Duration::ZERO, is_twin: false }
        };
        let nameless = || parse(&format!("{START} 5\n"), 10).unwrap().families;
        let mut all = [
            found("a:1", says("one")),
            found("b:1", says("one")),
            found("c:1", says("other")),
            found("d:1", nameless()),
            found("e:1", nameless()),
            found("f:1", says(&"x".repeat(PROCESS_NAME_BYTES + 1))),
        ];
        tell_twins(&mut all);
        let twins: Vec<_> = all.iter().filter(|it| it.is_twin).map(|it| &*it.instance).collect();
        assert_eq!(twins, ["b:1"]);
        let shown = |it: &Found| it.said.as_ref().is_ok_and(|(_, families)| !families.is_empty());
        assert!(!all.iter().any(shown), "who a process is is not a figure of the cluster");
    }
}
