//! Messages with gaps: `‹ID›`, `‹TOKEN›` and `‹NAME›` stand for what the gateway has to rewrite.

use std::collections::BTreeMap;

use edge_tests::Fault;

/// The message with its gaps filled.
pub(super) fn fill(template: &str, with: &[(&str, &str)]) -> String {
    let gaps = with.iter();
    gaps.fold(template.to_owned(), |text, (name, value)| text.replace(&format!("‹{name}›"), value))
}

/// A long text without the breaks that its source has at each `⏎`.
pub(super) fn flat(text: &str) -> String {
    text.split("⏎\n")
        .enumerate()
        .map(|(at, part)| if at > 0 { part.trim_start() } else { part })
        .collect()
}

/// Checks that `got` is the template byte for byte, with a number in each gap; the numbers.
pub(super) fn numbers(template: &str, got: &str) -> Result<BTreeMap<String, u64>, Fault> {
    let differs = |at: &str| format!("differs at {at:.80}\n   got: {got}\nwanted: {template}");
    let mut pieces = template.split('‹');
    let mut found = BTreeMap::new();
    let first = pieces.next().unwrap_or_default();
    let mut rest = got.strip_prefix(first).ok_or_else(|| differs(got))?;
    for piece in pieces {
        let (name, literal) = piece.split_once('›').ok_or("a gap is not closed")?;
        let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end).ok_or_else(|| differs(rest))?;
        let number = digits.parse().map_err(|_none| differs(rest))?;
        found.insert(name.to_owned(), number);
        rest = after.strip_prefix(literal).ok_or_else(|| differs(after))?;
    }
    if rest.is_empty() { Ok(found) } else { Err(differs(rest).into()) }
}

/// Without the line breaks and spaces between tokens, which a line or an event cannot carry.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars().filter(|it| !matches!(it, ' ' | '\r' | '\n')).collect()
}
