//! What came of a soak: a page that needs nothing else, and the same in JSON.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Settings,
    checks::Held,
    load::{End, Sent, What},
    machines::{FULL, LIGHTS, Machines, name},
    page,
    plot::{Band, Chart, Drawn, Series},
    schedule::Episode,
    shared::{Shared, Violation},
    watch::{Row, Seen},
};

/// Lines of each log that the report of a failure shows.
const TAIL: usize = 15;

const MIB: f64 = 1_048_576.0;

#[derive(Debug, Serialize)]
pub(super) struct FaultLine {
    pub(super) from_seconds: f64,
    pub(super) to_seconds: f64,
    pub(super) halts: bool,
    pub(super) fault: String,
}

/// The numbers of a soak.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) minutes: f64,
    pub(super) violations: Vec<Violation>,
    pub(super) blocks: u64,
    pub(super) headers_compared: u64,
    pub(super) supply_checks: u64,
    pub(super) blobs_final: usize,
    pub(super) blob_bytes: usize,
    /// Transfers, bonds and unbonds that are final.
    pub(super) other_final: usize,
    pub(super) never_included: usize,
    pub(super) refused_for_want_of_room: u64,
    pub(super) blobs_read_back: u64,
    pub(super) followed_heights: usize,
    pub(super) seconds_to_final_median: f64,
    seconds_to_final_p99: f64,
    /// The longest time without a block while there was a quorum, from its return on.
    pub(super) longest_pause_seconds: f64,
    pub(super) machines: Vec<MachineLine>,
    pub(super) faults: Vec<FaultLine>,
    pub(super) looks: Vec<LookLine>,
    /// Warnings and errors in logs, and how often.
    pub(super) logged: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(super) charts: Vec<String>,
    #[serde(skip)]
    pub(super) tails: Vec<(String, String)>,
    #[serde(skip)]
    pub(super) logs: Vec<PathBuf>,
}

/// What was seen at one time, of each machine in the order of `machines`.
#[derive(Debug, Serialize)]
pub(super) struct LookLine {
    pub(super) seconds: f64,
    pub(super) heights: Vec<Option<u64>>,
    pub(super) resident_kib: Vec<Option<u64>>,
    pub(super) files: Vec<Option<u64>>,
}

#[derive(Debug, Serialize)]
pub(super) struct MachineLine {
    pub(super) name: String,
    pub(super) resident_mib_max: f64,
    pub(super) files_max: u64,
    /// Since it was warm, of a process that lived long enough.
    pub(super) growth_mib: Option<f64>,
}

impl Report {
    pub(super) fn new(
        settings: Settings,
        faults: &[Episode],
        seen: Seen,
        shared: &Shared,
        machines: &Machines,
    ) -> Self {
        let book = shared.book();
        let latencies: Vec<(f64, f64)> = book.sent.iter().filter_map(latency).collect();
        let finals = book.finals();
        let is_final = |end: &Option<End>| matches!(end, Some(End::Final { .. }));
        let others =
            book.sent.iter().filter(|sent| !matches!(sent.what, What::Blob(_)) && is_final(&sent.end));
        let bands: Vec<_> = faults.iter().map(band).collect();
        let violations = shared.violations();
        let tails = |_: &Violation| {
            (1..=*LIGHTS.end()).map(|machine| (name(machine), tail(&machines.field.log(machine))))
        };
        let seconds = shared.now().as_secs_f64();
        Self {
            seed: settings.seed,
            minutes: seconds / 60.0,
            blocks: seen.block_times.keys().next_back().copied().unwrap_or(0),
            headers_compared: seen.headers_compared,
            supply_checks: seen.supplies,
            blobs_final: finals.len(),
            blob_bytes: finals.iter().map(|(content, _)| content.len).sum(),
            other_final: others.count(),
            never_included: book.sent.iter().filter(|sent| !is_final(&sent.end)).count(),
            refused_for_want_of_room: book.refused,
            blobs_read_back: book.read_back,
            followed_heights: book.followed.len(),
            seconds_to_final_median: percentile(&latencies, 0.5),
            seconds_to_final_p99: percentile(&latencies, 0.99),
            longest_pause_seconds: seen.longest_pause.as_secs_f64(),
            machines: (1..=*LIGHTS.end()).map(|machine| MachineLine::new(machine, &seen)).collect(),
            charts: charts(&seen, &book.sent, &latencies, &bands, seconds),
            faults: faults.iter().map(fault_line).collect(),
            looks: seen.rows.iter().map(look_line).collect(),
            tails: violations.first().into_iter().flat_map(tails).collect(),
            violations,
            logged: seen.said,
            logs: (1..=*LIGHTS.end()).map(|machine| machines.field.log(machine)).collect(),
        }
    }

