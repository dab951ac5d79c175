//! Errors on their way out: one shape, one status for each code.

use std::time::Duration;

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{AbsenceBody, ErrorBody, ErrorCode, ErrorDetail, FaucetError, QuoteError, SubmitError};

/// An error response.
#[derive(Debug)]
pub(super) struct Failure {
    detail: Box<ErrorDetail>,
    retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let detail =
            ErrorDetail { code, message: message.into(), field: None, limit: None, got: None, proof: None };
        Self { detail: Box::new(detail), retry_after: None }
    }

    /// A wrong parameter or field; the message starts with its name.
    pub(super) fn invalid(field: &str, message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Invalid, format!("{field}: {message}")).field(field)
    }

    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.detail.field = Some(field.into());
        self
    }

    pub(super) fn limit(mut self, limit: impl Into<Value>) -> Self {
        self.detail.limit = Some(limit.into());
        self
    }

    pub(super) fn got(mut self, got: impl Into<Value>) -> Self {
        self.detail.got = Some(got.into());
        self
    }

    pub(super) fn proof(mut self, proof: AbsenceBody) -> Self {
        self.detail.proof = Some(proof);
        self
    }

    /// The error itself, where there is no response of its own to carry it.
    pub(super) fn into_detail(self) -> ErrorDetail {
        *self.detail
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Underfunded => StatusCode::PAYMENT_REQUIRED,
        ErrorCode::FaucetDisabled => StatusCode::FORBIDDEN,
        ErrorCode::Absent | ErrorCode::UnknownTransaction | ErrorCode::NoSuchPath => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::TooSlow => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Duplicate | ErrorCode::WrongOffset => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::PoolFull | ErrorCode::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Other => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = status(self.detail.code);
        let mut response = (status, Json(ErrorBody { error: *self.detail })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// After a block or two there may be room, or a node caught up.
pub(super) const SOON: Duration = Duration::from_secs(2);

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Invalid { field, limit, got, .. } => {
                let mut failure = Self::new(ErrorCode::Invalid, message).field(field);
                failure.detail.limit = limit.map(Value::from);
                failure.detail.got = got.map(Value::from);
                failure
            }
            SubmitError::Underfunded { balance, pending, needed } => {
                Self::new(ErrorCode::Underfunded, message)
                    .field("fee_cap")
                    .limit(balance.saturating_sub(pending))
                    .got(needed)
            }
            SubmitError::Duplicate { id } => {
                Self::new(ErrorCode::Duplicate, message).field("id").got(id.to_string())
            }
            SubmitError::PoolFull { limit, .. }
            | SubmitError::ReservationFull { limit }
            | SubmitError::AccountFull { limit } => {
                Self::new(ErrorCode::PoolFull, message).limit(limit).retry_after(SOON)
            }
            SubmitError::Unavailable(_) => Self::new(ErrorCode::Unreachable, message).retry_after(SOON),
        }
    }
}

impl From<FaucetError> for Failure {
    fn from(error: FaucetError) -> Self {
        let message = error.to_string();
        match error {
            FaucetError::Disabled => Self::new(ErrorCode::FaucetDisabled, message),
            FaucetError::TooSoon { retry_after } => {
                Self::new(ErrorCode::TooManyRequests, message).retry_after(retry_after)
            }
            FaucetError::Refused(error) => Self::from(error),
        }
    }
}

impl From<QuoteError> for Failure {
    fn from(error: QuoteError) -> Self {
        let (field, limit, got) = error.parts();
        Self::new(ErrorCode::Invalid, error.to_string()).field(field).limit(limit).got(got)
    }
}
