//! The configuration: any text ends in a configuration or in faults that each tell their place.

use std::collections::BTreeMap;
use std::path::Path;

use mcp_gateway::config::{self, Fault};

/// Input: the text of a file, read as JSON and as YAML.
pub fn config(input: &[u8]) {
    let set = [("NAME", "value"), ("EMPTY", ""), ("PORT", "4000")];
    let vars: BTreeMap<String, String> =
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for name in ["f.json", "f.yaml"] {
        let read = || config::parse(Path::new(name), input, &vars);
        match read() {
            Ok(config) => {
                assert_eq!(config.source.as_deref(), Some(Path::new(name)));
                for warning in &config.warnings {
                    hold_fault(warning, name, input);
                }
                let again = read().map(|config| format!("{config:?}")).ok();
                assert_eq!(again, Some(format!("{config:?}")), "read twice, two configurations");
            }
            Err(faults) => {
                assert!(!faults.0.is_empty(), "refused without a fault");
                for fault in &faults.0 {
                    hold_fault(fault, name, input);
                }
                assert_eq!(read().err().as_ref(), Some(&faults), "read twice, other faults");
            }
        }
    }
}

/// A fault names a place that exists, and is one line that cannot disturb a terminal.
fn hold_fault(fault: &Fault, name: &str, input: &[u8]) {
    let shown = fault.to_string();
    assert!(!fault.message.is_empty() && !shown.contains(char::is_control), "{shown:?}");
    // Only the host that stands nowhere, and faults of the file as a whole, have no position.
    assert!(fault.place.source == name, "the place of {shown:?}");
    let Some((line, column)) = fault.place.position else {
        let whole = ["the file is empty", "`port` and `admin_port` are both", "larger than 1 MiB"];
        assert!(whole.iter().any(|start| fault.message.starts_with(start)), "{shown:?}");
        return;
    };
    let text = String::from_utf8_lossy(input);
    // YAML ends a line at a carriage return too.
    let returned = text.replace("\r\n", "\n").replace('\r', "\n");
    let is_place = is_place(&text, line, column) || is_place(&returned, line, column);
    assert!(is_place, "no such place: {shown:?}");
}

/// Whether a text has such a place; its end, and the line after its last, count as places.
fn is_place(text: &str, line: usize, column: usize) -> bool {
    let written = text.split('\n').nth(line.wrapping_sub(1));
    let columns = match written {
        Some(written) => written.chars().count() + 1,
        None => usize::from(line == text.split('\n').count() + 1),
    };
    (1..=columns).contains(&column)
}
