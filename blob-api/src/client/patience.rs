//! How long a client bears nodes that give no answer.

use std::time::{Duration, Instant};

use super::ClientError;
use crate::ErrorCode;

/// How long nodes may give no answer at all before the client gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause after a failed request.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Counts the time since somebody last answered.
#[derive(Debug)]
pub(super) struct Patience {
    answered: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { answered: Instant::now(), pause: PAUSES.0 }
    }

    /// Starts anew: a node answered.
    pub(super) fn answered(&mut self) {
        *self = Self::new();
    }

    /// Pauses after an error that may pass, longer each time; gives back any other, or this one when it is enough.
    pub(super) async fn bear(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !may_pass(&error) || self.answered.elapsed() >= PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
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

/// A node that has just failed over, or restarted, may not have heard of a transaction yet.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { detail, .. } => detail.code == ErrorCode::UnknownTransaction,
        _ => false,
    }
}
