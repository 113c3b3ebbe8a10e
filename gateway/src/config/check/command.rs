//! A command written as one string, split into words the way a shell does, but without a shell.

/// Characters that only a shell gives a meaning to.
const SHELL: &[char] = &[';', '|', '&', '<', '>', '`', '\n'];

/// Splits a command. Quotes and backslashes work as in a shell; `${VAR}` stays as it is, for the
/// value of a variable is never split. What only a shell could do is a fault.
pub(super) fn split(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = command.trim().chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, c) if c == ' ' || c == '\t' => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = rest.next().ok_or("a backslash at the end escapes nothing")?;
                let word = word.get_or_insert_default();
                // Inside double quotes a shell keeps the backslash before ordinary characters.
                if quote.is_some() && !matches!(escaped, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                // `$${` is how the text of a variable is kept from being replaced.
                if escaped == '$' && rest.peek() == Some(&'{') {
                    word.push('$');
                }
                word.push(escaped);
            }
            (None | Some('"'), '$') => {
                let word = word.get_or_insert_default();
                match rest.peek() {
                    Some('{') => variable(&mut rest, word),
                    Some('(') => return Err(needs_shell("$(")),
                    Some(c) if c.is_ascii_alphabetic() => {
                        return Err("variables are written `${NAME}`".to_owned());
                    }
                    Some(_) | None => word.push('$'),
                }
            }
            (None, c) if SHELL.contains(&c) => {
                return Err(needs_shell(&c.escape_debug().to_string()));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.take());
    match quote {
        Some(open) => Err(format!("a quote {open} is not closed")),
        None if words.is_empty() => Err("the command is empty".to_owned()),
        None => Ok(words),
    }
}

fn variable(rest: &mut impl Iterator<Item = char>, word: &mut String) {
    word.push('$');
    for c in rest {
        word.push(c);
        if c == '}' {
            break;
        }
    }
}

fn needs_shell(what: &str) -> String {
    let remedy = "quote it, or write [\"sh\", \"-c\", \"…\"] if a shell is meant";
    format!("no shell runs this, so `{what}` would do nothing; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_split_as_in_a_shell() {
        for (command, words) in [
            ("npx -y @scope/server", vec!["npx", "-y", "@scope/server"]),
            ("  a   b\t", vec!["a", "b"]),
            ("a 'b c' \"d e\"f", vec!["a", "b c", "d ef"]),
            (r#"a "x\"y" b\ c '\n'"#, vec!["a", "x\"y", "b c", r"\n"]),
            ("a '' \"\"", vec!["a", "", ""]),
            ("a ${X:-y z} '$HOME'", vec!["a", "${X:-y z}", "$HOME"]),
            ("a 'x;y|z' \"&\"", vec!["a", "x;y|z", "&"]),
            ("a 5$", vec!["a", "5$"]),
        ] {
            let expected: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert_eq!(split(command), Ok(expected), "{command}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for command in ["a; b", "a | b", "a & b", "a > b", "a < b", "a `b`", "a $(b)", "a\nb"] {
            let fault = split(command).unwrap_err();
            assert!(fault.starts_with("no shell runs this"), "{command}: {fault}");
        }
        for (command, expected) in [
            ("a 'b", "a quote ' is not closed"),
            ("a \\", "a backslash at the end escapes nothing"),
            (" ", "the command is empty"),
            ("a $HOME", "variables are written `${NAME}`"),
        ] {
            assert_eq!(split(command), Err(expected.to_owned()));
        }
    }
}
