//! The `blob` command as a user runs it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    chain_in_memory::{Chain, FUNDS, key, namespace},
    nodes::{Manner, Server},
    sidecar::Deciding,
};

const RAW_KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

struct User {
    home: tempfile::TempDir,
    url: String,
}

impl User {
    /// A user with network.toml and a key in the environment.
    fn new(chain: &Chain, server: &Server) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("network.toml"), toml::to_string(&chain.network()).unwrap()).unwrap();
        Self { home, url: server.url.clone() }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("HOME", self.home.path()).env("WEFT_NODE", &self.url);
        command.env("WEFT_NETWORK", self.home.path().join("network.toml")).env("WEFT_KEY", RAW_KEY);
        command
    }

    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        text(self.command(args).output().await.unwrap())
    }

    async fn json(&self, args: &[&str]) -> serde_json::Value {
        let (code, out, err) = self.run(&[args, &["--json"]].concat()).await;
        assert!(code == 0 || code == 3, "{code}: {err}");
        serde_json::from_str(&out).unwrap()
    }
}

/// The command without a word from the environment.
fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blob"));
    for name in ["NODE", "NETWORK", "KEY", "KEY_FILE", "KEY_PASSWORD", "GATEWAY_STATE"] {
        command.env_remove(format!("WEFT_{name}"));
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn text(output: Output) -> (i32, String, String) {
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, err)
}

#[tokio::test]
async fn a_user_quotes_submits_follows_reads_lists_and_proves() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    let user = User::new(&chain, &server);
    let (file, out) = (user.path("file"), user.path("out"));
    std::fs::write(&file, vec![5; 3_000]).unwrap();
    let (ns, other) = ("0a0b0c", namespace(7).to_string());

    assert_eq!(user.json(&["quote", &file]).await["shares"], 7);
    assert_eq!(user.json(&["quote", "--bytes", "3000"]).await["shares"], 7);
    let submitting = user
        .command(&["submit", &file, "--namespace", ns, "--foreign", "keccak256,sha256", "--wait", "--json"])
        .output();
    let submitting = tokio::spawn(submitting);
    chain.pooled(1).await;
    chain.decide();
    let (code, text, err) = text(submitting.await.unwrap().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    let submitted: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&submitted["verified"], &submitted["height"]), (&true.into(), &2.into()));
    let id = submitted["id"].as_str().unwrap();
    let commitment = submitted["blobs"][0]["commitment"].as_str().unwrap();

    assert_eq!(user.json(&["status", id, "--wait"]).await["status"]["state"], "final");
    assert_eq!(user.json(&["status"]).await["height"], 2);
    let (code, text, _) = user.run(&["get", commitment, "-o", &out]).await;
    assert!(code == 0 && text.contains("3000 bytes"), "{text}");
    assert_eq!(std::fs::read(&out).unwrap(), vec![5; 3_000]);
    let got = user.command(&["get", commitment]).output().await.unwrap();
    assert_eq!(got.stdout, vec![5; 3_000]);
    let list = user.json(&["list", "--height", "2", "--namespace", ns]).await;
    assert_eq!(list["entries"][0]["commitment"], commitment);
    let proof = user.json(&["proof", commitment]).await;
    assert_eq!((&proof["height"], &proof["entry"]["foreign"][1]["kind"]), (&2.into(), &"sha256".into()));
    let account = user.json(&["account"]).await;
    assert_eq!(account["address"], key(1).address().to_string());
    assert!(account["balance"].as_u64().unwrap() < FUNDS);

    let foreign = format!("keccak256:{}", proof["entry"]["foreign"][0]["value"].as_str().unwrap());
    assert_eq!(user.json(&["proof", &foreign]).await, proof);
    assert_eq!(user.command(&["get", &foreign]).output().await.unwrap().stdout, vec![5; 3_000]);
    let (code, text, _) = user.run(&["follow", "-n", ns, "--from", "1", "--to", "2"]).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines[0], lines.len()), (0, "1  none", 2));
    assert!(lines[1].starts_with(&format!("2  {commitment}  3000 bytes")), "{text}");
    let (archive, folder) = (user.path("history.weft"), user.path("blobs"));
    let exported = user.json(&["export", &archive, "-n", ns]).await;
    assert_eq!((&exported["heights"], &exported["blobs"]), (&2.into(), &1.into()));
    let kept = exported["checkpoint"].as_str().unwrap();
    for trusted in [&[][..], &["--checkpoint", kept]] {
        let args = [&["import", &archive, "--output", &folder], trusted].concat();
        let (code, text, err) = user.run(&args).await;
        assert!(code == 0 && text.contains(commitment) && text.contains("verified"), "{text}{err}");
        assert_eq!(std::fs::read(Path::new(&folder).join("2-0")).unwrap(), vec![5; 3_000]);
    }
    let (code, _, err) = user.run(&["export", &archive, "-n", ns]).await;
    assert!(code == 1 && err.contains("exists already"), "{err}");
    let (code, _, err) = user.run(&["import", &file]).await;
    assert!(code == 1 && err.contains("no archive"), "{err}");
    let (code, text, _) = user.run(&["list", "--height", "2", "--namespace", &other]).await;
    assert!(code == 3 && text.contains("proven"), "{text}");
}

