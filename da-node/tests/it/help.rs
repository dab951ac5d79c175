//! Help texts are what users have seen: a change shows in review.

use std::{path::Path, process::Command};

/// What `da-node` prints with these arguments and no environment.
fn shown(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_da-node")).args(args).env_clear().output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_texts_are_those_of_the_snapshot() {
    let mut help = shown(&["--help"]);
    for command in [
        "init", "run", "dev", "devnet", "demo", "keys", "bond", "unbond", "signal", "resume", "snapshot",
        "doctor",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is no subcommand any more");
        help += &format!("\n=== {command}\n{}", shown(&[command, "--help"]));
    }
    for command in ["save", "load"] {
        help += &format!("\n=== snapshot {command}\n{}", shown(&["snapshot", command, "--help"]));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &help).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(help, expected, "{} differs; look at it, then run with BLESS=1", path.display());
}
