//! Sampling blocks: carries out what each height's [`BlockSampler`] wants.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use erasure::{Axis, Coordinates, Digest, Sample};
use network::{Kind, Offence, PeerId, Refusal, Request, RequestError};

use super::{Done, Worker};
use crate::alarm::AlarmKind;
use crate::event::Event;
use crate::sampler::{Answer, BlockSampler, Control, Effect, Fault, Millis, SkipReason, State, Task, check};
use crate::status::{HeightReport, StateReport};
use crate::store::StoreError;

use super::following::Gap;

/// Blocks sampled at once. Beyond that, the oldest unavailable ones are no longer retried.
const SAMPLERS_AT_MOST: usize = 256;

/// Available blocks whose cells serve as controls.
const CONTROL_BLOCKS: usize = 8;

impl Worker {
    /// Takes up what was under way when the client stopped.
    pub(super) fn restore(&mut self) -> Result<(), StoreError> {
        let store = self.args.store.clone();
        for report in self.reports.values().rev() {
            if self.controls.len() == CONTROL_BLOCKS {
                break;
            }
            if report.state.confidence().is_some() {
                self.controls.extend(control_of(&store, report.height)?);
            }
        }
        let open: Vec<HeightReport> = self.reports.values().cloned().collect();
        // The pending heights that have no header yet, up to the one at hand.
        let mut floor = None;
        for report in open {
            let height = report.height;
            let Some(header) = store.header(height)? else {
                if report.state == StateReport::Pending {
                    floor.get_or_insert(height);
                }
                continue;
            };
            if let Some(floor) = floor.take() {
                let cursor = header.light_block()?;
                match self.args.headers.trust(cursor, &header.checkpoint()) {
                    Ok(cursor) => self.gaps.push(Gap { cursor, floor }),
                    // Too old to be trusted any more, and so is what lies below.
                    Err(_) => (floor..height).for_each(|height| {
                        self.record(HeightReport::skipped(height, SkipReason::OutsideWindow));
                    }),
                }
            }
            if report.state.is_over_budget() {
                self.left_out.insert(height, header.data_root);
            }
            let alarm = match report.state {
                StateReport::Pending => None,
                StateReport::Unavailable { since, .. } => Some(Millis(since)),
                _ => continue,
            };
            let kept = store.samples(height)?;
            let mut sampler = self.sampler(height, header.data_root);
            sampler.restore(kept.iter().map(Vec::as_slice), alarm);
            self.samplers.insert(height, sampler);
        }
        Ok(())
    }

    fn sampler(&self, height: u64, data_root: Digest) -> BlockSampler<PeerId> {
        BlockSampler::new(Task {
            height,
            data_root,
            seed: self.args.store.seed().clone(),
            wanted: self.args.config.confidence,
            timing: self.args.config.timing.clone(),
        })
    }

    pub(super) fn begin(&mut self, height: u64, data_root: Digest) {
        let sampler = self.sampler(height, data_root);
        self.samplers.insert(height, sampler);
        if self.samplers.len() > SAMPLERS_AT_MOST {
            let mut heights = self.samplers.iter();
            let given_up = heights.find(|(_, sampler)| sampler.alarmed());
            let given_up = given_up.map(|(&height, _)| height);
            given_up.and_then(|height| self.samplers.remove(&height));
        }
    }

    pub(super) fn record(&mut self, report: HeightReport) {
        self.batch.reports.push(report.clone());
        self.reports.insert(report.height, report);
    }

    /// Asks for cells, the newest block's first, as far as there is room for requests.
    pub(super) async fn sample(&mut self, now: Millis) -> Result<(), StoreError> {
        self.take_up(now);
        let peers = self.peers(Kind::Sample);
        let mut room = self.args.config.requests_at_once.saturating_sub(self.asking);
        let mut effects = VecDeque::new();
        for (&height, sampler) in self.samplers.iter_mut().rev() {
            for effect in sampler.poll(now, &peers, room) {
                if matches!(effect, Effect::Ask { .. }) {
                    room -= 1;
                }
                effects.push_back((height, effect));
            }
        }
        self.perform(effects).await
    }

    pub(super) async fn sampled(
        &mut self,
        height: u64,
        peer: PeerId,
        at: Coordinates,
        answer: Result<Bytes, RequestError>,
    ) -> Result<(), StoreError> {
        self.asking -= 1;
        let answer = match &answer {
            Ok(bytes) => Answer::Bytes(bytes),
            Err(RequestError::Refused(Refusal::NotFound | Refusal::Pruned)) => Answer::Nothing,
            Err(_) => Answer::Failed,
        };
        let Some(sampler) = self.samplers.get_mut(&height) else {
            return Ok(());
        };
        let effects = sampler.answered(peer, at, answer);
        self.perform(effects.into_iter().map(|effect| (height, effect)).collect()).await
    }