#[tokio::test]
async fn exit_codes_tell_usage_unreachable_and_false_proofs_apart() {
    let chain = Chain::new();
    let (server, liar) =
        (Server::start(&chain, Manner::Honest).await, Server::start(&chain, Manner::FlipsAByte).await);
    let user = User::new(&chain, &server);
    let file = user.path("file");
    std::fs::write(&file, "hello").unwrap();
    let submitted = user.json(&["submit", &file, "-n", "01"]).await;
    let commitment = submitted["blobs"][0]["commitment"].as_str().unwrap();

    let (code, _, err) = user.run(&["get", commitment, "--json"]).await;
    assert!(code == 4 && err.contains("\"code\":\"unreachable\""), "{err}");
    chain.decide();
    let (code, _, err) = user.run(&["get", commitment, "--node", &liar.url]).await;
    assert!(code == 5 && err.contains("false blob commitment proof") && err.contains(&liar.url), "{err}");
    let both = format!("{},{}", liar.url, server.url);
    let (code, out, err) = user.run(&["get", commitment, "--node", &both]).await;
    assert!(code == 0 && out == "hello" && err.contains("warning"), "{err}");

    let (code, _, err) = text(bare(&["get", commitment, "--node", &server.url]).output().await.unwrap());
    assert!(code == 2 && err.contains("network.toml"), "{err}");
    let (code, _, err) = text(bare(&["status"]).output().await.unwrap());
    assert!(code == 2 && err.contains("--node"), "{err}");
    assert_eq!(user.run(&["get", "zz"]).await.0, 2);
    let (code, _, err) = user.run(&["submit", &file, "-n", "00"]).await;
    assert!(code == 1 && err.contains("reserved"), "{err}");
    let (code, _, err) = user.run(&["status", &"00".repeat(32)]).await;
    assert!(code == 1 && err.contains("not heard"), "{err}");
}

#[tokio::test]
async fn keys_are_made_shown_and_imported_without_ever_being_an_argument() {
    let home = tempfile::tempdir().unwrap();
    let keys = |args: &[&str], raw: Option<&str>, password: &str| {
        let mut command = bare(&[&["keys"], args].concat());
        command.env("HOME", home.path()).env("WEFT_KEY_PASSWORD", password);
        raw.map(|raw| command.env("WEFT_KEY", raw));
        let output = command.output();
        async move { text(output.await.unwrap()) }
    };
    let (code, made, _) = keys(&["new"], None, "secret").await;
    assert!(code == 0 && made.starts_with("0x"), "{made}");
    assert!(home.path().join(".weft/key.json").exists());
    assert_eq!(keys(&["show"], None, "secret").await.1, made);
    let (code, _, err) = keys(&["show"], None, "other").await;
    assert!(code == 1 && err.contains("wrong password"), "{err}");
    let (code, _, err) = keys(&["new"], None, "secret").await;
    assert!(code == 1 && err.contains("exists already"), "{err}");
    let elsewhere = home.path().join("imported.json").display().to_string();
    let (code, imported, _) = keys(&["import", "--key-file", &elsewhere], Some(RAW_KEY), "secret").await;
    assert_eq!((code, imported.trim()), (0, key(1).address().to_string().as_str()));
    assert_eq!(keys(&["show", "--key-file", &elsewhere], None, "secret").await.1, imported);
    let (code, _, err) = keys(&["import", RAW_KEY], None, "secret").await;
    assert!(code == 2 && err.contains("unexpected argument"), "{err}");
}

