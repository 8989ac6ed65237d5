//! Whose file a log is, read from its name: for when no daemon runs that could tell.

use crate::spec::{DEFAULT_NAMESPACE, Stream};

/// What the name of a log file says, the reverse of `AppSpec::log_path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName {
    /// The namespace in front, or the default one. An app whose name has a dot looks as if it had a namespace.
    pub namespace: String,
    /// The app, the namespace not included.
    pub app: String,
    /// Both as they are written, `namespace.app`.
    pub label: String,
    /// Which output.
    pub stream: Stream,
    /// The instance, where there are several.
    pub instance: Option<u16>,
}

/// Reads `NAME-out.log`, `NAME-error-3.log`, `NAMESPACE.NAME-out.log`; none for other files.
pub fn log_name(file: &str) -> Option<LogName> {
    let stem = file.strip_suffix(".log")?;
    let (stem, instance) = match stem.rsplit_once('-') {
        Some((front, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            (front, Some(number.parse().ok()?))
        }
        Some(_) | None => (stem, None),
    };
    let (label, word) = stem.rsplit_once('-')?;
    let stream = match word {
        "out" => Stream::Out,
        "error" => Stream::Error,
        _ => return None,
    };
    let (namespace, app) = label.split_once('.').unwrap_or((DEFAULT_NAMESPACE, label));
    Some(LogName { namespace: namespace.to_owned(), app: app.to_owned(), label: label.to_owned(), stream, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(file: &str) -> (String, String, Stream, Option<u16>) {
        let name = log_name(file).unwrap();
        (name.namespace, name.app, name.stream, name.instance)
    }

    #[test]
    fn a_file_tells_its_app_stream_and_instance() {
        assert_eq!(read("api-out.log"), ("default".into(), "api".into(), Stream::Out, None));
        assert_eq!(read("my-api-error-3.log"), ("default".into(), "my-api".into(), Stream::Error, Some(3)));
        assert_eq!(read("blue.api-out-0.log"), ("blue".into(), "api".into(), Stream::Out, Some(0)));
    }

    #[test]
    fn other_files_are_left_alone() {
        for file in ["daemon.log", "api-out.log.1", "api.log", "out.log", "notes.txt"] {
            assert_eq!(log_name(file), None, "{file}");
        }
    }
}
