//! A soak: four validators, a full node and ten light clients under random faults and load for as long as asked.
//!
//! ```text
//!  seed ─▶ schedule ─▶ faults ─▶ machines ◀── load: submit, transfer, bond, read, follow
//!                                    │                       │
//!                                    ▼                       ▼
//!                               watch, every 3 s          the book: what was promised
//!                                    └── checks: the first broken one ends it ──┘
//!                                                    └─▶ target/soak: report.html, report.json, logs
//! ```
//!
//! `make soak MINUTES=60 SEED=7` runs it. The seed gives the faults, their times, and what each part of the load
//! does; what the system's scheduler makes of it differs from run to run.

mod checks;
mod finish;
mod load;
mod machines;
mod page;
mod plot;
mod report;
mod schedule;
mod shared;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use da_node::{devnet::dev_key, home::KeyRole};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::faults::{alone, field::VALIDATORS};
use checks::{Broken, PATIENCE};
use machines::{ACCOUNTS, FULL, Machines, name};
use schedule::{Draw, Episode, Fault};
use shared::Shared;
use watch::Watch;

/// The nodes that each submitter asks, the first as long as it answers.
const SUBMITTERS: [&[usize]; 6] = [&[1, 2], &[FULL, 3], &[FULL], &[4], &[2, FULL], &[3]];

/// Pause between two looks at whether a process has ended.
const LOOK: Duration = Duration::from_millis(500);

/// How long, and from which seed.
#[derive(Clone, Copy, Debug)]
struct Settings {
    length: Duration,
    seed: u64,
}

impl Settings {
    /// `SOAK_MINUTES`, 10 unless told, and `SOAK_SEED`, drawn unless told.
    fn read() -> Self {
        let number = |variable: &str| {
            let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{variable}: '{text}' is no whole number")))
        };
        let drawn = || {
            let mut seed = [0; 4];
            getrandom::fill(&mut seed).unwrap();
            u64::from(u32::from_be_bytes(seed))
        };
        let minutes = number("SOAK_MINUTES").unwrap_or(10);
        assert!(minutes >= 2, "SOAK_MINUTES: at least 2, the last of which has no faults; got {minutes}");
        Self { length: Duration::from_secs(60 * minutes), seed: number("SOAK_SEED").unwrap_or_else(drawn) }
    }
}

/// Where the report goes.
fn folder() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_da-node")).parent().unwrap();
    programs.parent().unwrap().join("soak")
}

#[test]
#[ignore = "minutes: make soak"]
fn soak() {
    alone("soak::soak", async || {
        let settings = Settings::read();
        println!("soak of {} minutes, seed {}", settings.length.as_secs() / 60, settings.seed);
        let schedule = schedule::draw(settings.seed, settings.length);
        let machines = Machines::start(settings.seed).await;
        let shared = Arc::new(Shared::new(machines.pids()));
        let report = Box::pin(run(settings, &schedule, machines, &shared)).await;
        let violations = shared.violations();
        println!("{}", report.summary());
        println!("report: {}", folder().join("report.html").display());
        assert!(violations.is_empty(), "seed {}: {violations:#?}", settings.seed);
    });
}

/// The soak itself, and its report, whatever came of it.
async fn run(
    settings: Settings,
    schedule: &[Episode],
    mut machines: Machines,
    shared: &Arc<Shared>,
) -> report::Report {
    let mut nodes = Vec::new();
    for node in 1..=FULL {
        nodes.push(machines.client(&[node]).await);
    }
    let draw = |purpose: &str| Draw::new(settings.seed, purpose);
    let watch = Watch::new(shared.clone(), &machines, nodes.clone(), draw("watch"));
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    let watching = tokio::spawn(watch.run(move || told.load(Ordering::Relaxed)));
    let mut endless = JoinSet::new();
    endless.spawn(load::read(shared.clone(), nodes.clone(), draw("read")));
    endless.spawn(load::follow(shared.clone(), machines.client(&[FULL, 2, 3]).await));
    let loading = start_load(settings.seed, &machines, shared).await;

    let faults = cause(schedule, settings.length, &mut machines, shared).await;
    shared.end();
    if !shared.is_broken() {
        let all = async {
            loading.join_all().await;
            Box::pin(finish::finish(shared, &machines, &nodes)).await;
        };
        if timeout(settings.length + 5 * PATIENCE, all).await.is_err() {
            shared.fail("the load or the last checks did not end".into());
        }
    }
    for (at, client) in nodes.iter().enumerate() {
        for rejected in client.rejected_nodes() {
            shared.fail(format!("{}: {rejected}", name(at + 1)));
        }
    }
    // While the machines still run.
    shared.must(exits(&mut machines));
    ended.store(true, Ordering::Relaxed);
    let seen = watching.await.unwrap();
    endless.shutdown().await;
    let report = report::Report::new(settings, &faults, seen, shared, &machines);
    report.write(&folder()).unwrap();
    report
}

