//! A file that remembers what was last signed.
//!
//! The engine's log keeps a validator from signing twice, but it is reset at every height and may
//! be lost. The guard is independent of it: before a signature leaves, its height, round and the
//! hash of its bytes are on disk, and nothing at or before that point is signed again unless it is
//! the same message. One line for each kind of message:
//!
//! ```text
//! prevote 1041 0 5d2c…(64 hex digits)
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tendermint::crypto::{Sha256 as _, default::Sha256};
use tracing::trace;

/// The kinds of message that must not be signed twice in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A proposer's claim.
    Proposal,
    /// First vote.
    Prevote,
    /// Second vote.
    Precommit,
    /// What a validator says of a finished block, of which it says one thing only; its round is 0.
    Attestation,
}

impl Step {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Proposal, "proposal"),
        (Self::Prevote, "prevote"),
        (Self::Precommit, "precommit"),
        (Self::Attestation, "attestation"),
    ];
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Something later, or something else in the same round, has been signed before. Either the
    /// data directory is older than the guard, or the key is in use twice.
    #[error(
        "refused to sign a {kind} at height {height} round {round}: already signed up to height {last_height} round {last_round}"
    )]
    AlreadySigned {
        /// Kind of message.
        kind: &'static str,
        /// Height asked for.
        height: u64,
        /// Round asked for.
        round: u32,
        /// Height of the last signature of this kind.
        last_height: u64,
        /// Its round.
        last_round: u32,
    },
    /// The file is not what the guard wrote. Restore it, or make sure by other means that the key
    /// signs nothing twice.
    #[error("{}: line {line} is malformed", path.display())]
    Malformed {
        /// The guard's file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The guard's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    height: u64,
    round: u32,
    hash: [u8; 32],
}

pub(crate) type Marks = [Option<Mark>; Step::ALL.len()];

/// The last signature of each kind.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    marks: Mutex<Marks>,
}

impl Guard {
    /// Reads the file at `path`; a file that does not exist means that nothing was ever signed.
    pub fn open(path: &Path) -> Result<Self, GuardError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(GuardError::Io { path: path.to_owned(), source });
            }
        };
        let marks = read(&text).map_err(|line| GuardError::Malformed { path: path.to_owned(), line })?;
        Ok(Self { path: path.to_owned(), marks: Mutex::new(marks) })
    }

    /// On success `message` may be signed, and the file says so.
    pub fn admit(&self, step: Step, height: u64, round: u32, message: &[u8]) -> Result<(), GuardError> {
        let mark = Mark { height, round, hash: Sha256::digest(message) };
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = marks[step as usize] {
            if last == mark {
                return Ok(());
            }
            if (height, round) <= (last.height, last.round) {
                return Err(GuardError::AlreadySigned {
                    kind: Step::ALL[step as usize].1,
                    height,
                    round,
                    last_height: last.height,
                    last_round: last.round,
                });
            }
        }
        let mut next = *marks;
        next[step as usize] = Some(mark);
        trace!(height, round, "recording a signature");
        self.write(&next).map_err(|source| GuardError::Io { path: self.path.clone(), source })?;
        trace!(height, round, "signature recorded");
        *marks = next;
        Ok(())
    }

    /// Replaces the file, durably: all of the new one or all of the old one survives a crash.
    fn write(&self, marks: &Marks) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(written(marks).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The file's text.
pub(crate) fn written(marks: &Marks) -> String {
    let lines = Step::ALL.iter().zip(marks).filter_map(|((_, name), mark)| Some(line(name, mark.as_ref()?)));
    lines.collect()
}

fn line(name: &str, Mark { height, round, hash }: &Mark) -> String {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {height} {round} {hash}\n")
}

/// Reads what [`written`] wrote; the number of the first line that it did not. No line may lower what another says.
pub(crate) fn read(text: &str) -> Result<Marks, usize> {
    let mut marks = Marks::default();
    for (content, number) in text.split_inclusive('\n').zip(1..) {
        let (step, mark) = parse(content).ok_or(number)?;
        let before = marks[step as usize].replace(mark);
        if before.is_some() || line(Step::ALL[step as usize].1, &mark) != content {
            return Err(number);
        }
    }
    Ok(marks)
}

fn parse(line: &str) -> Option<(Step, Mark)> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let name = words.next()?;
    let (step, _) = Step::ALL.into_iter().find(|(_, known)| *known == name)?;
    let (height, round) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let hex = words.next().filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    words.next().is_none().then_some((step, Mark { height, round, hash }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn the_same_message_is_signed_again_and_another_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signed");
        let guard = Guard::open(&path).unwrap();
        guard.admit(Step::Prevote, 5, 1, b"a").unwrap();
        guard.admit(Step::Prevote, 5, 1, b"a").unwrap();
        guard.admit(Step::Precommit, 5, 1, b"b").unwrap();
        for (height, round, message) in [(5, 1, b"c"), (5, 0, b"a"), (4, 9, b"a")] {
            let refused = guard.admit(Step::Prevote, height, round, message);
            assert!(matches!(refused, Err(GuardError::AlreadySigned { .. })), "{refused:?}");
        }

        let reopened = Guard::open(&path).unwrap();
        assert!(reopened.admit(Step::Prevote, 5, 1, b"c").is_err());
        reopened.admit(Step::Prevote, 5, 1, b"a").unwrap();
        reopened.admit(Step::Prevote, 5, 2, b"c").unwrap();
        assert!(reopened.admit(Step::Precommit, 5, 1, b"c").is_err());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signed");
        let good = format!("prevote 5 1 {}\n", "0a".repeat(32));
        let plus = good.replacen("0a", "+a", 1);
        let torn = good.trim_end();
        for text in ["prevote 5 1\n", "prevote 5 1 zz\n", "vote 5 1 00\n", "prevote -5 1 00\n", &plus, torn] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Guard::open(&path), Err(GuardError::Malformed { line: 1, .. })), "{text}");
        }
        // The later line says less than the earlier.
        fs::write(&path, good.clone() + &good.replacen('5', "4", 1)).unwrap();
        assert!(matches!(Guard::open(&path), Err(GuardError::Malformed { line: 2, .. })));
    }
}
