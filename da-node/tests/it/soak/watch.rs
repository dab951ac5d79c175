//! Looks at every machine every few seconds, and at the money, the logs and `/proc` besides.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use blob_api::{Client, StatusBody};
use chain::{Amount, Genesis, LightBlock, StateKey, Unbonding, Validator};
use futures::future::{join_all, try_join_all};
use light_client::Status;
use tendermint::Time;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    checks::{Bounds, Headers, Held, Life, OF_LIGHTS, OF_NODES, Pace, Tips, honest, supply, untroubled},
    machines::{FULL, LIGHTS, name},
    schedule::Draw,
    shared::Shared,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Looks between two at the money.
const LOOKS_PER_SUPPLY: u64 = 4;

/// A machine that is well answers by then, unless this machine is very busy; it is asked again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Headers asked of a node in one look.
const HEADERS_A_LOOK: u64 = 60;

/// Attempts to read all accounts between two blocks.
const SUPPLY_ATTEMPTS: usize = 5;

/// What was seen of all machines at one time; machine 1 first.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) at: Duration,
    pub(super) heights: Vec<Option<u64>>,
    pub(super) held: Vec<Option<Held>>,
}

/// What a machine answered.
#[derive(Default)]
struct Answer {
    height: Option<u64>,
    headers: Vec<(u64, String, Option<Time>)>,
    metrics: String,
    light: Option<Status>,
}

pub(super) struct Watch {
    shared: Arc<Shared>,
    http: reqwest::Client,
    urls: Vec<String>,
    logs: Vec<Log>,
    alarms: Vec<PathBuf>,
    clients: Vec<Client>,
    genesis: Genesis,
    draw: Draw,
    headers: Headers,
    asked: Vec<u64>,
    /// The last height that each machine was seen at; a light client's is its highest available one.
    heights: Vec<Option<u64>>,
    tips: Tips,
    pace: Pace,
    lives: Vec<Vec<(u32, Life)>>,
    seen: Seen,
}

/// What the report shows of all looks.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: Vec<Row>,
    pub(super) block_times: BTreeMap<u64, Time>,
    pub(super) headers_compared: u64,
    pub(super) supplies: u64,
    pub(super) longest_pause: Duration,
    /// Lines of warnings and errors, by what they say.
    pub(super) said: BTreeMap<String, u64>,
    /// Bytes that the memory of each machine grew by in a warm life, at most.
    pub(super) growth: Vec<Option<f64>>,
}

impl Watch {
    pub(super) fn new(
        shared: Arc<Shared>,
        machines: &super::Machines,
        clients: Vec<Client>,
        draw: Draw,
    ) -> Self {
        let count = *LIGHTS.end();
        Self {
            http: reqwest::Client::builder().timeout(ANSWERS_WITHIN).build().unwrap(),
            urls: (1..=count).map(|machine| machines.url(machine)).collect(),
            logs: (1..=count).map(|machine| Log::new(machines.field.log(machine))).collect(),
            alarms: LIGHTS.map(|light| machines.alarms(light)).collect(),
            genesis: machines.genesis(),
            clients,
            draw,
            shared,
            headers: Headers::default(),
            asked: vec![0; count],
            heights: vec![None; count],
            tips: Tips::default(),
            pace: Pace::default(),
            lives: vec![Vec::new(); count],
            seen: Seen::default(),
        }
    }

    /// Looks until `enough` says so; gives what was seen.
    pub(super) async fn run(mut self, enough: impl Fn() -> bool) -> Seen {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 0.. {
            ticks.tick().await;
            Box::pin(self.look()).await;
            if look % LOOKS_PER_SUPPLY == 0 {
                Box::pin(self.look_at_supply()).await;
            }
            if enough() {
                break;
            }
        }
        for (at, lives) in self.lives.iter().enumerate() {
            lives.iter().for_each(|(_, life)| self.shared.must(life.bounded(&name(at + 1), bounds(at + 1))));
            let growths = lives.iter().filter_map(|(_, life)| life.growth());
            self.seen.growth.push(growths.reduce(f64::max));
        }
        self.seen.headers_compared = self.headers.compared;
        self.seen.longest_pause = self.pace.longest;
        self.seen
    }

