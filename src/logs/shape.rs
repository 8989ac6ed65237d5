//! From what a program wrote to what stands in its file: line by line, in one pass.
//!
//! Bytes stay what they are, but for a JSON text, which cannot hold all of them: there U+FFFD stands for what is no UTF-8.
//! A line that is too long to wait for is written in pieces, between which nobody else writes into the file.

use std::io::Write;

use chrono::{DateTime, FixedOffset};
use serde::de::IgnoredAny;

use crate::logs::stamp::Stamp;
use crate::spec::{LogForm, Stream};

/// The longest line that is waited for. What is longer is written in pieces, and never looked at as JSON.
pub const WHOLE_LINE: usize = 32 * 1024;

/// The least room in which a piece of a line always fits.
pub const LEAST_ROOM: usize = 6 * WHOLE_LINE + 4096;

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The app, with its namespace in front unless that is the default one.
    pub app: String,
    /// The instance.
    pub instance: u16,
    /// The stream.
    pub stream: Stream,
}

/// What has been done to some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaped {
    /// So many of them have been taken.
    pub taken: usize,
    /// The last line that was taken has not been ended.
    pub open: bool,
    /// More would have been taken, had there been room.
    pub full: bool,
}

/// Whether more bytes can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// Yes: an unfinished line waits for its end.
    More,
    /// No: what there is is all of it.
    Nothing,
}

/// Gives lines their form.
#[derive(Debug)]
pub struct Shaper {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Raw,
    Stamped(Stamp),
    Json {
        stamp: Stamp,
        /// What stands behind the time, with quotes and commas: `"app":…,"instance":…,"stream":…`.
        fields: [Vec<u8>; 3],
    },
}

impl Shaper {
    /// For one stream of one run.
    pub fn new(form: &LogForm, heading: &Heading) -> Shaper {
        let form = match form {
            LogForm::Raw => Form::Raw,
            LogForm::Stamped { date } => Form::Stamped(Stamp::new(date.as_ref())),
            LogForm::Json { date } => {
                let stream = match heading.stream {
                    Stream::Out => "out",
                    Stream::Error => "error",
                };
                let mut app = b"\"app\":\"".to_vec();
                escape(heading.app.as_bytes(), &mut app);
                app.push(b'"');
                let instance = format!("\"instance\":{}", heading.instance).into_bytes();
                let stream = format!("\"stream\":\"{stream}\"").into_bytes();
                Form::Json { stamp: Stamp::new(date.as_ref()), fields: [app, instance, stream] }
            }
        };
        Shaper { form }
    }

    /// Takes lines from the front of `input` and appends them to `out` in their form, which gets no longer than `room`
    /// (at least [`LEAST_ROOM`]). `open`: the input begins within a line whose beginning has been written.
    pub fn shape(
        &mut self,
        input: &[u8],
        mut open: bool,
        coming: Coming,
        at: DateTime<FixedOffset>,
        (out, room): (&mut Vec<u8>, usize),
    ) -> Shaped {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let head = &rest[..rest.len().min(WHOLE_LINE + 1)];
            let end = memchr::memchr(b'\n', head);
            let piece = match end {
                Some(end) => &rest[..end],
                None if rest.len() > WHOLE_LINE => &rest[..whole_characters(&rest[..WHOLE_LINE])],
                None if coming == Coming::Nothing && (!rest.is_empty() || open) => rest,
                None => return Shaped { taken, open, full: false },
            };
            let is_end = end.is_some() || (coming == Coming::Nothing && piece.len() == rest.len());
            if room - out.len().min(room) < self.most(piece.len()) {
                return Shaped { taken, open, full: true };
            }
            self.piece(piece, open, is_end, at, out);
            taken += piece.len() + usize::from(end.is_some());
            open = !is_end;
        }
    }

    /// The most that a piece can become.
    fn most(&self, length: usize) -> usize {
        match &self.form {
            Form::Raw => length + 1,
            Form::Stamped(_) => length + 1024,
            Form::Json { .. } => 6 * length + 4096,
        }
    }

    fn piece(&mut self, piece: &[u8], open: bool, is_end: bool, at: DateTime<FixedOffset>, out: &mut Vec<u8>) {
        match &mut self.form {
            Form::Raw => out.extend_from_slice(piece),
            Form::Stamped(stamp) => {
                if !open {
                    out.extend_from_slice(stamp.text(at));
                    out.extend_from_slice(b": ");
                }
                out.extend_from_slice(piece);
            }
            Form::Json { stamp, fields } => {
                let line = piece.strip_suffix(b"\r").unwrap_or(piece);
                if !open && is_end && is_object(line) {
                    own_fields(line, stamp.text(at), fields, out);
                } else {
                    if !open {
                        out.extend_from_slice(b"{\"time\":\"");
                        escape(stamp.text(at), out);
                        out.push(b'"');
                        for field in fields {
                            out.push(b',');
                            out.extend_from_slice(field);
                        }
                        out.extend_from_slice(b",\"message\":\"");
                    }
                    escape(if is_end { line } else { piece }, out);
                    if is_end {
                        out.extend_from_slice(b"\"}");
                    }
                }
            }
        }
        if is_end {
            out.push(b'\n');
        }
    }
}

