//! `completions`: what a shell needs to complete the command line of the gateway.

use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};
use clap_complete::generate;

use super::{Cli, print};

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// `mcp-gateway completions bash > /etc/bash_completion.d/mcp-gateway`
    Bash,
    /// `mcp-gateway completions zsh > "${fpath[1]}/_mcp-gateway"`
    Zsh,
    /// `mcp-gateway completions fish > ~/.config/fish/completions/mcp-gateway.fish`
    Fish,
}

/// Prints the script.
pub(super) fn run(shell: Shell) -> ExitCode {
    print::line(script(shell).trim_end());
    ExitCode::SUCCESS
}

fn script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "mcp-gateway", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Shell, script};

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in
                ["validate", "completions", "admin-port", "schema", "demo-server", "sessions"]
            {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
