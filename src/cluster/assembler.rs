//! Classic BPF (linux/filter.h): instructions, and labels instead of counted jumps.

/// One instruction, as the kernel's struct sock_filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many instructions are left out if a test holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A program that the kernel would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a steering program of {length} instructions is longer than the kernel takes ({LONGEST})")]
pub struct TooLong {
    /// How long it is.
    pub length: usize,
}

/// linux/bpf_common.h: BPF_MAXINSNS.
pub(super) const LONGEST: usize = 4096;

/// What is done with the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Loads a word of the packet, or one of the kernel's own values.
    Load(u32),
    /// Loads a byte of the packet.
    LoadByte(u32),
    /// Copies it to the index register.
    ToIndex,
    /// Combines it with the index register, bit by bit.
    XorIndex,
    Multiply(u32),
    Modulo(u32),
    And(u32),
    ShiftRight(u32),
    /// Ends with this member.
    Give(u32),
    /// Ends with the member whose index it is.
    GiveIt,
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    NotEqual(u32),
    AtLeast(u32),
    Always,
}

/// A place further down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Clone, Copy, Debug)]
enum Line {
    Op(Op),
    Jump(Test, Label),
    Place(Label),
}

/// Lines that become a program.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    lines: Vec<Line>,
    labels: usize,
}

impl Assembler {
    pub(super) fn op(&mut self, op: Op) {
        self.lines.push(Line::Op(op));
    }

    pub(super) fn ops(&mut self, ops: &[Op]) {
        self.lines.extend(ops.iter().copied().map(Line::Op));
    }

    /// A place that is to be set below all jumps to it: the kernel knows no way back.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        self.lines.push(Line::Place(label));
    }

    pub(super) fn jump(&mut self, test: Test, label: Label) {
        self.lines.push(Line::Jump(test, label));
    }

    /// The program.
    ///
    /// A test reaches 255 instructions far. Where its label is further away, it takes a second instruction, which jumps any
    /// distance; that may push other labels away, so distances are measured until nothing changes.
    pub(super) fn assemble(&self) -> Result<Vec<Instruction>, TooLong> {
        let mut is_far = vec![false; self.lines.len()];
        loop {
            let (starts, places) = self.layout(&is_far);
            let distance = |at: usize, label: Label| {
                let next = starts.get(at + 1).copied().unwrap_or_default();
                places.get(label.0).copied().unwrap_or_default().saturating_sub(next)
            };
            let grown: Vec<usize> = self
                .jumps()
                .filter(|(at, test, label)| {
                    *test != Test::Always && !is_far.get(*at).copied().unwrap_or(true) && distance(*at, *label) > 255
                })
                .map(|(at, ..)| at)
                .collect();
            if grown.is_empty() {
                return self.emit(&is_far, distance);
            }
            for at in grown {
                if let Some(far) = is_far.get_mut(at) {
                    *far = true;
                }
            }
        }
    }

    fn jumps(&self) -> impl Iterator<Item = (usize, Test, Label)> + '_ {
        self.lines.iter().enumerate().filter_map(|(at, line)| match line {
            Line::Jump(test, label) => Some((at, *test, *label)),
            Line::Op(_) | Line::Place(_) => None,
        })
    }

    /// Where each line begins, with the end behind the last one, and where each label lies.
    fn layout(&self, is_far: &[bool]) -> (Vec<usize>, Vec<usize>) {
        let (mut starts, mut places) = (Vec::with_capacity(self.lines.len() + 1), vec![0; self.labels]);
        let mut length = 0;
        for (line, far) in self.lines.iter().zip(is_far) {
            starts.push(length);
            match line {
                Line::Op(_) => length += 1,
                Line::Jump(..) => length += if *far { 2 } else { 1 },
                Line::Place(label) => {
                    if let Some(place) = places.get_mut(label.0) {
                        *place = length;
                    }
                }
            }
        }
        starts.push(length);
        (starts, places)
    }

    fn emit(&self, is_far: &[bool], distance: impl Fn(usize, Label) -> usize) -> Result<Vec<Instruction>, TooLong> {
        let mut out = Vec::new();
        for (at, (line, far)) in self.lines.iter().zip(is_far).enumerate() {
            match line {
                Line::Op(op) => out.push(op.encode()),
                Line::Jump(test, label) => test.encode(distance(at, *label), *far, &mut out),
                Line::Place(_) => {}
            }
        }
        if out.len() > LONGEST { Err(TooLong { length: out.len() }) } else { Ok(out) }
    }
}

