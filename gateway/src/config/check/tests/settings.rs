//! Every fault of a file and of the gateway's own settings.

use super::super::super::tree::Syntax;
use super::super::{EMPTY, check};
use super::{all_of, faults, vars};

#[test]
fn texts_that_cannot_be_read() {
    all_of(&[
        ("{\"a\": 1,}", &["f:1:9: not valid JSON: the comma before this bracket is one too many"]),
        ("[1,]", &["f:1:4: not valid JSON: the comma before this bracket is one too many"]),
        (
            "{\n  // no\n}",
            &["f:2:3: not valid JSON: key must be a string; JSON has no comments: remove it, or \
               name the file .yaml"],
        ),
        (
            "{\n \"port\": 1",
            &["f:2:10: not valid JSON: EOF while parsing an object; a bracket or quote is not \
               closed"],
        ),
        ("[]", &["f:1:1: the file must be a map of settings, not a list"]),
        ("# only a comment\n", &[&format!("f:2:1: {EMPTY}")]),
        (
            "port: 1\nservers:\n\ta:\n\t\tcommand: x\n",
            &["f:3:1: a tab indents this line; YAML is indented with spaces"],
        ),
        (
            "a: &x 1\nb: *x\n",
            &["f:2:4: YAML aliases (`*name`, `<<`) are not read here; write the value out"],
        ),
        ("port: !!str 1\n", &["f:1:7: YAML tags (`!…`) are not read here; remove it"]),
        (
            "port: 1\n---\nport: 2\n",
            &["f:2:1: a second YAML document begins here; a file holds one"],
        ),
    ]);
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(faults(&deep), ["f:1:39: nested deeper than 32 levels"]);
}

#[test]
fn keys_that_are_unknown_or_written_twice() {
    all_of(&[
        (
            "servres:\n  a:\n    command: x\n",
            &["f:1:1: unknown setting `servres`; did you mean `servers`?"],
        ),
        ("{\"prot\": 1}", &["f:1:2: unknown setting `prot`; did you mean `port`?"]),
        ("whatever: 1\n", &["f:1:1: unknown setting `whatever`"]),
        ("port: 1\nport: 2\n", &["f:2:1: `port` is written twice, first at 1:1; keep one"]),
        (
            "{\t\"port\": 1,\n\t\"session\": {\"maxAge\": 60000, \"maxAge\": 60000}}",
            &["f:2:31: `maxAge` is written twice, first at 2:14; keep one"],
        ),
        (
            "log_level: info\nlogLevel: info\n",
            &["f:2:1: `logLevel` is the same setting as `log_level` on line 1; keep one"],
        ),
        ("port: 1\ngateway:\n  port: 2\n", &["f:3:3: `port` is also set on line 1; keep one"]),
        (
            "servers: {}\nmcpServers: {}\n",
            &["f:2:1: `mcpServers` is the same setting as `servers` on line 1; keep one"],
        ),
        (
            "servers: {}\nextra:\n  command: x\n",
            &["f:2:1: `extra` looks like a server; move it into `servers`"],
        ),
        ("limits:\n  line: 3\n", &["f:2:3: unknown setting `line`; did you mean `line_bytes`?"]),
    ]);
}

#[test]
fn numbers_times_and_sizes() {
    all_of(&[
        (
            "port: 70000\n",
            &["f:1:7: `port` must be a port from 1 to 65535, or 0 for any free one, not 70000"],
        ),
        ("port: [1]\n", &["f:1:7: `port` must be a single value, not a list"]),
        (
            "limits:\n  processes: 0\n",
            &["f:2:14: `processes` must be a whole number greater than zero, not 0"],
        ),
        (
            "limits:\n  processes: -1\n",
            &["f:2:14: `processes` must be a whole number greater than zero, not -1"],
        ),
        (
            "limits:\n  body_bytes: 0\n",
            &["f:2:15: `body_bytes` must be a size greater than zero such as \"4MiB\" or \
                    4194304, \
               not 0"],
        ),
        (
            "limits:\n  body_timeout: -5\n",
            &["f:2:17: `body_timeout` must be a time greater than zero such as \"60s\" or \
               \"15m\", not -5"],
        ),
        (
            "session:\n  idle_timeout: 60000\n",
            &["f:2:17: `idle_timeout`: a bare number is seconds, so 60000 means 60000s; write \
               \"60000s\" or \"60000ms\""],
        ),
        (
            "session:\n  maxAge: 3600\n",
            &["f:2:11: `maxAge`: a bare number is milliseconds, so 3600 means 3.6s; write \
               \"3600s\" or \"3600ms\""],
        ),
        (
            "session:\n  idle_timeout: 1m\n  idleTimeoutMs: 5\n",
            &["f:3:3: `idleTimeoutMs` and `idle_timeout` are the same setting; keep one"],
        ),
    ]);
}

