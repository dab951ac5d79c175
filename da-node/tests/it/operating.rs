//! What an operator does beside running: stopping at a height, having the node looked at, making many folders.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use da_node::{home::Home, run};

use crate::support::eventually;

pub(crate) fn da_node(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_da-node")).args(args).env("RUST_LOG", "error").output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A validator of a chain of its own that writes a block a second, at ports of the system's choice.
pub(crate) fn fast_validator(home: &Path) {
    let made = da_node(&["init", "--home", home.to_str().unwrap(), "--chain-id", "weft-halt"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mut genesis: serde_json::Value =
        serde_json::from_slice(&fs::read(home.join("genesis.json")).unwrap()).unwrap();
    genesis["parameters"]["idle_interval_ms"] = 1_000.into();
    fs::write(home.join("genesis.json"), genesis.to_string()).unwrap();
    let settings = fs::read_to_string(home.join("node.toml")).unwrap();
    let settings = ["26656", "26658", "26660"].iter().fold(settings, |text, port| text.replace(port, "0"));
    fs::write(home.join("node.toml"), settings).unwrap();
}

#[test]
fn a_node_stops_at_the_height_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    fast_validator(&home);
    let home = home.to_str().unwrap();
    let halt_at = |height| da_node(&["run", "--home", home, "--halt-height", height]);

    let halted = halt_at("2");
    assert!(halted.status.success(), "{}", text(&halted.stderr));
    let again = halt_at("2");
    assert_eq!(again.status.code(), Some(1));
    let said = text(&again.stderr);
    assert!(said.contains("--halt-height 2 is past: this node has committed 2"), "{said}");
    // It goes on from there, and not from further.
    assert!(halt_at("4").status.success());
    assert!(text(&halt_at("3").stderr).contains("has committed 4"));
}

#[test]
fn the_doctor_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    fast_validator(&home);
    let arguments = ["doctor", "--home", home.to_str().unwrap(), "--ntp", "none"];
    let well = da_node(&arguments);
    assert!(well.status.success(), "{}{}", text(&well.stdout), text(&well.stderr));
    assert!(
        text(&well.stdout).contains("membership    validator 'weft' of power 10"),
        "{}",
        text(&well.stdout)
    );

    fs::create_dir(home.join("db")).unwrap();
    let ill = da_node(&arguments);
    assert_eq!(ill.status.code(), Some(1));
    assert!(text(&ill.stdout).contains("FAIL  signatures"), "{}", text(&ill.stdout));
    let json: serde_json::Value =
        serde_json::from_slice(&da_node(&[&arguments[..], &["--json"]].concat()).stdout).unwrap();
    let found = json.as_array().unwrap().iter().find(|finding| finding["check"] == "signatures").unwrap();
    assert_eq!(found["grade"], "fail");
    assert!(found["remedy"].as_str().unwrap().contains("engine/signed"));
}

/// Takes one request of `listener`, answers with `status`, gives its path and its JSON.
fn take(listener: &TcpListener, status: &str) -> (String, serde_json::Value) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = reader.by_ref().lines().map(Result::unwrap);
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let length =
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    (path, serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_webhook_hears_of_a_low_balance_even_if_it_fails_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    fast_validator(&home);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = fs::read_to_string(home.join("node.toml")).unwrap();
    let account = format!("0x{}", "07".repeat(20));
    let alarms = format!(
        "[alarms]\nwebhook = \"http://{}/weft\"\n[[alarms.watch]]\naccount = \"{account}\"\nbalance_below = 5\n",
        listener.local_addr().unwrap()
    );
    let (before, _) = settings.split_once("[alarms]").unwrap();
    fs::write(home.join("node.toml"), before.to_owned() + &alarms).unwrap();
    let mut node = Command::new(env!("CARGO_BIN_EXE_da-node"))
        .args(["run", "--home", home.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = [take(&listener, "500 Internal Server Error"), take(&listener, "200 OK")];
    node.kill().unwrap();
    node.wait().unwrap();
    assert_eq!(told[0], told[1]);
    let (path, alarm) = &told[0];
    assert_eq!(
        (path.as_str(), &alarm["alarm"], &alarm["raised"]),
        ("/weft", &"balance_low".into(), &true.into())
    );
    assert_eq!((alarm["subject"].as_str(), alarm["chain_id"].as_str()), (Some(&*account), Some("weft-halt")));
    assert!(alarm["message"].as_str().unwrap().contains("has 0 nano, below 5"), "{alarm}");
}

#[test]
fn a_list_of_machines_becomes_a_folder_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let (list, out) = (folder.path().join("hosts.txt"), folder.path().join("chain"));
    fs::write(&list, "alice 10.0.0.1\nbob 10.0.0.2 20\n").unwrap();
    let arguments = ["init", "--home", out.to_str().unwrap(), "--validators", list.to_str().unwrap()];
    let made = da_node(&arguments);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for name in ["alice", "bob"] {
        for file in ["node.toml", "genesis.json", "weft.service", "keys/consensus.key"] {
            assert!(out.join(name).join(file).exists(), "{name}/{file}");
        }
    }
    let again = da_node(&arguments);
    assert!(text(&again.stderr).contains("there already"), "{}", text(&again.stderr));
    fs::write(&list, "alice 10.0.0.1 none\n").unwrap();
    let wrong = da_node(&["init", "--home", out.to_str().unwrap(), "--validators", list.to_str().unwrap()]);
    assert!(text(&wrong.stderr).contains("line 1: power 'none'"), "{}", text(&wrong.stderr));
}

/// Names of the node's own metrics in a text, without the suffixes that Prometheus adds.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("weft_node_") || word.starts_with("weft_network_"))
        .map(|word| {
            ["_total", "_bucket"].iter().fold(word, |word, end| word.trim_end_matches(end)).to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_metrics_that_a_node_has() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    fast_validator(&home);
    let home = Home::new(home);
    let node = run::start(&home, run::Options::default()).await.unwrap();
    let api = node.running.api.clone();
    let mut shown = BTreeSet::new();
    eventually(Duration::from_secs(60), "a block's metrics", async || {
        shown = metric_names(&reqwest::get(format!("{api}/metrics")).await.ok()?.text().await.ok()?);
        shown.contains("weft_node_stage_seconds").then_some(())
    })
    .await;
    node.until(async {}).await.unwrap();
    let ops = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops");
    for file in ["grafana.json", "alerts.yml"] {
        let asked = metric_names(&fs::read_to_string(ops.join(file)).unwrap());
        assert!(asked.len() > 3, "{file}");
        let unknown: Vec<_> = asked.difference(&shown).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_slice(&fs::read(ops.join("grafana.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 8);
}
