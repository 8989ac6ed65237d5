//! The binary: hidden verbs for the processes that rsx starts of itself, then the command line.
#![expect(clippy::disallowed_methods, reason = "the binary is the edge: it reads its arguments and environment")]

use std::ffi::OsString;
use std::process::ExitCode;

use rsx::error::Failure;
use rsx::paths::Home;
use rsx::{cli, daemon, guardian, serve};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|verb| verb.to_str()) {
        Some("daemon") => ExitCode::from(own_process()),
        Some("serve-files") => ExitCode::from(ended(serve::run(args.into_iter().skip(2)))),
        _ => ExitCode::from(cli::run(args) as u8),
    }
}

/// The guardian, or, with its descriptor in the environment, the daemon. Both are started by rsx itself, with RSX_HOME
/// set, and on this thread, before there is any other.
fn own_process() -> u8 {
    let [rsx_home, user_home, runtime] = ["RSX_HOME", "HOME", "XDG_RUNTIME_DIR"].map(std::env::var_os);
    let uid = nix::unistd::getuid().as_raw();
    let home = Home::resolve(rsx_home.as_deref(), user_home.as_deref(), runtime.as_deref(), uid);
    let exe = std::env::current_exe();
    match (home, exe) {
        (Err(error), _) => ended(Err(Failure::failed("no home for rsx").caused_by(&error))),
        (_, Err(error)) => ended(Err(Failure::failed("cannot find the rsx binary").caused_by(&error))),
        (Ok(home), Ok(_)) if std::env::var_os(guardian::GUARDIAN_FD).is_some() => daemon::run(&home),
        (Ok(home), Ok(exe)) => guardian::run(&home, &exe),
    }
}

fn ended(result: Result<(), Failure>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(failure) => cli::report(&failure) as u8,
    }
}
