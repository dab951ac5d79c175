//! Telling somebody: a command or a webhook for every alarm.
//!
//! Both get one JSON object, [`Alarm`]: a command on its standard input, with `WEFT_ALARM`,
//! `WEFT_CHAIN` and `WEFT_HEIGHT` in its environment, a webhook in the body of a POST. Alarms wait
//! in a bounded queue; one that finds it full is only logged. A hook that fails is counted, logged
//! and tried again, twice.

use std::process::Stdio;
use std::time::Duration;

use chain::UnknownRules;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::halt::Halt;
use crate::metrics::Metrics;
use crate::status::HeightReport;

/// Alarms that wait for their hooks.
pub(crate) const QUEUE: usize = 256;

/// How long a hook may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often a hook is tried, and how long after a failure.
const ATTEMPTS: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmHook {
    /// A line for `sh -c`.
    Command(String),
    /// An `http://` address.
    Webhook(String),
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// The chain.
    pub chain_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub kind: AlarmKind,
}

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "alarm", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlarmKind {
    /// Reachable peers do not serve cells of a block.
    Unavailable(HeightReport),
    /// The cells of an unavailable block have appeared.
    Recovered(HeightReport),
    /// The client follows no further.
    Halted(Halt),
    /// The next blocks follow rules that this program does not know.
    Outdated(UnknownRules),
}

impl AlarmKind {
    fn word(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Recovered(_) => "recovered",
            Self::Halted(_) => "halted",
            Self::Outdated(_) => "outdated",
        }
    }

    fn height(&self) -> u64 {
        match self {
            Self::Unavailable(report) | Self::Recovered(report) => report.height,
            Self::Halted(halt) => halt.height,
            Self::Outdated(unknown) => unknown.height,
        }
    }
}

/// Runs the hooks of each alarm, one alarm after the other, until the queue's sender is dropped.
pub(crate) async fn tell(mut alarms: mpsc::Receiver<Alarm>, hooks: Vec<AlarmHook>, metrics: Metrics) {
    while let Some(alarm) = alarms.recv().await {
        let json = match serde_json::to_vec(&alarm) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "an alarm cannot be written as JSON");
                continue;
            }
        };
        for hook in &hooks {
            for attempt in 1..=ATTEMPTS {
                let told = tokio::time::timeout(DEADLINE, run(hook, &alarm, &json)).await;
                let Err(reason) = told.unwrap_or_else(|_| Err(format!("took longer than {DEADLINE:?}")))
                else {
                    metrics.alarms_told.inc();
                    break;
                };
                metrics.alarms_failed.inc();
                tracing::error!(?hook, reason, attempt, "an alarm hook failed");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn run(hook: &AlarmHook, alarm: &Alarm, json: &[u8]) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    match hook {
        AlarmHook::Command(line) => {
            let mut child = Command::new("sh")
                .args(["-c", line])
                .env("WEFT_ALARM", alarm.kind.word())
                .env("WEFT_CHAIN", &alarm.chain_id)
                .env("WEFT_HEIGHT", alarm.kind.height().to_string())
                .stdin(Stdio::piped())
                // What `light-client` prints is for scripts.
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| text(&error))?;
            if let Some(mut stdin) = child.stdin.take() {
                // A command need not read it.
                stdin.write_all(json).await.ok();
            }
            let status = child.wait().await.map_err(|error| text(&error))?;
            if status.success() { Ok(()) } else { Err(status.to_string()) }
        }
        AlarmHook::Webhook(url) => {
            let request = reqwest::Client::new().post(url).header("content-type", "application/json");
            let response = request.body(json.to_vec()).send().await.map_err(|error| text(&error))?;
            response.error_for_status().map(drop).map_err(|error| text(&error))
        }
    }
}
