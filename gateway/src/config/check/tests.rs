//! Tests of the checks: what is written, and every line that is answered.

mod rates;
mod servers;
mod settings;
mod spellings;

use std::collections::BTreeMap;

use super::super::tree::Syntax;
use super::check;

fn vars() -> BTreeMap<String, String> {
    let set = [("KEY", "key with space"), ("SSE_URL", "http://h/sse"), ("EMPTY", "")];
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn faults(text: &str) -> Vec<String> {
    let syntax = if text.starts_with(['{', '[']) { Syntax::Json } else { Syntax::Yaml };
    check("f", text, syntax, &vars()).faults.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn all_of(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(&faults(text), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(text in "[\\[\\]{}:,\"'#&*!|>$\\\\ \t\na-z0-9.ä-]{0,80}") {
        for syntax in [Syntax::Json, Syntax::Yaml] {
            for fault in check("f", &text, syntax, &vars()).faults {
                let (line, column) = fault.place.position.unwrap();
                proptest::prop_assert!(line >= 1 && column >= 1, "{fault} in {text:?}");
            }
        }
    }

    #[test]
    fn json_means_the_same_to_both_readers(
        keys in proptest::collection::btree_map("[a-zA-Z_/ \"é]{1,12}", 0..100_u16, 0..6)
    ) {
        let text = serde_json::to_string_pretty(&serde_json::json!({"servers": keys})).unwrap();
        let read = |syntax| check("f", &text, syntax, &vars()).faults;
        proptest::prop_assert_eq!(read(Syntax::Json), read(Syntax::Yaml));
    }
}
