//! The name of what a guardian keeps, in as little memory as it takes.

use std::cmp::Ordering;

/// So many bytes take no memory of their own.
const INLINE: usize = 22;

/// A name. Shorter ones come first, then it is the order of their bytes: names that count up stay in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// What is behind `length` is zero.
    Inline { length: u8, bytes: [u8; INLINE] },
    /// Longer than that.
    Boxed(Box<str>),
}

impl Name {
    pub(super) fn new(name: &str) -> Name {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(name.as_bytes());
                Name(Form::Inline { length, bytes })
            }
            _ => Name(Form::Boxed(name.into())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match &self.0 {
            Form::Inline { length, bytes } => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).expect("it was made of a str of this length")
            }
            Form::Boxed(name) => name,
        }
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        let (name, other) = (self.as_str(), other.as_str());
        (name.len(), name).cmp(&(other.len(), other))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_kept_as_it_is() {
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 255] {
            let name = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(Name::new(&name).as_str(), name);
        }
        assert_eq!(size_of::<Name>(), 24);
    }

    #[test]
    fn names_that_count_up_stay_in_that_order() {
        let names = ["run/9/out", "run/10/out", "run/99/out", "run/100/err", "run/100/out", &"run/".repeat(9)];
        assert!(names.map(Name::new).is_sorted());
    }
}