    async fn look(&mut self) {
        let before = self.shared.world();
        let ask = async |at: usize| match before.running[at] {
            true => self.ask(at + 1, &self.urls[at], self.asked[at]).await,
            false => Answer::default(),
        };
        let answers = join_all((0..self.urls.len()).map(ask)).await;
        let (now, world) = (self.shared.now(), self.shared.world());
        for (at, answer) in answers.into_iter().enumerate() {
            self.take(at, answer);
        }
        let tip = self.heights[..FULL].iter().flatten().copied().max().unwrap_or(0);
        self.shared.must(self.pace.see(now, tip, world.quorum));
        self.tips.push(now, tip);
        for (at, height) in self.heights.iter().enumerate() {
            self.shared.must(self.tips.follows(&name(at + 1), now, world.well[at], *height));
        }
        let held = self.measure(now, &world.pids);
        let mut heights = self.heights.clone();
        heights.iter_mut().zip(&world.running).for_each(|(height, running)| {
            if !running {
                *height = None;
            }
        });
        self.seen.rows.push(Row { at: now, heights, held });
        for log in &mut self.logs {
            self.shared.must(log.read(&mut self.seen.said));
        }
        for (at, path) in self.alarms.iter().enumerate() {
            if let Ok(text) = fs::read_to_string(path) {
                self.shared.fail(format!("light{} raised an alarm: {}", at + 1, text.trim()));
            }
        }
    }

    async fn ask(&self, machine: usize, url: &str, asked: u64) -> Answer {
        let text = async |path: &str| {
            let answer = self.http.get(format!("{url}{path}")).send().await.ok()?;
            answer.error_for_status().ok()?.text().await.ok()
        };
        if machine > FULL {
            let status = text("/status").await.and_then(|text| serde_json::from_str::<Status>(&text).ok());
            let hash = status.as_ref().and_then(|s| Some((s.height, s.header_hash.clone()?, None)));
            return Answer {
                height: status.as_ref().and_then(|status| status.available_height),
                headers: hash.into_iter().collect(),
                light: status,
                ..Answer::default()
            };
        }
        let status = text("/v1/status").await.and_then(|text| serde_json::from_str::<StatusBody>(&text).ok());
        let Some(height) = status.map(|status| status.height) else { return Answer::default() };
        let mut headers = Vec::new();
        for height in asked + 1..=height.min(asked + HEADERS_A_LOOK) {
            let block = text(&format!("/v1/header/{height}")).await;
            let Some(block) = block.and_then(|text| serde_json::from_str::<LightBlock>(&text).ok()) else {
                break;
            };
            let header = block.signed_header.header;
            headers.push((height, header.hash().to_string().to_lowercase(), Some(header.time)));
        }
        let metrics = text("/metrics").await.unwrap_or_default();
        Answer { height: Some(height), headers, metrics, light: None }
    }

    fn take(&mut self, at: usize, answer: Answer) {
        let who = name(at + 1);
        self.heights[at] = answer.height.or(self.heights[at]);
        for (height, hash, time) in answer.headers {
            self.shared.must(self.headers.see(&who, height, &hash));
            self.asked[at] = height;
            if let Some(time) = time {
                self.seen.block_times.insert(height, time);
            }
        }
        self.shared.must(honest(&who, &answer.metrics));
        if let Some(status) = answer.light {
            self.shared.must(untroubled(&who, &status));
        }
    }

    /// What every process holds.
    fn measure(&mut self, now: Duration, pids: &[Option<u32>]) -> Vec<Option<Held>> {
        let mut all = Vec::new();
        for (at, pid) in pids.iter().enumerate() {
            let held = pid.and_then(held);
            if let (Some(pid), Some(held)) = (pid, held) {
                let lives = &mut self.lives[at];
                if lives.last().is_none_or(|(last, _)| last != pid) {
                    lives.push((*pid, Life::new(now)));
                }
                let (_, life) = lives.last_mut().unwrap();
                self.shared.must(life.see(&name(at + 1), now, held, bounds(at + 1)));
            }
            all.push(held);
        }
        all
    }

    /// Adds up all money by proofs under one header of a node that is well.
    async fn look_at_supply(&mut self) {
        let well = self.shared.well_nodes();
        if well.is_empty() {
            return;
        }
        let client = &self.clients[well[self.draw.below(well.len())] - 1];
        for _ in 0..SUPPLY_ATTEMPTS {
            // An account of a node that stops meanwhile cannot be read; the next look finds another.
            let Ok(Some(parts)) = parts(client, &self.genesis).await else { continue };
            self.shared.must(supply(self.genesis.supply().unwrap(), &parts));
            self.seen.supplies += 1;
            return;
        }
    }
}

