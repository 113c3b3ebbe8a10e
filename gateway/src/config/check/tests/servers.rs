//! Every fault of a server.

use super::faults;

/// The faults of one server, written in YAML flow style from line 1, column 14.
#[track_caller]
fn server(settings: &str, expected: &[&str]) {
    let text = format!("servers: {{a: {{{settings}}}}}\n");
    let messages: Vec<String> = faults(&text)
        .iter()
        .map(|fault| fault.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned())
        .collect();
    assert_eq!(messages, expected, "{text}");
}

#[test]
fn who_shares_a_process_and_what_a_loss_is() {
    server(
        "command: x, isolation: session, pool_size: 2",
        &["`pool_size` is for `isolation: pooled`; remove it or change `isolation`"],
    );
    server(
        "command: x, isolation: principal, pool_size: 2",
        &["`pool_size` is for `isolation: pooled`; remove it or change `isolation`"],
    );
    server(
        "command: x, on_owner_loss: begin",
        &["`on_owner_loss` must be one of reinitialize, end, not \"begin\""],
    );
    server(
        "command: x, pool_size: 0",
        &["`pool_size` must be a whole number greater than zero, not 0"],
    );
    server(
        "command: x, pool_size: 3, max_processes: 2",
        &["`max_processes` is smaller than `pool_size`; raise it"],
    );
}

#[test]
fn commands() {
    let neither = "server `a` says neither `command` nor `url`";
    server("description: x", &[&format!("{neither}; give it one of them")]);
    server("comand: x", &[&format!("{neither}; it has `comand`: did you mean `command`?")]);
    server("command: x, url: http://h/", &["server `a` has both `command` and `url`; keep one"]);
    server("type: stdio", &["a stdio server needs a `command`"]);
    server("command: []", &["`command` is empty; name a program"]);
    server("command: {}", &["`command` must be a string or a list of strings, not a map"]);
    server("command: 'a \"b'", &["a quote \" is not closed"]);
    server(
        "command: 'npx x; rm y'",
        &["no shell runs this, so `;` would do nothing; quote it, or write [\"sh\", \"-c\", \
                \"…\"] \
           if a shell is meant"],
    );
    server(
        "command: npx -y, args: [x]",
        &["`command` holds arguments and `args` too; put all of them into `args`"],
    );
    server("command: x, args: -y z", &["`args` must be a list of strings, not \"-y z\""]);
    server(
        "command: x, env: {A: '${NOT_SET}', B: , 'C=': 1}",
        &[
            "environment variable NOT_SET is not set; set it, or write `${NOT_SET:-default}`",
            "`B` has no value; write \"\", or \"${B}\" to pass it on",
            "`C=` is not the name of an environment variable",
        ],
    );
    server("command: x, evn: {}", &["unknown setting `evn`; did you mean `env`?"]);
    server("command: x, url2: y", &["unknown setting `url2`; did you mean `url`?"]);
    server("command: x, headers: {}", &["`headers` means nothing for a stdio server; remove it"]);
    server("command: x, lists: own", &["`lists` must be one of shared, session, not \"own\""]);
    let time = "`idle_timeout` must be a time greater than zero such as";
    server("command: x, idle_timeout: 0", &[&format!("{time} \"15m\", or \"never\", not 0")]);
    server("command: x, idle_timeout: x", &[&format!("{time} \"60s\" or \"15m\", not \"x\"")]);
    server(
        "command: x, idle_timeout: never, idle_timeout_ms: 5",
        &["`idle_timeout_ms` and `idle_timeout` are the same setting; keep one"],
    );
    server(
        "url: 'http://h', lists: shared",
        &["`lists` means nothing for an http server; remove it"],
    );
    server(
        "type: stdoi, command: x",
        &["`type` must be one of http, stdio, sse, ws, template, not \"stdoi\"; did you mean \
           `stdio`?"],
    );
    server(
        "command: x, enabled: true, disabled: false",
        &["`enabled` and `disabled` are the same setting; keep one"],
    );
    server(
        "command: x, call_timeout: 60s, call_timeout_max: 30s",
        &["`call_timeout_max` is shorter than `call_timeout`; raise it"],
    );
}

#[test]
fn urls_and_headers() {
    let example = "write one such as \"http://localhost:8080/mcp\"";
    server("url: localhost", &[&format!("not an absolute URL; {example}")]);
    server("url: /mcp", &[&format!("not an absolute URL; {example}")]);
    server("url: ftp://h/x", &[&format!("`ftp` is not http, https, ws or wss; {example}")]);
    server("url: 'http://h:0/'", &["the port of the URL is not a number from 1 to 65535"]);
    server(
        "url: 'http://u:p@h/'",
        &["a URL must not hold a user name or password; use `headers` for them"],
    );
    server("url: 'http://h/#x'", &["a URL of a server has no `#` part; remove it"]);
    server("type: http", &["this server needs a `url` or `instances`"]);
    server("instances: [], type: http", &["`instances` is empty; list at least one URL"]);
    server(
        "instances: 2, type: http",
        &["`instances` of a server with URLs must be a list of them, not 2"],
    );
    server("instances: [{weight: 2}], type: http", &["this instance has no `endpoint`"]);
    server(
        "url: http://h/, instances: [http://h/]",
        &["this server has both `url` and `instances`; keep one"],
    );
    server(
        "type: http, url: ws://h/",
        &[
            "the URL is a ws one; write `type: ws`",
            "the URL of this kind of server begins with http or https",
        ],
    );
    server(
        "url: http://h/, headers: {Host: x, 'a b': y, X-Key: \"a\\nb\"}",
        &[
            "the gateway sets `Host` itself; remove it",
            "`a b` is not the name of a header",
            "the value of `X-Key` holds characters that no header may have, such as a line break",
        ],
    );
    server(
        "url: http://h/, load_balancing: fast",
        &["`load_balancing` must be one of round_robin, random, weighted, least_connections, \
           health_based, not \"fast\""],
    );
    server(
        "url: http://h/, health_check: health",
        &["`health_check` must be a path such as \"/health\", not \"health\""],
    );
    server("type: template", &["a template server needs a `template_name`"]);
}
