//! The commands as a shell and a service manager see them: exit codes, and what goes where.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs a command in an empty directory of its own, with no variables of the gateway set.
struct Shell(PathBuf);

impl Shell {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("mcpgw-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-gateway"));
        command.args(arguments.split_whitespace()).current_dir(&self.0).env_clear();
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn an_example_is_written_once_and_validates() {
    let shell = Shell::new("example");
    for name in ["my.json", "my.yaml"] {
        let (code, out, _) = shell.run(&format!("example --output {name}"));
        assert_eq!(code, Some(0));
        assert_eq!(out, format!("wrote {name}; start it with: mcp-gateway --config {name}\n"));
        let (code, out, warnings) = shell.run(&format!("validate {name}"));
        assert_eq!((code, warnings.as_str()), (Some(0), ""));
        assert!(out.starts_with("ok: 3 servers (2 disabled): demo (stdio)"), "{out}");
        let (code, _, fault) = shell.run(&format!("example --output {name}"));
        assert_eq!(code, Some(1));
        assert_eq!(fault, format!("{name} exists; give --force to replace it\n"));
        assert_eq!(shell.run(&format!("example --output {name} --force")).0, Some(0));
    }
}

#[test]
fn a_wrong_configuration_ends_with_78_whoever_reads_it() {
    let shell = Shell::new("wrong");
    std::fs::write(shell.0.join("bad.yaml"), "prot: 3000\nport: x\n").unwrap();
    let expected = "bad.yaml:1:1: unknown setting `prot`; did you mean `port`?\n\
                    bad.yaml:2:7: `port` must be a port from 1 to 65535, or 0 for any free one, \
                    not \"x\"\n2 faults in the configuration\n";
    for line in ["validate bad.yaml", "start -c bad.yaml", "--registry bad.yaml"] {
        assert_eq!(shell.run(line), (Some(78), String::new(), expected.to_owned()), "{line}");
    }
    for line in ["--port x", "--unknown", "validate nowhere.yaml", "start --host 0.0.0.0"] {
        let (code, out, fault) = shell.run(line);
        assert_eq!((code, out.as_str()), (Some(78), ""), "{line}");
        assert!(!fault.is_empty(), "{line}");
    }
}

#[test]
fn questions_are_answered_on_standard_output() {
    let shell = Shell::new("questions");
    let (code, out, _) = shell.run("--version");
    assert_eq!((code, out), (Some(0), format!("mcp-gateway {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(shell.run("--help").0, Some(0));
    let (code, out, _) = shell.run("validate");
    let built_in = "ok: 1 server: demo (stdio) — no file, built-in configuration\n";
    assert_eq!((code, out.as_str()), (Some(0), built_in));
}

#[test]
fn the_effective_configuration_tells_where_it_came_from() {
    let shell = Shell::new("show");
    let text = "port: 7\nservers:\n  a: {command: x --token hidden, env: {KEY: hidden}}\n";
    std::fs::write(shell.0.join("my.yaml"), text).unwrap();
    let (code, out, _) = shell.run("config show --config my.yaml --origin --admin-port 9");
    assert_eq!(code, Some(0), "{out}");
    for line in [
        "port: 7  # my.yaml:1",
        "admin_port: 9  # command line --admin-port",
        "naming: auto  # default",
        "    command: [x, \"--token\", \"***\"]  # my.yaml:3",
        "      KEY: \"***\"  # my.yaml:3",
    ] {
        assert!(out.lines().any(|it| it == line), "{line} in\n{out}");
    }
    let (code, out, _) = shell.run("config show -c my.yaml --format json");
    assert_eq!(code, Some(0));
    assert!(out.starts_with('{') && !out.contains("hidden"), "{out}");
    assert_eq!(shell.run("config show -c nowhere.yaml").0, Some(78));
}

#[test]
fn schema_and_completions_are_printed() {
    let shell = Shell::new("print");
    let (code, out, _) = shell.run("schema");
    assert_eq!(code, Some(0));
    assert!(out.contains("https://json-schema.org/draft/2020-12/schema"));
    for name in ["bash", "zsh", "fish"] {
        let (code, out, _) = shell.run(&format!("completions {name}"));
        assert_eq!(code, Some(0));
        assert!(out.contains("mcp-gateway"), "{name}");
    }
}

#[test]
fn health_of_nothing_is_a_failure_with_a_reason() {
    let shell = Shell::new("health");
    let (code, out, reason) = shell.run("health --url http://127.0.0.1:9/health/ready");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(reason.starts_with("127.0.0.1:9 does not answer: "), "{reason}");
}

#[test]
fn every_tool_and_command_says_what_it_takes() {
    let shell = Shell::new("help");
    for line in ["doctor --help", "probe --help", "probe sse --help", "certs --help"] {
        let (code, out, fault) = shell.run(line);
        assert_eq!((code, fault.as_str()), (Some(0), ""), "{line}");
        assert!(out.contains("Usage:"), "{line}: {out}");
    }
    for line in ["certs", "secrets", "probe", "probe sse", "doctor --timeout 0", "probe mcp -t x a"]
    {
        assert_eq!(shell.run(line).0, Some(78), "{line}");
    }
    let (code, out, _) = shell.run("certs --trust-help --out /certs");
    assert_eq!(code, Some(0));
    assert!(out.contains("--cacert /certs/ca.crt"), "{out}");
    assert_eq!(shell.run("certs --out here --name a..b").0, Some(78));
    assert!(!shell.0.join("here").exists());
}