fn bounds(machine: usize) -> &'static Bounds {
    if machine <= FULL { &OF_NODES } else { &OF_LIGHTS }
}

/// Memory and open files of a process; none if it has just ended.
fn held(pid: u32) -> Option<Held> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Held { resident: kib << 10, files })
}

/// All money by owner, as of one header; none if a block came in between.
async fn parts(
    client: &Client,
    genesis: &Genesis,
) -> Result<Option<Vec<(String, Amount)>>, blob_api::ClientError> {
    let ends = [StateKey::UnbondingStart, StateKey::UnbondingEnd];
    let ends = try_join_all(ends.map(|key| client.proven(key))).await?;
    let queue = ends[0].number().unwrap()..ends[1].number().unwrap();
    let accounts = genesis.accounts.iter().map(|account| StateKey::Account(account.address));
    let stakes = genesis.validators.iter().map(|validator| StateKey::Validator(validator.operator));
    let keys: Vec<_> =
        accounts.chain([StateKey::Burned]).chain(stakes).chain(queue.map(StateKey::Unbonding)).collect();
    let values = try_join_all(keys.iter().map(|key| client.proven(*key))).await?;
    let height = ends[0].header().height();
    if ends.iter().chain(&values).any(|value| value.header().height() != height) {
        return Ok(None);
    }
    let amount = |(key, value): (&StateKey, blob_api::VerifiedState)| {
        let amount = match (key, value.value()) {
            (StateKey::Validator(_), Some(bytes)) => Validator::decode(bytes).unwrap().stake,
            (StateKey::Unbonding(_), Some(bytes)) => Unbonding::decode(bytes).unwrap().amount,
            _ => value.number().unwrap(),
        };
        (key.to_string(), amount)
    };
    Ok(Some(keys.iter().zip(values).map(amount).collect()))
}

/// A log that grows.
struct Log {
    path: PathBuf,
    read: u64,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Counts new warnings and errors; no thread may have panicked.
    fn read(&mut self, said: &mut BTreeMap<String, u64>) -> Result<(), String> {
        let mut text = Vec::new();
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_end(&mut text).unwrap();
        // A line may be half written.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            if line.contains("panicked at") {
                return Err(format!("{}: {line}", self.path.display()));
            }
            if let Some(gist) = gist(line) {
                *said.entry(gist).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Level, module and message of a warning or an error, without what differs from one to the next: numbers, names.
fn gist(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let (level, rest) = match json["level"].as_str() {
        Some(level) => {
            let (target, message) = (json["target"].as_str(), json["fields"]["message"].as_str());
            (level, format!("{}: {}", target.unwrap_or(""), message.unwrap_or("")))
        }
        // A time comes first where it is not JSON.
        None => line.split_once(' ')?.1.trim_start().split_once(' ').map(|(l, rest)| (l, rest.to_owned()))?,
    };
    let (module, message) = rest.split_once(' ').unwrap_or((&rest, ""));
    let stays = |word: &&str| !word.contains(|c: char| c.is_ascii_digit());
    let words: Vec<_> = message.split_whitespace().take_while(stays).collect();
    matches!(level, "WARN" | "ERROR").then(|| format!("{level} {module} {}", words.join(" ")))
}

#[test]
fn a_panic_is_found_in_a_log_and_warnings_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let json = r#"{"level":"WARN","fields":{"message":"late by 7 s","height":7},"target":"da_node"}"#;
    fs::write(
        &path,
        format!("{json}\n{json}\nT  WARN light_client: slow peer=9\nT  INFO x: y\nthread 'a' pan"),
    )
    .unwrap();
    let (mut log, mut said) = (Log::new(path.clone()), BTreeMap::new());
    log.read(&mut said).unwrap();
    let expected = [("WARN da_node: late by".to_owned(), 2), ("WARN light_client: slow".to_owned(), 1)];
    assert_eq!(said, expected.into());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + "icked at src/lib.rs:1\n").unwrap();
    assert!(log.read(&mut said).unwrap_err().contains("panicked at src/lib.rs:1"));
}
