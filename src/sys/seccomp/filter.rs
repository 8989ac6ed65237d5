//! The filter of a captured program: `bind` and `listen` wait for an answer, everything else goes on.
//!
//! One filter for all architectures that are known, because a machine runs programs of several. A call of an unknown
//! architecture is allowed: capture is a convenience, not a boundary. So are the calls of 32-bit programs, and those of
//! the x32 ABI, whose numbers have another bit set.

/// Whether programs of this machine's own architecture are captured.
pub const IS_SUPPORTED: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// How the filter is installed. SPEC_ALLOW: before Linux 5.16 a filter switched the mitigation of speculative store
/// bypass on for the program, which costs it up to a third of its speed (seccomp(2)).
pub(in crate::sys) const INSTALL_FLAGS: libc::c_ulong =
    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h.
pub(super) const X86_64: u32 = 0xc000_003e;
pub(super) const AARCH64: u32 = 0xc000_00b7;

/// A call's number on both: `[x86_64, aarch64]`.
pub(super) const BIND: [u32; 2] = [49, 200];
pub(super) const LISTEN: [u32; 2] = [50, 201];

/// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Its length as the kernel's struct sock_fprog has it.
pub(in crate::sys) const FILTER_LENGTH: libc::c_ushort = 11;

/// The program. A jump counts from the next instruction.
pub(in crate::sys) static FILTER: [libc::sock_filter; FILTER_LENGTH as usize] = [
    load(ARCHITECTURE),
    if_equal(X86_64, 0, 3),
    load(NUMBER),
    if_equal(BIND[0], 6, 0),
    if_equal(LISTEN[0], 5, 4),
    if_equal(AARCH64, 0, 3),
    load(NUMBER),
    if_equal(BIND[1], 2, 0),
    if_equal(LISTEN[1], 1, 0),
    answer(libc::SECCOMP_RET_ALLOW),
    answer(libc::SECCOMP_RET_USER_NOTIF),
];

/// BPF_LD | BPF_W | BPF_ABS.
const fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset }
}

/// BPF_JMP | BPF_JEQ | BPF_K.
const fn if_equal(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: 0x15, jt, jf, k: value }
}

/// BPF_RET | BPF_K.
const fn answer(action: u32) -> libc::sock_filter {
    libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: action }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn run(architecture: u32, number: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = FILTER[at];
            at += 1;
            match step.code {
                0x20 if step.k == ARCHITECTURE => value = architecture,
                0x20 => value = number,
                0x15 if value == step.k => at += usize::from(step.jt),
                0x15 => at += usize::from(step.jf),
                0x06 => return step.k,
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn bind_and_listen_wait_and_nothing_else() {
        for (index, architecture) in [X86_64, AARCH64].into_iter().enumerate() {
            for number in 0..1000 {
                let waits = number == BIND[index] || number == LISTEN[index];
                let expected = if waits { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ALLOW };
                assert_eq!(run(architecture, number), expected, "{architecture:x} {number}");
            }
        }
    }

    #[test]
    fn calls_of_other_architectures_are_allowed() {
        const I386: u32 = 0x4000_0003;
        const RISCV64: u32 = 0xc000_00f3;
        const X32_BIT: u32 = 0x4000_0000;
        for number in 0..1000 {
            assert_eq!(run(I386, number), libc::SECCOMP_RET_ALLOW);
            assert_eq!(run(RISCV64, number), libc::SECCOMP_RET_ALLOW);
            assert_eq!(run(X86_64, number | X32_BIT), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn the_numbers_are_those_of_this_machine() {
        if IS_SUPPORTED {
            let index = usize::from(cfg!(target_arch = "aarch64"));
            assert_eq!(libc::c_long::from(BIND[index]), libc::SYS_bind);
            assert_eq!(libc::c_long::from(LISTEN[index]), libc::SYS_listen);
        }
    }
}
