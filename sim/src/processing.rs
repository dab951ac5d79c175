//! How long the work at a node takes: what `processing.toml` says, or the benchmarks' JSON if it is asked for.

use std::path::Path;

use anyhow::{Context as _, ensure};
use erasure::Width;
use serde::{Deserialize, Serialize};

use crate::events::Nanos;

/// Times of one core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processing {
    /// Where `commit` comes from.
    pub commit_source: String,
    /// Extending and committing a square, at least one width.
    pub commit: Vec<Commit>,
    /// Where `vote_check_nanos` comes from.
    pub vote_source: String,
    /// Checking one copy of a vote.
    pub vote_check_nanos: Nanos,
}

/// Extending and committing a square.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its width.
    pub k: u64,
    /// How long it takes.
    pub nanos: Nanos,
}

/// One line of `erasure.json`, as `make bench-erasure` writes it.
#[derive(Debug, Deserialize)]
struct Bench {
    r#impl: String,
    op: String,
    k: u64,
    threads: u64,
    seconds_median: f64,
}

impl Commit {
    fn measured(line: &Bench) -> anyhow::Result<Self> {
        let &Bench { k, seconds_median, .. } = line;
        Width::new(u32::try_from(k).unwrap_or(u32::MAX))?;
        ensure!(
            (0.0..=600.0).contains(&seconds_median),
            "a commit takes 0 to 600 seconds, got {seconds_median}"
        );
        Ok(Self { k, nanos: (seconds_median * 1e9) as Nanos })
    }
}

impl Processing {
    /// What `processing.toml` says.
    ///
    /// # Errors
    /// The file that was compiled in is wrong.
    pub fn committed() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("../processing.toml"))?)
    }

    /// The same, with Weft's commits on one thread from the benchmarks' `erasure.json`.
    ///
    /// # Errors
    /// The file cannot be read, is none of the benchmarks', or has no such commit or an impossible one.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let processing = Self::committed()?;
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let lines: Vec<Bench> =
            serde_json::from_str(&text).with_context(|| format!("{} is no benchmark", file.display()))?;
        let ours = lines
            .iter()
            .filter(|line| (line.r#impl.as_str(), line.op.as_str(), line.threads) == ("weft", "commit", 1));
        let commit: Vec<Commit> = ours
            .map(Commit::measured)
            .collect::<anyhow::Result<_>>()
            .with_context(|| format!("benchmark {}", file.display()))?;
        ensure!(!commit.is_empty(), "{} has no commit of weft on one thread", file.display());
        Ok(Self { commit_source: file.display().to_string(), commit, ..processing })
    }

    /// Extending and committing a square of this width: as measured, or in proportion to the next one measured.
    #[must_use]
    pub fn commit(&self, width: Width) -> Nanos {
        let k = width.get() as u64;
        let nearest = self.commit.iter().min_by_key(|commit| commit.k.abs_diff(k));
        nearest.map_or(0, |commit| commit.nanos * k * k / (commit.k * commit.k).max(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn commits_come_from_the_benchmark_and_scale_with_bytes() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("erasure.json");
        let width = |k| Width::new(k).unwrap();
        let missing = Processing::read(&file).unwrap_err();
        assert!(format!("{missing:#}").contains("erasure.json: No such file"), "{missing:#}");
        let committed = Processing::committed().unwrap();
        assert_eq!((committed.commit(width(128)), committed.commit(width(512))), (15_000_000, 241_200_000));

        let of = |k: u64, name: &str, op: &str, threads: u64, seconds: f64| {
            serde_json::json!({ "impl": name, "op": op, "k": k, "threads": threads, "bytes": 1, "seconds_min": 0.0,
                "seconds_median": seconds, "ratio_to_celestia": null })
        };
        let line = |name, op, threads, seconds| of(128, name, op, threads, seconds);
        let lines = [
            line("celestia-types", "commit", 1, 9.0),
            line("weft", "commit", 2, 8.0),
            line("weft", "repair", 1, 7.0),
            line("weft", "commit", 1, 0.02),
        ];
        std::fs::write(&file, serde_json::to_vec(&lines).unwrap()).unwrap();
        let measured = Processing::read(&file).unwrap();
        assert_eq!((measured.commit(width(128)), measured.commit(width(64))), (20_000_000, 5_000_000));
        assert_eq!(measured.commit_source, file.display().to_string());

        for (lines, says) in [
            (vec![of(0, "weft", "commit", 1, 0.02)], "from 2 to 512, got 0"),
            (vec![of(96, "weft", "commit", 1, 0.02)], "from 2 to 512, got 96"),
            (vec![of(1 << 40, "weft", "commit", 1, 0.02)], "from 2 to 512"),
            (vec![line("weft", "commit", 1, -0.02)], "0 to 600 seconds, got -0.02"),
            (vec![line("weft", "commit", 1, 1e300)], "0 to 600 seconds"),
            (vec![line("weft", "commit", 2, 0.02)], "no commit of weft on one thread"),
        ] {
            std::fs::write(&file, serde_json::to_vec(&lines).unwrap()).unwrap();
            let error = format!("{:#}", Processing::read(&file).unwrap_err());
            assert!(error.contains(says) && error.contains("erasure.json"), "{says}: {error}");
        }
        std::fs::write(&file, "{}").unwrap();
        assert!(Processing::read(&file).unwrap_err().to_string().contains("no benchmark"));
    }
}
