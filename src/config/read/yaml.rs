//! YAML 1.2 with the core schema: one document, text keys, anchors, aliases and merge keys.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use crate::config::node::{Key, Node, Number, Span, Table, Value};
use crate::config::problem::Problem;
use crate::config::read::{MAX_DEPTH, table, too_deep};

/// How many values a document may have with all aliases expanded.
const MAX_NODES: usize = 200_000;

pub(super) fn read(text: &str) -> Result<Node, Vec<Problem>> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        places: Places::new(text),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    match reader.document() {
        Ok(node) if reader.problems.is_empty() => Ok(node),
        Ok(_) => Err(reader.problems),
        Err(problem) => {
            reader.problems.push(*problem);
            Err(reader.problems)
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    places: Places,
    /// Finished nodes with an anchor, and how many values they hold.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
}

/// Boxed, because it is the rare way out of deep calls.
type Refused = Box<Problem>;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Refused> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) if root.is_some() => {
                    let problem = Problem::error(span, "the file has more than one document").label("a second one");
                    return Err(Box::new(problem.help("an ecosystem file is one document")));
                }
                Event::DocumentStart(_) => {}
                Event::StreamEnd => break,
                other => root = Some(self.node(other, span, 0)?),
            }
        }
        root.ok_or_else(|| Box::new(Problem::error(None, "the file contains comments only")))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Refused> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = Span::new(self.places.byte(&span.start), self.places.byte(&span.end));
                Ok((event, span))
            }
            Some(Err(error)) => {
                let at = self.places.byte(error.marker());
                Err(Box::new(
                    Problem::error(Span::new(at, at), format!("not valid YAML: {}", error.info())).label("here"),
                ))
            }
            None => Ok((Event::StreamEnd, Span::new(0, 0))),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Refused> {
        if depth > MAX_DEPTH {
            return Err(Box::new(too_deep(span)));
        }
        let before = self.nodes;
        self.count(1, span)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), span)),
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd | Event::StreamEnd, end) => break end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                (anchor, Node::new(Span::new(span.start, end.end), Value::List(items)))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                (anchor, self.mapping(span, depth)?)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Box::new(Problem::error(span, "not valid YAML: a value is missing").label("here")));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, Refused> {
        let mut entries: Table = Vec::new();
        let mut merged: Table = Vec::new();
        let end = loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, end) => break end,
                other => other,
            };
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match key.scalar() {
                Some(name) if name == "<<" => self.merge(value, &mut merged),
                Some(name) => entries.push((Key { name, span: key.span }, value)),
                None => {
                    let problem = Problem::error(key.span, format!("a key cannot be {}", key.kind()));
                    self.problems.push(problem.label("not a name"));
                }
            }
        };
        // A merged key gives way to a written one, and an earlier merge to none.
        let mut taken: HashSet<String> = HashSet::new();
        if !merged.is_empty() {
            taken.extend(entries.iter().map(|(key, _)| key.name.clone()));
        }
        entries.extend(merged.into_iter().filter(|(key, _)| taken.insert(key.name.clone())));
        Ok(table(Span::new(start.start, end.end), entries, &mut self.problems))
    }

    fn merge(&mut self, value: Node, merged: &mut Table) {
        let span = value.span;
        match value.value {
            Value::Table(table) => merged.extend(table),
            Value::List(items) if items.iter().all(|item| item.table().is_some()) => {
                for item in items {
                    self.merge(item, merged);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                let problem = Problem::error(span, "`<<` merges tables only").label("not a table");
                self.problems.push(problem);
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Refused> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            let problem = Problem::error(span, "an alias cannot stand inside of what it refers to").label("here");
            return Err(Box::new(problem));
        };
        // Cited is where it was written, except that the whole is cited at the alias.
        let node = Node::new(span, node.value.clone());
        let size = *size;
        self.count(size, span)?;
        Ok(node)
    }

    fn count(&mut self, more: usize, span: Span) -> Result<(), Refused> {
        self.nodes += more;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let problem = Problem::error(span, format!("the file has more than {MAX_NODES} values"));
        Err(Box::new(problem.label("here").help("aliases count with all that they refer to")))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        self.refuse_tag(tag, span);
        let value = if style == ScalarStyle::Plain && !is_text { plain(text) } else { Value::Text(text.to_owned()) };
        Node::new(span, value)
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            let problem = Problem::error(span, format!("the tag `{tag}` is not known")).label("tagged value");
            self.problems.push(problem);
        }
    }
}

/// What a scalar without quotes means (YAML 1.2, core schema): `yes`, `no`, `on` and `off` are text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let radix = |prefix, radix| {
        let value = i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok()?;
        Number::new(&value.to_string(), Some(value))
    };
    let starts_like_a_number =
        text.strip_prefix(['-', '+']).unwrap_or(text).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        // Rust reads more words as floats (`inf`, `nan`) than YAML does.
        .or_else(|| starts_like_a_number.then(|| Number::new(text, text.parse().ok())).flatten());
    number.map_or_else(|| Value::Text(text.to_owned()), Value::Number)
}

/// From the parser's lines and columns (in characters) to bytes. Its own index counts now bytes, now characters.
struct Places {
    /// The byte at which each character begins, and the end.
    bytes: Vec<u32>,
    /// The character with which each line begins.
    lines: Vec<usize>,
}

impl Places {
    fn new(text: &str) -> Places {
        let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut places = Places { bytes: Vec::with_capacity(text.len() + 1), lines: vec![0] };
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            places.bytes.push(byte(at));
            let breaks = character == '\n' || (character == '\r' && characters.peek().is_none_or(|(_, c)| *c != '\n'));
            if breaks {
                places.lines.push(places.bytes.len());
            }
        }
        places.bytes.push(byte(text.len()));
        places
    }

    fn byte(&self, marker: &Marker) -> usize {
        let last = self.bytes.len() - 1;
        let line = self.lines.get(marker.line().saturating_sub(1)).copied().unwrap_or(last);
        self.bytes[(line + marker.col()).min(last)] as usize
    }
}
