//! This program under the name `curl`: the part of it that people use to test a server.
//!
//! The body is printed as it comes, without a pause. Exit codes are those of curl.

mod fault;
mod request;
mod show;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::time::{Instant as Moment, timeout_at};

use self::fault::Fault;
use self::request::Prepared;
use super::probe::reach;
use super::{alias, awaiting, print};
use crate::config::limits::command::WAIT_MAX;
use crate::transport::http::{Answering, Steps, dial};

/// What a command line of curl may say here.
#[derive(Debug, Parser)]
#[command(
    name = "curl",
    bin_name = "curl",
    version,
    about = "mcp-gateway under the name of curl: HTTP/1.1 to one address, printed as it comes"
)]
pub(super) struct Options {
    /// The address
    url: String,
    /// Print each piece as it comes; it is always so here
    #[arg(short = 'N', long)]
    no_buffer: bool,
    /// Print no faults
    #[arg(short, long)]
    silent: bool,
    /// Print faults although `-s` is given
    #[arg(short = 'S', long)]
    show_error: bool,
    /// Trust whatever certificate is shown
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the authorities in this file (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Tell about the connection, the request and the head of the answer
    #[arg(short, long)]
    verbose: bool,
    /// Print the head of the answer too
    #[arg(short, long, visible_alias = "show-headers")]
    include: bool,
    /// Ask for the head alone
    #[arg(short = 'I', long)]
    head: bool,
    /// A header, as `Name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The method
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// Send this; `@FILE` sends a file, `@-` standard input
    #[arg(short = 'd', long, visible_alias = "data-ascii", value_name = "DATA")]
    data: Vec<String>,
    /// Send this, an `@` included
    #[arg(long, value_name = "DATA")]
    data_raw: Vec<String>,
    /// Send this, line ends included
    #[arg(long, value_name = "DATA")]
    data_binary: Vec<String>,
    /// Send this as JSON
    #[arg(long, value_name = "DATA")]
    json: Vec<String>,
    /// User and password
    #[arg(short, long, value_name = "USER:PASSWORD")]
    user: Option<String>,
    /// What to be called
    #[arg(short = 'A', long, value_name = "NAME")]
    user_agent: Option<String>,
    /// Write the body into this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// End with 22 when the status is 400 or more, without the body
    #[arg(short, long)]
    fail: bool,
    /// End with 22 then, with the body
    #[arg(long, conflicts_with = "fail")]
    fail_with_body: bool,
    /// How long all of it may take, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = awaiting::time)]
    max_time: Option<Duration>,
    /// How long connecting may take, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = awaiting::time)]
    connect_timeout: Option<Duration>,
    /// Print this at the end, with `%{http_code}`, `%{time_connect}`, `%{time_appconnect}`,
    /// `%{time_starttransfer}`, `%{time_total}`, `%{size_download}`, `%{content_type}` and `\n`
    #[arg(short, long, value_name = "FORMAT")]
    write_out: Option<String>,
    /// Speak HTTP/1.1; it is always so here
    #[arg(long = "http1.1")]
    http1: bool,
}

/// Does what the command line says.
pub(super) fn main() -> ExitCode {
    let options = match alias::options::<Options>("curl") {
        Ok(options) => options,
        Err(code) => return code,
    };
    let fetched = awaiting::block_on(fetch(&options));
    match fetched.map_err(|told| Fault::new(fault::START, told)).and_then(|fetched| fetched) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            if !options.silent || options.show_error {
                print::error(&format!("curl: ({}) {}", fault.code, fault.told));
            }
            ExitCode::from(fault.code)
        }
    }
}

/// What happened when, and how much came.
#[derive(Debug, Default)]
struct Course {
    steps: Steps,
    first_byte: Duration,
    total: Duration,
    size: usize,
}

