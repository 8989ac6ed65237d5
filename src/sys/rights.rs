//! What this process may do, and what files give to those who execute them (capabilities(7)).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// CAP_SYS_ADMIN of linux/capability.h.
const SYS_ADMIN: u32 = 21;

/// Whether a filter of a child of ours takes privileges from it that it would have otherwise: without CAP_SYS_ADMIN the
/// kernel demands no_new_privs (seccomp(2)), which may be set already.
pub fn filter_needs_no_new_privs() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let effective = field("CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or_default();
    let has_right = effective >> SYS_ADMIN & 1 == 1;
    !has_right && field("NoNewPrivs:") != Some("1")
}

/// Whether a file has capabilities (setcap(8)).
pub fn has_capabilities(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else { return false };
    // SAFETY: both are null-terminated; a size of zero asks for the length alone and writes nothing.
    let length = unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    length > 0
}