/// Up to where a piece does not end within a character, if it is text.
fn whole_characters(piece: &[u8]) -> usize {
    let behind = piece.iter().rev().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    let lead = piece.len() - behind - 1;
    let needs = match piece[lead] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if needs > behind + 1 { lead } else { piece.len() }
}

fn is_object(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() == Some(&b'{')
        && line.last() == Some(&b'}')
        && std::str::from_utf8(line).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The program's own fields behind those of ours that it does not have: it knows better.
fn own_fields(line: &[u8], time: &[u8], fields: &[Vec<u8>; 3], out: &mut Vec<u8>) {
    let body = line.trim_ascii();
    let body = body[1..body.len() - 1].trim_ascii();
    let mut names = Vec::new();
    if [&b"\"time\""[..], b"\"app\"", b"\"instance\"", b"\"stream\"", b"\\u"]
        .iter()
        .any(|name| memchr::memmem::find(body, name).is_some())
    {
        names = top_names(line);
    }
    let has = |name: &str| names.iter().any(|found| found == name);
    out.push(b'{');
    let mut is_first = true;
    let mut comma = |out: &mut Vec<u8>| {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
    };
    if !has("time") {
        comma(out);
        out.extend_from_slice(b"\"time\":\"");
        escape(time, out);
        out.push(b'"');
    }
    for (field, name) in fields.iter().zip(["app", "instance", "stream"]) {
        if !has(name) {
            comma(out);
            out.extend_from_slice(field);
        }
    }
    if !body.is_empty() {
        comma(out);
        out.extend_from_slice(body);
    }
    out.push(b'}');
}

/// The names of an object, those within its values left out.
fn top_names(line: &[u8]) -> Vec<String> {
    serde_json::from_slice::<std::collections::BTreeMap<String, IgnoredAny>>(line)
        .map(|map| map.into_keys().collect())
        .unwrap_or_default()
}

/// The inside of a JSON string. Most text has nothing to escape, so runs of it are copied whole.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        // A whole line of plain ASCII, found at once.
        let plain = plain_length(rest);
        let (copied, tail) = rest.split_at(plain);
        out.extend_from_slice(copied);
        let Some(first) = tail.first() else { return };
        let length = match first {
            b'"' => one(out, b"\\\""),
            b'\\' => one(out, b"\\\\"),
            b'\t' => one(out, b"\\t"),
            b'\r' => one(out, b"\\r"),
            b'\n' => one(out, b"\\n"),
            0..=0x1f => {
                // Writing into memory does not fail.
                let _ = write!(out, "\\u{first:04x}");
                1
            }
            _ => text(tail, out),
        };
        rest = &tail[length..];
    }
}

fn one(out: &mut Vec<u8>, escaped: &[u8]) -> usize {
    out.extend_from_slice(escaped);
    1
}

/// How many bytes need nothing done to them: no sign to escape, no byte above ASCII.
fn plain_length(bytes: &[u8]) -> usize {
    let is_plain = |byte: &u8| (0x20..0x80).contains(byte) && *byte != b'"' && *byte != b'\\';
    // Sixteen at a time in a form that the compiler turns into vector instructions.
    let blocks = bytes.chunks_exact(16).take_while(|block| block.iter().fold(true, |all, byte| all & is_plain(byte)));
    let start = blocks.count() * 16;
    start + bytes[start..].iter().take_while(|byte| is_plain(byte)).count()
}

