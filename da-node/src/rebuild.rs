//! Rebuilding a square from whoever holds a part of it: full nodes by lines, light clients by cells.
//!
//! ```text
//!  cells ── which do you hold? ──┐
//!  lines of full nodes ──────────┼─▶ Repair ─▶ square
//!  samples ──────────────────────┘     │      or what proves the block wrong
//!     ▲                                │      or Unreachable
//!     └── what unlocks the next line ──┘
//! ```
//!
//! Light clients are asked over the connections that they opened. Everything is verified against the data root
//! before it counts. A line that does not verify puts nobody at fault: in a block that is no codeword, none does.
//! What such a line holds then comes cell by cell.
//!
//! Anybody can list cells. Whoever does not give one that it listed, or lets a request time out, is not asked again;
//! a cell's holders are asked in an order of its own, so that many such peers are found out at once.

use std::{
    collections::{BTreeMap, HashSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chain::Height;
use erasure::{
    Axis, Coordinates, Digest, FraudProof, Line, Repair, RepairError, RepairedSquare, Sample, VerifiedLine,
    VerifiedSample,
};
use futures::{StreamExt as _, stream};
use network::{HeldCell, Kind, Network, Offence, PeerId, Request, RequestError, decode_cells};
use tokio::{sync::Semaphore, task::JoinSet};

/// Requests under way at once.
const REQUESTS: usize = 32;

/// How long one rebuilding may take: the half of the widest squares' cells, of peers far away.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a rebuilding ends in.
#[derive(Debug)]
pub(crate) enum Rebuilt {
    /// The square, its index yet to be compared.
    Square(Box<RepairedSquare>),
    /// A proof that the block is wrong.
    Fraud(Box<FraudProof>),
}

/// Why a square cannot be rebuilt now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RebuildError {
    /// No peer has a cell of it.
    #[error("no peer has a cell of block {0}")]
    Nothing(Height),
    /// All that peers have does not suffice.
    #[error(
        "block {height} is unreachable: {missing} of {cells} cells are missing, and no peer has what would help"
    )]
    Unreachable {
        /// Which block.
        height: Height,
        /// Cells neither had nor decoded.
        missing: usize,
        /// Cells of the square.
        cells: usize,
    },
    /// Peers answer too slowly.
    #[error("block {height} was not rebuilt within {limit:?}")]
    Slow {
        /// Which block.
        height: Height,
        /// How long it may take.
        limit: Duration,
    },
    /// Cells that were verified do not fit together in a way that is no fraud: this node is at fault.
    #[error("block {height} cannot be repaired: {reason}")]
    Repair {
        /// Which block.
        height: Height,
        /// What the repairer says.
        reason: String,
    },
}

/// Asks peers for parts of one block.
#[derive(Clone)]
struct Source {
    network: Network,
    height: Height,
    data_root: Digest,
    places: Arc<Semaphore>,
    /// Peers that are not asked again.
    struck: Arc<Mutex<HashSet<PeerId>>>,
}

/// A peer that may have a cell.
#[derive(Clone, Copy)]
struct Holder {
    peer: PeerId,
    /// Whether it says so.
    listed: bool,
}

fn number(axis: Axis) -> u8 {
    match axis {
        Axis::Row => 0,
        Axis::Column => 1,
    }
}

const fn coordinates(HeldCell { row, column, axis }: HeldCell) -> Coordinates {
    Coordinates { row, column, axis: if axis == 0 { Axis::Row } else { Axis::Column } }
}

impl Source {
    fn peers(&self, kind: Kind) -> Vec<PeerId> {
        let peers = self.network.peers();
        peers.iter().filter(|peer| peer.serves.contains(&kind)).map(|peer| peer.id).collect()
    }

    /// The cells that peers say they hold, with who does.
    async fn held(&self) -> BTreeMap<HeldCell, Vec<PeerId>> {
        let mut asked = JoinSet::new();
        for peer in self.peers(Kind::Cells) {
            let source = self.clone();
            asked.spawn(async move {
                let answer = source.request(peer, Request::Cells { height: source.height }).await;
                let cells = match answer.as_deref().map(decode_cells) {
                    Some(Ok(cells)) => cells,
                    Some(Err(_)) => {
                        source.network.report(peer, Offence::Malformed).await;
                        Vec::new()
                    }
                    None => Vec::new(),
                };
                (peer, cells)
            });
        }
        let mut held = BTreeMap::<_, Vec<_>>::new();
        while let Some(answer) = asked.join_next().await {
            let (peer, cells) = answer.unwrap_or_else(|_| (self.network.id(), Vec::new()));
            for cell in cells {
                held.entry(cell).or_default().push(peer);
            }
        }
        for (turn, peers) in held.values_mut().enumerate() {
            let first = turn % peers.len().max(1);
            peers.rotate_left(first);
        }
        held
    }

