//! How long a client bears nodes that give no answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ClientError, error::Fault, transport::may_work_elsewhere};
use crate::{ErrorCode, ErrorDetail};

/// How long nodes may give no answer at all before the client gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one node may give no answer before another is asked.
pub(super) const SHORT_PATIENCE: Duration = Duration::from_secs(15);

/// First and longest pause after a failed request.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Counts the time since somebody last answered.
#[derive(Debug)]
pub(super) struct Patience {
    answered: Instant,
    pause: Duration,
    limit: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { answered: Instant::now(), pause: PAUSES.0, limit: PATIENCE }
    }

    /// For one node of several.
    pub(super) fn short() -> Self {
        Self { limit: SHORT_PATIENCE, ..Self::new() }
    }

    /// Starts anew: a node answered.
    pub(super) fn answered(&mut self) {
        *self = Self { limit: self.limit, ..Self::new() };
    }

    /// Pauses after an error that may pass, longer each time; gives back any other, or this one when it is enough.
    pub(super) async fn bear(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !may_pass(&error) || self.is_over() {
            return Err(error);
        }
        self.pause().await;
        Ok(())
    }

    /// As [`Self::bear`], of one node's fault.
    pub(super) async fn bear_fault(&mut self, fault: Fault) -> Result<(), Fault> {
        let passing = match &fault {
            Fault::Passing(_) => true,
            Fault::Answer(detail) => detail.code == ErrorCode::WrongOffset || may_work_elsewhere(detail.code),
            Fault::Lied(..) | Fault::Final(_) => false,
        };
        if !passing || self.is_over() {
            return Err(fault);
        }
        self.pause().await;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.answered.elapsed() >= self.limit
    }

    /// Waits, longer each time.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

/// Asks until there is an answer, an error that will not pass, or no patience left.
pub(super) async fn patiently<T, Fut>(mut ask: impl FnMut() -> Fut) -> Result<T, ClientError>
where
    Fut: Future<Output = Result<T, ClientError>>,
{
    let mut patience = Patience::new();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => patience.bear(error).await?,
        }
    }
}

/// A node that has just failed over, or restarted, may not have heard of a transaction yet, or be some blocks behind.
pub(super) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { detail, .. } => {
            detail.code == ErrorCode::UnknownTransaction || is_behind(detail)
        }
        _ => false,
    }
}

/// Whether a node finds the last height of a submission too distant: it is behind the node that told the height.
fn is_behind(detail: &ErrorDetail) -> bool {
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
    let bounds = number(&detail.limit).zip(number(&detail.got));
    detail.field.as_deref() == Some("valid_until") && bounds.is_some_and(|(latest, got)| got > latest)
}

#[test]
fn a_last_height_too_distant_for_a_node_that_is_behind_may_pass_and_one_that_is_over_may_not() {
    let refused = |field: &str, limit: u64, got: u64| ClientError::Refused {
        url: String::new(),
        detail: Box::new(ErrorDetail {
            code: ErrorCode::Invalid,
            message: String::new(),
            field: Some(field.into()),
            limit: Some(limit.into()),
            got: Some(got.into()),
            proof: None,
        }),
    };
    assert!(may_pass(&refused("valid_until", 347, 354)));
    assert!(!may_pass(&refused("valid_until", 354, 347)));
    assert!(!may_pass(&refused("fee_cap", 347, 354)));
}
