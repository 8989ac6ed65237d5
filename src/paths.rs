//! The files of one rsx home, and the runtime directory beside it.
//!
//! Pure: the environment is passed in by whoever may read it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest path that fits a `sockaddr_un` with its closing NUL (unix(7): `sun_path` has 108 bytes).
pub const MAX_SOCKET_PATH: usize = 107;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// Neither `RSX_HOME` nor `HOME` is set.
    #[error("neither RSX_HOME nor HOME is set")]
    Unset,
    /// The path is relative.
    #[error("RSX_HOME is `{0}`, which is not an absolute path")]
    Relative(PathBuf),
    /// The socket's path would not fit the kernel's limit.
    #[error("the socket `{path}` would have {length} bytes; the kernel allows {MAX_SOCKET_PATH}")]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
}

/// Where one daemon and its clients keep their files (`$RSX_HOME`, default `~/.rsx`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    runtime: PathBuf,
}

impl Home {
    /// Decides home and runtime directory from the values of `RSX_HOME`, `HOME` and `XDG_RUNTIME_DIR`, and the user's id.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if no absolute home can be named or its socket path is too long for the kernel.
    pub fn resolve(
        rsx_home: Option<&OsStr>,
        user_home: Option<&OsStr>,
        xdg_runtime: Option<&OsStr>,
        uid: u32,
    ) -> Result<Home, HomeError> {
        let set = |value: Option<&OsStr>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = match (set(rsx_home), set(user_home)) {
            (Some(root), _) => root,
            (None, Some(home)) => home.join(".rsx"),
            (None, None) => return Err(HomeError::Unset),
        };
        if !root.is_absolute() {
            return Err(HomeError::Relative(root));
        }
        let name = format!("rsx-{:08x}", fnv1a(root.as_os_str().as_bytes()));
        let runtime = match set(xdg_runtime).filter(|dir| dir.is_absolute()) {
            Some(dir) => dir.join(name),
            None if uid == 0 => Path::new("/run").join(name),
            None => Path::new("/tmp").join(format!("{name}-{uid}")),
        };
        let home = Home { root, runtime };
        for path in [home.socket(), home.runtime.join("n/18446744073709551615")] {
            let length = path.as_os_str().as_bytes().len();
            if length > MAX_SOCKET_PATH {
                return Err(HomeError::TooLong { path, length });
            }
        }
        Ok(home)
    }

    /// The folder itself, mode 0700.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The UNIX socket that the daemon listens on, mode 0600.
    pub fn socket(&self) -> PathBuf {
        self.root.join("rsx.sock")
    }

    /// The file whose lock says that a daemon lives. Its text is the guardian's pid, for people.
    pub fn lock(&self) -> PathBuf {
        self.root.join("rsx.lock")
    }

    /// The folder of the daemon's own log (`daemon.log` and its rotated days).
    pub fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// What the daemon is told about itself, written by its user.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// What is wanted, kept on every change. Mode 0600.
    pub fn wanted(&self) -> PathBuf {
        self.root.join("wanted.json")
    }

    /// What `rsx save` kept. Mode 0600.
    pub fn saved(&self) -> PathBuf {
        self.root.join("saved.json")
    }

    /// Where the apps' logs lie unless their spec says otherwise.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The runtime directory: what need not outlive a reboot. Mode 0711.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// What a daemon leaves for its successor.
    pub fn journal(&self) -> PathBuf {
        self.runtime.join("journal")
    }

    /// The folder of the per-run notification sockets (sd_notify(3)).
    pub fn notify_dir(&self) -> PathBuf {
        self.runtime.join("n")
    }

    /// The folder of the per-run sockets for agents.
    pub fn agent_dir(&self) -> PathBuf {
        self.runtime.join("a")
    }
}

/// FNV-1a, 32 bit: the same for every build of rsx, unlike the standard hasher, so that an updated client finds the
/// runtime directory of an older daemon.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> Option<&OsStr> {
        Some(OsStr::new(text))
    }

    #[test]
    fn rsx_home_wins_over_home() {
        let home = Home::resolve(os("/srv/rsx"), os("/home/u"), None, 1000).unwrap();
        assert_eq!(home.socket(), Path::new("/srv/rsx/rsx.sock"));
        let home = Home::resolve(os(""), os("/home/u"), os("/run/user/1000"), 1000).unwrap();
        assert_eq!(home.root(), Path::new("/home/u/.rsx"));
        assert!(home.runtime().starts_with("/run/user/1000"));
    }

    #[test]
    fn two_homes_have_two_runtime_directories() {
        let a = Home::resolve(os("/a"), None, None, 0).unwrap();
        let b = Home::resolve(os("/b"), None, None, 0).unwrap();
        assert_ne!(a.runtime(), b.runtime());
        assert!(a.runtime().starts_with("/run"));
    }

    #[test]
    fn a_home_too_long_for_a_socket_is_refused_with_its_length() {
        let long = format!("/{}", "x".repeat(120));
        let error = Home::resolve(os(&long), None, None, 0).unwrap_err();
        assert!(matches!(error, HomeError::TooLong { length: 130, .. }), "{error:?}");
    }

    #[test]
    fn a_relative_or_missing_home_is_refused() {
        assert!(matches!(Home::resolve(os("x"), None, None, 0), Err(HomeError::Relative(_))));
        assert_eq!(Home::resolve(None, None, None, 0), Err(HomeError::Unset));
    }
}