#[test]
fn words_hosts_and_names() {
    all_of(&[
        ("cors:\n  enabled: yes\n", &["f:2:12: `enabled` must be true or false, not \"yes\""]),
        (
            "naming: alway\n",
            &["f:1:9: `naming` must be one of auto, always, never, not \"alway\"; did you mean \
                    `always`?"],
        ),
        (
            "host: example.com\n",
            &["f:1:7: `host` must be an IP address such as 127.0.0.1 or 0.0.0.0, not \
                    \"example.com\""],
        ),
        (
            "log_level: inof\n",
            &["f:1:12: `log_level` must be one of off, error, warn, info, debug, trace, perhaps \
               `info`, not \"inof\""],
        ),
        (
            "auth: basic\n",
            &["f:1:7: `auth` must be `none`: this version has no other authentication, not \
                    \"basic\""],
        ),
        (
            "public_prefix: edge\n",
            &["f:1:16: `public_prefix` must be a path such as \"/edge\", not \"edge\""],
        ),
        (
            "allowed_hosts: [\"*\"]\n",
            &["f:1:17: an allowed host is a name such as \"mcp.example.com\", not \"*\""],
        ),
        (
            "trusted_proxies: [nginx, 10.0.0.0/33, 0.0.0.0/0]\n",
            &[
                "f:1:26: this is no network: it must be an address, a network such as \
                 \"10.0.0.0/8\", or the name of a host, not \"10.0.0.0/33\"",
                "f:1:39: this is every address, so that anybody could pass for anybody: it must be \
                 an address, a network such as \"10.0.0.0/8\", or the name of a host, not \
                 \"0.0.0.0/0\"",
            ],
        ),
        (
            "trusted_proxies: [a]\ntrustedProxies: [b]\n",
            &["f:2:1: `trustedProxies` is the same setting as `trusted_proxies` on line 1; keep \
               one"],
        ),
        ("session: 5\n", &["f:1:10: `session` must be a map of settings, not 5"]),
        (
            "rateLimit: {max: 0}\n",
            &["f:1:18: `max` must be a whole number greater than zero, not 0"],
        ),
    ]);
}

#[test]
fn secrets_and_origins() {
    let placeholder = "this secret is a placeholder that everybody knows; make one with `openssl \
                       rand -hex 32`, or leave it out: sessions in memory need none";
    for secret in [
        "change-this-secret",
        "your_session_secret_here_change_this",
        "change-me",
        "CHANGE_ME_PLEASE_1234567890",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "secure_redis_password",
    ] {
        let text = format!("session:\n  secret: {secret}\n");
        assert_eq!(faults(&text), [format!("f:2:11: {placeholder}")], "{secret}");
    }
    let short =
        placeholder.replace("is a placeholder that everybody knows", "is shorter than 32 bytes");
    assert_eq!(
        faults("session:\n  secret: 0f9c2b7d5e8a41c36b0f9c2b7d5e8a4\n"),
        [format!("f:2:11: {short}")]
    );
    all_of(&[
        (
            "cors:\n  origins: [\"*\"]\n  credentials: true\n",
            &["f:2:13: `*` with `credentials` would let any web page act as its visitor; list \
                    the \
               origins, or drop `credentials`"],
        ),
        (
            "cors:\n  origins: [app.example.com]\n",
            &["f:2:13: an origin is scheme://host[:port]; write one such as \
               \"https://app.example.com\""],
        ),
        (
            "cors:\n  origins: https://a.example/x\n",
            &["f:2:12: an origin has no path and no `*` inside; write one such as \
               \"https://app.example.com\""],
        ),
    ]);
}

#[test]
fn a_prefix_is_a_path_that_is_the_same_to_everybody() {
    for bad in [
        "//",
        "edge",
        "/a//b",
        "/edge//",
        "/%65dge",
        "/a%2Fb",
        "/a b",
        "/a?b",
        "/a#b",
        "/..",
        "/a/../b",
        "/./a",
        "/\u{e4}",
        "/a;b",
        "/a:b",
        "https://example.com/edge",
    ] {
        let expected = "`public_prefix` must be a path such as \"/edge\"";
        let found = faults(&format!("public_prefix: \"{bad}\"\nservers: {{}}\n"));
        assert!(found.iter().any(|it| it.contains(expected)), "{bad}: {found:?}");
    }
    for (good, kept) in
        [("/", ""), ("/edge", "/edge"), ("/edge/", "/edge"), ("/a/b-c_d.e~f", "/a/b-c_d.e~f")]
    {
        let text = format!("public_prefix: {good}\nservers: {{}}\n");
        let checked = check("f", &text, Syntax::Yaml, &vars());
        assert_eq!(checked.config.public_prefix, kept);
    }
}

#[test]
fn names_of_servers() {
    let rule = "a server's name is 1 to 63 of a-z, 0-9 and -, and does not begin with -";
    for (id, better) in [
        ("My_Server", "; write `my-server`"),
        ("a/b", "; write `a-b`"),
        ("..", ""),
        ("a__b", "; write `a-b`"),
        ("-a", "; write `a`"),
        ("сервер", ""),
    ] {
        let text = format!("servers:\n  \"{id}\":\n    command: x\n");
        let expected = format!("f:2:3: `{id}` is not a name for a server: {rule}{better}");
        assert_eq!(faults(&text), [expected]);
    }
    for (id, better) in
        [("mcp", "my-mcp"), ("gateway", "my-gateway"), ("openapi.json", "my-openapi-json")]
    {
        let text = format!("servers:\n  {id}:\n    command: x\n");
        let what = format!("a server cannot be called `{id}`: /{id} is an address of the gateway");
        assert_eq!(faults(&text), [format!("f:2:3: {what}; call it `{better}`")]);
    }
    all_of(&[
        (
            "servers:\n  a: {command: x}\n  a: {command: y}\n",
            &["f:3:3: `a` is written twice, first at 2:3; keep one"],
        ),
        (
            "servers:\n  - {id: a, command: x}\n  - {name: a, command: y}\n  - {command: z}\n",
            &[
                "f:3:12: a server `a` is already listed on line 2; rename one",
                "f:4:5: this server has no name; give it an `id`",
            ],
        ),
        ("servers: 5\n", &["f:1:10: `servers` must be a map from name to server, not 5"]),
        ("servers:\n  a: 5\n", &["f:2:6: server `a` must be a map of settings, not 5"]),
    ]);
}