    fn struck(&self) -> MutexGuard<'_, HashSet<PeerId>> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self, peer: PeerId, request: Request) -> Option<bytes::Bytes> {
        let _place = self.places.acquire().await.ok()?;
        if self.struck().contains(&peer) {
            return None;
        }
        let answer = self.network.request(peer, request).await;
        if let Err(RequestError::Timeout { .. }) = answer {
            self.struck().insert(peer);
        }
        answer.ok()
    }

    async fn sample(&self, at: Coordinates, holders: Vec<Holder>) -> Option<VerifiedSample> {
        let Coordinates { row, column, axis } = at;
        for Holder { peer, listed } in holders {
            let request = Request::Sample { height: self.height, row, column, axis: number(axis) };
            let Some(bytes) = self.request(peer, request).await else {
                if listed {
                    self.struck().insert(peer);
                }
                continue;
            };
            let sample = Sample::decode(&bytes).ok().and_then(|s| s.verify(&self.data_root, at).ok());
            match sample {
                Some(sample) => return Some(sample),
                None => self.network.report(peer, Offence::WrongProof).await,
            }
        }
        None
    }

    /// Those of these cells that a peer has.
    async fn samples(&self, wanted: impl Iterator<Item = (Coordinates, Vec<Holder>)>) -> Vec<VerifiedSample> {
        let mut asked = JoinSet::new();
        for (at, holders) in wanted.filter(|(_, holders)| !holders.is_empty()) {
            let source = self.clone();
            asked.spawn(async move { source.sample(at, holders).await });
        }
        let mut samples = Vec::new();
        while let Some(sample) = asked.join_next().await {
            samples.extend(sample.ok().flatten());
        }
        samples
    }

    async fn line(&self, axis: Axis, index: u16, peers: Vec<PeerId>) -> Option<VerifiedLine> {
        for peer in peers {
            let request = Request::Line { height: self.height, axis: number(axis), index };
            let Some(bytes) = self.request(peer, request).await else { continue };
            let Ok(line) = Line::decode(&bytes) else {
                self.network.report(peer, Offence::Malformed).await;
                continue;
            };
            let data_root = self.data_root;
            let verified =
                tokio::task::spawn_blocking(move || line.verify(&data_root, axis, index.into()).ok());
            if let Ok(Some(line)) = verified.await {
                return Some(line);
            }
        }
        None
    }

    /// The first `count` rows, as far as peers have them and they are codewords.
    async fn rows(&self, count: usize, peers: &[PeerId]) -> Vec<VerifiedLine> {
        let mut asked = JoinSet::new();
        for index in (0..count as u16).filter(|_| !peers.is_empty()) {
            let (source, peers) = (self.clone(), peers.to_vec());
            asked.spawn(async move { source.line(Axis::Row, index, peers).await });
        }
        let mut lines = Vec::new();
        while let Some(line) = asked.join_next().await {
            lines.extend(line.ok().flatten());
        }
        lines
    }
}

