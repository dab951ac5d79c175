//! A validator that dies as by a power cut when a step of a height is reached, for the test of crashes:
//! `crash STEP COUNT HOME` aborts at the COUNT-th event whose message begins with STEP. Until then it is an honest
//! node.
//!
//! Steps are the node's own log events, and the engine's: each stands between two writes, or between a write and a
//! message.

use std::{
    fmt::{Debug, Write as _},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use da_node::{home::Home, run};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

struct Crash {
    step: String,
    left: AtomicU32,
}

impl<S: Subscriber> Layer<S> for Crash {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| {
            if field.name() == "message" {
                // Writing to a string does not fail.
                let _ = write!(message, "{value:?}");
            }
        });
        if message.starts_with(&self.step) && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().with_context(|| format!("which {what}?"));
    let (step, count, home) = (next("step")?, next("count")?.parse()?, next("home")?);
    let steps = ["arc_malachitebft_engine", "arc_malachitebft_network", "consensus", "da_node"];
    let crash = Crash { step, left: AtomicU32::new(count) };
    tracing_subscriber::registry()
        .with(crash.with_filter(Targets::new().with_targets(steps.map(|target| (target, Level::TRACE)))))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(LevelFilter::INFO))
        .init();
    let node = run::start(&Home::new(home), run::Options::default()).await?;
    node.until(std::future::pending()).await
}
