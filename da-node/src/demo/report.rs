//! What the demo found, as a table and as JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use chain::NANO_PER_WEFT;
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;

/// One blob's way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BlobRow {
    pub(super) file: String,
    pub(super) namespace: String,
    pub(super) bytes: u64,
    /// Nano charged.
    pub(super) price: u64,
    pub(super) height: u64,
    pub(super) seconds_to_final: f64,
    pub(super) light_clients_available: usize,
    pub(super) verified: bool,
    pub(super) commitment: String,
}

/// What one light client reached and used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LightRow {
    /// At the full block.
    pub(super) confidence: f64,
    pub(super) resident_bytes: u64,
    /// While the full block was sampled, everything included.
    pub(super) wire_bytes_per_block: u64,
    pub(super) blocks_sampled: u64,
}

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) blobs: Vec<BlobRow>,
    pub(super) light_clients: Vec<LightRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<String>,
}

impl Report {
    /// A report that is ok if every blob was verified and sampled by `lights` clients and nothing else failed.
    pub(super) fn new(
        blobs: Vec<BlobRow>,
        light_clients: Vec<LightRow>,
        lights: usize,
        mut failures: Vec<String>,
    ) -> Self {
        for blob in &blobs {
            if !blob.verified {
                failures.push(format!("{} was not read back as it was submitted", blob.file));
            }
            if blob.light_clients_available < lights {
                failures.push(format!(
                    "{} is available to {} of {lights} light clients",
                    blob.file, blob.light_clients_available
                ));
            }
        }
        Self { ok: failures.is_empty(), blobs, light_clients, failures }
    }

    /// Writes the JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Prints the tables.
    pub(super) fn print(&self) {
        let yes = |yes: bool| if yes { "yes" } else { "NO" }.to_owned();
        let mut blobs =
            table(&["blob", "namespace", "bytes", "WEFT", "height", "final after", "sampled by", "verified"]);
        for row in &self.blobs {
            blobs.add_row([
                row.file.clone(),
                row.namespace.trim_start_matches('0').to_owned(),
                row.bytes.to_string(),
                format!("{:.6}", row.price as f64 / NANO_PER_WEFT as f64),
                row.height.to_string(),
                format!("{:.1} s", row.seconds_to_final),
                format!("{} clients", row.light_clients_available),
                yes(row.verified),
            ]);
        }
        println!("\n{blobs}");
        let mut lights =
            table(&["light client", "confidence at 8 MiB", "memory", "on the wire for it", "blocks"]);
        for (at, row) in self.light_clients.iter().enumerate() {
            lights.add_row([
                format!("light-{at}"),
                format!("{:.4} %", row.confidence * 100.0),
                format!("{:.1} MiB", row.resident_bytes as f64 / f64::from(1 << 20)),
                format!("{:.1} KB", row.wire_bytes_per_block as f64 / 1_000.0),
                row.blocks_sampled.to_string(),
            ]);
        }
        println!("{lights}");
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
