//! The binary: hidden verbs for the processes that rsx starts of itself, then the command line.
#![expect(clippy::disallowed_methods, reason = "the binary is the edge: it reads its arguments and environment")]

use std::ffi::OsString;
use std::process::ExitCode;

use rsx::error::Failure;
use rsx::paths::Home;
use rsx::sys::memory;
use rsx::{cli, daemon, guardian, serve};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|verb| verb.to_str()) {
        Some("daemon") if args.len() == 2 => own_process(),
        Some("daemon") if args.len() == 3 && args[2] == "--rehearse" => rehearsal(),
        Some("serve-files") => ExitCode::from(match serve::run(args.into_iter().skip(2)) {
            Ok(()) => rsx::error::ExitCode::Done as u8,
            Err(failure) => cli::report(&failure) as u8,
        }),
        _ => ExitCode::from(cli::run(args) as u8),
    }
}

/// Says that this binary could take over from the daemon that runs.
fn rehearsal() -> ExitCode {
    let rehearsed = own_home().and_then(|home| daemon::rehearse(&home).map_err(Failure::failed));
    match rehearsed {
        Ok(()) => {
            println!("{}", guardian::rehearsed_line());
            ExitCode::SUCCESS
        }
        Err(failure) => ExitCode::from(cli::report(&failure) as u8),
    }
}

fn own_home() -> Result<Home, Failure> {
    let [rsx_home, user_home, runtime] = ["RSX_HOME", "HOME", "XDG_RUNTIME_DIR"].map(std::env::var_os);
    let uid = nix::unistd::getuid().as_raw();
    Home::resolve(rsx_home.as_deref(), user_home.as_deref(), runtime.as_deref(), uid)
        .map_err(|error| Failure::failed("no home for rsx").caused_by(&error))
}

/// The guardian; or, started by one, the daemon.
fn own_process() -> ExitCode {
    memory::keep_little();
    // As it would be, had it not been executed through a descriptor. A wrong name harms nobody.
    let _ = nix::sys::prctl::set_name(c"rsx");
    let home = match own_home() {
        Ok(home) => home,
        Err(failure) => return ExitCode::from(cli::report(&failure) as u8),
    };
    if std::env::var_os(guardian::GUARDIAN_FD).is_some() {
        return ExitCode::from(daemon::run(&home));
    }
    match std::env::current_exe() {
        Ok(exe) => ExitCode::from(guardian::run(&home, &exe)),
        Err(error) => {
            ExitCode::from(cli::report(&Failure::failed("cannot find the rsx binary").caused_by(&error)) as u8)
        }
    }
}
