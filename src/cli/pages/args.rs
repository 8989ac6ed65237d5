//! The clap types of the verbs that print what is generated.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A shell for which there are completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `rsx completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Where to write it:
  bash  ~/.local/share/bash-completion/completions/rsx
  zsh   _rsx in a folder of $fpath
  fish  ~/.config/fish/completions/rsx.fish")]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

/// `rsx man`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ManArgs {
    /// A verb, or ecosystem.toml; default: rsx itself
    #[arg(value_name = "VERB")]
    pub(super) verb: Option<String>,
    /// Write all pages into this folder, as man1 and man5
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    pub(super) out: Option<PathBuf>,
}
