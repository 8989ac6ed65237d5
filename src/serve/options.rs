//! The command line of `rsx serve-files`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use crate::error::{ExitCode, Failure};
use crate::serve::BASIC_AUTH;
use crate::serve::access::Credentials;

/// The port when neither the command line nor `PORT` names one.
const DEFAULT_PORT: u16 = 8080;

/// What is served, where, and to whom.
#[derive(Debug)]
pub(super) struct Options {
    /// The folder, as the user wrote it.
    pub(super) path: PathBuf,
    /// The name or address to listen on.
    pub(super) host: String,
    /// The port; 0 lets the kernel choose.
    pub(super) port: u16,
    /// What a path without a file is answered with.
    pub(super) missing: Missing,
    /// Who may read; `None`: everyone.
    pub(super) credentials: Option<Credentials>,
}

/// What a path without a file is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Status 404.
    NotFound,
    /// The site's `index.html`, because a program in the browser does the routing.
    Index,
}

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Reading {
    /// To serve.
    Serve(Options),
    /// To print this text.
    Help(String),
}

/// Serve static files.
#[derive(Parser)]
#[command(name = "rsx serve-files", no_binary_name = true)]
struct Args {
    /// The folder to serve.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The port to listen on [default: the variable PORT, else 8080].
    #[arg(value_name = "PORT")]
    positional_port: Option<u16>,
    /// The same, as a flag.
    #[arg(long, value_name = "N", conflicts_with = "positional_port")]
    port: Option<u16>,
    /// The name or address to listen on.
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0")]
    host: String,
    /// Answer paths without a file with index.html.
    #[arg(long)]
    spa: bool,
    /// Ask for a name and a password.
    #[arg(long, value_name = "USER:PASS")]
    basic_auth: Option<Credentials>,
}

impl Options {
    /// Reads the arguments; `env_port` is the value of `PORT`, `env_auth` that of [`BASIC_AUTH`].
    ///
    /// # Errors
    ///
    /// [`ExitCode::Usage`] for arguments, or a `PORT`, that are not understood.
    pub(super) fn read(
        args: impl Iterator<Item = OsString>,
        env_port: Option<String>,
        env_auth: Option<String>,
    ) -> Result<Reading, Failure> {
        let args = match Args::try_parse_from(args) {
            Ok(args) => args,
            Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Reading::Help(error.to_string())),
            Err(error) => return Err(usage(&error)),
        };
        let port = match (args.port.or(args.positional_port), env_port.filter(|text| !text.is_empty())) {
            (Some(port), _) => port,
            (None, Some(text)) => text.parse().map_err(|_| {
                Failure::new(ExitCode::Usage, format!("the variable PORT is `{text}`, which is no port"))
                    .hint("a port is a number from 0 to 65535")
            })?,
            (None, None) => DEFAULT_PORT,
        };
        let from_env = env_auth
            .map(|text| text.parse::<Credentials>())
            .transpose()
            .map_err(|_| Failure::new(ExitCode::Usage, format!("the variable {BASIC_AUTH} is no USER:PASS")))?;
        Ok(Reading::Serve(Options {
            path: args.path,
            host: args.host,
            port,
            missing: if args.spa { Missing::Index } else { Missing::NotFound },
            credentials: args.basic_auth.or(from_env),
        }))
    }
}

/// The first line of clap's report says what is wrong; usage and tips behind it become hints.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let failure = Failure::new(ExitCode::Usage, first.strip_prefix("error: ").unwrap_or(first));
    lines.filter_map(|line| line.strip_prefix("tip: ")).fold(failure, Failure::hint).hint("`rsx serve --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(args: &[&str], port: Option<&str>) -> Options {
        match Options::read(args.iter().map(OsString::from), port.map(str::to_owned), None) {
            Ok(Reading::Serve(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_port_is_taken_from_the_command_line_then_from_the_variable() {
        assert_eq!(read(&[], None).port, 8080);
        assert_eq!(read(&[], Some("")).port, 8080);
        assert_eq!(read(&[], Some("81")).port, 81);
        assert_eq!(read(&["site", "82"], Some("81")).port, 82);
        assert_eq!(read(&["--port", "83"], Some("x")).port, 83);
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for (args, port) in [
            (&["--port", "65536"][..], None),
            (&["site", "eighty"], None),
            (&["--sap"], None),
            (&["--basic-auth", "no-colon"], None),
            (&[], Some("http")),
        ] {
            let failure = Options::read(args.iter().map(OsString::from), port.map(str::to_owned), None)
                .expect_err("not understood");
            assert_eq!(failure.code(), ExitCode::Usage, "{failure}");
            assert!(!failure.message().is_empty() && !failure.hints().is_empty(), "{failure}");
        }
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", read(&["--basic-auth", "u:secret"], None)).contains("secret"));
    }
}
