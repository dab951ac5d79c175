//! How results and errors look.

use std::time::Duration;

use anyhow::Result;
use blob_api::{Client, ForeignBody};
use chain::{Amount, NANO_PER_WEFT};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// Writes a line to stdout; a closed pipe is an error, not a panic.
pub(super) fn line(text: impl std::fmt::Display) -> Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Prints names and values, one a line.
pub(super) fn print_fields(fields: &[(&str, String)]) -> Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        line(format_args!("{name:width$}  {value}"))?;
    }
    Ok(())
}

/// Prints a table.
pub(super) fn print_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    line(table)
}

/// Reports an error on stderr.
pub(super) fn error(json: bool, code: &str, message: &str) {
    if json {
        eprintln!("{}", json!({ "error": { "code": code, "message": message } }));
    } else {
        eprintln!("error: {message}");
    }
}

/// Reports nodes that were caught lying while another one answered.
pub(super) fn warn_rejected(client: &Client) {
    for node in client.rejected_nodes() {
        eprintln!("warning: {node}; asked another node");
    }
}

/// An amount in WEFT, exactly.
pub(super) fn weft(amount: Amount) -> String {
    let (whole, nano) = (amount / NANO_PER_WEFT, amount % NANO_PER_WEFT);
    let text = format!("{whole}.{nano:09}");
    format!("{} WEFT", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Foreign commitments in one cell.
pub(super) fn foreign(list: &[ForeignBody]) -> String {
    list.iter().map(|f| format!("{}:{}", f.kind, hex::encode(f.value))).collect::<Vec<_>>().join(" ")
}

/// A bar over bytes on stderr; hidden where that is no terminal, and with `--json`.
pub(super) fn upload_bar(json: bool, bytes: u64) -> ProgressBar {
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(bytes) };
    let style = ProgressStyle::with_template("uploading {bar:32} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A spinner with the time since it began.
pub(super) fn spinner(json: bool, text: &str) -> ProgressBar {
    let spinner = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let spinner = spinner.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.set_message(text.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(weft(0), "0 WEFT");
        assert_eq!(weft(1), "0.000000001 WEFT");
        assert_eq!(weft(2_500_000_000), "2.5 WEFT");
        assert_eq!(weft(100_000_000_000), "100 WEFT");
    }
}
