//! Parameters of a request, parsed one by one so that an error names the one that is wrong.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::ErrorCode;

/// Bytes of a JSON body at most: the shapes of a transaction's blobs.
pub(super) const JSON_LIMIT_BYTES: usize = 64 * 1024;

/// Parses one path or query parameter.
pub(super) fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::invalid(name, error).got(text))
}

/// Parses a 32-byte hash.
pub(super) fn digest(name: &str, text: &str) -> Result<[u8; 32], Failure> {
    crate::name::digest(text)
        .map_err(|error| Failure::invalid(name, format!("expected 64 hexadecimal digits: {error}")).got(text))
}

/// A path with one parameter.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) =
            Path::from_request_parts(parts, state).await.map_err(|e| Failure::invalid("path", e))?;
        Ok(Self(text))
    }
}

/// A path with two parameters.
pub(super) struct Segments(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path((first, second)) =
            Path::from_request_parts(parts, state).await.map_err(|e| Failure::invalid("path", e))?;
        Ok(Self(first, second))
    }
}

/// A query string; each parameter is taken once, and none may be left.
pub(super) struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(pairs): Query<Vec<(String, String)>> =
            Query::from_request_parts(parts, state).await.map_err(|e| Failure::invalid("query", e))?;
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            if map.contains_key(&name) {
                return Err(Failure::invalid(&name, "given twice"));
            }
            map.insert(name, value);
        }
        Ok(Self(map))
    }
}

impl Parameters {
    pub(super) fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        self.0.remove(name).map(|text| parse(name, &text)).transpose()
    }

    /// A comma-separated list; empty when missing.
    pub(super) fn list<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, Failure> {
        let text = self.0.remove(name).unwrap_or_default();
        text.split(',').filter(|item| !item.is_empty()).map(|item| parse(name, item)).collect()
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, value)) => {
                Err(Failure::invalid(&name, "no such parameter; see /openapi.json").got(value))
            }
        }
    }
}

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Failure::new(ErrorCode::UnsupportedMediaType, "send application/json")
                    .field("content-type"))
            }
            Err(JsonRejection::BytesRejection(rejection))
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                let message = format!("body: a JSON body has at most {JSON_LIMIT_BYTES} bytes here");
                Err(Failure::new(ErrorCode::TooLarge, message).field("body").limit(JSON_LIMIT_BYTES))
            }
            Err(rejection) => Err(json_failure(&rejection.body_text())),
        }
    }
}

/// axum's text is `reason: path.to.field: what is wrong`; a path of `.` is the body itself, or left out.
fn json_failure(text: &str) -> Failure {
    const TYPE_ERROR: &str = "Failed to deserialize the JSON body into the target type: ";
    let problem = text.strip_prefix(TYPE_ERROR).unwrap_or(text);
    let (path, problem) = match problem.split_once(": ") {
        Some((path, problem)) if !path.contains(' ') => (path, problem),
        _ => (".", problem),
    };
    let missing = problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match (path, missing) {
        (".", Some(field)) => Failure::invalid(field, problem),
        (path, Some(field)) => Failure::invalid(&format!("{path}.{field}"), problem),
        (".", None) => Failure::invalid("body", problem),
        (path, None) => Failure::invalid(path, problem),
    }
}
