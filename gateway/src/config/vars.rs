//! `${VAR}` and `${VAR:-default}` in the strings of a file; `$${` stands for a literal `${`.
//! Editors write `${env:VAR}`, which is the same.

use super::Vars;

/// Puts the values of variables into a text. The fault names the variable, never its value.
pub(super) fn expand(text: &str, vars: &dyn Vars) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err("`${` is not closed by `}`; write `$${` for the characters".to_owned());
        };
        expanded.push_str(&value(inside, vars)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value(inside: &str, vars: &dyn Vars) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    if !is_name(name) {
        return Err(format!("`${{{inside}}}` is not `${{NAME}}` or `${{NAME:-default}}`"));
    }
    match (vars.var(name), default) {
        (Some(value), _) if !value.is_empty() => Ok(value),
        (Some(_) | None, Some(default)) => Ok(default.to_owned()),
        (Some(empty), None) => Ok(empty),
        (None, None) => Err(format!(
            "environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
        )),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::expand;

    #[test]
    fn variables_are_replaced_and_faults_name_them() {
        let vars = BTreeMap::from([
            ("A".to_owned(), "one".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        for (text, expected) in [
            ("plain $A", "plain $A"),
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY}", ""),
            ("${env:A}", "one"),
            ("$${A}", "${A}"),
        ] {
            assert_eq!(expand(text, &vars), Ok(expected.to_owned()), "{text}");
        }
        for (text, expected) in [
            ("${B}", "environment variable B is not set; set it, or write `${B:-default}`"),
            ("${A", "`${` is not closed by `}`; write `$${` for the characters"),
            ("${a b}", "`${a b}` is not `${NAME}` or `${NAME:-default}`"),
            ("${}", "`${}` is not `${NAME}` or `${NAME:-default}`"),
        ] {
            assert_eq!(expand(text, &vars), Err(expected.to_owned()), "{text}");
        }
    }
}
