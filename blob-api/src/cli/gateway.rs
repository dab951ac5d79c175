//! `blob gateway`

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use blob_api::{Gateway, GatewayConfig, Spending, SpendingCap, SubmitOptions, Token, serve_door};
use chain::Amount;
use clap::ValueEnum;
use erasure::Namespace;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing_subscriber::EnvFilter;

use super::{End, Global, keys::KeyArgs, output};

const NOTES: &str = "\
One program beside the rollup opens the doors asked for, verifies what it reads and signs what it
submits. Clients show its token: as 'Authorization: Bearer <token>', or in front of the path
(http://127.0.0.1:3100/<token>). docs/gateway.md says how to set up ev-node and the OP Stack.";

/// Doors for existing rollup stacks: celestia-node's JSON-RPC (ev-node) and OP Stack alt-DA
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// Open the celestia-node door here, e.g. 127.0.0.1:26659
    #[arg(long, value_name = "ADDR", required_unless_present = "op")]
    celestia: Option<SocketAddr>,
    /// Open the OP Stack alt-DA door here, e.g. 127.0.0.1:3100
    #[arg(long, value_name = "ADDR", requires = "op_namespace")]
    op: Option<SocketAddr>,
    /// The OP rollup's namespace: 58 hexadecimal digits, or up to 20 of the user's id. As fixed as its inbox address
    #[arg(long, value_name = "NAMESPACE")]
    op_namespace: Option<Namespace>,
    /// The most that may be spent within the window, in nano. Beyond it, submissions are refused
    #[arg(long, value_name = "NANO")]
    spend_limit: Amount,
    /// The window that the limit is for; it slides
    #[arg(long, value_enum, default_value_t = Window::Day)]
    spend_window: Window,
    /// The most to pay per share, in nano. Default: what covers the base fee until the transaction expires
    #[arg(long, value_name = "NANO")]
    fee_cap: Option<u64>,
    /// Paid to the proposer per share, in nano
    #[arg(long, value_name = "NANO", default_value_t = 0)]
    tip: u64,
    /// Folder of the token and of the record of what was spent. Default: ~/.weft/gateway
    #[arg(long, value_name = "DIR", env = "WEFT_GATEWAY_STATE", hide_env_values = true)]
    state: Option<PathBuf>,
    /// Serve every program of this machine, without a token; on loopback addresses only
    #[arg(long)]
    no_token: bool,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Window {
    Hour,
    Day,
}

impl Window {
    const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    const fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::from_secs(3_600),
            Self::Day => Duration::from_secs(24 * 3_600),
        }
    }
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    let client = global.verifying_client()?;
    let key = args.key.load()?;
    let state = match &args.state {
        Some(state) => state.clone(),
        None => std::env::home_dir().context("no home directory; give --state")?.join(".weft/gateway"),
    };
    std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
    let token = token(&args, &state)?;
    let cap = SpendingCap { limit: args.spend_limit, window: args.spend_window.length() };
    let spending = Spending::open(&state.join("spending.json"), cap)?;

    let mut fields = vec![("account", key.address().to_string())];
    let (spent, limit) = (output::weft(spending.spent()), output::weft(cap.limit));
    fields.push(("spent", format!("{spent} of {limit} within the last {}", args.spend_window.name())));
    let submit = SubmitOptions { fee_cap: args.fee_cap, tip: args.tip, ..SubmitOptions::default() };
    let gateway = Gateway::start(client, key, spending, GatewayConfig { submit, ..GatewayConfig::default() });
    let mut doors = Vec::new();
    if let Some(address) = args.celestia {
        doors.push(("celestia", bind(address).await?, gateway.celestia()));
    }
    if let Some((address, namespace)) = args.op.zip(args.op_namespace) {
        doors.push(("op", bind(address).await?, gateway.op(namespace)));
    }
    for (name, listener, _) in &doors {
        fields.push((name, format!("http://{}", listener.local_addr()?)));
    }
    let token_file = state.join("token").display().to_string();
    fields.push((
        "token",
        if token.is_some() { token_file } else { "none: any program here may spend".into() },
    ));
    // Whoever has read where the doors are may stop the gateway from then on.
    let stop_asked = stop_asked()?;
    output::print_fields(&fields)?;

    let (stop, stopping) = watch::channel(false);
    let mut serving = JoinSet::new();
    for (_, listener, door) in doors {
        let mut stopping = stopping.clone();
        let stopped = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        serving.spawn(serve_door(listener, door, token.clone(), stopped));
    }
    tokio::select! {
        () = stop_asked => {}
        Some(ended) = serving.join_next() => bail!("a door closed: {ended:?}"),
    }
    gateway.stop();
    stop.send_replace(true);
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    Ok(End::Done)
}

fn token(args: &Args, state: &Path) -> Result<Option<Token>> {
    if !args.no_token {
        return Ok(Some(Token::load_or_create(&state.join("token"))?));
    }
    let doors = [args.celestia, args.op];
    if let Some(open) = doors.into_iter().flatten().find(|address| !address.ip().is_loopback()) {
        bail!("--no-token serves this machine only, and {open} is open to others; listen on 127.0.0.1");
    }
    Ok(None)
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Listens from now on; what it gives waits for Ctrl-C, or for what a process manager sends.
#[cfg(unix)]
fn stop_asked() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_asked() -> Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
