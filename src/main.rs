//! The binary: hidden verbs for the processes that rsx starts of itself, then the command line.

use std::ffi::OsString;
use std::process::ExitCode;

use rsx::cli;
use rsx::error::Failure;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let code = match args.get(1).and_then(|verb| verb.to_str()) {
        Some("daemon") => ended(daemon()),
        Some("serve-files") => ended(serve_files(&args[2..])),
        _ => cli::run(args),
    };
    ExitCode::from(code as u8)
}

/// The guardian, or, with its descriptor in the environment, the daemon.
fn daemon() -> Result<(), Failure> {
    Err(Failure::failed("the daemon is not part of this build"))
}

/// The static file server behind `script = "rsx:serve"`.
fn serve_files(_args: &[OsString]) -> Result<(), Failure> {
    Err(Failure::failed("the file server is not part of this build"))
}

fn ended(result: Result<(), Failure>) -> rsx::error::ExitCode {
    match result {
        Ok(()) => rsx::error::ExitCode::Done,
        Err(failure) => cli::report(&failure),
    }
}
