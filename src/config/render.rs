//! The rendering of a [`Report`]: each problem with file, line, column, caret and help.

use std::borrow::Cow;
use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};

use crate::config::mask::masked;
use crate::config::node::Span;
use crate::config::problem::{Problem, Report, Severity, char_ceil, char_floor, is_invisible};

/// More problems than these are counted, not shown.
const MAX_SHOWN: usize = 50;

/// A longer line is not shown whole, only what is around the caret.
const MAX_LINE: usize = 240;

/// How much of a long line is shown on either side of the caret, in bytes.
const MARGIN: usize = 60;

/// Whether the text is for a terminal with colours. Colour never carries meaning alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// With ANSI sequences.
    Always,
}

impl Report {
    /// All problems as one text for people, ending with a newline; empty when there is none.
    pub fn render(&self, colour: Colour, width: usize) -> String {
        let theme = match colour {
            Colour::Never => GraphicalTheme::unicode_nocolor(),
            Colour::Always => GraphicalTheme::unicode(),
        };
        // Narrower than this and the wrapping of help texts would never end.
        let handler =
            GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width.max(40)).with_context_lines(1);
        let text = masked(&printable(self.text()));
        let mut out = String::new();
        for problem in self.problems().iter().take(MAX_SHOWN) {
            if !out.is_empty() {
                out.push('\n');
            }
            let cited = Cited::new(self.name(), &text, problem);
            if handler.render_report(&mut out, &cited).is_err() {
                // The snippet could not be drawn; the sentence must arrive all the same.
                out.push_str(&problem.message);
            }
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
        if let Some(more) = self.problems().len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            out.push_str(&format!("  and {more} more\n"));
        }
        out.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
    }
}

/// A problem in the form that miette draws.
#[derive(Debug)]
struct Cited<'a> {
    problem: &'a Problem,
    snippet: Option<Snippet<'a>>,
    labels: Vec<(Span, String)>,
}

impl<'a> Cited<'a> {
    fn new(name: &'a str, text: &'a str, problem: &'a Problem) -> Cited<'a> {
        let Some(span) = problem.span.filter(|_| !text.is_empty()) else {
            return Cited { problem, snippet: None, labels: Vec::new() };
        };
        let name = match &problem.path {
            Some(path) => Cow::Owned(format!("{path} in the values of {name}")),
            None => Cow::Borrowed(name),
        };
        let span = within_line(text, span);
        let mut labels = vec![(span, problem.label.clone())];
        labels.extend(problem.also.iter().map(|(also, label)| (within_line(text, *also), label.clone())));
        let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[span.start..].find('\n').map_or(text.len(), |length| span.start + length);
        let snippet = if line_end - line_start <= MAX_LINE {
            Snippet { name, text, first_line: 0, first_column: 0 }
        } else {
            let from = char_floor(text, span.start.saturating_sub(MARGIN).max(line_start));
            let to = char_ceil(text, (span.end.min(span.start + MAX_LINE) + MARGIN).min(line_end));
            labels.retain(|(label, _)| (from..to).contains(&label.start));
            for (label, _) in &mut labels {
                *label = Span::new(label.start - from, label.end.min(to) - from);
            }
            Snippet {
                name,
                text: &text[from..to],
                first_line: text[..from].matches('\n').count(),
                first_column: text[line_start..from].chars().count(),
            }
        };
        Cited { problem, snippet: Some(snippet), labels }
    }
}

impl fmt::Display for Cited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Cited<'_> {}

impl Diagnostic for Cited<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.snippet.as_ref().map(|snippet| snippet as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labeled = |(index, (span, label)): (usize, &(Span, String))| {
            let text = (!label.is_empty()).then(|| label.clone());
            let place = (span.start, span.end - span.start);
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, place)
            } else {
                LabeledSpan::new_with_span(text, place)
            }
        };
        self.snippet.as_ref()?;
        Some(Box::new(self.labels.iter().enumerate().map(labeled)))
    }
}

/// The text of a file, or the part of a long line that is shown, with the place where that part begins.
#[derive(Debug)]
struct Snippet<'a> {
    name: Cow<'a, str>,
    text: &'a str,
    first_line: usize,
    first_column: usize,
}

impl SourceCode for Snippet<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        let column = inner.column() + if inner.line() == 0 { self.first_column } else { 0 };
        let line = inner.line() + self.first_line;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone().into_owned(),
            inner.data(),
            *inner.span(),
            line,
            column,
            inner.line_count(),
        )))
    }
}

/// The part of a span on its first line: a table of fifty lines is cited by its head.
fn within_line(text: &str, span: Span) -> Span {
    let start = char_floor(text, span.start);
    let end = char_ceil(text, span.end.max(start));
    let end = text[start..end].find('\n').map_or(end, |length| start + length);
    Span::new(start, end)
}

/// The same text with what a terminal must not get replaced by something of the same number of bytes, so that places
/// stay right.
fn printable(text: &str) -> Cow<'_, str> {
    let unfit = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_invisible(c);
    if !text.contains(unfit) {
        return Cow::Borrowed(text);
    }
    let replaced = |c: char| match c.len_utf8() {
        _ if !unfit(c) => c,
        1 if c == '\r' => ' ',
        1 => '?',
        2 => '\u{b7}',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(replaced).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plain(text: &str, problem: Problem) -> String {
        Report::new(Path::new("f.toml"), text, vec![problem]).render(Colour::Never, 80)
    }

    #[test]
    fn a_caret_stands_under_the_place() {
        let problem = Problem::error(Span::new(4, 5), "`a` cannot be `1`").label("here").help("write 2");
        insta::assert_snapshot!(plain("a = 1\nb = 2\n", problem));
    }

    #[test]
    fn a_problem_without_a_place_is_a_sentence() {
        insta::assert_snapshot!(plain("a", Problem::warning(None, "nothing to do")));
    }

    #[test]
    fn of_a_long_line_only_the_surroundings_are_shown() {
        let text = format!("{}BAD{}", "x".repeat(5000), "y".repeat(5000));
        let out = plain(&text, Problem::error(Span::new(5000, 5003), "bad").label("here"));
        assert!(out.contains("[f.toml:1:5001]"), "{out}");
        assert!(out.len() < 1000, "{out}");
    }

    #[test]
    fn what_could_steer_a_terminal_is_not_printed() {
        let out = plain("a = \u{1b}[2J\u{202e}\r\nb", Problem::error(Span::new(4, 5), "escape"));
        assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}') && !out.contains('\r'), "{out:?}");
    }

    #[test]
    fn any_span_can_be_rendered() {
        for (start, end) in [(0, 0), (1, 2), (5, 5), (0, 99), (99, 200), (2, 1)] {
            let out = plain("ä\nöü\n", Problem::error(Span { start, end }, "m").label("l"));
            assert!(out.contains('m'), "{out}");
        }
    }

    #[test]
    fn a_thousand_problems_are_counted_not_listed() {
        let problems = (0..1000).map(|at| Problem::error(Span::new(at, at), format!("p{at}"))).collect();
        let out = Report::new(Path::new("f"), &"x\n".repeat(600), problems).render(Colour::Never, 80);
        assert!(out.ends_with("  and 950 more\n"), "{out}");
    }
}
