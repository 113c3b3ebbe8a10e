//! Limits of rates as they are written.

use std::time::Duration;

use super::super::super::{CallerBy, Rate};
use super::all_of;
use super::spellings::accepted;

#[test]
fn rates_of_callers_addresses_and_tools() {
    let text = r#"
rateLimit:
  max: 60
  windowMs: 60000
  by: credential
  exempt: exporter
  addressMax: 50
  tools:
    "files/*": {max: 5}
    "*/search": {max: 6, window: 1m, burst: 2}
servers: {files: {command: x}}
"#;
    let (config, warnings) = accepted(text);
    assert_eq!(warnings, Vec::<String>::new());
    let limit = config.rate_limit.clone();
    let rate = |max, seconds, burst| Rate { max, window: Duration::from_secs(seconds), burst };
    assert_eq!((limit.enabled, limit.caller), (true, rate(60, 60, 60)));
    assert_eq!((limit.by, limit.address), (CallerBy::Credential, rate(50, 1, 50)));
    let tools: Vec<_> = limit.tools.iter().map(|it| (it.pattern.as_str(), it.rate)).collect();
    assert_eq!(tools, [("files/*", rate(5, 60, 5)), ("*/search", rate(6, 60, 2))]);
    let shown: Vec<_> =
        config.settings().iter().map(|it| format!("{} {}", it.name(), it.shown())).collect();
    for line in [
        "rate_limit.window \"1m\"",
        "rate_limit.by \"credential\"",
        "rate_limit.exempt [\"exporter\"]",
        "rate_limit.address_burst 50",
        "rate_limit.tools.*/search.burst 2",
    ] {
        assert!(shown.iter().any(|it| it == line), "{line} in {shown:#?}");
    }
    let (config, _) = accepted("rate_limit: {enabled: false}\n");
    assert!(!config.rate_limit.enabled);
    let (config, _) = accepted("port: 1\n");
    assert!(!config.rate_limit.enabled, "who does not write it does not want it");
    let (_, warnings) = accepted(
        "rate_limit: {tools: {\"fies/*\": {max: 5}}}\nservers: {files: \
                                  {command: x}}\n",
    );
    assert_eq!(warnings, ["f:1:1: no server is called as `fies/*` has it; did you mean `files`?"]);
}

#[test]
fn rates_that_are_nothing_or_written_twice() {
    all_of(&[
        (
            "rateLimit: {max: -1, window: 0, burst: 0, addressMax: x, by: token, limt: 5}\n",
            &[
                "f:1:18: `max` must be a whole number greater than zero, not -1",
                "f:1:30: `window` must be a time greater than zero such as \"60s\" or \"15m\", not \
                 0",
                "f:1:40: `burst` must be a whole number greater than zero, not 0",
                "f:1:55: `addressMax` must be a whole number greater than zero, not \"x\"",
                "f:1:62: `by` must be one of address, credential, not \"token\"",
                "f:1:69: unknown setting `limt`",
            ],
        ),
        (
            "rate_limit: {window: 15m, window_ms: 900000}\n",
            &["f:1:27: `window_ms` and `window` are the same setting; keep one"],
        ),
        (
            "rate_limit: {window: 900000}\n",
            &["f:1:22: `window`: a bare number is seconds, so 900000 means 900000s; write \
               \"900000s\" or \"900000ms\""],
        ),
    ]);
}

#[test]
fn rates_that_cannot_be_kept() {
    all_of(&[
        (
            "rate_limit: {max: 1}\nrateLimit: {max: 1}\n",
            &["f:2:1: `rateLimit` is the same setting as `rate_limit` on line 1; keep one"],
        ),
        (
            "rate_limit: {max: 1, window: 300days, burst: 2}\n",
            &["f:1:14: `burst` would take longer than a year to come back; write a shorter \
               `window`"],
        ),
        (
            "rate_limit: {max: 2000, window: 1ms}\n",
            &["f:1:14: `max` is more than one in each microsecond; leave the limit out"],
        ),
        (
            "rate_limit: {tools: {read: {max: 1}, a/: {max: 1}, \"a/{b}\": {max: 1}, a/b: \
             {window: 1s}}}\n",
            &[
                "f:1:22: `read` names a server or a tool only; write \"server/tool\"",
                "f:1:38: `a/` lacks a part; write \"server/tool\"",
                "f:1:52: `a/{b}` has characters that no name has; write \"server/tool\"",
                "f:1:71: `a/b` has no `max`",
            ],
        ),
        (
            "rate_limit: {tools: [a/b]}\n",
            &["f:1:21: `tools` must be a map from \"server/tool\" to a limit, not a list"],
        ),
    ]);
}
