//! Who may use a door: whoever has the token.
//!
//! ```text
//!  Authorization: Bearer <token>        celestia-node's clients
//!  http://127.0.0.1:3100/<token>/…      clients that send no headers, as those of the OP Stack
//! ```
//!
//! Without a token, any program of this machine may spend the key's money; a request that a web page's script sent
//! (it has an `Origin`) is refused even then.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Bytes of a token's randomness.
const TOKEN_BYTES: usize = 32;

/// A secret that opens the doors.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("token file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("token file {path} is open to others (mode {mode:o}); run chmod 600 on it, or better, remove it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something else is in it.
    #[error(
        "token file {path} must hold 32 letters, digits, '-' or '_' at least and nothing else; remove it to get a new one"
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// The token in the file at `path`; a new one, readable by its owner only, where there is no file.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Io { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) => {
                check_mode(path)?;
                let text = text.trim();
                let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if text.len() < TOKEN_BYTES || !text.chars().all(allowed) {
                    return Err(TokenError::Content { path: path.to_owned() });
                }
                Ok(Self(text.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; TOKEN_BYTES];
                getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let text = hex::encode(bytes);
                let mut file = crate::keys::create_private(path).map_err(failed)?;
                writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
                Ok(Self(text.into()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The token, to be given to a client.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Compares hashes, whose first difference says nothing about the token's.
    fn is(&self, got: &str) -> bool {
        erasure::sha256(got.as_bytes()) == erasure::sha256(self.0.as_bytes())
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), TokenError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|source| TokenError::Io { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(TokenError::Open { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), TokenError> {
    Ok(())
}

/// Lets a request with the token through, without the token.
pub(super) async fn admit(State(token): State<Option<Token>>, mut request: Request, next: Next) -> Response {
    let Some(token) = token else {
        if request.headers().contains_key(header::ORIGIN) {
            let message = "this gateway has no token and therefore serves no web pages\n";
            return (StatusCode::FORBIDDEN, message).into_response();
        }
        return next.run(request).await;
    };
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let admitted = match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(got) => token.is(got),
        None => match without_first_segment(request.uri()) {
            Some((first, rest)) if token.is(&first) => {
                *request.uri_mut() = rest;
                true
            }
            _ => false,
        },
    };
    if admitted {
        return next.run(request).await;
    }
    let message = "the token is missing or wrong: send 'Authorization: Bearer <token>', or put /<token> before the \
                   path; blob gateway prints the token's file when it starts\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], message).into_response()
}

fn without_first_segment(uri: &Uri) -> Option<(String, Uri)> {
    let path = uri.path().strip_prefix('/')?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some((first.to_owned(), format!("/{rest}{query}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Token::load_or_create(&path).unwrap();
        assert_eq!(Token::load_or_create(&path).unwrap().secret(), token.secret());
        assert!(token.is(token.secret()) && !token.is("") && !format!("{token:?}").contains(token.secret()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(Token::load_or_create(&path), Err(TokenError::Open { mode: 0o640, .. })));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, "short").unwrap();
        assert!(matches!(Token::load_or_create(&path), Err(TokenError::Content { .. })));
    }

    #[test]
    fn the_first_segment_goes_and_the_rest_stays() {
        let cut = |text: &str| without_first_segment(&text.parse().unwrap()).unwrap();
        assert_eq!(cut("/t/get/0x01?a=1"), ("t".into(), "/get/0x01?a=1".parse().unwrap()));
        assert_eq!(cut("/t/put/"), ("t".into(), "/put/".parse().unwrap()));
        assert_eq!(cut("/t"), ("t".into(), "/".parse().unwrap()));
    }
}
