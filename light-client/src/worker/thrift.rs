//! Staying within the budget: which blocks are sampled, which are left out.
//!
//! Whatever is on the wire is charged, whatever it was for. The newest block is sampled if the
//! budget affords it; older ones, and headers behind a jump, only while half of the bucket is
//! left. A block that is left out is `Skipped` at once, and taken up, newest first, if there is
//! room before it leaves the window. Others are served, too, only while half of the bucket is left,
//! so that nobody can turn the sampling off by asking.

use erasure::{Digest, Width};

use super::Worker;
use crate::event::Event;
use crate::sampler::{Confidence, Millis, SkipReason, samples_needed};
use crate::status::{HeightReport, StateReport};

/// What a sample costs, request and transport included.
const SAMPLE_BYTES: u64 = 1_500;

/// What the samples of the widest block cost.
pub(crate) fn cost_of_block(confidence: Confidence) -> u64 {
    samples_needed(Width::MAX, confidence) as u64 * SAMPLE_BYTES
}

impl Worker {
    /// Charges what has gone over the wire since the last call.
    pub(super) fn charge(&mut self, now: Millis) {
        let Some(budget) = &mut self.budget else {
            return;
        };
        let (received, sent) = self.args.network.wire_bytes();
        let used = (received + sent).saturating_sub(self.charged);
        if used > 0 {
            self.charged += used;
            budget.charge(now, used);
            self.batch.budget = Some(budget.charged());
        }
        self.allow(now);
    }

    /// Sets what others may be served until the next charge.
    pub(super) fn allow(&mut self, now: Millis) {
        self.args.allowance.set(self.budget.as_mut().map_or(u64::MAX, |budget| budget.left_above_half(now)));
    }

    pub(super) fn affords_newest(&mut self, now: Millis) -> bool {
        self.charge(now);
        let bytes = self.cost_of_one_more();
        self.budget.as_mut().is_none_or(|budget| budget.affords(now, bytes))
    }

    pub(super) fn affords_older(&mut self, now: Millis) -> bool {
        self.charge(now);
        let bytes = self.cost_of_one_more();
        self.budget.as_mut().is_none_or(|budget| budget.affords_older(now, bytes))
    }

    /// A block's samples, and those of the blocks under way, which are not charged yet.
    fn cost_of_one_more(&self) -> u64 {
        let open = self.samplers.values().filter(|sampler| !sampler.alarmed()).count() as u64;
        cost_of_block(self.args.config.confidence) * (open + 1)
    }

    pub(super) fn leave_out(&mut self, height: u64, data_root: Digest) {
        self.left_out.insert(height, data_root);
        self.args.metrics.blocks_over_budget.inc();
        self.record(HeightReport::skipped(height, SkipReason::Budget));
        self.emit(Event::Skipped { from: height, to: height, reason: SkipReason::Budget });
    }

    /// Takes up blocks that were left out, newest first, as far as the budget affords it.
    pub(super) fn take_up(&mut self, now: Millis) {
        while !self.left_out.is_empty() && self.affords_older(now) {
            let Some((height, data_root)) = self.left_out.pop_last() else {
                return;
            };
            self.record(HeightReport::pending(height));
            self.begin(height, data_root);
        }
    }

    /// Gives up what is left out below the window, and the headers there that a budget kept from
    /// being fetched.
    pub(super) fn leave_behind(&mut self, window: u64) {
        self.left_out = self.left_out.split_off(&window);
        if self.budget.is_none() {
            return;
        }
        let mut skipped = Vec::new();
        for gap in &mut self.gaps {
            let floor = gap.floor.max(window.min(gap.cursor.height()));
            skipped.extend(gap.floor..floor);
            gap.floor = floor;
        }
        self.gaps.retain(|gap| gap.cursor.height() > gap.floor);
        skipped.retain(|height| {
            self.reports.get(height).is_some_and(|report| report.state == StateReport::Pending)
        });
        for &height in &skipped {
            self.record(HeightReport::skipped(height, SkipReason::Budget));
        }
        if let (Some(&from), Some(&to)) = (skipped.iter().min(), skipped.iter().max()) {
            self.emit(Event::Skipped { from, to, reason: SkipReason::Budget });
        }
    }
}
