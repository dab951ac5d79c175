//! One table, and the same as JSON.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::{Measured, memory::Memory};

#[derive(Serialize)]
struct Record<'a> {
    #[serde(rename = "impl")]
    name: &'a str,
    op: &'a str,
    k: usize,
    threads: usize,
    bytes: usize,
    seconds_min: f64,
    seconds_median: f64,
    /// Times faster than `celestia-types` at the same width, by the best times; none for another operation than its.
    ratio_to_celestia: Option<f64>,
}

fn find<'a>(
    measured: &'a [Measured],
    name: &str,
    operation: &str,
    k: usize,
    threads: usize,
) -> Option<&'a Measured> {
    let mut all = measured.iter();
    all.find(|m| (m.name, m.operation, m.k, m.threads) == (name, operation, k, threads))
}

fn ratio_to_celestia(measured: &[Measured], of: &Measured) -> Option<f64> {
    // It extends and commits a square: neither extension alone, nor one line, nor repair compares.
    if !["commit", "commit, new buffers"].contains(&of.operation) {
        return None;
    }
    find(measured, "celestia-types", "commit", of.k, 1).map(|celestia| celestia.min() / of.min())
}

pub(crate) fn print(measured: &[Measured], memory: &Memory) {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header(["impl", "operation", "k", "threads", "best ms", "median ms", "MB/s", "× celestia"]);
    for m in measured {
        let ratio = ratio_to_celestia(measured, m).map_or("–".into(), |ratio| format!("{ratio:.1}"));
        table.add_row([
            m.name.into(),
            m.operation.into(),
            m.k.to_string(),
            m.threads.to_string(),
            format!("{:.2}", m.min() * 1e3),
            format!("{:.2}", m.median() * 1e3),
            format!("{:.0}", m.bytes as f64 / m.min() / 1e6),
            ratio,
        ]);
    }
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}\n");
    println!("memory, one thread: read {:.1} GB/s, copy {:.1} GB/s", memory.read / 1e9, memory.copy / 1e9);
    for m in measured.iter().filter(|m| (m.name, m.operation, m.threads) == ("weft", "commit", 1)) {
        println!("{}", shares_of_time(measured, m, memory));
    }
}

/// Where the time of a commit goes. The shares are read once and the upper half once more; four times
/// their bytes are written.
fn shares_of_time(measured: &[Measured], m: &Measured, memory: &Memory) -> String {
    let (bytes, total) = (m.bytes as f64, m.min());
    let bound = 2.0 * bytes / memory.copy + bytes / memory.read + 2.0 * bytes / memory.copy;
    let hash = (4 * m.k * m.k) as f64 * memory.hash_cell;
    let percent = |part: f64| 100.0 * part / total;
    let mut line = format!(
        "k = {}: {:.2} ns a byte; the memory alone would take {:.0} % of that, hashing from cache {:.0} %, \
         leaving {:.0} % to coding and what does not overlap",
        m.k,
        1e9 * total / bytes,
        percent(bound),
        percent(hash),
        percent((total - hash).max(0.0)),
    );
    let per_byte = |m: &Measured| m.min() / m.bytes as f64;
    if let Some(base) = find(measured, m.name, m.operation, 128, 1).filter(|_| m.k > 128) {
        line += &format!("; {:.2} × the time a byte of k = 128", per_byte(m) / per_byte(base));
    }
    if let Some(two) = find(measured, m.name, m.operation, m.k, 2) {
        line += &format!("; two threads {:.2} ×", total / two.min());
    }
    for buffers in ["", ", new buffers"] {
        let best = |operation: &str| {
            find(measured, m.name, &format!("{operation}{buffers}"), m.k, 1).map(Measured::min)
        };
        if let (Some(repair), Some(commit)) = (best("repair 40 %"), best("commit")) {
            line += &format!("; repair 40 %{buffers} {:.2} × a commit{buffers}", repair / commit);
        }
    }
    line
}

pub(crate) fn write(measured: &[Measured]) -> Result<()> {
    let records: Vec<Record<'_>> = measured
        .iter()
        .map(|m| Record {
            name: m.name,
            op: m.operation,
            k: m.k,
            threads: m.threads,
            bytes: m.bytes,
            seconds_min: m.min(),
            seconds_median: m.median(),
            ratio_to_celestia: ratio_to_celestia(measured, m),
        })
        .collect();
    let directory = PathBuf::from("target/bench");
    fs::create_dir_all(&directory).context("creating target/bench")?;
    let path = directory.join("erasure.json");
    fs::write(&path, serde_json::to_string_pretty(&records)?)
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_the_same_operation() {
        let of = |name, operation, threads, seconds| Measured {
            name,
            operation,
            threads,
            k: 64,
            bytes: 1,
            seconds: vec![seconds],
        };
        let measured = [
            of("weft", "commit", 1, 0.5),
            of("weft", "commit", 2, 0.25),
            of("weft", "commit, new buffers", 1, 1.0),
            of("weft", "repair 40 %", 1, 0.5),
            of("commonware-coding", "commit, one line", 1, 0.5),
            of("reed-solomon-simd", "extend only", 1, 0.5),
            of("celestia-types", "commit", 1, 2.0),
        ];
        let ratios = measured.each_ref().map(|of| ratio_to_celestia(&measured, of));
        assert_eq!(ratios, [Some(4.0), Some(8.0), Some(2.0), None, None, None, Some(1.0)]);
    }
}
