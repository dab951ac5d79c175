//! `light-client status`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use light_client::{HeightReport, StateReport, Status};

use super::STATUS_ADDR;

/// Show which blocks the running client found published, and at what cost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The running client's status endpoint.
    #[arg(long, value_name = "URL", default_value_t = format!("http://{STATUS_ADDR}"))]
    url: String,
    /// Heights to show.
    #[arg(long, value_name = "N", default_value_t = 10)]
    heights: usize,
    /// Print the whole status as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.url.trim_end_matches('/');
    let url = url.strip_suffix("/status").unwrap_or(url);
    let answer = reqwest::get(format!("{url}/status"))
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("--url {url}: no light client answers there"))?;
    let status: Status = answer.json().await.context("not a light client's status")?;
    let mut stdout = std::io::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut stdout, &status)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}", render(&status, args.heights))?;
    }
    let alarm = |report: &HeightReport| {
        matches!(report.state, StateReport::Unavailable { .. } | StateReport::Fraud { .. })
    };
    let stopped = status.halted.is_some() || status.outdated.is_some();
    Ok(match stopped || status.heights.iter().any(alarm) {
        true => ExitCode::from(3),
        false => ExitCode::SUCCESS,
    })
}

fn render(status: &Status, heights: usize) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["height", "state", "confidence", "samples", "width"]);
    for report in status.heights.iter().take(heights) {
        let width = report.width.map_or_else(|| "?".to_owned(), |k| k.to_string());
        table.add_row([
            report.height.to_string(),
            describe(&report.state),
            report.state.confidence().map_or_else(|| "-".to_owned(), percent),
            report.samples.to_string(),
            width,
        ]);
    }
    let sampled = match (status.available_height, status.confidence) {
        (Some(height), Some(confidence)) => {
            format!("height {height} is available with {}", percent(confidence))
        }
        _ => "no block is known to be available yet".to_owned(),
    };
    let connection = match status.offline_since {
        Some(_) => "OFFLINE".to_owned(),
        None => format!("{} peers", status.peers),
    };
    let mut notes = String::new();
    if let Some(halt) = &status.halted {
        notes += &format!(
            "HALTED: {halt}\n  evidence: {}; once you have judged it: light-client resume\n",
            halt.evidence.display()
        );
    }
    if let Some(unknown) = &status.outdated {
        notes += &format!("OUTDATED: {unknown}\n");
    }
    if let Some(budget) = status.budget {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        notes += &format!(
            "budget: {:.1} MB a day, {:.2} MB of it at once now\n",
            mb(budget.bytes_per_day),
            mb(budget.left_bytes)
        );
    }
    format!(
        "{} at height {}, {connection}\n{notes}{sampled}; {} blocks sampled\n\
         {} in, {} out, {} a block; {} of memory\n{table}\n",
        status.chain_id,
        status.height,
        status.blocks_sampled,
        kib(status.wire_bytes.received),
        kib(status.wire_bytes.sent),
        kib(status.wire_bytes.per_block),
        kib(status.resident_bytes),
    )
}

fn describe(state: &StateReport) -> String {
    match state {
        StateReport::Unavailable { cells, asked, .. } => {
            format!("UNAVAILABLE: {} cells missing, {} peers asked", cells.len(), asked.len())
        }
        StateReport::Skipped { reason } => format!("skipped: {reason}"),
        StateReport::Fraud { proof } => format!("FRAUD: {proof}"),
        StateReport::Pending | StateReport::Available { .. } => state.word().to_owned(),
    }
}

fn percent(confidence: f64) -> String {
    format!("{:.3} %", confidence * 100.0)
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use light_client::{BudgetReport, WireBytes};

    use super::*;

    #[test]
    fn the_table_shows_what_is_known_and_what_is_not() {
        let report = |height, state, samples, width| HeightReport {
            height,
            state,
            samples,
            width,
            available_at: None,
        };
        let status = Status {
            chain_id: "weft-test".to_owned(),
            height: 9,
            header_hash: Some("5a".repeat(32)),
            available_height: Some(8),
            confidence: Some(0.99915),
            wanted_confidence: 0.999,
            blocks_sampled: 2,
            offline_since: None,
            last_sample: Some(1),
            peers: 4,
            wire_bytes: WireBytes { received: 60 << 10, sent: 4 << 10, per_block: 32 << 10 },
            resident_bytes: 20 << 20,
            witnessed_height: Some(9),
            halted: None,
            outdated: None,
            budget: Some(BudgetReport { bytes_per_day: 24_000_000, left_bytes: 1_000_000 }),
            heights: vec![
                report(9, StateReport::Pending, 0, None),
                report(8, StateReport::Available { confidence: 0.99915 }, 24, Some(128)),
            ],
        };
        let expected = "\
weft-test at height 9, 4 peers
budget: 24.0 MB a day, 1.00 MB of it at once now
height 8 is available with 99.915 %; 2 blocks sampled
60.0 KiB in, 4.0 KiB out, 32.0 KiB a block; 20480.0 KiB of memory
──────────────────────────────────────────────────────
 height   state       confidence   samples   width 
══════════════════════════════════════════════════════
 9        pending     -            0         ?     
──────────────────────────────────────────────────────
 8        available   99.915 %     24        128   
──────────────────────────────────────────────────────
";
        let trimmed = |text: &str| {
            let lines: Vec<_> = text.lines().map(|line| line.trim_matches(['─', '═', ' '])).collect();
            lines.join("\n")
        };
        assert_eq!(trimmed(&render(&status, 10)), trimmed(expected));
    }
}
