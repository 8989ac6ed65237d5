//! The line that is typed after `:` and `/`, with its cursor, its completion and its past.

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A command.
    Command,
    /// Which rows of the list are shown.
    Filter,
    /// What is looked for in the logs.
    Search,
}

impl Purpose {
    /// What stands in front of the line.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Purpose::Command => ":",
            Purpose::Filter => "filter /",
            Purpose::Search => "search /",
        }
    }
}

/// The most characters that are taken.
const LONGEST: usize = 500;

/// How many lines are remembered.
const REMEMBERED: usize = 100;

/// A line that is being typed.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) purpose: Purpose,
    text: Vec<char>,
    cursor: usize,
    /// Which of the candidates Tab has put in, and the text before.
    pub(crate) chosen: Option<(usize, String)>,
    /// Which line of the past is shown, and what was typed before.
    recalled: Option<(usize, String)>,
    pub(crate) problem: Option<String>,
}

impl Prompt {
    pub(crate) fn new(purpose: Purpose, text: &str) -> Prompt {
        let text: Vec<char> = text.chars().take(LONGEST).collect();
        let cursor = text.len();
        Prompt { purpose, text, cursor, chosen: None, recalled: None, problem: None }
    }

    pub(crate) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// What stands before the cursor.
    pub(crate) fn before(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    pub(crate) fn insert(&mut self, c: char) {
        if self.text.len() < LONGEST && !c.is_control() {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
        self.changed();
    }

    /// Whether nothing is typed.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Removes the character before the cursor.
    pub(crate) fn backspace(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
        self.changed();
    }

    pub(crate) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
        self.changed();
    }

    /// Removes the word before the cursor.
    pub(crate) fn delete_word(&mut self) {
        while self.cursor > 0 && self.text[self.cursor - 1] == ' ' {
            self.backspace();
        }
        while self.cursor > 0 && self.text[self.cursor - 1] != ' ' {
            self.backspace();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.set("");
    }

    pub(crate) fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub(crate) fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Puts the next of these candidates in the place of the last word.
    pub(crate) fn complete(&mut self, candidates: &[String], backwards: bool) {
        if candidates.is_empty() {
            return;
        }
        let (next, base) = match self.chosen.take() {
            Some((at, base)) if backwards => ((at + candidates.len() - 1) % candidates.len(), base),
            Some((at, base)) => ((at + 1) % candidates.len(), base),
            None if backwards => (candidates.len() - 1, self.text()),
            None => (0, self.text()),
        };
        let Some(candidate) = candidates.get(next) else { return };
        let start = base.rfind(' ').map_or(0, |at| at + 1);
        let only = candidates.len() == 1;
        let text = format!("{}{candidate}{}", &base[..start], if only { " " } else { "" });
        self.set(&text);
        self.chosen = (!only).then_some((next, base));
    }

    /// The text before Tab has put something in: what candidates are for.
    pub(crate) fn base(&self) -> String {
        self.chosen.as_ref().map_or_else(|| self.text(), |(_, base)| base.clone())
    }

    /// Shows a line of the past, newest last.
    pub(crate) fn recall(&mut self, past: &[String], backwards: bool) {
        let (at, typed) = self.recalled.take().unwrap_or((past.len(), self.text()));
        let at = if backwards { at.saturating_sub(1) } else { (at + 1).min(past.len()) };
        self.set(past.get(at).unwrap_or(&typed));
        self.recalled = Some((at, typed));
    }

    fn set(&mut self, text: &str) {
        self.text = text.chars().take(LONGEST).collect();
        self.cursor = self.text.len();
        self.changed();
    }

    fn changed(&mut self) {
        (self.chosen, self.recalled, self.problem) = (None, None, None);
    }
}

/// Keeps a line that was entered.
pub(crate) fn remember(past: &mut Vec<String>, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    past.retain(|known| known != line);
    past.push(line.to_owned());
    if past.len() > REMEMBERED {
        past.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_in_its_middle() {
        let mut prompt = Prompt::new(Purpose::Command, "restart api");
        prompt.delete_word();
        prompt.insert('ü');
        prompt.left();
        prompt.insert('x');
        prompt.end();
        prompt.backspace();
        assert_eq!(prompt.text(), "restart x");
        prompt.home();
        prompt.delete();
        assert_eq!((prompt.text(), prompt.before()), ("estart x".into(), String::new()));
        prompt.clear();
        assert!(prompt.is_empty());
    }

    #[test]
    fn tab_goes_through_the_candidates_and_one_alone_is_taken() {
        let mut prompt = Prompt::new(Purpose::Command, "stop w");
        let both = ["web".to_owned(), "worker".to_owned()];
        prompt.complete(&both, false);
        assert_eq!(prompt.text(), "stop web");
        assert_eq!(prompt.base(), "stop w");
        prompt.complete(&both, false);
        prompt.complete(&both, false);
        assert_eq!(prompt.text(), "stop web");
        prompt.complete(&both, true);
        assert_eq!(prompt.text(), "stop worker");
        let mut prompt = Prompt::new(Purpose::Command, "sto");
        prompt.complete(&["stop".to_owned()], false);
        assert_eq!(prompt.text(), "stop ");
    }

    #[test]
    fn the_past_is_walked_through_and_what_was_typed_comes_back() {
        let mut past = Vec::new();
        for line in ["a", "b", "a", " "] {
            remember(&mut past, line);
        }
        assert_eq!(past, ["b", "a"]);
        let mut prompt = Prompt::new(Purpose::Command, "new");
        prompt.recall(&past, true);
        prompt.recall(&past, true);
        prompt.recall(&past, true);
        assert_eq!(prompt.text(), "b");
        prompt.recall(&past, false);
        prompt.recall(&past, false);
        assert_eq!(prompt.text(), "new");
    }
}
