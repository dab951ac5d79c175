//! Whether it pays to build the next square before its proposal comes.
//!
//! While pools differ in what has just arrived, nodes build squares in vain: then they try again after 1, 3, 7 and from
//! then on 15 heights, until a proposal has the square that they built.

use std::sync::Arc;

/// Heights passed over between two tries, at most.
const PAUSE_AT_MOST: u32 = 15;

/// The square built ahead, and how such squares fared.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    built: Option<Arc<S>>,
    pause: u32,
    left: u32,
}

impl<S> Default for Ahead<S> {
    fn default() -> Self {
        Self { built: None, pause: 0, left: 0 }
    }
}

impl<S> Ahead<S> {
    /// A height begins: whether to build its square.
    pub(crate) fn pays(&mut self) -> bool {
        self.built = None;
        let pays = self.left == 0;
        self.left = self.left.saturating_sub(1);
        pays
    }

    /// This height's is built.
    pub(crate) fn built(&mut self, square: Arc<S>) {
        self.built = Some(square);
    }

    /// A proposal has `square`: whether it is the one built ahead.
    pub(crate) fn proposed(&mut self, square: &Arc<S>) -> bool {
        let Some(built) = self.built.take() else { return false };
        let met = Arc::ptr_eq(&built, square);
        self.pause = if met { 0 } else { (2 * self.pause + 1).min(PAUSE_AT_MOST) };
        self.left = self.pause;
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_in_vain_are_built_ever_less_often_until_one_is_proposed() {
        let (mut ahead, own, other) = (Ahead::default(), Arc::new(()), Arc::new(()));
        let mut pauses = Vec::new();
        let mut passed = 0;
        while pauses.len() < 7 {
            if !ahead.pays() {
                assert!(!ahead.proposed(&other));
                passed += 1;
                continue;
            }
            pauses.push(std::mem::take(&mut passed));
            ahead.built(own.clone());
            let same = pauses.len() == 6;
            assert_eq!(ahead.proposed(if same { &own } else { &other }), same);
        }
        assert_eq!(pauses, [0, 1, 3, 7, 15, 15, 0]);
    }
}
