//! `secrets`: the files that hold what the programs of a stack must not be told otherwise.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::{self, Failure};
use super::{files, print};
use crate::config::limits::gateway::{MADE_SECRET_BYTES, PASSWORD_BYTES};
use crate::config::limits::session::SECRET_BYTES;
use crate::config::{self, Environment, Vars};

/// Where the secrets go.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Keep the files that are there; a variable that is set replaces what is in its file all the
    /// same
    #[arg(long)]
    if_missing: bool,
    /// The folder, made if it is missing
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// A secret that a file holds.
struct Kind {
    /// The name of the file.
    file: &'static str,
    /// The variable that says what is in it.
    variable: &'static str,
    /// How short it may be.
    least_bytes: usize,
}

const KINDS: [Kind; 2] = [
    Kind { file: "redis_password", variable: "REDIS_PASSWORD", least_bytes: PASSWORD_BYTES },
    Kind { file: "session_secret", variable: "SESSION_SECRET", least_bytes: SECRET_BYTES },
];

/// What is to become of a file.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// It stays as it is.
    Keep,
    /// It gets this secret, for a reason that is told.
    Put(String, &'static str),
}

/// Writes what is missing. Nothing is written unless all of it may be.
pub(super) fn run(options: &Options) -> ExitCode {
    let written = write(options, &Environment);
    failure::exit(written.map(|told| told.iter().for_each(|line| print::line(line))))
}

fn write(options: &Options, vars: &dyn Vars) -> Result<Vec<String>, Failure> {
    let mut plans = Vec::new();
    for kind in &KINDS {
        plans.push((kind, plan(kind, options, vars)?));
    }
    let mut told = Vec::new();
    for (kind, plan) in plans {
        let path = options.out.join(kind.file);
        let path = path.display();
        match plan {
            Plan::Keep => told.push(format!("{path}: kept")),
            Plan::Put(secret, why) => {
                files::put(&options.out, kind.file, &secret)?;
                told.push(format!("{path}: {why}"));
            }
        }
    }
    Ok(told)
}

fn plan(kind: &Kind, options: &Options, vars: &dyn Vars) -> Result<Plan, Failure> {
    let path = options.out.join(kind.file);
    let there = files::read(&path)?;
    let there = there.as_deref().map(|text| text.trim_end_matches(['\r', '\n']));
    let given = config::given(vars, kind.variable);
    let given = given.map_err(|fault| Failure::Refused(fault.to_string()))?;
    if let Some((place, secret)) = given {
        check(kind, &secret).map_err(|what| Failure::Refused(format!("{place}: {what}")))?;
        return Ok(match there {
            Some(there) if there == secret => Plan::Keep,
            Some(_) => Plan::Put(secret, "replaced by what the environment says"),
            None => Plan::Put(secret, "written as the environment says"),
        });
    }
    match there {
        Some(secret) if options.if_missing => {
            let remedy = "or remove the file for a new one";
            check(kind, secret).map_err(|what| {
                Failure::Refused(format!("{}: {what}, {remedy}", path.display()))
            })?;
            Ok(Plan::Keep)
        }
        Some(_) => Ok(Plan::Put(made()?, "replaced by a new one")),
        None => Ok(Plan::Put(made()?, "made")),
    }
}

/// What is wrong with a secret, which is not shown.
fn check(kind: &Kind, secret: &str) -> Result<(), String> {
    let remedy = "make one with `openssl rand -hex 32`";
    if config::is_placeholder(secret) {
        return Err(format!("this secret is a placeholder that everybody knows; {remedy}"));
    }
    let least = kind.least_bytes;
    if secret.len() < least {
        return Err(format!("this secret is shorter than {least} bytes; {remedy}"));
    }
    // It is put into the configuration of other programs, where these end a word.
    if secret.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'\\".contains(c)) {
        return Err(format!("this secret has a space, a quote or a backslash in it; {remedy}"));
    }
    Ok(())
}

/// Random bytes as hexadecimal digits.
fn made() -> Result<String, String> {
    let mut bytes = [0; MADE_SECRET_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system has no randomness: {error}"))?;
    let mut digits = String::with_capacity(2 * MADE_SECRET_BYTES);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written: std::fmt::Result = write!(digits, "{byte:02x}");
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    const GOOD: &str = "Zx9-7fQp2LmN8vRt4KwY6bHs1DcJ5gXe";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("mcpgw-secrets-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn run(&self, if_missing: bool, set: &[(&str, &str)]) -> Result<Vec<String>, Failure> {
            let vars: BTreeMap<String, String> =
                set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            write(&Options { if_missing, out: self.0.clone() }, &vars)
        }

        fn read(&self) -> [String; 2] {
            KINDS.map(|kind| fs::read_to_string(self.0.join(kind.file)).unwrap())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn what_is_missing_is_made_and_the_rest_kept() {
        let folder = Folder::new("made");
        let told = folder.run(true, &[]).unwrap();
        assert!(told.iter().all(|line| line.ends_with(": made")), "{told:?}");
        let first = folder.read();
        let hex = |text: &String| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        assert!(first.iter().all(hex) && first[0] != first[1]);
        assert!(!told.concat().contains(&first[0]));
        let told = folder.run(true, &[]).unwrap();
        assert!(told.iter().all(|line| line.ends_with(": kept")), "{told:?}");
        assert_eq!(folder.read(), first);
        folder.run(false, &[]).unwrap();
        assert_ne!(folder.read(), first);
    }

    #[test]
    fn the_environment_wins_over_what_is_there() {
        let folder = Folder::new("environment");
        folder.run(true, &[]).unwrap();
        let [_, session] = folder.read();
        let told = folder.run(true, &[("REDIS_PASSWORD", GOOD), ("SESSION_SECRET", "")]).unwrap();
        assert!(told[0].contains("replaced by what the environment says"), "{told:?}");
        assert!(!told.concat().contains(GOOD));
        assert_eq!(folder.read(), [GOOD.to_owned(), session]);
        let told = folder.run(true, &[("REDIS_PASSWORD", GOOD)]).unwrap();
        assert!(told[0].ends_with(": kept"), "{told:?}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_nothing_written() {
        let folder = Folder::new("refused");
        for (variable, secret) in [
            ("REDIS_PASSWORD", "secure_redis_password"),
            ("REDIS_PASSWORD", "hunter2"),
            ("REDIS_PASSWORD", "0123456789abcdef hunter2"),
            ("SESSION_SECRET", "your_session_secret_here_change_this"),
            ("SESSION_SECRET", "123456789abcdef0123456789hunter"),
        ] {
            match folder.run(true, &[(variable, secret)]) {
                Err(Failure::Refused(told)) => {
                    assert!(told.contains(variable) && !told.contains(secret), "{told}");
                }
                other => panic!("{secret}: {other:?}"),
            }
            assert!(!folder.0.exists(), "{secret}");
        }
    }

    #[test]
    fn a_placeholder_in_a_file_is_refused() {
        let folder = Folder::new("file");
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join("session_secret"), "change-this-secret\n").unwrap();
        match folder.run(true, &[]) {
            Err(Failure::Refused(told)) => assert!(told.contains("session_secret: "), "{told}"),
            other => panic!("{other:?}"),
        }
        assert!(!folder.0.join("redis_password").exists());
        folder.run(false, &[]).unwrap();
    }
}
