//! What every subcommand leaves behind: JSON, CSV and a plot.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use sim::Chart;

/// Where the answer goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// The directory to write to; created if there is none.
    #[arg(long, value_name = "DIR", default_value = "target/sim")]
    pub(crate) out: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Output {
    /// Writes `name`.json, .csv and .svg, and prints the answer: as JSON if asked for, or `text`.
    pub(crate) fn write(
        &self,
        name: &str,
        answer: &impl Serialize,
        csv: &str,
        chart: &Chart,
        text: &str,
    ) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(answer)?;
        json.push('\n');
        fs::create_dir_all(&self.out).with_context(|| format!("--out {}", self.out.display()))?;
        for (extension, text) in [("csv", csv), ("json", &json), ("svg", &chart.svg()?)] {
            let path = self.out.join(format!("{name}.{extension}"));
            fs::write(&path, text).with_context(|| format!("--out: writing {}", path.display()))?;
        }
        if self.json {
            return super::print(&json);
        }
        let written = self.out.join(format!("{name}.{{json,csv,svg}}"));
        super::print(&format!("{text}written      {}\n", written.display()))
    }
}

/// A bar that counts `things`.
pub(crate) fn progress(length: u64, things: &str) -> anyhow::Result<ProgressBar> {
    let template = format!("{{bar:40}} {{human_pos}} of {{human_len}} {things}, {{eta}} left");
    Ok(ProgressBar::new(length).with_style(ProgressStyle::with_template(&template)?))
}

/// Reads a width, with its limits in the message.
pub(crate) fn width(text: &str) -> anyhow::Result<erasure::Width> {
    let k: u32 = text.parse()?;
    Ok(erasure::Width::new(k)?)
}

/// What a question costs on this machine: printed, and no part of the answer.
pub(crate) struct Timed(Instant);

impl Timed {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The cost of an answer that took this many of these things.
    pub(crate) fn stop(&self, count: u64, things: &str) -> String {
        let seconds = self.0.elapsed().as_secs_f64();
        let rate = count as f64 / seconds / 1e6;
        let memory =
            peak_memory().map_or(String::new(), |bytes| format!("; {} of memory at most", HumanBytes(bytes)));
        format!(
            "cost         {} {things} in {seconds:.1} s, {rate:.1} million/s{memory}\n",
            HumanCount(count)
        )
    }
}

/// The most memory that this process has had, where Linux says so.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
