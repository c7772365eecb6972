//! `cordon completions`.

use std::io::Write as _;
use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::{Ended, Global};

/// What `cordon completions` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon completions bash > ~/.local/share/bash-completion/completions/cordon
  cordon completions zsh > ~/.zfunc/_cordon
  cordon completions fish > ~/.config/fish/completions/cordon.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs `cordon completions`.
pub(crate) fn run(args: CompletionsArgs, _global: &Global) -> Ended {
    let mut script = Vec::new();
    generate(args.shell, &mut super::command(), "cordon", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
