//! The `sim` command.

use std::path::Path;
use std::process::{Command, Output};

use erasure::keccak256;

fn sim(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// `BLESS=1` writes what is, instead of comparing.
#[test]
fn help_texts_are_as_reviewed() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let commands: [&[&str]; 8] = [
        &[],
        &["sampling"],
        &["reconstruction"],
        &["propagation"],
        &["consensus"],
        &["fees"],
        &["events"],
        &["validate"],
    ];
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
    for (args, says) in [
        (["reconstruction", "--churn", "90.5"], "from 0 to 90 percent, got 90.5"),
        (["reconstruction", "--silent", "100"], "from 0 to 90 percent, got 100"),
        (["events", "--waiting", "50000001"], "50000001 is not in 1..=50000000"),
        (["events", "--waiting", "0"], "0 is not in 1..=50000000"),
    ] {
        let (code, _, stderr) = sim(&args);
        assert!(code == Some(2) && stderr.contains(says), "{args:?}: {stderr}");
    }
    for command in ["propagation", "consensus"] {
        let (code, _, stderr) = sim(&[command, "--benchmarks", "no/such.json"]);
        assert!(code == Some(1) && stderr.contains("no/such.json"), "{stderr}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let at = file.path().display().to_string();
    let (code, _, stderr) = sim(&["sampling", "--clients", "1", "--out", &at]);
    assert!(code == Some(1) && stderr.contains("--out"), "{stderr}");
}

/// What each subcommand writes for a small question.
fn small(out: &Path, question: &[&str], seed: &str) -> [String; 3] {
    let at = out.display().to_string();
    let (code, stdout, stderr) = sim(&[question, &["--json", "--seed", seed, "--out", &at]].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{question:?}");
    let files = ["json", "csv", "svg"]
        .map(|extension| std::fs::read_to_string(out.join(format!("{}.{extension}", question[0]))).unwrap());
    assert_eq!(stdout, files[0]);
    assert!(files[2].starts_with("<svg ") && !files[2].contains("NaN"));
    files
}

/// How many of the questions below have a pinned answer.
const PINNED: usize = 7;

#[test]
fn one_seed_gives_one_result_and_another_seed_another() {
    let questions: [&[&str]; 10] = [
        &["sampling", "--adversary", "random", "--width", "16", "--clients", "500"],
        &["sampling", "--adversary", "linkable", "--width", "16", "--samples", "16", "--clients", "500"],
        &["sampling", "--adversary", "unlinkable", "--width", "16", "--samples", "16", "--clients", "500"],
        &["sampling", "--adversary", "victim", "--width", "16", "--clients", "500"],
        &["reconstruction", "--width", "16", "--trials", "20", "--churn", "30", "--silent", "10"],
        &["consensus", "--validators", "7", "--widths", "16,32", "--interval-ms", "0", "--runs", "2"],
        &["fees", "--blocks", "24", "--runs", "2"],
        &["propagation", "--width", "32", "--clients", "300", "--real", "20", "--runs", "2"],
        &[
            "propagation",
            "--scenario",
            "scenarios/attack.toml",
            "--width",
            "16",
            "--clients",
            "300",
            "--runs",
            "1",
        ],
        &[
            "consensus",
            "--scenario",
            "scenarios/storm.toml",
            "--validators",
            "7",
            "--widths",
            "32",
            "--runs",
            "1",
        ],
    ];
    // Every machine must find these, to the bit. What depends on the light client's patience is not pinned: it changes
    // with it.
    let mut answers = String::new();
    for question in &questions[..PINNED] {
        let home = tempfile::tempdir().unwrap();
        let [json, ..] = small(home.path(), question, "1");
        let digest: String = keccak256(json.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        answers += &format!("{digest} {}\n", question.join(" "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/answers.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &answers).unwrap();
    }
    assert_eq!(answers, std::fs::read_to_string(&path).unwrap(), "other answers than before");
    for question in questions {
        let home = tempfile::tempdir().unwrap();
        let first = small(home.path(), question, "1");
        assert_eq!(first, small(home.path(), question, "1"), "{question:?}");
        assert_ne!(first[0], small(home.path(), question, "2")[0], "{question:?}");
    }
}

#[test]
fn events_come_in_the_same_order_everywhere() {
    let digest = |seed: &str| {
        let (code, stdout, _) = sim(&["events", "--events", "50000", "--waiting", "1000", "--seed", seed]);
        assert_eq!(code, Some(0));
        stdout.split("digest ").nth(1).unwrap()[..16].to_owned()
    };
    assert_eq!(digest("1"), digest("1"));
    assert_ne!(digest("1"), digest("2"));
}

#[test]
fn known_numbers_come_out_and_say_where_they_are_from() {
    let (code, stdout, stderr) = sim(&["validate"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("\n237 numbers, 0 missed\n"), "{stdout}");
    assert!(sim(&["validate", "--help"]).1.contains("Prints 237 numbers"));
    let (code, json, _) = sim(&["validate", "--json"]);
    let checks: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let from = |source: &str| checks.iter().filter(|check| check["source"] == source).count();
    assert_eq!((code, checks.len()), (Some(0), 237));
    assert_eq!((from("published"), from("measured"), from("worked-out")), (13, 10, 214));
}

/// What lies in the working directory does not change an answer, and what was asked for is named in it.
#[test]
fn benchmarks_count_only_when_they_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("target/bench")).unwrap();
    let line =
        serde_json::json!([{ "impl": "weft", "op": "commit", "k": 16, "threads": 1, "seconds_median": 2.0 }]);
    std::fs::write(home.path().join("target/bench/erasure.json"), line.to_string()).unwrap();
    let answer = |question: &[&str], more: &[&str]| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args([question, &["--json", "--runs", "1"], more].concat())
            .current_dir(&home)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let measured = &["--benchmarks", "target/bench/erasure.json"];
    let question = ["consensus", "--validators", "4", "--widths", "16", "--mbits", "1000"];
    let [default, asked] = [&[][..], measured].map(|more| answer(&question, more));
    assert!(default["processing"]["commit_source"].as_str().unwrap().starts_with("make bench-erasure"));
    assert_eq!(asked["processing"]["commit_source"], "target/bench/erasure.json");
    assert_ne!(default["cases"], asked["cases"]);
    let question = ["propagation", "--width", "16", "--clients", "50", "--real", "0"];
    let [default, asked] = [&[][..], measured].map(|more| answer(&question, more));
    assert!(default["rebuild_source"].as_str().unwrap().starts_with("make bench-erasure"));
    assert_eq!(
        (&asked["rebuild_source"], &asked["rebuild_ms"]),
        (&"target/bench/erasure.json".into(), &2000.0.into())
    );
}