/// A repair under way, on a thread that may take its time.
async fn repair(
    mut repair: Repair,
    lines: Vec<VerifiedLine>,
    samples: Vec<VerifiedSample>,
) -> Option<(Repair, Result<RepairedSquare, RepairError>)> {
    let work = move || {
        let added = lines.iter().try_for_each(|line| repair.add_line(line));
        let added = added.and_then(|()| samples.iter().try_for_each(|sample| repair.add(sample)));
        let finished = added.and_then(|()| repair.finish());
        (repair, finished)
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Rebuilds the square of the block at `height` from what connected peers have.
///
/// # Errors
/// They have too little, or take too long.
pub(crate) async fn rebuild(
    network: &Network,
    height: Height,
    data_root: Digest,
) -> Result<Rebuilt, RebuildError> {
    let rebuilding = tokio::time::timeout(PATIENCE, rebuild_slowly(network, height, data_root));
    rebuilding.await.unwrap_or(Err(RebuildError::Slow { height, limit: PATIENCE }))
}

async fn rebuild_slowly(
    network: &Network,
    height: Height,
    data_root: Digest,
) -> Result<Rebuilt, RebuildError> {
    let places = Arc::new(Semaphore::new(REQUESTS));
    let source = Source { network: network.clone(), height, data_root, places, struck: Arc::default() };
    let failed = |reason: String| RebuildError::Repair { height, reason };
    let full = source.peers(Kind::Line);
    let mut held = source.held().await;
    let listed = |held: &BTreeMap<HeldCell, Vec<PeerId>>, at: Coordinates| -> Vec<Holder> {
        let cell = HeldCell { row: at.row, column: at.column, axis: number(at.axis) };
        held.get(&cell).into_iter().flatten().map(|&peer| Holder { peer, listed: true }).collect()
    };
    let unlisted = || full.iter().map(|&peer| Holder { peer, listed: false });

    // One cell tells the width and the roots.
    let first = {
        let corner = Coordinates { row: 0, column: 0, axis: Axis::Row };
        let firsts = held.keys().copied().map(coordinates).chain([corner]);
        let firsts =
            firsts.map(|at| source.sample(at, listed(&held, at).into_iter().chain(unlisted()).collect()));
        let found = stream::iter(firsts).buffer_unordered(REQUESTS).filter_map(std::future::ready);
        pin!(found).next().await.ok_or(RebuildError::Nothing(height))?
    };
    let (width, parts) = (first.width(), first.parts());
    let mut under_way = Repair::new(data_root, parts).map_err(|error| failed(error.to_string()))?;

    held.retain(|cell, _| usize::from(cell.row.max(cell.column)) < width.extended());
    let holders = |at| listed(&held, at).into_iter().chain(unlisted()).collect::<Vec<_>>();

    let lines = source.rows(width.get(), &full).await;
    let mut samples = vec![first];
    if lines.len() < width.get() {
        let cells = held.keys().copied().map(coordinates);
        samples.extend(source.samples(cells.map(|at| (at, listed(&held, at)))).await);
    }
    let (mut lines, mut samples) = (lines, samples);
    let mut probed = false;
    // Each turn brings a cell that was lacking, or is the last.
    loop {
        let turn = repair(under_way, std::mem::take(&mut lines), std::mem::take(&mut samples)).await;
        let (left, outcome) = turn.ok_or_else(|| failed("its thread ended early".into()))?;
        under_way = left;
        let (missing, cells) = match outcome {
            Ok(square) => return Ok(Rebuilt::Square(Box::new(square))),
            Err(RepairError::Inconsistent(found)) => {
                let proof = FraudProof::try_from(&*found).map_err(|error| failed(error.to_string()))?;
                return Ok(Rebuilt::Fraud(Box::new(proof)));
            }
            Err(RepairError::NotEnough { missing, cells }) => (missing, cells),
            Err(error) => return Err(failed(error.to_string())),
        };
        if !std::mem::replace(&mut probed, true) {
            // A cell of each line, through it: its root shows whether the line is what its cells encode to.
            let lines =
                (0..width.extended() as u16).flat_map(|i| [Axis::Row, Axis::Column].map(|axis| (i, axis)));
            let cells = lines.map(|(i, axis)| Coordinates { row: i, column: i, axis });
            samples = source.samples(cells.map(|at| (at, unlisted().collect()))).await;
        }
        if samples.is_empty() {
            let unlock = under_way.unlock();
            let wanted = unlock.iter().flat_map(|unlock| unlock.cells.iter().map(|at| (*at, holders(*at))));
            let enough = unlock.as_ref().map_or(0, |unlock| unlock.needed);
            let wanted: Vec<_> = wanted.filter(|(_, peers)| !peers.is_empty()).collect();
            // As many as are needed, then the others.
            for some in [&wanted[..enough.min(wanted.len())], &wanted[enough.min(wanted.len())..]] {
                if samples.len() < enough {
                    samples.extend(source.samples(some.iter().cloned()).await);
                }
            }
        }
        if samples.is_empty() {
            return Err(RebuildError::Unreachable { height, missing, cells });
        }
    }
}
