//! `health`: asks a running gateway whether it is ready, for probes in images without `curl`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use clap::Args;

use super::asking::{self, Bounds};
use super::{Flags, failure, print};
use crate::config::limits::gateway::{HEALTH_ANSWER_BYTES, HEALTH_DEADLINE};
use crate::config::{self, Environment, Listen};

/// Which gateway is asked.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Address to ask [default: /health/ready of the gateway the configuration describes]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Asks once.
pub(super) fn run(options: &Options) -> ExitCode {
    let url = options.url.clone().map_or_else(|| configured(options), Ok);
    failure::exit(url.and_then(|url| ask(&url)).map(|answer| print::line(&answer)))
}

/// The address of the gateway that this configuration starts.
fn configured(options: &Options) -> Result<String, String> {
    let config = config::load(&options.flags.clone().overrides(), &Environment);
    let config = config.map_err(|faults| faults.to_string())?;
    Ok(format!("http://{}/health/ready", reachable(config.listen)))
}

/// Where a listener can be reached from its own machine.
pub(super) fn reachable(listen: Listen) -> std::net::SocketAddr {
    let host = match listen.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    (host, listen.port).into()
}

/// One GET; the body of a 200, or why it is not one.
fn ask(url: &str) -> Result<String, String> {
    let bounds = Bounds { step: HEALTH_DEADLINE, answer_bytes: HEALTH_ANSWER_BYTES };
    match asking::ask("GET", url, None, bounds)? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("not ready: status {status} {body}").trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::{ask, reachable};
    use crate::config::Listen;

    #[test]
    fn only_a_200_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health/ready", listener.local_addr().unwrap());
        let answers = [
            "HTTP/1.1 200 OK\r\n\r\n{}\n",
            "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\ndraining",
            "\n",
        ];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let asked = stream.read(&mut [0; 256]).unwrap();
                assert!(asked > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(ask(&url), Ok("{}".to_owned()));
        assert_eq!(ask(&url), Err("not ready: status 503 draining".to_owned()));
        assert_eq!(ask(&url), Err("the answer is not HTTP".to_owned()));
        server.join().unwrap();
    }

    #[test]
    fn an_unspecified_host_is_asked_on_loopback() {
        let listen = Listen { host: [0, 0, 0, 0].into(), port: 3000 };
        assert_eq!(reachable(listen).to_string(), "127.0.0.1:3000");
    }
}
