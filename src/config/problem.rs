//! What is wrong with a configuration: problems with their places, collected in a [`Report`].
//!
//! Rendering them is the job of `render`.

use std::path::Path;

use crate::config::node::Span;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but something in it has no effect or will fail.
    Warning,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; none when it is about the whole file or about a flag of the verb.
    pub span: Option<Span>,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// A second place that belongs to it.
    pub also: Option<(Span, String)>,
    /// The same place among the values, such as `apps[1].name`, where the text is not what the user wrote.
    pub path: Option<String>,
}

impl Problem {
    pub(crate) fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            span: span.into(),
            message: message.into(),
            label: String::new(),
            help: None,
            also: None,
            path: None,
        }
    }

    pub(crate) fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.also = Some((span, label.into()));
        self
    }
}

/// All problems of one text, and the text, so that they can be cited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    name: String,
    text: String,
    problems: Vec<Problem>,
    /// Apps of this file that nothing is wrong with.
    fine: Vec<String>,
}

impl Report {
    /// Problems in the order of their places, each once.
    pub(crate) fn new(name: &Path, text: &str, mut problems: Vec<Problem>) -> Report {
        problems.sort_by_key(|problem| (problem.span, problem.severity));
        // Not `dedup`: two apps that take one bad value from `[defaults]` need not report it side by side.
        let mut once: Vec<Problem> = Vec::with_capacity(problems.len());
        for problem in problems {
            let same_place = once.iter().rev().take_while(|other| other.span == problem.span);
            if !same_place.into_iter().any(|other| *other == problem) {
                once.push(problem);
            }
        }
        Report { name: name.display().to_string(), text: text.to_owned(), problems: once, fine: Vec::new() }
    }

    /// This report with more problems, which concern the file as a whole, in front.
    pub(crate) fn with(mut self, more: Vec<Problem>) -> Report {
        self.problems.splice(0..0, more);
        self
    }

    /// This report, with the names of apps that nothing is wrong with.
    pub(crate) fn with_fine(self, fine: Vec<String>) -> Report {
        Report { fine, ..self }
    }

    /// What to type where nothing is wrong with the file but that this version cannot run all of it.
    pub(crate) fn way_out(&self) -> Option<String> {
        let mut errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let is_early = errors.all(|problem| problem.message.ends_with(NOT_YET));
        let is_short = (1..=8).contains(&self.fine.len());
        (is_early && is_short).then(|| format!("`--only {}` takes what this version can run", self.fine.join(",")))
    }

    /// The file, as it is cited.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that the places refer to.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The problems in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many of this severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Line and column of a problem, both counted from 1, columns in characters.
    pub fn place(&self, problem: &Problem) -> Option<(usize, usize)> {
        let start = char_floor(&self.text, problem.span?.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// One line for `error:`: `ecosystem.toml has 2 problems`.
    pub fn summary(&self) -> String {
        match self.count(Severity::Error) {
            1 => format!("{} has 1 problem", self.subject()),
            many => format!("{} has {many} problems", self.subject()),
        }
    }

    /// A file by its path; what was typed or piped in has no name that a user wrote.
    fn subject(&self) -> String {
        match self.name.as_str() {
            COMMAND_LINE | STDIN => format!("the {}", self.name),
            path => format!("`{path}`"),
        }
    }
}

/// How a message ends about what a later version will have.
pub(crate) const NOT_YET: &str = "is not in this version yet";

/// The name of a report about flags and arguments.
pub(crate) const COMMAND_LINE: &str = "command line";

/// The name of a report about what was piped in.
pub(crate) const STDIN: &str = "standard input";

/// What the user wrote, fit for one line of a message: control characters escaped, cut after 60 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == 60 {
            out.push('…');
            break;
        }
        if character.is_control() || is_invisible(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The place at or before `at` where a character begins.
pub(crate) fn char_floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The place at or behind `at` where a character ends.
pub(crate) fn char_ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Characters that change how a line looks without being seen: marks that reorder text, zero-width ones.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The candidate that looks most like what was written, if one is close enough to be meant.
pub(crate) fn similar<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic; a megabyte of nonsense is not meant to be any name.
    if written.len() > 100 {
        return None;
    }
    let limit = (written.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_found_twice_is_reported_once() {
        let problem = || Problem::error(Span::new(3, 4), "no");
        let report = Report::new(Path::new("f"), "a\nbcd", vec![problem(), Problem::warning(None, "w"), problem()]);
        assert_eq!(report.problems().len(), 2);
        assert_eq!(report.count(Severity::Error), 1);
        assert_eq!(report.place(&problem()), Some((2, 2)));
        assert_eq!(report.summary(), "`f` has 1 problem");
        let typed = Report::new(Path::new(COMMAND_LINE), "a\nbcd", vec![problem()]);
        assert_eq!(typed.summary(), "the command line has 1 problem");
    }

    #[test]
    fn what_is_shown_fits_a_line() {
        assert_eq!(shown("a\u{0}b\n\u{202e}"), r"a\u{0}b\n\u{202e}");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn only_close_names_are_suggested() {
        assert_eq!(similar("scirpt", ["script", "args"]), Some("script"));
        assert_eq!(similar("zzz", ["script", "args"]), None);
        assert_eq!(similar(&"a".repeat(1000), ["script"]), None);
    }
}
