//! The memory of this process itself.

use std::io;
use std::ptr;

use nix::errno::Errno;

/// From this size in bytes on a block is mapped by itself.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 * 1024;

/// Gives back what the allocator holds and nobody uses, page by page (malloc_trim(3)).
pub fn give_back_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time by any thread; it takes the allocator's own locks.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Lets go of the pages of code that were needed so far. What is needed again comes back from the page cache, page by
/// page; what only the start needed is nobody's memory any more.
///
/// # Errors
///
/// A machine without /proc, or whatever madvise(2) says.
pub fn let_go_of_code() -> io::Result<()> {
    for (start, length) in code(&std::fs::read_to_string("/proc/self/maps")?) {
        let start = ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: madvise(2) with MADV_DONTNEED on a private mapping of a file that nobody ever wrote to: such a mapping
        // reads as before, from the file. Code is never written to: its permissions say so, and our linkers refuse
        // relocations of it.
        Errno::result(unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) })?;
    }
    Ok(())
}

/// Makes the allocator of this process keep little that is not in use: one arena for all threads, and large blocks mapped
/// and unmapped each by itself. By itself glibc gives a thread an arena of its own and, once a large block was freed,
/// takes the next ones of that size from the heap, where small ones that live on then keep them from being given back
/// (mallopt(3), M_MMAP_THRESHOLD). Other C libraries have no such settings.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
    {
        // SAFETY: mallopt(3) takes any parameter and value; what it does not know it refuses by returning 0, and then
        // memory is used as before.
        let _ = unsafe { libc::mallopt(parameter, value) };
    }
}

/// The mappings of files that may be executed and not written to: (start, length).
fn code(maps: &str) -> Vec<(usize, usize)> {
    maps.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (range, permissions) = (words.next()?, words.next()?);
            let path = words.nth(3)?;
            let (start, end) = range.split_once('-')?;
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            (permissions == "r-xp" && path.starts_with('/')).then_some((start, end.checked_sub(start)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go_of() {
        let maps = "\
55d0a0000000-55d0a0001000 r--p 00000000 fe:00 1 /usr/bin/rsx
55d0a0001000-55d0a0003000 r-xp 00001000 fe:00 1 /usr/bin/rsx
55d0a0003000-55d0a0004000 rw-p 00003000 fe:00 1 /usr/bin/rsx
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code(maps), [(0x55d0_a000_1000, 0x2000)]);
    }

    #[test]
    fn the_program_goes_on_without_the_pages_it_had() {
        let_go_of_code().unwrap();
        let_go_of_code().unwrap();
        assert_eq!((1..=10).sum::<u32>(), 55);
    }
}
