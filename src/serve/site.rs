//! From a request to an answer: what of the folder may be seen, and what is said when nothing is there.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use tower_http::services::ServeDir;

use crate::error::Failure;
use crate::serve::access::Credentials;
use crate::serve::options::{Missing, Options};

/// The one folder with a dot that the web has agreed on (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// A folder and the rules for reading it.
pub(super) struct Site {
    /// Without symbolic links, so that a file's place can be compared with it. Fixed at start: a link that is switched
    /// to another release takes effect with the next process, whole.
    root: PathBuf,
    files: ServeDir,
    missing: Missing,
    credentials: Option<Credentials>,
}

impl Site {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it is not there or not a folder.
    pub(super) async fn open(options: &Options) -> Result<Site, Failure> {
        let shown = options.path.display();
        let refused = |cause: &io::Error| {
            let failure = Failure::failed(format!("cannot serve `{shown}`")).caused_by(cause);
            match options.path.to_str().map(str::parse::<u16>) {
                Some(Ok(port)) => failure.hint(format!("the folder comes first: `rsx serve . {port}`")),
                Some(Err(_)) | None => failure.hint("name a folder that exists"),
            }
        };
        let root = tokio::fs::canonicalize(&options.path).await.map_err(|error| refused(&error))?;
        // Reading it once tells a file from a folder, and a folder that may not be read.
        let _ = tokio::fs::read_dir(&root).await.map_err(|error| refused(&error))?;
        let files = ServeDir::new(&root).ignore_multi_range_requests(true);
        Ok(Site { root, files, missing: options.missing, credentials: options.credentials.clone() })
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: &Request<()>) -> Response {
        if self.credentials.as_ref().is_some_and(|credentials| !credentials.admits(request.headers())) {
            let mut response = plain(StatusCode::UNAUTHORIZED, "401 a name and a password are needed\n");
            let challenge = HeaderValue::from_static("Basic realm=\"rsx\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "405 only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if self.shows(request.uri().path()).await {
            return self.file(request.clone()).await;
        }
        if self.missing == Missing::Index && is_page(request) && self.shows("/index.html").await {
            let mut index = request.clone();
            *index.uri_mut() = "/index.html".parse().unwrap_or_default();
            return self.file(index).await;
        }
        self.not_found(request.method()).await
    }

    /// Whether a path leads to something that may be seen: a file, or a folder that has an index (or redirects to
    /// itself with a slash). A link that someone changes between this look and the opening is not noticed.
    async fn shows(&self, path: &str) -> bool {
        let Ok(decoded) = percent_decode_str(path).decode_utf8() else { return false };
        // `//name/` as a redirect's target would mean another host.
        if decoded.starts_with("//") || !segments(&decoded).all(|(at, name)| is_public(at, name)) {
            return false;
        }
        let place = segments(&decoded).fold(self.root.clone(), |place, (_, name)| place.join(name));
        match (self.inside(&place).await, decoded.ends_with('/')) {
            (Some(Kind::File), slash) => !slash,
            (Some(Kind::Folder), false) => true,
            (Some(Kind::Folder), true) => self.inside(&place.join("index.html")).await == Some(Kind::File),
            (None, _) => false,
        }
    }

    /// What is at a place, if it is inside the root, all links followed. Only regular files and folders are: opening
    /// a pipe or a device could block for ever.
    async fn inside(&self, place: &Path) -> Option<Kind> {
        let real = tokio::fs::canonicalize(place).await.ok()?;
        if !real.starts_with(&self.root) {
            return None;
        }
        let kind = tokio::fs::metadata(&real).await.ok()?.file_type();
        match (kind.is_file(), kind.is_dir()) {
            (true, _) => Some(Kind::File),
            (false, true) => Some(Kind::Folder),
            (false, false) => None,
        }
    }

    /// Lets the library answer, with its ranges and conditions, and completes its headers.
    async fn file(&self, request: Request<()>) -> Response {
        match self.files.clone().try_call(request).await {
            Ok(response) => with_charset(guarded(response.map(Body::new))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                plain(StatusCode::FORBIDDEN, "403 not readable by the server\n")
            }
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "500 the file cannot be read\n"),
        }
    }

    /// The site's own `404.html`, or a line. The request's headers are left out: neither a range nor a condition
    /// means this page.
    async fn not_found(&self, method: &Method) -> Response {
        if self.shows("/404.html").await {
            let mut request = Request::new(());
            *request.method_mut() = method.clone();
            *request.uri_mut() = "/404.html".parse().unwrap_or_default();
            let mut response = self.file(request).await;
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::NOT_FOUND;
                for name in [header::LAST_MODIFIED, header::ETAG, header::ACCEPT_RANGES] {
                    response.headers_mut().remove(name);
                }
                return response;
            }
        }
        plain(StatusCode::NOT_FOUND, "404 not found\n")
    }
}

/// What can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// The names of a decoded path, counted.
fn segments(path: &str) -> impl Iterator<Item = (usize, &str)> {
    path.split('/').filter(|name| !name.is_empty()).enumerate()
}

/// Neither hidden nor a step upwards, nor a name that no file can have.
fn is_public(at: usize, name: &str) -> bool {
    (!name.starts_with('.') || (at == 0 && name == WELL_KNOWN)) && !name.contains('\0')
}

/// Whether a request is for a page rather than for a part of one: a script that is missing must fail as a script,
/// not arrive as HTML.
fn is_page(request: &Request<()>) -> bool {
    let wants_html = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/html"));
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    !last.contains('.') || request.headers().get(header::ACCEPT).is_some_and(wants_html)
}

/// Text without a charset is read as Windows-1252 by browsers; what is written today is UTF-8.
fn with_charset(mut response: Response) -> Response {
    if let Some(kind) = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
        && kind.starts_with("text/")
        && !kind.contains("charset")
        && let Ok(value) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// Browsers are told to believe the content type: an uploaded picture is not to be run as a script.
fn guarded(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    guarded(response)
}
