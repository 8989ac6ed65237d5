//! The static file server behind `script = "rsx:serve"` and `rsx serve`.
//!
//! A small HTTP/1.1 server for one folder: `index.html`, content types, ranges, ETag and Last-Modified, a `404.html`
//! of the site's own, single-page apps, basic authentication. It runs as a process of its own (`rsx serve-files`) and
//! is supervised like any other app; it knows nothing of the daemon.
//!
//! What it promises: only GET and HEAD; nothing outside its folder, by whatever path or symbolic link; no dotfile but
//! below `/.well-known/`; every wait for a client's request is bounded; on SIGTERM or SIGINT it stops accepting,
//! finishes the requests that it has, and ends within [`GRACE`].

#![allow(clippy::disallowed_methods, reason = "this layer reads files and its process' environment")]

mod access;
mod options;
mod server;
mod site;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use crate::error::Failure;

use options::Options;
use server::Server;

/// The variable that holds USER:PASS, for who does not want them in the list of processes.
pub const BASIC_AUTH: &str = "RSX_SERVE_BASIC_AUTH";

/// How long requests in hand may take after a signal to end.
pub const GRACE: Duration = Duration::from_secs(3);

/// Runs `rsx serve-files` until SIGTERM or SIGINT. `args` are those behind the verb.
///
/// # Errors
///
/// A [`Failure`] for a command line that is not understood, a folder that is not there, or a port that cannot be had.
pub fn run(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let options = match Options::read(args, std::env::var("PORT").ok(), std::env::var(BASIC_AUTH).ok())? {
        options::Reading::Serve(options) => options,
        options::Reading::Help(text) => {
            say(&text);
            return Ok(());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the file server").caused_by(&error))?;
    let served = runtime.block_on(async {
        let stop = server::stop_signal()
            .map_err(|error| Failure::failed("cannot listen for the signals to end").caused_by(&error))?;
        let server = Server::bind(&options).await?;
        say(&format!("serving {} on http://{}\n", options.path.display(), server.address()));
        server.run(stop).await;
        Ok(())
    });
    // A read that hangs (a dead network disk) sits on a thread of the pool; it must not keep the process.
    runtime.shutdown_timeout(Duration::ZERO);
    served
}

/// Writes to standard output. That nobody reads it is no reason not to serve.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