async fn fetch(options: &Options) -> Result<(), Fault> {
    let begun = Instant::now();
    let last = Moment::now() + options.max_time.unwrap_or(WAIT_MAX);
    let prepared = request::prepare(options)?;
    let trust = reach::trust(options.cacert.as_ref(), options.insecure);
    let trust = trust.map_err(|told| Fault::new(fault::AUTHORITIES, told))?;
    let Prepared { target, request, host } = prepared;
    let connecting = Moment::now() + options.connect_timeout.unwrap_or(WAIT_MAX);
    let dialled = dial(&target, &trust, last.min(connecting)).await;
    let dialled = dialled.map_err(|fault| Fault::of_dial(&fault, &target, begun.elapsed()))?;
    let mut course = Course { steps: dialled.steps, ..Course::default() };
    if options.verbose {
        show::connected(&dialled, &target);
        show::request(&request, &target, &host);
    }
    let late = || Fault::late(begun.elapsed());
    let sent = timeout_at(last, dialled.send(&target, request)).await.map_err(|_elapsed| late())?;
    let response = sent.map_err(|fault| Fault::of_http(&fault))?;
    course.first_byte = begun.elapsed();
    if options.verbose {
        show::head(&response, |line| print::error(&format!("< {line}")));
    }
    if options.include || options.head {
        show::head(&response, |line| {
            print::bytes(format!("{line}\r\n").as_bytes());
        });
    }
    let status = response.status();
    let refused = status.as_u16() >= 400 && (options.fail || options.fail_with_body);
    let content_type = show::content_type(&response);
    let mut done = Ok(());
    if !(refused && options.fail) {
        done = match timeout_at(last, body(options, response, &mut course)).await {
            Ok(done) => done,
            Err(_elapsed) => Err(late()),
        };
    }
    course.total = begun.elapsed();
    if let Some(format) = &options.write_out {
        let text = show::written_out(format, status.as_u16(), &course, &content_type);
        print::bytes(text.as_bytes());
    }
    if refused && done.is_ok() {
        let told = format!("The requested URL returned error: {}", status.as_u16());
        return Err(Fault::new(fault::STATUS, told));
    }
    done
}

/// Prints the body as it comes, or writes it into the file.
async fn body(
    options: &Options,
    response: Response<Answering>,
    course: &mut Course,
) -> Result<(), Fault> {
    let mut file = match &options.output {
        Some(path) if path.as_os_str() != "-" => {
            let unwritten = |error| Fault::unwritten(path, &error);
            Some((File::create(path).map_err(unwritten)?, path))
        }
        Some(_) | None => None,
    };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::cut(&error))?;
        let Some(piece): Option<&Bytes> = frame.data_ref() else { continue };
        course.size = course.size.saturating_add(piece.len());
        match &mut file {
            Some((file, path)) => {
                file.write_all(piece).map_err(|error| Fault::unwritten(path, &error))?;
            }
            None if print::bytes(piece) => {}
            None => return Err(Fault::new(fault::WRITE, "the output is closed")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::transport::http::Trust;

    #[test]
    fn what_people_type_is_understood() {
        Options::command().debug_assert();
        for line in [
            "curl -N http://mcp-gateway:3000/sse",
            "curl -v -N http://localhost:3000/sse",
            "curl -sSkf https://localhost/health",
            "curl -sN -H 'x' -XPOST -d{} localhost:3000/mcp",
            "curl -s -o /dev/null -w %{http_code} http://a",
            "curl --cacert ca.crt -u admin:x -m 5 -i https://a",
        ] {
            assert!(Options::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        let unknown = Options::try_parse_from(["curl", "-L", "http://a"]).unwrap_err();
        assert!(unknown.to_string().contains("-L"), "{unknown}");
    }

    #[test]
    fn the_system_is_trusted_unless_told() {
        assert!(matches!(reach::trust(None, false), Ok(Trust::System)));
        assert!(matches!(reach::trust(None, true), Ok(Trust::Anybody)));
    }
}
