//! Certificates that are made, kept, renewed, and left alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcpgw-certs-{}-{name}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn settle(&self, if_missing: bool, names: &[&str], now: SystemTime) -> Result<Told, Failure> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let vars = std::collections::BTreeMap::new();
        let names = names::wanted(&names, &vars).map_err(Failure::Refused)?;
        settle(if_missing, &self.0, &names, now)
    }

    fn first(&self, names: &[&str], now: SystemTime) -> String {
        self.settle(true, names, now).unwrap().done.first().unwrap().clone()
    }

    fn leaf(&self) -> String {
        fs::read_to_string(self.0.join(CERTIFICATE)).unwrap()
    }

    /// Puts a certificate there as an operator would: of another authority, with its key.
    fn put_foreign(&self, names: &[&str], now: SystemTime) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since + Duration::from_secs(86_400);
        let leaf = params.self_signed(&key).unwrap();
        fs::write(self.0.join(CERTIFICATE), leaf.pem()).unwrap();
        fs::write(self.0.join(KEY), key.serialize_pem()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn a_certificate_is_made_once_and_says_for_whom_it_is() {
    let folder = Folder::new("once");
    let told = folder.first(&["mcp.example.com", "10.0.0.7"], now());
    assert!(told.starts_with("made ") && !told.contains("trusted"), "{told}");
    let leaf = Certificate::of_pem(&folder.leaf()).unwrap();
    let names = ["mcp.example.com", "10.0.0.7", "localhost", "127.0.0.1", "::1"];
    assert_eq!(leaf.names, names);
    assert!(leaf.is_for("MCP.example.com") && !leaf.is_for("other.example.com"));
    assert!(leaf.begins < now() && leaf.issuer.starts_with(made::AUTHORITY_NAME));
    let authority = fs::read_to_string(folder.0.join(AUTHORITY)).unwrap();
    assert_eq!(Certificate::of_pem(&authority).unwrap().subject, leaf.issuer);

    let before = folder.leaf();
    let told = folder.first(&["mcp.example.com", "10.0.0.7"], now());
    assert!(told.starts_with("kept "), "{told}");
    assert_eq!(folder.leaf(), before);
    // Nothing but the three files: the key of the authority is gone.
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3);
}

#[test]
fn a_certificate_is_renewed_for_a_reason_that_is_told() {
    let folder = Folder::new("renewed");
    folder.first(&["a"], now());
    for (names, later, why) in [
        (["a", "b"].as_slice(), Duration::ZERO, "it was not for b"),
        (&["b"], Duration::ZERO, "for a too"),
        (&["b"], Duration::from_hours(24 * 791), "it ends on "),
    ] {
        let before = folder.leaf();
        let told = folder.first(names, now() + later);
        assert!(told.starts_with("renewed ") && told.contains(why), "{told}");
        assert!(told.contains("trust the new one"), "{told}");
        assert_ne!(folder.leaf(), before);
        // Nothing is renewed early, nor twice.
        assert!(folder.first(names, now() + later).starts_with("kept "), "{why}");
    }
    for name in [KEY, AUTHORITY] {
        fs::remove_file(folder.0.join(name)).unwrap();
        let told = folder.first(&["b"], now());
        assert!(told.contains(&format!("its {name} was missing")), "{told}");
    }
    let other = Folder::new("renewed-other");
    other.first(&["b"], now());
    fs::remove_file(folder.0.join(KEY)).unwrap();
    fs::copy(other.0.join(KEY), folder.0.join(KEY)).unwrap();
    assert!(folder.first(&["b"], now()).contains("another's"));
    assert!(folder.settle(false, &["b"], now()).unwrap().done[0].contains("as it was asked"));
}

#[test]
fn what_somebody_else_put_there_is_never_touched() {
    let folder = Folder::new("foreign");
    folder.put_foreign(&["real.example.com"], now());
    let before = folder.leaf();
    let told = folder.settle(true, &["real.example.com", "b"], now()).unwrap();
    assert!(told.done[0].contains("left alone"), "{told:?}");
    let warnings = told.warnings.concat();
    assert!(warnings.contains("ends on ") && warnings.contains("is not for b"), "{told:?}");
    assert!(matches!(folder.settle(false, &[], now()), Err(Failure::Failed(_))));
    assert_eq!(folder.leaf(), before);

    let other = Folder::new("foreign-key");
    other.put_foreign(&["real.example.com"], now());
    fs::copy(other.0.join(KEY), folder.0.join(KEY)).unwrap();
    let later = now() + Duration::from_secs(2 * 86_400);
    let warnings = folder.settle(true, &[], later).unwrap().warnings.concat();
    assert!(warnings.contains("is not the key of") && warnings.contains("has ended"), "{warnings}");
    fs::remove_file(folder.0.join(KEY)).unwrap();
    assert!(matches!(folder.settle(true, &[], now()), Err(Failure::Failed(_))));
}

#[test]
fn a_part_of_a_set_of_somebody_elses_is_not_completed() {
    for name in [KEY, AUTHORITY] {
        let folder = Folder::new(&format!("part-{name}"));
        folder.put_foreign(&["a"], now());
        let from = if name == KEY { KEY } else { CERTIFICATE };
        let text = fs::read_to_string(folder.0.join(from)).unwrap();
        fs::remove_file(folder.0.join(CERTIFICATE)).unwrap();
        fs::remove_file(folder.0.join(KEY)).unwrap();
        fs::write(folder.0.join(name), text).unwrap();
        for if_missing in [true, false] {
            assert!(matches!(folder.settle(if_missing, &[], now()), Err(Failure::Failed(_))));
        }
        assert!(!Path::new(&folder.0.join(CERTIFICATE)).exists());
    }
}

#[test]
fn how_to_trust_names_the_file() {
    let told = trust("/certs/ca.crt");
    assert!(told.contains("curl --cacert /certs/ca.crt https://localhost/health"), "{told}");
    assert!(told.lines().all(|line| line.len() <= 100), "{told}");
}
