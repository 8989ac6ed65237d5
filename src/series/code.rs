//! A value in two bytes: exact to one part in 2,048, from zero to far beyond what is measured.

/// A value, as a number with 11 binary digits and an exponent, in units of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub(super) u16);

/// The digits of a [`Code`].
const DIGITS: u32 = 11;

/// The highest exponent that is a value.
const HIGHEST: u32 = 30;

impl Code {
    /// There is no value: nothing runs, or nobody has measured.
    pub const NONE: Code = Code(u16::MAX);

    /// The slot was deleted: what came before was another's.
    pub(super) const FORGOTTEN: Code = Code(u16::MAX - 1);

    /// What the next code is told as the difference from.
    pub(super) fn base(self) -> Code {
        if self == Code::FORGOTTEN { Code(0) } else { self }
    }

    /// A value in units; what is no number is none.
    pub fn of(value: f64) -> Code {
        if !value.is_finite() || value < 0.0 {
            return Code::NONE;
        }
        let whole = value.round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
        let whole = whole as u64;
        let length = u64::BITS - whole.leading_zeros();
        if length <= DIGITS {
            return Code(u16::try_from(whole).unwrap_or(0));
        }
        // One digit is always 1 and not kept.
        let shift = length - DIGITS - 1;
        let rounded = if shift == 0 { whole } else { whole.saturating_add(1 << (shift - 1)) };
        // 8,191 is 8,192 with one digit more.
        let shift = if u64::BITS - rounded.leading_zeros() > length { shift + 1 } else { shift };
        let digits = u16::try_from((rounded >> shift) & ((1 << DIGITS) - 1)).unwrap_or(0);
        match u16::try_from(shift + 1) {
            Ok(exponent) if shift < HIGHEST => Code((exponent << DIGITS) | digits),
            Ok(_) | Err(_) => Code(((1 + HIGHEST as u16) << DIGITS) - 1),
        }
    }

    /// The value in units.
    pub fn value(self) -> Option<f64> {
        let (exponent, digits) = (u32::from(self.0 >> DIGITS), u64::from(self.0) & ((1 << DIGITS) - 1));
        match exponent {
            0 => Some(digits as f64),
            1..=HIGHEST => Some((((1 << DIGITS) | digits) << (exponent - 1)) as f64),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_are_exact_and_what_is_none_stays_none() {
        for value in [0.0, 1.0, 2047.0, 2048.0, 4095.0] {
            assert_eq!(Code::of(value).value(), Some(value));
        }
        for none in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(Code::of(none), Code::NONE);
        }
        assert_eq!((Code::NONE.value(), Code::FORGOTTEN.value()), (None, None));
        assert_eq!(Code::of(8191.0).value(), Some(8192.0));
        assert!(Code::of(1e30).value().unwrap() > 2e12);
    }

    proptest! {
        #[test]
        fn a_value_comes_back_to_one_part_in_two_thousand(value in 0.0..1e12_f64) {
            let back = Code::of(value).value().unwrap();
            prop_assert!((back - value).abs() <= (value / 4096.0).max(0.5), "{value} {back}");
        }

        #[test]
        fn a_larger_value_has_no_smaller_code(a in 0.0..1e13_f64, b in 0.0..1e13_f64) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(Code::of(low).0 <= Code::of(high).0);
        }
    }
}
