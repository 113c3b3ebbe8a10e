//! Which server's resource template a URI fits.
//!
//! Level 1 to 3 expressions of RFC 6570 are understood as far as telling whether a URI can have
//! come from them: `{x}` is a run without `/`, `{+x}` any run, `{/x}`, `{.x}`, `{;x}`, `{?x}`,
//! `{&x}` and `{#x}` an optional run that begins with their sign.

/// Whether `uri` can be an expansion of `template`.
pub fn fits(template: &str, uri: &str) -> bool {
    let Some((literal, rest)) = template.split_once('{') else { return template == uri };
    let Some(tail) = uri.strip_prefix(literal) else { return false };
    let Some((expression, rest)) = rest.split_once('}') else { return false };
    let sign = expression.chars().next().unwrap_or_default();
    match sign {
        '+' => any_split(tail, 1, |_| true, rest),
        '/' | '.' | ';' | '?' | '&' | '#' => {
            fits(rest, tail) || (tail.starts_with(sign) && any_split(tail, 1, |_| true, rest))
        }
        _ => any_split(tail, 1, |c| c != '/', rest),
    }
}

/// Whether some run of at least `least` characters, each `allowed`, leaves a rest that fits.
fn any_split(text: &str, least: usize, allowed: impl Fn(char) -> bool, rest: &str) -> bool {
    if !rest.contains('{') {
        let Some(run) = text.strip_suffix(rest) else { return false };
        return run.chars().count() >= least && run.chars().all(allowed);
    }
    for (count, (at, c)) in text.char_indices().enumerate() {
        let tail = text.get(at..).unwrap_or_default();
        if count >= least && fits(rest, tail) {
            return true;
        }
        if !allowed(c) {
            return false;
        }
    }
    fits(rest, "") && text.chars().count() >= least
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn what_fits() {
        for (template, uri) in [
            ("demo://greeting", "demo://greeting"),
            ("demo://greeting/{name}", "demo://greeting/Ada"),
            ("test://template/{id}/data", "test://template/123/data"),
            ("file:///{+path}", "file:///a/b/c.txt"),
            ("db://{table}/{row}", "db://users/7"),
            ("x://list{?page,size}", "x://list"),
            ("x://list{?page,size}", "x://list?page=2&size=3"),
            ("x://a{/rest}", "x://a/b"),
        ] {
            assert!(fits(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn what_does_not() {
        for (template, uri) in [
            ("demo://greeting", "demo://greeting/x"),
            ("demo://greeting/{name}", "demo://greeting/"),
            ("demo://greeting/{name}", "demo://greeting/a/b"),
            ("test://template/{id}/data", "test://template//data"),
            ("test://template/{id}/data", "test://other/1/data"),
            ("x://{unclosed", "x://y"),
        ] {
            assert!(!fits(template, uri), "{template} {uri}");
        }
    }
}
