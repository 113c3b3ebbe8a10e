//! `certs`: a certificate for this machine, and the local authority that signed it.
//!
//! The authority's key is not kept: it signs one certificate and is forgotten, so that whoever
//! trusts the authority trusts that certificate and nothing that could be signed later, be it by
//! somebody who reads the folder. The price is that a new certificate has a new authority.

mod known;
mod made;
mod names;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use self::known::State;
use super::certificate::{Certificate, day};
use super::failure::{self, Failure};
use super::{files, print};
use crate::config::limits::gateway::{CERTIFICATE_RENEWAL, CERTIFICATE_VALIDITY};
use crate::config::{Environment, Vars};

/// The files, by what is in them.
const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Where the certificate goes, and for whom it is.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Keep a certificate that is valid for another month and for these names; never touch one that
    /// this command did not make
    #[arg(long)]
    if_missing: bool,
    /// The folder, made if it is missing; it gets ca.crt, tls.crt and tls.key
    #[arg(short, long, value_name = "DIR", required_unless_present = "trust_help")]
    out: Option<PathBuf>,
    /// A name or address it is for, besides localhost, 127.0.0.1 and `::1`; may be given
    /// again
    /// [default: those in `SERVER_NAME`, else the name of this machine]
    #[arg(long = "name", value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Only tell how to trust an authority
    #[arg(long)]
    trust_help: bool,
}

/// What was done.
#[derive(Debug, Default)]
struct Told {
    /// For standard output.
    done: Vec<String>,
    /// What is wrong with a certificate of somebody else's.
    warnings: Vec<String>,
}

/// Makes the certificate, unless there is one that serves.
pub(super) fn run(options: &Options) -> ExitCode {
    let here = PathBuf::from(".");
    let folder = options.out.as_ref().unwrap_or(&here);
    if options.trust_help {
        print::line(&trust(&folder.join(AUTHORITY).display().to_string()));
        return ExitCode::SUCCESS;
    }
    let told = names::wanted(&options.names, &Environment)
        .map_err(Failure::Refused)
        .and_then(|names| settle(options.if_missing, folder, &names, SystemTime::now()));
    failure::exit(told.map(|told| {
        told.warnings.iter().for_each(|line| print::error(&format!("warning: {line}")));
        told.done.iter().for_each(|line| print::line(line));
    }))
}

fn settle(
    if_missing: bool,
    folder: &std::path::Path,
    names: &names::Wanted,
    now: SystemTime,
) -> Result<Told, Failure> {
    let state = known::look(folder)?;
    let why = match state {
        State::Absent => None,
        State::Foreign(what) if !if_missing => {
            let remedy = "remove it, or name another folder";
            return Err(Failure::Failed(format!("{what}; it is left alone: {remedy}")));
        }
        State::Foreign(what) => {
            let warnings = known::trouble(folder, names, now)?;
            return Ok(Told { done: vec![format!("{what}; it is left alone")], warnings });
        }
        State::Ours(own) => {
            let why = known::renewal(folder, &own, names, now)?;
            if let (true, None) = (if_missing, &why) {
                return Ok(Told { done: vec![kept(folder, &own)], ..Told::default() });
            }
            Some(why.unwrap_or_else(|| "as it was asked for".to_owned()))
        }
    };
    let set = made::make(names.all(), now, CERTIFICATE_VALIDITY)?;
    // The certificate comes last: who finds it finds what belongs to it.
    for (name, text) in [(AUTHORITY, &set.authority), (KEY, &set.key), (CERTIFICATE, &set.leaf)] {
        files::put(folder, name, text)?;
    }
    let authority = folder.join(AUTHORITY).display().to_string();
    let what = match why {
        Some(why) => format!("renewed {}: {why}", folder.join(CERTIFICATE).display()),
        None => format!("made {}", folder.join(CERTIFICATE).display()),
    };
    let again = "\nwho trusted the authority before has to trust the new one";
    let again = if what.starts_with("renewed") { again } else { "" };
    let ends = day(now + CERTIFICATE_VALIDITY);
    let done = vec![
        format!("{what}\nfor {}, until {ends}{again}", names.all().join(", ")),
        format!("SHA-256 of {authority}: {}\n", set.fingerprint),
        trust(&authority),
    ];
    Ok(Told { done, warnings: Vec::new() })
}

fn kept(folder: &std::path::Path, own: &Certificate) -> String {
    let path = folder.join(CERTIFICATE);
    let renewed = own.ends.checked_sub(CERTIFICATE_RENEWAL).unwrap_or(own.ends);
    format!("kept {}, which is renewed from {} on", path.display(), day(renewed))
}

/// How to have other programs trust an authority.
fn trust(path: &str) -> String {
    format!(
        "To be trusted, the authority has to be known to whoever connects. Its key was\n\
         thrown away, so that nobody can sign anything else with it.\n\
         \x20 out of the stack   docker cp \
         \"$(docker-compose ps -q nginx | head -n1):/certs/{AUTHORITY}\" .\n\
         \x20 curl               curl --cacert {path} https://localhost/health\n\
         \x20 this program       mcp-gateway probe mcp --ca {path} https://localhost/mcp\n\
         \x20 Node, Python       NODE_EXTRA_CA_CERTS={path}, SSL_CERT_FILE={path}\n\
         \x20 Debian, Ubuntu     sudo cp {path} /usr/local/share/ca-certificates/mcp-gateway.crt\n\
         \x20                    sudo update-ca-certificates\n\
         \x20 Fedora             sudo trust anchor {path}\n\
         \x20 macOS              sudo security add-trusted-cert -d -r trustRoot \\\n\
         \x20                      -k /Library/Keychains/System.keychain {path}\n\
         \x20 Windows            certutil -user -addstore Root {path}\n\
         \x20 Firefox            Settings, Certificates, Authorities, Import\n\
         Certificates of your own take its place: put tls.crt and tls.key into the folder instead."
    )
}

#[cfg(test)]
mod tests;
