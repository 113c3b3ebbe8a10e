//! Secrets that come from outside: a variable, or the file that `NAME_FILE` names.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::environment::{place, set};
use crate::config::limits::gateway::SECRET_FILE_BYTES;
use crate::config::{Fault, Place, Vars};

/// The secret called `name`, and where it is written. What is in a file is taken without one line
/// end at its end, which editors and `echo` put there.
///
/// # Errors
/// The variable and its file are both named; the file is missing, unreadable, empty or too large.
/// The fault never shows what is in it.
pub fn given(vars: &dyn Vars, name: &str) -> Result<Option<(Place, String)>, Fault> {
    let by_file = format!("{name}_FILE");
    match (set(vars, name), set(vars, &by_file)) {
        (None, None) => Ok(None),
        (Some(secret), None) => Ok(Some((place(name), secret))),
        (Some(_), Some(_)) => {
            let what = format!("is set, and {name} is set too; unset one of them");
            Err(Fault::new(place(&by_file), what))
        }
        (None, Some(path)) => {
            let path = path.trim();
            let place = Place::outside(format!("environment variable {by_file} ({path})"));
            match read(Path::new(path)) {
                Ok(secret) => Ok(Some((place, secret))),
                Err(what) => Err(Fault::new(place, what)),
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(SECRET_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| unread(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_FILE_BYTES) {
        return Err(format!(
            "the file holds more than {SECRET_FILE_BYTES} bytes; name the file \
                            that holds the secret and nothing else"
        ));
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_binary| "the file is not UTF-8 text; write the secret as text")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.trim().is_empty() {
        return Err("the file is empty; write the secret into it".to_owned());
    }
    if secret.contains(['\n', '\r']) {
        return Err("the file has more than one line; leave the secret alone in it".to_owned());
    }
    Ok(secret.to_owned())
}

fn unread(path: &Path, error: &io::Error) -> String {
    if path.is_dir() {
        return "this is a directory, which is what Docker makes of a mounted file that does not \
                exist; make the file first, or name a file in it"
            .to_owned();
    }
    if error.kind() == ErrorKind::NotFound {
        return "there is no such file; make it, or mount it there".to_owned();
    }
    let refused = error.kind() == ErrorKind::PermissionDenied;
    let remedy = if refused { "; let the user or a group of this process read it" } else { "" };
    format!("the file cannot be read: {error}{remedy}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mcpgw-given-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        path
    }

    fn named(path: &Path) -> Result<Option<(Place, String)>, Fault> {
        let path = path.display().to_string();
        given(&BTreeMap::from([("A_FILE".to_owned(), path)]), "A")
    }

    #[test]
    fn a_file_is_read_without_the_line_end_at_its_end() {
        for (bytes, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            (" s3 cret ", " s3 cret "),
        ] {
            let path = file("good", bytes.as_bytes());
            let (place, read) = named(&path).unwrap().unwrap();
            assert_eq!(read, secret);
            let told = place.to_string();
            assert!(told.contains("A_FILE") && told.contains(path.to_str().unwrap()), "{told}");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_secret_is_a_fault_that_does_not_show_it() {
        let large = vec![b'x'; 5000];
        for (name, bytes, told) in [
            ("empty", b"".as_slice(), "is empty"),
            ("blank", b" \n", "is empty"),
            ("lines", b"hunter2\n\n", "more than one line"),
            ("binary", b"\xff\xfe", "not UTF-8"),
            ("large", &large, "more than 4096 bytes"),
        ] {
            let path = file(name, bytes);
            let fault = named(&path).unwrap_err().to_string();
            fs::remove_file(path).unwrap();
            assert!(fault.contains(told) && !fault.contains("hunter2"), "{fault}");
        }
        let missing = named(Path::new("/nowhere/a")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/a") && missing.contains("no such file"), "{missing}");
        let folder = named(&std::env::temp_dir()).unwrap_err().to_string();
        assert!(folder.contains("this is a directory"), "{folder}");
    }

    #[test]
    fn a_variable_and_its_file_are_one_too_many() {
        let vars = |set: &[(&str, &str)]| -> BTreeMap<String, String> {
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let both = vars(&[("A", "hunter2"), ("A_FILE", "/a")]);
        let fault = given(&both, "A").unwrap_err().to_string();
        assert!(fault.contains("A_FILE") && fault.contains("unset one"), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
        // Docker-compose sets those that are missing to nothing.
        let one = vars(&[("A", "hunter2"), ("A_FILE", "")]);
        assert_eq!(given(&one, "A").unwrap().unwrap().1, "hunter2");
        assert_eq!(given(&vars(&[("A", " "), ("A_FILE", " ")]), "A").unwrap(), None);
    }
}
