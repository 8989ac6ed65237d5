//! `serve`: an app that is rsx's own static file server.

use crate::cli::act;
use crate::cli::apply;
use crate::cli::args::ServeArgs;
use crate::cli::logs::Attach;
use crate::cli::outside::{self, Typed};
use crate::cli::render::table::Extent;
use crate::cli::session::Session;
use crate::error::{ExitCode, Failure};
use crate::proto::Unchanged;
use crate::serve::BASIC_AUTH;

const DEFAULT_PORT: u16 = 8080;

/// Runs `rsx serve`.
pub(super) fn run(session: &mut Session, args: &ServeArgs) -> Result<ExitCode, Failure> {
    let folder = session.cwd().join(args.path.as_deref().unwrap_or(".".as_ref()));
    let cannot = || Failure::failed(format!("cannot serve `{}`", folder.display()));
    let folder = std::fs::canonicalize(&folder).map_err(|error| cannot().caused_by(&error))?;
    if !folder.is_dir() {
        return Err(cannot().because("it is not a folder"));
    }
    let folder = folder.to_str().ok_or_else(|| cannot().because("its path is not UTF-8"))?.to_owned();
    let port = args.port.or(args.port_flag).unwrap_or(DEFAULT_PORT);
    let name = args.name.clone().unwrap_or_else(|| format!("static-page-server-{port}"));
    let mut words = vec![folder, port.to_string()];
    if args.spa {
        words.push("--spa".to_owned());
    }
    if args.basic_auth.as_ref().is_some_and(|user| !user.contains(':')) {
        return Err(Failure::new(ExitCode::Usage, "`--basic-auth` needs USER:PASS"));
    }
    let typed = Typed { script: "rsx:serve", args: &words, flags: &[("name", name)] };
    let (mut spec, warnings) = outside::app_from_flags(session, &typed)?;
    act::warn(session, &warnings);
    if let Some(user) = &args.basic_auth {
        // Not an argument: those are seen by every user of the machine.
        spec.env.insert(BASIC_AUTH.to_owned(), user.clone());
    }
    let mut attach = Attach::begin(session, &args.apply)?;
    if let Some(attach) = &mut attach {
        attach.declared(session, std::slice::from_ref(&spec))?;
    }
    let wish = apply::declaration(session, vec![spec], &args.apply, Unchanged::Leave);
    let code = apply::apply(session, wish, &[], Extent::Full)?;
    attach.map_or(Ok(code), |attach| attach.follow(session, code))
}
