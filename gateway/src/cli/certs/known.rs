//! What is in a folder already, and whether it serves.

use std::path::Path;
use std::time::SystemTime;

use rcgen::KeyPair;

use super::made::AUTHORITY_NAME;
use super::names::Wanted;
use super::{AUTHORITY, CERTIFICATE, Certificate, KEY, day, files};
use crate::config::limits::gateway::CERTIFICATE_RENEWAL;

/// Whose the files of a folder are.
#[derive(Debug)]
pub(super) enum State {
    /// There are none.
    Absent,
    /// This command made them.
    Ours(Box<Certificate>),
    /// Somebody else did; what shows it.
    Foreign(String),
}

/// Looks at a folder.
///
/// # Errors
/// A file cannot be read.
pub(super) fn look(folder: &Path) -> Result<State, String> {
    let shown = |name: &str| folder.join(name).display().to_string();
    let Some(text) = files::read(&folder.join(CERTIFICATE))? else {
        if files::read(&folder.join(KEY))?.is_some() && !is_own_authority(folder)? {
            let what = "is there without a certificate, and not from this command";
            return Ok(State::Foreign(format!("{} {what}", shown(KEY))));
        }
        if files::read(&folder.join(AUTHORITY))?.is_some() && !is_own_authority(folder)? {
            return Ok(State::Foreign(format!("{} is not from this command", shown(AUTHORITY))));
        }
        return Ok(State::Absent);
    };
    match Certificate::of_pem(&text) {
        Ok(own) if own.issuer.starts_with(AUTHORITY_NAME) => Ok(State::Ours(Box::new(own))),
        Ok(other) => {
            let (path, issuer) = (shown(CERTIFICATE), other.issuer);
            Ok(State::Foreign(format!("{path} is from `{issuer}`, not from this command")))
        }
        Err(what) => Ok(State::Foreign(format!("{} {what}", shown(CERTIFICATE)))),
    }
}

fn authority(folder: &Path) -> Result<Option<Certificate>, String> {
    let text = files::read(&folder.join(AUTHORITY))?;
    Ok(text.and_then(|text| Certificate::of_pem(&text).ok()))
}

fn is_own_authority(folder: &Path) -> Result<bool, String> {
    Ok(authority(folder)?.is_some_and(|own| own.subject.starts_with(AUTHORITY_NAME)))
}

/// Whether the key in the folder is that of the certificate.
fn is_key_of(folder: &Path, certificate: &Certificate) -> Result<bool, String> {
    let key = files::read(&folder.join(KEY))?;
    let key = key.and_then(|text| KeyPair::from_pem(&text).ok());
    Ok(key.is_some_and(|key| key.public_key_raw() == certificate.key))
}

/// Why a certificate of ours has to be made anew; `None` when it serves.
///
/// # Errors
/// A file cannot be read.
pub(super) fn renewal(
    folder: &Path,
    own: &Certificate,
    names: &Wanted,
    now: SystemTime,
) -> Result<Option<String>, String> {
    if own.ends < now + CERTIFICATE_RENEWAL {
        return Ok(Some(format!("it ends on {}", day(own.ends))));
    }
    if let Some(difference) = names.difference(&own.names) {
        return Ok(Some(difference));
    }
    if !is_key_of(folder, own)? {
        return Ok(Some(format!("its {KEY} was missing or another's")));
    }
    let issuer = authority(folder)?.map(|authority| authority.subject);
    if issuer.as_ref() != Some(&own.issuer) {
        return Ok(Some(format!("its {AUTHORITY} was missing or another's")));
    }
    Ok(None)
}

/// What is wrong with a certificate that is not ours, in sentences.
///
/// # Errors
/// It cannot be used at all: there is none, or its key is missing.
pub(super) fn trouble(
    folder: &Path,
    names: &Wanted,
    now: SystemTime,
) -> Result<Vec<String>, String> {
    let path = folder.join(CERTIFICATE);
    let shown = path.display();
    let Some(text) = files::read(&path)? else {
        return Err(format!(
            "{shown} is missing beside your other files; put it there, or remove \
                            them to have all made"
        ));
    };
    let other = Certificate::of_pem(&text).map_err(|what| format!("{shown} {what}"))?;
    let key = folder.join(KEY);
    let Some(text) = files::read(&key)? else {
        return Err(format!("{} is missing; put the key of your certificate there", key.display()));
    };
    let mut found = Vec::new();
    // A kind of key that cannot be read here may be one that the server reads.
    if KeyPair::from_pem(&text).is_ok_and(|key| key.public_key_raw() != other.key) {
        found.push(format!("{} is not the key of {shown}", key.display()));
    }
    if other.ends < now {
        found.push(format!("{shown} has ended on {}; renew it", day(other.ends)));
    } else if other.ends < now + CERTIFICATE_RENEWAL {
        found.push(format!("{shown} ends on {}; renew it", day(other.ends)));
    }
    let missing = names.all().iter().filter(|name| !super::names::is_usual(name));
    let missing = missing.filter(|name| !other.is_for(name)).map(String::as_str);
    let missing: Vec<&str> = missing.collect();
    if names.is_said() && !missing.is_empty() {
        found.push(format!("{shown} is not for {}", missing.join(", ")));
    }
    Ok(found)
}
