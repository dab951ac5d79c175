//! `light-client resume`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use chain::Checkpoint;
use light_client::resume;

use super::read_network;

/// Start from a new checkpoint: after an alarm that you have judged, or an absence longer than the
/// trusting period.
///
/// Take the checkpoint from somebody you trust: whoever names it decides which chain you follow.
/// What was learned below the height in doubt is kept, and so is the evidence.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network's file.
    #[arg(long, value_name = "FILE", env = "WEFT_NETWORK")]
    network: PathBuf,
    /// The directory of the client's state. The client must not be running.
    #[arg(long, value_name = "DIR", env = "WEFT_LIGHT_HOME")]
    home: PathBuf,
    /// Height and header hash of a block that you trust, younger than the trusting period.
    #[arg(long, value_name = "HEIGHT:HASH")]
    checkpoint: CheckpointText,
}

#[derive(Clone, Debug, PartialEq)]
struct CheckpointText(Checkpoint);

impl FromStr for CheckpointText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "write a height above 0, a colon and a hash of 64 hexadecimal digits";
        let (height, hash) = text.split_once(':').ok_or(expected)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| expected)?;
        match height.parse() {
            Ok(height) if height > 0 => Ok(Self(Checkpoint { height, hash: bytes })),
            _ => Err(expected),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let network = read_network(&args.network)?;
    let checkpoint = &args.checkpoint.0;
    let resumed = resume(&args.home, &network, checkpoint)?;
    let mut stdout = std::io::stdout();
    match resumed.halt {
        Some(halt) => {
            writeln!(stdout, "had halted: {halt}")?;
            writeln!(stdout, "evidence stays in {}", halt.evidence.display())?;
        }
        None => writeln!(stdout, "had not halted")?,
    }
    writeln!(stdout, "forgot heights from {} on", resumed.forgotten_from)?;
    writeln!(stdout, "the next run starts from height {}", checkpoint.height)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_height_and_a_hash() {
        let hash = "ab".repeat(32);
        let read = |text: &str| text.parse::<CheckpointText>();
        let expected = CheckpointText(Checkpoint { height: 7, hash: [0xab; 32] });
        assert_eq!(read(&format!("7:{hash}")), Ok(expected));
        for text in
            ["7", &hash, "0:", "7:ab", &format!("0:{hash}"), &format!("-1:{hash}"), &format!("x:{hash}")]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
