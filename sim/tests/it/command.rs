//! The `sim` command.

use std::path::Path;
use std::process::{Command, Output};

fn sim(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// `BLESS=1` writes what is, instead of comparing.
#[test]
fn help_texts_are_as_reviewed() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let commands: [&[&str]; 3] = [&[], &["sampling"], &["validate"]];
    for command in commands {
        let (code, help, _) = sim(&[command, &["--help"]].concat());
        assert_eq!(code, Some(0));
        let path = snapshots.join(format!("{}.txt", [&["sim"], command].concat().join("-")));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, expected, "{} differs; look at it, then run with BLESS=1", path.display());
    }
}

#[test]
fn sampling_writes_the_same_files_for_the_same_seed() {
    let home = tempfile::tempdir().unwrap();
    let run = |name: &str, seed: &str| {
        let out = home.path().join(name);
        let at = out.display().to_string();
        let args = ["sampling", "--width", "16", "--samples", "60", "--clients", "3000", "--json"];
        let (code, stdout, stderr) = sim(&[&args[..], &["--seed", seed, "--out", &at]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let read = |name| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(stdout, read("sampling.json"));
        [stdout, read("sampling.csv"), read("sampling.svg")]
    };
    let [json, csv, svg] = run("first", "1");
    assert_eq!(run("second", "1"), [json.clone(), csv.clone(), svg.clone()]);
    assert_ne!(run("third", "2"), [json.clone(), csv.clone(), svg.clone()]);

    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["withheld"], &json["cells"]), (&289.into(), &1024.into()));
    assert_eq!(json["points"].as_array().unwrap().len(), 60);
    assert_eq!(csv.lines().count(), 61);
    assert!(svg.starts_with("<svg ") && svg.contains("closed form") && !svg.contains("NaN"));
}

#[test]
fn a_bad_argument_is_named_with_its_limit() {
    for (args, says) in [
        (["--width", "100"], "power of two from 2 to 512, got 100"),
        (["--width", "1024"], "power of two from 2 to 512, got 1024"),
        (["--samples", "0"], "--samples <N>"),
        (["--clients", "0"], "--clients <N>"),
    ] {
        let (code, _, stderr) = sim(&[&["sampling"], &args[..]].concat());
        assert!(code == Some(2) && stderr.contains(says), "{args:?}: {stderr}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let at = file.path().display().to_string();
    let (code, _, stderr) = sim(&["sampling", "--clients", "1", "--out", &at]);
    assert!(code == Some(1) && stderr.contains("--out"), "{stderr}");
}

#[test]
fn published_numbers_come_out() {
    let (code, stdout, stderr) = sim(&["validate"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("48 numbers, 0 missed\n"), "{stdout}");
    let (code, stdout, _) = sim(&["validate", "--json"]);
    let checks: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, checks.as_array().unwrap().len()), (Some(0), 48));
}
