//! Which names a server may have.

/// First path segments that the gateway serves itself, and those kept for later.
const RESERVED: &[&str] = &[
    ".well-known",
    "admin",
    "api",
    "auth",
    "docs",
    "favicon.ico",
    "gateway",
    "health",
    "healthz",
    "internal",
    "livez",
    "mcp",
    "message",
    "messages",
    "metrics",
    "openapi.json",
    "ready",
    "readyz",
    "redoc",
    "robots.txt",
    "servers",
    "sse",
    "ui",
    "ws",
];

/// What is wrong with a server's id; it becomes a segment of the server's addresses.
pub(super) fn fault(id: &str) -> Option<String> {
    if RESERVED.contains(&id.to_ascii_lowercase().as_str()) {
        let what = format!("a server cannot be called `{id}`: /{id} is an address of the gateway");
        let better = slug(&format!("my-{id}"));
        return Some(format!("{what}; call it `{better}`"));
    }
    let body = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&id.len()) && id.chars().all(body) && !id.starts_with('-') {
        return None;
    }
    let rule = "a server's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -";
    let better = slug(id);
    let remedy = if better.is_empty() { String::new() } else { format!("; write `{better}`") };
    Some(format!("`{id}` is not a name for a server: {rule}{remedy}"))
}

/// The nearest name that is allowed; empty when nothing is left.
fn slug(id: &str) -> String {
    let mut name = String::new();
    for c in id.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(63);
    name.trim_end_matches('-').to_owned()
}
