//! Bounds stand in one file, and `docs/limits.md` says what that file says.

use std::fmt::Write as _;
use std::fs;

use crate::report;
use crate::source::{self, Source};

/// Where bounds are written: those of the gateway in the files that this one names, and those of
/// what is said.
const LIST: &str = "gateway/src/config/limits.rs";
const HOMES: [&str; 2] = ["gateway/src/config/limits/", "gateway/wire/src/limits.rs"];
const PAGE: &str = "docs/limits.md";
/// What brings the page up to date.
const RENEW: &str = "UPDATE_DOCS=1 cargo test -p mcp-gateway --test tidy limits";

/// Files with numbers that bound nothing.
const ELSEWHERE: &[(&str, &str)] = &[
    ("gateway/src/cli/demo_server.rs", "a server of its own"),
    ("gateway/src/cli/demo_server/", "a server of its own"),
    ("gateway/src/http/frames.rs", "the form of a frame's head"),
    ("gateway/src/session/id.rs", "the form of an id"),
    ("gateway/src/transport/http/tests/", "for tests"),
    ("gateway/wire/src/lines.rs", "how a buffer grows within its bound"),
    ("gateway/src/route/names.rs", "the form of a shortened name"),
    ("gateway/src/relay/fixture.rs", "for tests"),
    ("gateway/src/session/fixture.rs", "for tests"),
    ("gateway/src/session/store/laws.rs", "for tests"),
    ("gateway/wire/src/json/scan.rs", "how the scanner searches"),
];

/// What a bound has.
const FORM: &str = "it has a `Beyond:`, and a value in a form that the page can show";

/// Types a bound may have.
const TYPES: &[&str] = &["usize", "u32", "u64", "Duration", "&[Duration]"];

const HEAD: &str = "\
# Limits

Everything that waits, queues or grows has a bound. A bound with a setting's name can be set in the
configuration; what is shown is its default. The others are fixed, and named as in the code, where
`gateway/src/config/limits/` and `gateway/wire/src/limits.rs` hold them. A test holds this page
to those files.
";

/// One bound.
struct Bound {
    /// The setting, or the constant.
    name: String,
    default: String,
    what: String,
    beyond: String,
}

