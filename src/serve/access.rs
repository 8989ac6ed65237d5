//! Who may read: basic authentication (RFC 7617).

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// A user and a password, as `USER:PASS`.
#[derive(Clone)]
pub(super) struct Credentials(String);

/// The text has no colon between user and password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form USER:PASS")]
pub(super) struct NoColon;

impl FromStr for Credentials {
    type Err = NoColon;

    fn from_str(text: &str) -> Result<Credentials, NoColon> {
        if text.contains(':') { Ok(Credentials(text.to_owned())) } else { Err(NoColon) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// Whether these headers carry this user and this password.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let Some((scheme, token)) = value.split_once(' ') else { return false };
        let Ok(given) = STANDARD.decode(token.trim()) else { return false };
        // The time taken tells the length at most, never how many bytes were right.
        scheme.eq_ignore_ascii_case("basic") && bool::from(given.ct_eq(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(authorization: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        Credentials::from_str("user:pass:word").unwrap().admits(&headers)
    }

    #[test]
    fn only_the_right_user_with_the_right_password_is_admitted() {
        assert!(admits(&format!("Basic {}", STANDARD.encode("user:pass:word"))));
        assert!(admits(&format!("basic {}", STANDARD.encode("user:pass:word"))));
        for wrong in ["user:pass", "user:pass:wore", "", ":", "user:pass:wordy"] {
            assert!(!admits(&format!("Basic {}", STANDARD.encode(wrong))), "{wrong}");
        }
        assert!(!admits("Basic"));
        assert!(!admits("Basic ***"));
        assert!(!admits(&format!("Bearer {}", STANDARD.encode("user:pass:word"))));
    }
}
