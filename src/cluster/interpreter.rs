//! The kernel's side of a program, for tests: runs it, and refuses what the kernel refuses.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::cluster::assembler::Instruction;

const NETWORK: u32 = 0xfff0_0000;
const RANDOM: u32 = 0xffff_f038;

/// The network header of a connection's first packet.
pub(super) struct Packet(Vec<u8>);

impl Packet {
    pub(super) fn v4(source: impl Into<Ipv4Addr>) -> Packet {
        let mut header = vec![0; 20];
        header[0] = 0x45;
        header[12..16].copy_from_slice(&source.into().octets());
        Packet(header)
    }

    pub(super) fn v6(source: Ipv6Addr, traffic_class: u8) -> Packet {
        let mut header = vec![0; 40];
        let first = 6_u32 << 28 | u32::from(traffic_class) << 20 | 0xabcde;
        header[..4].copy_from_slice(&first.to_be_bytes());
        header[8..24].copy_from_slice(&source.octets());
        Packet(header)
    }

    fn word(&self, at: u32) -> u32 {
        let at = usize::try_from(at - NETWORK).unwrap();
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }
}

/// What the program returns. Panics where the kernel would not attach it, or where a packet could not be read.
pub(super) fn run(program: &[Instruction], packet: &Packet, random: u32) -> u32 {
    check(program);
    let (mut at, mut a, mut x) = (0, 0_u32, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |taken| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 if k == RANDOM => a = random,
            0x20 => a = packet.word(k),
            0x30 => a = packet.0[usize::try_from(k - NETWORK).unwrap()].into(),
            0x07 => x = a,
            0xac => a ^= x,
            0x24 => a = a.wrapping_mul(k),
            0x94 => a %= k,
            0x54 => a &= k,
            0x74 => a >>= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => jump(a == k),
            0x35 => jump(a >= k),
            0x06 => return k,
            0x16 => return a,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// net/core/filter.c: bpf_check_classic.
fn check(program: &[Instruction]) {
    assert!(!program.is_empty() && program.len() <= 4096);
    assert!(matches!(program[program.len() - 1].code, 0x06 | 0x16), "the last one returns");
    for (at, instruction) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        match instruction.code {
            0x05 => assert!(usize::try_from(instruction.k).unwrap() < rest),
            0x15 | 0x35 => assert!(usize::from(instruction.jt.max(instruction.jf)) < rest),
            0x94 => assert_ne!(instruction.k, 0),
            0x74 => assert!(instruction.k < 32),
            _ => {}
        }
    }
}