impl Op {
    fn encode(self) -> Instruction {
        // linux/bpf_common.h: class | size or operation | mode or source.
        let (code, k) = match self {
            Op::Load(at) => (0x20, at),
            Op::LoadByte(at) => (0x30, at),
            Op::ToIndex => (0x07, 0),
            Op::XorIndex => (0xac, 0),
            Op::Multiply(k) => (0x24, k),
            Op::Modulo(k) => (0x94, k),
            Op::And(k) => (0x54, k),
            Op::ShiftRight(k) => (0x74, k),
            Op::Give(index) => (0x06, index),
            Op::GiveIt => (0x16, 0),
        };
        Instruction { code, jt: 0, jf: 0, k }
    }
}

impl Test {
    fn encode(self, distance: usize, is_far: bool, out: &mut Vec<Instruction>) {
        let always = |distance: usize| {
            // No program is as long as this is wide.
            Instruction { code: 0x05, jt: 0, jf: 0, k: u32::try_from(distance).unwrap_or(u32::MAX) }
        };
        let (code, k, jumps_if) = match self {
            Test::NotEqual(k) => (0x15, k, false),
            Test::AtLeast(k) => (0x35, k, true),
            Test::Always => return out.push(always(distance)),
        };
        // Far: over the second instruction, unless the jump is to be taken.
        let (taken, not_taken) = if is_far { (0, 1) } else { (u8::try_from(distance).unwrap_or(u8::MAX), 0) };
        let (jt, jf) = if jumps_if { (taken, not_taken) } else { (not_taken, taken) };
        out.push(Instruction { code, jt, jf, k });
        if is_far {
            out.push(always(distance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::interpreter::{Packet, run};

    /// Gives 1 if the accumulator passes the test, over this many instructions.
    fn jump_over(count: usize, test: Test, value: u32) -> u32 {
        let mut code = Assembler::default();
        let there = code.label();
        code.ops(&[Op::Load(0xffff_f038), Op::And(u32::MAX)]);
        code.jump(test, there);
        for _ in 0..count {
            code.op(Op::Give(0));
        }
        code.place(there);
        code.op(Op::Give(1));
        run(&code.assemble().unwrap(), &Packet::v4([0; 4]), value)
    }

    #[test]
    fn a_jump_lands_on_its_label_however_far_that_is() {
        for count in [1, 2, 254, 255, 256, 257, 3000] {
            for (test, yes, no) in
                [(Test::NotEqual(7), 8, 7), (Test::AtLeast(7), 7, 6), (Test::AtLeast(7), u32::MAX, 0)]
            {
                assert_eq!(jump_over(count, test, yes), 1, "{test:?} over {count}");
                assert_eq!(jump_over(count, test, no), 0, "{test:?} over {count}");
            }
            assert_eq!(jump_over(count, Test::Always, 0), 1);
        }
    }

    #[test]
    fn far_jumps_push_others_away() {
        // Each jump is just near until the one inside of it grows.
        let mut code = Assembler::default();
        let labels: Vec<Label> = (0..3).map(|_| code.label()).collect();
        code.op(Op::Load(0xffff_f038));
        for (label, value) in labels.iter().zip(1..) {
            code.jump(Test::AtLeast(5 - value), *label);
        }
        for _ in 0..254 {
            code.op(Op::Give(9));
        }
        for (label, value) in labels.iter().zip(1..) {
            code.place(*label);
            code.op(Op::Give(5 - value));
        }
        let program = code.assemble().unwrap();
        for (value, expected) in [(1, 9), (2, 2), (3, 3), (4, 4), (5, 4)] {
            assert_eq!(run(&program, &Packet::v4([0; 4]), value), expected);
        }
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused() {
        let mut code = Assembler::default();
        for _ in 0..LONGEST {
            code.op(Op::Give(0));
        }
        assert_eq!(code.assemble().unwrap().len(), LONGEST);
        code.op(Op::Give(0));
        assert_eq!(code.assemble(), Err(TooLong { length: LONGEST + 1 }));
    }
}