    pub(super) async fn controlled(
        &mut self,
        height: u64,
        peer: PeerId,
        control: Result<Control, Fault>,
    ) -> Result<(), StoreError> {
        let control = match control {
            Ok(control) => control,
            Err(fault) => {
                self.drop_peer(peer, Offence::WrongProof, fault.to_string()).await;
                Control::Failed
            }
        };
        if control == Control::Served {
            self.went_online();
        }
        let now = self.now();
        let Some(sampler) = self.samplers.get_mut(&height) else {
            return Ok(());
        };
        let effects = sampler.controlled(now, peer, control);
        self.perform(effects.into_iter().map(|effect| (height, effect)).collect()).await
    }

    async fn perform(&mut self, mut effects: VecDeque<(u64, Effect<PeerId>)>) -> Result<(), StoreError> {
        while let Some((height, effect)) = effects.pop_front() {
            match effect {
                Effect::Ask { peer, at, delay } => self.ask(height, peer, at, delay),
                Effect::Control { peer } => match self.controls.front().copied() {
                    Some(cell) => self.ask_control(height, peer, cell),
                    None => {
                        let (now, none) = (self.now(), Control::NoneKept);
                        if let Some(sampler) = self.samplers.get_mut(&height) {
                            let more = sampler.controlled(now, peer, none);
                            effects.extend(more.into_iter().map(|effect| (height, effect)));
                        }
                    }
                },
                Effect::Report { peer, fault } => {
                    self.drop_peer(peer, Offence::WrongProof, fault.to_string()).await;
                }
                Effect::Keep(sample) => {
                    self.args.metrics.samples_verified.inc();
                    self.last_sample = Some(self.now());
                    self.went_online();
                    let bytes = sample.sample().encode();
                    self.batch.samples.push((height, sample.coordinates(), bytes));
                }
                Effect::Became(state) => self.became(height, state).await?,
                Effect::Offline => self.went_offline(self.now()),
            }
        }
        Ok(())
    }

    fn ask(&mut self, height: u64, peer: PeerId, at: Coordinates, delay: Duration) {
        self.asking += 1;
        self.args.metrics.samples_asked.inc();
        let network = self.args.network.clone();
        self.jobs.spawn(async move {
            tokio::time::sleep(delay).await;
            let answer = network.request(peer, request(height, at)).await;
            Done::Sampled { height, peer, at, answer }
        });
    }

    fn ask_control(&mut self, height: u64, peer: PeerId, cell: (u64, Digest, Coordinates)) {
        let (control_height, data_root, at) = cell;
        // The next peer, or the next block, is tried with another one.
        self.controls.rotate_left(1);
        let network = self.args.network.clone();
        self.jobs.spawn(async move {
            let answer = network.request(peer, request(control_height, at)).await;
            let control = match answer {
                Ok(bytes) => check(&bytes, &data_root, at).map(|_| Control::Served),
                Err(_) => Ok(Control::Failed),
            };
            Done::Controlled { height, peer, control }
        });
    }

    /// Writes a block's new state before telling anyone.
    async fn became(&mut self, height: u64, state: State<PeerId>) -> Result<(), StoreError> {
        let Some(sampler) = self.samplers.get(&height) else {
            return Ok(());
        };
        let mut report = HeightReport::of(sampler);
        report.available_at = report.state.confidence().map(|_| self.now().0);
        let (samples, width) = (report.samples, report.width.unwrap_or_default());
        let alarmed = sampler.alarmed();
        self.record(report.clone());
        self.flush().await?;
        match state {
            State::Available { confidence } => {
                self.samplers.remove(&height);
                self.controls.extend(control_of(&self.args.store, height)?);
                if self.controls.len() > CONTROL_BLOCKS {
                    self.controls.pop_front();
                }
                self.blocks_sampled += 1;
                if alarmed {
                    self.raise(AlarmKind::Recovered(report));
                }
                let metrics = &self.args.metrics;
                metrics.blocks_available.inc();
                let height_gauge = i64::try_from(height).unwrap_or(i64::MAX);
                metrics.available_height.set(metrics.available_height.get().max(height_gauge));
                self.emit(Event::Available { height, confidence, samples, width });
            }
            State::Unavailable { cells, asked, .. } => {
                self.args.metrics.blocks_unavailable.inc();
                self.raise(AlarmKind::Unavailable(report));
                self.emit(Event::Unavailable { height, cells, asked });
            }
            State::Pending | State::Skipped(_) => {}
        }
        Ok(())
    }
}

fn request(height: u64, at: Coordinates) -> Request {
    Request::Sample {
        height,
        row: at.row,
        column: at.column,
        axis: match at.axis {
            Axis::Row => 0,
            Axis::Column => 1,
        },
    }
}

/// A kept cell of an available block.
fn control_of(
    store: &crate::store::Store,
    height: u64,
) -> Result<Option<(u64, Digest, Coordinates)>, StoreError> {
    let Some(header) = store.header(height)? else {
        return Ok(None);
    };
    let kept = store.samples(height)?;
    let sample = kept.first().and_then(|bytes| Sample::decode(bytes).ok());
    Ok(sample.map(|sample| (height, header.data_root, sample.coordinates())))
}