/// Bytes above ASCII up to the next ASCII byte, as text; how many they were.
fn text(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let length = bytes.iter().position(u8::is_ascii).unwrap_or(bytes.len());
    for chunk in bytes[..length].utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn at() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-03-02T15:04:05.067Z").unwrap()
    }

    fn shaper(form: &LogForm) -> Shaper {
        Shaper::new(form, &Heading { app: "a\"p".into(), instance: 3, stream: Stream::Error })
    }

    /// All that becomes of chunks, with as little room as can be.
    fn shaped(form: &LogForm, chunks: &[&[u8]]) -> Vec<u8> {
        let (mut shaper, mut held, mut open, mut all) = (shaper(form), Vec::new(), false, Vec::new());
        for index in 0..=chunks.len() {
            held.extend_from_slice(chunks.get(index).unwrap_or(&&b""[..]));
            let coming = if index == chunks.len() { Coming::Nothing } else { Coming::More };
            loop {
                let mut out = Vec::new();
                let shaped = shaper.shape(&held, open, coming, at(), (&mut out, LEAST_ROOM));
                assert!(out.len() <= LEAST_ROOM);
                all.extend(out);
                held.drain(..shaped.taken);
                open = shaped.open;
                if !shaped.full {
                    break;
                }
            }
            assert!(held.len() <= WHOLE_LINE);
        }
        assert!(held.is_empty() && !open);
        all
    }

    const STAMPED: LogForm = LogForm::Stamped { date: None };
    const JSON: LogForm = LogForm::Json { date: None };

    #[track_caller]
    fn objects(chunks: &[&[u8]]) -> Vec<Value> {
        let text = String::from_utf8(shaped(&JSON, chunks)).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_gets_its_time_once() {
        let text = shaped(&STAMPED, &[b"one\ntw", b"o\n\xff\0", b"\n", b"\nlast"]);
        let time = "2026-03-02T15:04:05.067Z: ";
        let lines = [&b"one"[..], b"two", b"\xff\0", b"", b"last"];
        let expected: Vec<u8> = lines.iter().flat_map(|line| [time.as_bytes(), line, b"\n"].concat()).collect();
        assert_eq!(text, expected);
        let long = vec![b'x'; 10 << 20];
        let text = shaped(&STAMPED, &[&long, b"\nend\n"]);
        assert_eq!(text.len(), long.len() + 1 + 4 + 2 * time.len());
        assert!(text.starts_with(time.as_bytes()));
    }

    #[test]
    fn a_line_becomes_one_json_object() {
        let found = objects(&[b"one\nq\"\\\t\x01\xc3", b"\xa4\xff.\r\n{not json}\nend"]);
        let object = |message: &str| json!({"time": "2026-03-02T15:04:05.067Z", "app": "a\"p", "instance": 3, "stream": "error", "message": message});
        assert_eq!(found, [object("one"), object("q\"\\\t\u{1}ä\u{fffd}."), object("{not json}"), object("end")]);
        let long = "ä".repeat(5 << 20);
        assert_eq!(objects(&[long.as_bytes()]), [object(&long)]);
    }

    #[test]
    fn a_line_that_is_an_object_becomes_fields() {
        let found = objects(&[
            b"{\"level\":30,\"x\":{\"time\":1}}\n {} \n{\"time\":5,\"msg\":\"m\"}\r\n{\"\\u0061pp\":1}\n{\"a\":}\n",
        ]);
        let ours = json!({"time": "2026-03-02T15:04:05.067Z", "app": "a\"p", "instance": 3, "stream": "error"});
        let with = |more: Value| {
            let mut all = ours.clone();
            for (name, value) in more.as_object().unwrap() {
                all[name] = value.clone();
            }
            all
        };
        assert_eq!(
            found,
            [
                with(json!({"level": 30, "x": {"time": 1}})),
                ours.clone(),
                with(json!({"time": 5, "msg": "m"})),
                with(json!({"app": 1})),
                with(json!({"message": "{\"a\":}"})),
            ]
        );
        // No name is there twice.
        let text =
            String::from_utf8(shaped(&JSON, &[b"{\"time\":5,\"app\":1,\"stream\":2,\"instance\":4}\n"])).unwrap();
        assert_eq!(text, "{\"time\":5,\"app\":1,\"stream\":2,\"instance\":4}\n");
    }

    proptest! {
        #[test]
        fn raw_lines_are_the_bytes_that_came(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let mut all = chunks.concat();
            if all.last().is_some_and(|last| *last != b'\n') {
                all.push(b'\n');
            }
            prop_assert_eq!(shaped(&LogForm::Raw, &chunks), all);
        }

        #[test]
        fn any_bytes_become_as_many_objects_as_they_have_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b'{'), Just(b'}'), any::<u8>()], 0..200),
            cut in 0usize..200,
        ) {
            let (head, tail) = text.split_at(cut.min(text.len()));
            let lines = text.strip_suffix(b"\n").unwrap_or(&text).split(|byte| *byte == b'\n').count();
            let found = if text.is_empty() { Vec::new() } else { objects(&[head, tail]) };
            prop_assert_eq!(found.len(), if text.is_empty() { 0 } else { lines });
            prop_assert_eq!(shaped(&JSON, &[head, tail]), shaped(&JSON, &[&text]));
        }
    }
}
