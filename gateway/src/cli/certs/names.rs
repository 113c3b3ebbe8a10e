//! The names and addresses a certificate is asked for.

use std::net::IpAddr;

use super::Vars;

/// What every certificate is for.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Who a certificate is to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    all: Vec<String>,
    /// Somebody said so; else the last is the name of this machine, which in a container is
    /// another one at each start and no reason for another certificate.
    is_said: bool,
}

impl Wanted {
    /// Every name, in the order in which a certificate lists them.
    pub(super) fn all(&self) -> &[String] {
        &self.all
    }

    /// Whether somebody asked for them by name.
    pub(super) fn is_said(&self) -> bool {
        self.is_said
    }

    /// The difference to the names of a certificate, in words; `None` when it serves.
    pub(super) fn difference(&self, own: &[String]) -> Option<String> {
        let must = |name: &&String| self.is_said || ALWAYS.contains(&name.as_str());
        let missing: Vec<&str> = self
            .all
            .iter()
            .filter(must)
            .filter(|name| !own.contains(name))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            return Some(format!("it was not for {}", missing.join(", ")));
        }
        let over: Vec<&str> =
            own.iter().filter(|name| !self.all.contains(name)).map(String::as_str).collect();
        (self.is_said && !over.is_empty())
            .then(|| format!("it was for {} too, which nobody asks for", over.join(", ")))
    }
}

/// Whether a name is one that only this machine knows itself by.
pub(super) fn is_usual(name: &str) -> bool {
    ALWAYS.contains(&name)
}

/// The names of the command line, else those of `SERVER_NAME`, else that of this machine.
///
/// # Errors
/// One of them is no name.
pub(super) fn wanted(given: &[String], vars: &dyn Vars) -> Result<Wanted, String> {
    let server_name = vars.var("SERVER_NAME").unwrap_or_default();
    let (source, words): (&str, Vec<&str>) = match given {
        // `_` is how nginx writes a server of any name.
        [] => {
            let words = server_name.split([',', ' ', '\t', '\n']).filter(|name| *name != "_");
            ("SERVER_NAME", words.collect())
        }
        given => ("--name", given.iter().map(String::as_str).collect()),
    };
    let mut all: Vec<String> = Vec::new();
    for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        let name = name(word).map_err(|what| format!("{source}: `{word}` {what}"))?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let is_said = !all.is_empty();
    for name in ALWAYS {
        if !all.iter().any(|own| own == name) {
            all.push(name.to_owned());
        }
    }
    if !is_said {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let host = host.and_then(|host| name(&host).ok()).filter(|host| !all.contains(host));
        all.extend(host);
    }
    Ok(Wanted { all, is_said })
}

/// A name as a certificate has it, or what is wrong with it.
fn name(word: &str) -> Result<String, &'static str> {
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if !word.is_ascii() {
        return Err("has letters beyond ASCII; write the form that begins with `xn--`");
    }
    let lower = word.trim_end_matches('.').to_ascii_lowercase();
    let labels = lower.strip_prefix("*.").unwrap_or(&lower);
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-')
    };
    if lower.len() <= 253 && labels.split('.').all(is_label) {
        return Ok(lower);
    }
    Err("is no host name or address; write one such as mcp.example.com, without scheme and port")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(given: &[&str], server_name: &str) -> Result<Wanted, String> {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        let vars = BTreeMap::from([("SERVER_NAME".to_owned(), server_name.to_owned())]);
        wanted(&given, &vars)
    }

    #[test]
    fn names_come_from_the_command_line_or_the_environment() {
        assert_eq!(
            of(&["MCP.example.com.", "[fd00::1]"], "other").unwrap().all(),
            ["mcp.example.com", "fd00::1", "localhost", "127.0.0.1", "::1"]
        );
        assert_eq!(
            of(&[], "a.example, *.b.example localhost").unwrap().all(),
            ["a.example", "*.b.example", "localhost", "127.0.0.1", "::1"]
        );
        let own = of(&[], "_").unwrap();
        assert_eq!(own.all().get(..3).unwrap(), ALWAYS);
        assert!(!own.is_said && own.all().len() <= 4);
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        for wrong in ["https://a", "a:443", "a/b", "~^www", "-a", "a..b", "münchen.example"] {
            let told = of(&[], wrong).unwrap_err();
            assert!(told.starts_with("SERVER_NAME: `"), "{told}");
            assert!(of(&[wrong], "").unwrap_err().starts_with("--name: `"));
        }
    }

    #[test]
    fn a_certificate_serves_when_its_names_are_those() {
        let said = of(&["a"], "").unwrap();
        assert_eq!(said.difference(said.all()), None);
        let fewer = said.difference(&["localhost".to_owned()]).unwrap();
        assert!(fewer.contains("not for a, 127.0.0.1"), "{fewer}");
        let more = [said.all(), &["b".to_owned()]].concat();
        assert!(said.difference(&more).unwrap().contains("for b too"));
        // The name of another container is as good as that of this one.
        let unsaid = of(&[], "").unwrap();
        let other = ["localhost", "127.0.0.1", "::1", "0c1f"].map(ToOwned::to_owned);
        assert_eq!(unsaid.difference(&other), None);
    }
}