#[test]
fn the_page_of_limits_says_what_the_files_say() {
    let mut page = HEAD.to_owned();
    let mut faults = Vec::new();
    for name in sections() {
        let text = fs::read_to_string(source::root().join(&name)).unwrap();
        page += &render(&name, &text, &mut faults);
    }
    report(&faults);
    let path = source::root().join(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let is_current = fs::read_to_string(&path).is_ok_and(|text| text == page);
    assert!(is_current, "{PAGE} is not what the files say; {RENEW}");
}

#[test]
fn bounds_stand_in_one_place() {
    let mut faults = Vec::new();
    for source in source::workspace() {
        bound_faults(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn a_bound_elsewhere_is_noticed() {
    for (text, count) in [
        ("const WAIT: Duration = Duration::from_secs(3);\n", 1),
        ("pub(super) const LINES: usize = 20;\n", 1),
        ("fn a() { sleep(Duration::from_millis(5)); }\n", 1),
        ("const WAIT: Duration = limits::client::IDLE;\nlet a = Duration::from_secs(b);\n", 0),
        ("#[cfg(test)]\nmod tests { const A: usize = 1; }\n", 0),
    ] {
        for name in ["gateway/src/a.rs", "gateway/redis-target/src/a.rs"] {
            let mut faults = Vec::new();
            bound_faults(&Source::new(name, text), &mut faults);
            assert_eq!(faults.len(), count, "{name}: {text}{faults:?}");
        }
    }
}

#[test]
fn a_bound_that_says_too_little_is_noticed() {
    let mut faults = Vec::new();
    let text = "/// A line. Beyond: cut.\npub const LINE_BYTES: usize = 2 << 10;\n\
                /// A word.\npub const WORD_BYTES: usize = 2;\n\
                /// A rest. Beyond: over.\npub const REST: Duration = Duration::from_mins(15);\n\
                /// A week. Beyond: over.\npub const WEEK: Duration = Duration::from_weeks(1);\n\
                /// Pings. Beyond: cut.\npub const PINGS_PER_SECOND: u32 = 20;\n";
    let page = render("gateway/wire/src/limits.rs", text, &mut faults);
    assert!(page.contains("| `LINE_BYTES` | 2 KiB | A line. | cut. |"), "{page}");
    assert!(page.contains("| `REST` | 15 min | A rest. | over. |"), "{page}");
    assert!(page.contains("| `PINGS_PER_SECOND` | 20 a second | Pings. | cut. |"), "{page}");
    assert_eq!(faults.len(), 2, "{faults:?}");
}

/// Numbers of production code that look like bounds and stand outside of their files.
fn bound_faults(source: &Source, faults: &mut Vec<String>) {
    let product = ["gateway/src/", "gateway/wire/src/", "gateway/redis-target/src/"];
    let excused = |place: &&str| source.name.starts_with(*place);
    if !product.iter().any(excused)
        || HOMES.iter().any(excused)
        || ELSEWHERE.iter().map(|(place, _)| place).any(excused)
    {
        return;
    }
    for (number, line) in source.production().lines().enumerate() {
        let constant = line.split_once("const ").and_then(|(_, rest)| rest.split_once(": "));
        let is_bound =
            constant.and_then(|(_, rest)| rest.split_once(" = ")).is_some_and(|(kind, value)| {
                TYPES.contains(&kind) && value.starts_with(|c: char| c.is_ascii_digit())
            });
        let is_time = line.match_indices("Duration::from_").any(|(at, _)| {
            let argument = line[at..].split_once('(').map(|(_, rest)| rest);
            argument.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
        });
        if is_bound || is_time {
            let at = format!("{}:{}", source.name, number + 1);
            faults.push(format!("{at}: a bound outside of {}: {}", HOMES[0], line.trim()));
        }
    }
}

/// The files in the order of the page.
fn sections() -> impl Iterator<Item = String> {
    let [folder, said] = HOMES;
    let list = fs::read_to_string(source::root().join(LIST)).unwrap();
    let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    let names: Vec<String> = list.lines().filter_map(name).collect();
    names.into_iter().map(move |name| format!("{folder}{name}.rs")).chain([said.to_owned()])
}

/// The section of a file: a title, which is its first paragraph, and a line a bound.
fn render(name: &str, text: &str, faults: &mut Vec<String>) -> String {
    let title = text.lines().map_while(|line| line.strip_prefix("//! "));
    let title = title.collect::<Vec<_>>().join(" ");
    let columns = "| name | default | what | beyond it |\n|---|---|---|---|\n";
    let mut page = format!("\n## {}\n\n{columns}", title.trim_end_matches('.'));
    let mut words: Vec<&str> = Vec::new();
    let mut declared = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// ") {
            words.push(doc);
        } else if !declared.is_empty() || line.starts_with("pub const ") {
            declared += line;
            if declared.ends_with(';') {
                match read(&words.join(" "), &declared) {
                    Some(Bound { name, default, what, beyond }) => {
                        writeln!(page, "| `{name}` | {default} | {what} | {beyond} |").unwrap();
                    }
                    None => faults.push(format!("{name}: {declared} cannot be read: {FORM}")),
                }
                words.clear();
                declared.clear();
            }
        }
    }
    page
}

/// `pub const NAME: type = value;` and the sentences above it.
fn read(words: &str, declared: &str) -> Option<Bound> {
    let (name, rest) = declared.strip_prefix("pub const ")?.split_once(": ")?;
    let (kind, value) = rest.trim_end_matches(';').split_once(" = ")?;
    let (what, beyond) = words.split_once(" Beyond: ")?;
    let (what, setting) = match what.split_once(" Setting `") {
        Some((what, rest)) => (what, rest.split_once('`')?.0),
        None => (what, name),
    };
    let default = if kind.contains("Duration") { times(value)? } else { amount(name, value)? };
    let [name, what, beyond] = [setting, what, beyond].map(str::to_owned);
    Some(Bound { name, default, what, beyond })
}

/// `Duration::from_secs(10)` as `10 s`; of a list, each.
fn times(value: &str) -> Option<String> {
    let inner = value.trim_start_matches("&[").trim_end_matches(']');
    let each = inner.split(',').map(str::trim).filter(|it| !it.is_empty()).map(|time| {
        let bare = time.trim_start_matches("Duration::from_").trim_end_matches(')');
        if bare == "Duration::ZERO" {
            return Some("0".to_owned());
        }
        match bare.split_once('(')? {
            ("hours", number) => Some(format!("{number} h")),
            ("mins", number) => Some(format!("{number} min")),
            ("secs", number) => Some(format!("{number} s")),
            ("millis", number) => Some(format!("{number} ms")),
            _ => None,
        }
    });
    Some(each.collect::<Option<Vec<_>>>()?.join(", "))
}

/// The number, in the unit that the name ends with.
fn amount(name: &str, value: &str) -> Option<String> {
    let plain = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    let number = match (value.split_once(" << "), value.split_once(" * ")) {
        (Some((number, shift)), _) => plain(number)? << plain(shift)?,
        (_, Some((one, other))) => plain(one)? * plain(other)?,
        _ => plain(value)?,
    };
    let unit = name.rsplit('_').next()?;
    Some(match (unit, number) {
        ("BYTES", 0x10_0000..) if number % 0x10_0000 == 0 => format!("{} MiB", number >> 20),
        ("BYTES", 1024..) if number % 1024 == 0 => format!("{} KiB", number >> 10),
        ("BYTES", _) => format!("{number} B"),
        ("MS", _) => format!("{number} ms"),
        ("SERVER", _) => format!("{number} a server"),
        ("MAX" | "ONCE" | "PRINCIPAL" | "DEPTH" | "CEILING", _) => number.to_string(),
        ("SECOND", _) => format!("{number} a second"),
        _ => format!("{number} {}", unit.to_lowercase()),
    })
}
