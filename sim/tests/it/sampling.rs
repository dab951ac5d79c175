//! Counting, against the closed form.

use std::num::{NonZeroU16, NonZeroU32};

use erasure::Width;
use sim::{Adversary, Interval, Question};

const CLIENTS: u32 = 20_000;

#[test]
fn clients_are_fooled_as_often_as_the_closed_form_says() {
    for k in [2, 16, 128, 512] {
        let question = Question {
            width: Width::new(k).unwrap(),
            samples: NonZeroU16::new(24).unwrap(),
            clients: NonZeroU32::new(CLIENTS).unwrap(),
            adversary: Adversary::Minimal,
            seed: 5,
        };
        for point in question.answer(&|_| ()).points {
            let four_deviations = Interval::wilson(point.fooled, CLIENTS.into(), 4.0);
            assert!(
                point.closed_form.is_some_and(|formula| four_deviations.contains(formula)),
                "k = {k}: {point:?}"
            );
        }
    }
}

/// Another machine, and a later version, must find these numbers too.
#[test]
fn one_seed_has_one_result() {
    let question = Question {
        width: Width::new(64).unwrap(),
        samples: NonZeroU16::new(20).unwrap(),
        clients: NonZeroU32::new(CLIENTS).unwrap(),
        adversary: Adversary::Minimal,
        seed: 7,
    };
    let points = question.answer(&|_| ()).points;
    let fooled = [1, 5, 10, 15, 20].map(|samples| points[samples - 1].fooled);
    assert_eq!(fooled, [14_753, 4_412, 985, 219, 58]);
}