/// A gateway with both doors, and the fields that it printed.
async fn gateway(user: &User) -> (Child, BTreeMap<String, String>) {
    let doors = ["--celestia", "127.0.0.1:0", "--op", "127.0.0.1:0", "--op-namespace", "c0ffee"];
    let args = [&["gateway", "--spend-limit", "2000000000"], &doors[..]].concat();
    let mut child = user.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut fields = BTreeMap::new();
    while !fields.contains_key("token") {
        let line = lines.next_line().await.unwrap().expect("the gateway ended");
        let (name, value) = line.split_once(' ').unwrap();
        fields.insert(name.to_owned(), value.trim().to_owned());
    }
    (child, fields)
}

async fn terminate(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_rollup_posts_through_the_gateway_and_it_stops_when_told_to() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    let user = User::new(&chain, &server);
    let _deciding = Deciding::start(&chain);
    let (child, fields) = gateway(&user).await;
    assert_eq!(fields["spent"], "0 WEFT of 2 WEFT within the last day");
    assert_eq!(fields["token"], user.path(".weft/gateway/token"));
    let token = std::fs::read_to_string(&fields["token"]).unwrap();
    let (http, op) = (reqwest::Client::new(), format!("{}/{}", fields["op"], token.trim()));

    let put = http.put(format!("{op}/put")).body("payload").send().await.unwrap();
    let mut commitment = put.error_for_status().unwrap().bytes().await.unwrap().to_vec();
    let got = http.get(format!("{op}/get/0x{}", hex::encode(&commitment))).send().await.unwrap();
    assert_eq!(got.error_for_status().unwrap().text().await.unwrap(), "payload");
    *commitment.last_mut().unwrap() ^= 1;
    let absent = http.get(format!("{op}/get/0x{}", hex::encode(&commitment))).send().await.unwrap();
    assert_eq!(absent.status(), 404);
    let stranger = http.put(format!("{}/wrong/put", fields["op"])).body("payload").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    let call =
        serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "header.WaitForHeight", "params": [2] });
    let header = http.post(&fields["celestia"]).bearer_auth(token.trim()).json(&call).send().await.unwrap();
    let header: serde_json::Value = header.json().await.unwrap();
    assert_eq!(header["result"]["height"], "2");
    terminate(child).await;

    // What was spent outlives it, and so does the token.
    let (child, again) = gateway(&user).await;
    assert_eq!(again["spent"], "0.000002 WEFT of 2 WEFT within the last day");
    assert_eq!(std::fs::read_to_string(&again["token"]).unwrap(), token);
    terminate(child).await;
}

/// `BLESS=1` writes what is, instead of comparing.
#[tokio::test]
async fn help_texts_are_as_reviewed() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let commands: [&[&str]; 22] = [
        &[],
        &["quote"],
        &["price"],
        &["submit"],
        &["status"],
        &["get"],
        &["list"],
        &["follow"],
        &["export"],
        &["import"],
        &["proof"],
        &["certificate"],
        &["account"],
        &["reserve"],
        &["reserve", "buy"],
        &["reserve", "extend"],
        &["reserve", "show"],
        &["gateway"],
        &["keys"],
        &["keys", "new"],
        &["keys", "show"],
        &["keys", "import"],
    ];
    for command in commands {
        let (code, help, _) = text(bare(&[command, &["--help"]].concat()).output().await.unwrap());
        assert_eq!(code, 0);
        let name = [&["blob"], command].concat().join("-");
        let path = snapshots.join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, expected, "{} differs; look at it, then run with BLESS=1", path.display());
    }
}
