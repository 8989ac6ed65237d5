//! A regular expression that is looked for in many lines at once, as fast as they can be read.

use std::ops::Range;

use memchr::{memchr, memrchr};
use regex_automata::Input;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

/// The most memory that an expression may need, in bytes.
const LIMIT: usize = 10 << 20;

/// A regular expression that never matches across the end of a line.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
}

/// Why a text is no regular expression.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is not written as one.
    #[error(transparent)]
    Syntax(#[from] Box<regex_syntax::Error>),
    /// It is too large.
    #[error(transparent)]
    Large(#[from] Box<BuildError>),
}

impl Pattern {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`PatternError`].
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let hir = ParserBuilder::new().utf8(false).build().parse(text).map_err(Box::new)?;
        let config = Config::new().utf8_empty(false).nfa_size_limit(Some(LIMIT));
        let regex = Regex::builder().configure(config).build_from_hir(&within_line(hir)).map_err(Box::new)?;
        Ok(Pattern { regex })
    }

    /// The first line from the beginning of a line on that matches, without its end.
    pub fn find(&self, lines: &[u8], from: usize) -> Option<Range<usize>> {
        // As a match stays within its line, any end of one is in the line that is asked for.
        let found = self.regex.search_half(&Input::new(lines).range(from..).earliest(true))?.offset();
        if found == lines.len() && lines.last().is_none_or(|last| *last == b'\n') {
            return None;
        }
        let start = memrchr(b'\n', &lines[..found]).map_or(0, |end| end + 1);
        let end = memchr(b'\n', &lines[found..]).map_or(lines.len(), |end| found + end);
        Some(start..end)
    }

    /// Whether a text without line ends matches.
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }
}

/// The same expression for a text of many lines: its beginnings and ends are those of lines, and it never takes in a line
/// end.
fn within_line(hir: Hir) -> Hir {
    let within_all = |all: Vec<Hir>| all.into_iter().map(within_line).collect();
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_line(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => within_line(*capture.sub),
        HirKind::Concat(all) => Hir::concat(within_all(all)),
        HirKind::Alternation(all) => Hir::alternation(within_all(all)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'t>(pattern: &str, text: &'t str) -> Vec<&'t str> {
        let pattern = Pattern::new(pattern).unwrap();
        let (mut lines, mut from) = (Vec::new(), 0);
        while from < text.len()
            && let Some(line) = pattern.find(text.as_bytes(), from)
        {
            from = line.end + 1;
            lines.push(&text[line]);
        }
        lines
    }

    #[test]
    fn lines_match_by_themselves() {
        let text = "an a\nb here\n\nerror: a\n  b error";
        assert_eq!(found("error", text), ["error: a", "  b error"]);
        assert_eq!(found("^error", text), ["error: a"]);
        assert_eq!(found("error$", text), ["  b error"]);
        assert_eq!(found(r"\Aerror|error\z", text), ["error: a", "  b error"]);
        assert_eq!(found(r"a\s+b", text), Vec::<&str>::new());
        assert_eq!(found(r"a\nb", text), Vec::<&str>::new());
        assert_eq!(found("a[^x]*b", text), Vec::<&str>::new());
        assert_eq!(found("(?s)a.*b", text), Vec::<&str>::new());
        assert_eq!(found("^$", text), [""]);
        assert_eq!(found("(?i)ERROR", text).len(), 2);
        assert_eq!(found("x*", text).len(), 5);
        assert_eq!(found("$", "one\n"), ["one"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_searched_too() {
        let pattern = Pattern::new("b.*d").unwrap();
        assert_eq!(pattern.find(b"a\xff\nb\xc3\xa4d\xfe\n", 0), Some(3..8));
        assert!(Pattern::new(r"(?-u:\xff)").unwrap().is_match(b"a\xff"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        assert!(matches!(Pattern::new("("), Err(PatternError::Syntax(_))));
        assert!(matches!(Pattern::new(r"(\w{500}){500}"), Err(PatternError::Large(_))));
    }

    proptest! {
        #[test]
        fn it_agrees_with_looking_at_each_line(
            text in "[abc \n]{0,60}",
            pattern in prop::sample::select(vec!["a", "^a", "a$", "^$", "a.*b", r"a\s*b", "[^a]", "b|^c", r"\bab?\b", "c*$"])
        ) {
            let one = Pattern::new(pattern).unwrap();
            let whole = text.strip_suffix('\n').unwrap_or(&text);
            let expected: Vec<&str> = match text.is_empty() {
                true => vec![],
                false => whole.split('\n').filter(|line| one.is_match(line.as_bytes())).collect(),
            };
            prop_assert_eq!(found(pattern, &text), expected);
        }
    }
}
