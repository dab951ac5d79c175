//! The description of the API, for programs and for people.

use std::sync::LazyLock;

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::openapi;

/// The description as it is sent; empty only if it could not be written as JSON.
static DESCRIPTION: LazyLock<String> = LazyLock::new(|| openapi().to_json().unwrap_or_default());

/// All of the page; it loads `/openapi.json` and nothing from elsewhere.
const PAGE: &str = include_str!("docs.html");

/// Nothing but this server is asked, whatever the page holds.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'";

/// This description, OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "node", responses((status = 200, description = "the description", body = Object))
)]
pub(super) async fn openapi_json() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION.as_str()).into_response()
}

/// This description as a page, on which every request can be tried.
#[utoipa::path(
    get, path = "/docs", tag = "node",
    responses((status = 200, description = "the page", content_type = "text/html", body = String))
)]
pub(super) async fn docs() -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)], PAGE).into_response()
}