    /// Writes `report.html` and `report.json`; and all logs beside them, if something is broken.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let logs = folder.join("logs");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.json"), serde_json::to_string(self)? + "\n")?;
        fs::write(folder.join("report.html"), page::html(self))?;
        if !self.violations.is_empty() {
            fs::create_dir_all(&logs)?;
            for (at, log) in self.logs.iter().enumerate() {
                fs::copy(log, logs.join(format!("{}.log", name(at + 1))))?;
            }
        }
        Ok(())
    }

    /// The numbers in words.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("seed", self.seed.to_string()),
            ("length", format!("{:.1} minutes", self.minutes)),
            ("blocks", self.blocks.to_string()),
            ("blobs final", format!("{}, {:.1} MiB", self.blobs_final, self.blob_bytes as f64 / MIB)),
            ("transfers and stake", self.other_final.to_string()),
            ("never included", self.never_included.to_string()),
            (
                "seconds to final",
                format!("{:.1} median, {:.1} p99", self.seconds_to_final_median, self.seconds_to_final_p99),
            ),
            ("longest pause with a quorum", format!("{:.1} s", self.longest_pause_seconds)),
            ("blobs read back", self.blobs_read_back.to_string()),
            ("headers compared", self.headers_compared.to_string()),
            ("supply added up", format!("{} times", self.supply_checks)),
            ("heights followed", self.followed_heights.to_string()),
            ("faults", self.faults.len().to_string()),
        ]
    }

    /// A few lines for a terminal.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for (fact, value) in self.facts() {
            writeln!(text, "{fact:28} {value}").unwrap();
        }
        text
    }
}

impl MachineLine {
    fn new(machine: usize, seen: &Seen) -> Self {
        let held = || seen.rows.iter().filter_map(|row| row.held[machine - 1]);
        Self {
            name: name(machine),
            resident_mib_max: held().map(|held| held.resident).max().unwrap_or(0) as f64 / MIB,
            files_max: held().map(|held| held.files).max().unwrap_or(0),
            growth_mib: seen.growth[machine - 1].map(|growth| growth / MIB),
        }
    }
}

fn latency(sent: &Sent) -> Option<(f64, f64)> {
    match (&sent.what, sent.end) {
        (What::Blob(_), Some(End::Final { at, .. })) => {
            Some((sent.at.as_secs_f64(), at.saturating_sub(sent.at).as_secs_f64()))
        }
        _ => None,
    }
}

fn percentile(points: &[(f64, f64)], part: f64) -> f64 {
    let mut values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * part).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn band(episode: &Episode) -> Band {
    Band {
        from: episode.from.as_secs_f64(),
        to: episode.to.as_secs_f64(),
        text: episode.fault.to_string(),
        halts: episode.fault.halts(),
    }
}

fn fault_line(episode: &Episode) -> FaultLine {
    let Band { from, to, text, halts } = band(episode);
    FaultLine { from_seconds: from, to_seconds: to, halts, fault: text }
}

