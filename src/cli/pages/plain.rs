//! A manual page as plain text, for where man(1) is missing or nobody sits at a terminal.
//!
//! It knows the few requests that the pages of this folder use; a test holds it to that.

const INDENT: usize = 7;

/// Where text goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A paragraph.
    Body,
    /// The next line is the term of a definition.
    Term,
    /// The meaning of a term.
    Meaning,
    /// Lines as they are.
    Verbatim,
}

/// Renders a page at most `width` columns wide.
pub(super) fn plain(roff: &str, width: usize) -> String {
    let mut page = Text { out: String::new(), paragraph: String::new(), place: Place::Body, width };
    for line in roff.lines().filter(|line| !line.contains(".ds Aq")) {
        match line.strip_prefix('.').map(|request| request.split_once(' ').unwrap_or((request, ""))) {
            None => page.text(&unescaped(line)),
            Some(("TH", _)) => {}
            Some(("SH", title)) => page.title(&unescaped(title.trim_matches('"'))),
            Some(("TP", _)) => page.turn(Place::Term),
            Some(("IP", _)) => page.turn(Place::Meaning),
            Some(("nf", _)) => page.turn(Place::Verbatim),
            Some(("PP" | "fi", _)) => page.turn(Place::Body),
            // br, RS, RE: a new line is enough.
            Some(_) => page.flush(),
        }
    }
    page.flush();
    page.out
}

struct Text {
    out: String,
    paragraph: String,
    place: Place,
    width: usize,
}

impl Text {
    fn title(&mut self, title: &str) {
        self.turn(Place::Body);
        self.out.push_str(&format!("{title}\n"));
    }

    fn turn(&mut self, place: Place) {
        self.flush();
        let is_first = self.out.is_empty() || self.out.ends_with("\n\n");
        let follows_title = self.out.lines().next_back().is_some_and(|line| !line.starts_with(' '));
        if place != Place::Meaning && !is_first && !follows_title {
            self.out.push('\n');
        }
        self.place = place;
    }

    fn text(&mut self, text: &str) {
        match self.place {
            Place::Term => {
                self.out.push_str(&format!("{}{text}\n", " ".repeat(INDENT)));
                self.place = Place::Meaning;
            }
            Place::Verbatim => self.out.push_str(format!("{}{text}", " ".repeat(INDENT)).trim_end()),
            Place::Body | Place::Meaning => {
                self.paragraph.push_str(text);
                self.paragraph.push(' ');
            }
        }
        if self.place == Place::Verbatim {
            self.out.push('\n');
        }
    }

    fn flush(&mut self) {
        let indent = if self.place == Place::Meaning { 2 * INDENT } else { INDENT };
        let mut column = 0;
        for word in std::mem::take(&mut self.paragraph).split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > self.width {
                self.out.push('\n');
                column = 0;
            }
            if column == 0 {
                self.out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                self.out.push(' ');
                column += 1;
            }
            self.out.push_str(word);
            column += length;
        }
        if column > 0 {
            self.out.push('\n');
        }
    }
}

fn unescaped(line: &str) -> String {
    let mut out = line.replace(r"\*(Aq", "'");
    for font in [r"\fB", r"\fI", r"\fR", r"\&"] {
        out = out.replace(font, "");
    }
    out.replace(r"\-", "-").replace(r"\\", r"\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::pages::manual::pages;

    #[test]
    fn a_page_reads_as_man_would_print_it() {
        let pages = pages();
        let page = pages.iter().find(|page| page.name == "rsx-pid").unwrap();
        insta::assert_snapshot!(plain(&page.roff, 60));
    }

    #[test]
    fn no_request_of_a_page_is_unknown_and_no_escape_stays() {
        let known = ["TH", "SH", "TP", "IP", "PP", "nf", "fi", "br", "RS", "RE", "ie", "el"];
        for page in pages() {
            for line in page.roff.lines().filter_map(|line| line.strip_prefix('.')) {
                let request = line.split(' ').next().unwrap();
                assert!(known.contains(&request), "{}: .{line}", page.name);
            }
            let text = plain(&page.roff, 80);
            for escape in [r"\f", r"\-", r"\*", r"\&"] {
                assert!(!text.contains(escape), "{}: {escape}", page.name);
            }
            let widest =
                text.lines().filter(|line| line.starts_with("              ")).map(|l| l.chars().count()).max();
            assert!(widest <= Some(80), "{}: {widest:?}", page.name);
        }
    }
}
