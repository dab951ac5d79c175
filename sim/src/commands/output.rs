//! What every subcommand leaves behind: JSON, CSV and a plot.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
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