async fn start_load(seed: u64, machines: &Machines, shared: &Arc<Shared>) -> JoinSet<()> {
    let mut loading = JoinSet::new();
    for (at, nodes) in SUBMITTERS.into_iter().enumerate() {
        let (client, account) = (machines.client(nodes).await, at % ACCOUNTS);
        let draw = Draw::new(seed, &format!("submitter {at}"));
        let key = dev_key(account).unwrap();
        loading.spawn(load::submit(shared.clone(), client, key, 1 + account, draw));
    }
    let accounts = (0..ACCOUNTS).map(|account| dev_key(account).unwrap()).collect();
    let operator = |number: usize| machines.field.home(number).account(KeyRole::Operator).unwrap();
    let operators = (1..=VALIDATORS).map(operator).collect();
    let client = machines.client(&[1, 2, 3, 4, FULL]).await;
    loading.spawn(load::transfer(shared.clone(), client, accounts, operators, Draw::new(seed, "transfer")));
    loading
}

/// Lets faults begin and end at their times, until the soak is over or something broke. Gives those that were there.
async fn cause(
    schedule: &[Episode],
    length: Duration,
    machines: &mut Machines,
    shared: &Arc<Shared>,
) -> Vec<Episode> {
    let begins = schedule.iter().map(|episode| (episode.from, true, &episode.fault));
    let ends = schedule.iter().map(|episode| (episode.to, false, &episode.fault));
    let mut events: Vec<_> = begins.chain(ends).collect();
    events.sort_by_key(|(at, ..)| *at);
    let mut active: Vec<(Duration, Fault)> = Vec::new();
    let mut caused = Vec::new();
    let mut events = events.into_iter().peekable();
    while shared.now() < length && !shared.is_broken() {
        shared.must(exits(machines));
        let due = |(at, ..): &(Duration, bool, &Fault)| shared.at(*at) <= Instant::now() + LOOK;
        let Some((at, begins, fault)) = events.next_if(due) else {
            sleep(LOOK).await;
            continue;
        };
        sleep_until(shared.at(at)).await;
        println!("{:>6.1} s  {}: {fault}", at.as_secs_f64(), if begins { "begins" } else { "ends" });
        if begins {
            active.push((shared.now(), fault.clone()));
            // Before it is gone: nobody may expect an answer then.
            tell(shared, &active, machines);
            shared.must(machines.begin(fault).await);
        } else {
            machines.end(fault);
            let place = active.iter().position(|(_, other)| other == fault).unwrap();
            let (from, fault) = active.remove(place);
            caused.push(Episode { from, to: shared.now(), fault });
        }
        let faults: Vec<_> = active.iter().map(|(_, fault)| fault.clone()).collect();
        machines.set_links(&faults);
        tell(shared, &active, machines);
    }
    caused.extend(active.into_iter().map(|(from, fault)| Episode { from, to: shared.now(), fault }));
    caused
}

fn tell(shared: &Shared, active: &[(Duration, Fault)], machines: &Machines) {
    let faults: Vec<_> = active.iter().map(|(_, fault)| fault.clone()).collect();
    shared.change(&faults, machines.pids());
}

/// No process ends unless it is asked to, or killed.
fn exits(machines: &mut Machines) -> Result<(), Broken> {
    match machines.ended().first() {
        Some((machine, status)) => Err(format!("{} ended by itself with {status}", name(*machine))),
        None => Ok(()),
    }
}