fn look_line(row: &Row) -> LookLine {
    let held = |what: fn(Held) -> u64| row.held.iter().map(|held| held.map(what)).collect();
    LookLine {
        seconds: row.at.as_secs_f64(),
        heights: row.heights.clone(),
        resident_kib: held(|held| held.resident >> 10),
        files: held(|held| held.files),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn charts(seen: &Seen, sent: &[Sent], latencies: &[(f64, f64)], bands: &[Band], seconds: f64) -> Vec<String> {
    let chart = |title, unit, series| Chart { title, unit, seconds, series, bands }.html();
    // A line of each machine, with gaps where it was away.
    let of = |name: String,
              colour,
              machines: RangeInclusive<usize>,
              value: &dyn Fn(&Row, usize) -> Option<f64>| {
        let line = |machine: usize| {
            let points = seen.rows.iter().map(|row| (row.at.as_secs_f64(), value(row, machine - 1)));
            let points: Vec<_> = points.collect();
            let parts = points.split(|(_, value)| value.is_none()).filter(|part| !part.is_empty());
            parts
                .map(|part| part.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect())
                .collect::<Vec<_>>()
        };
        Series { name, colour, drawn: Drawn::Line, lines: machines.flat_map(line).collect() }
    };
    let lights = |value| of("light clients".into(), 0, LIGHTS, value);
    let nodes = |value| (1..=FULL).map(|node| of(name(node), node, node..=node, value)).collect::<Vec<_>>();
    let each = |value| [vec![lights(value)], nodes(value)].concat();
    let height = |row: &Row, at: usize| row.heights[at].map(|height| height as f64);
    let memory = |row: &Row, at: usize| row.held[at].map(|held| held.resident as f64 / MIB);
    let files = |row: &Row, at: usize| row.held[at].map(|held| held.files as f64);
    let end = |sent: &Sent| match sent.end {
        Some(End::Final { at, .. }) => Some(at.as_secs_f64()),
        _ => None,
    };
    let submitted = counted(sent.iter().map(|sent| sent.at.as_secs_f64()).collect());
    let finals = counted(sent.iter().filter_map(end).collect());
    let one =
        |name: &str, colour, drawn, points| Series { name: name.into(), colour, drawn, lines: vec![points] };
    vec![
        chart(
            "Height of each machine",
            "blocks; a light client's is its highest available block",
            each(&height),
        ),
        chart(
            "Block time",
            "seconds since the block before, by the headers",
            vec![one("blocks", 1, Drawn::Dots, block_times(seen, seconds))],
        ),
        chart(
            "Submissions",
            "in all",
            vec![one("submitted", 1, Drawn::Line, submitted), one("final", 3, Drawn::Line, finals)],
        ),
        chart(
            "Time to finality",
            "seconds, by the time of submission",
            vec![one("blobs", 1, Drawn::Dots, latencies.to_vec())],
        ),
        chart("Memory of nodes", "MiB resident", nodes(&memory)),
        chart("Memory of light clients", "MiB resident", vec![lights(&memory)]),
        chart("Open files", "sockets among them", each(&files)),
    ]
}

/// How many there were until each of these times.
fn counted(mut times: Vec<f64>) -> Vec<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    times.into_iter().enumerate().map(|(at, time)| (time, (at + 1) as f64)).collect()
}

/// Seconds between each header and the one before, over the time of the soak: the last header is about as old as the
/// last look.
fn block_times(seen: &Seen, seconds: f64) -> Vec<(f64, f64)> {
    let Some((_, last)) = seen.block_times.last_key_value() else { return Vec::new() };
    let mut points = Vec::new();
    for ((_, before), (_, time)) in seen.block_times.iter().zip(seen.block_times.iter().skip(1)) {
        let gap = time.duration_since(*before).unwrap_or_default().as_secs_f64();
        let at = seconds - last.duration_since(*time).unwrap_or_default().as_secs_f64();
        if at >= 0.0 {
            points.push((at, gap));
        }
    }
    points
}
