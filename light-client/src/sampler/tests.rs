//! The state machine against peers that serve, withhold, lie, stay silent or disappear.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use erasure::{
    Axis, CommittedSquare, Coordinates, Index, OriginalSquare, SHARE_BYTES, Sample, Width, transaction_blob,
};
use proptest::prelude::*;

use super::*;

const HEIGHT: u64 = 42;

fn square(k: u32, fill: u8) -> CommittedSquare {
    let width = Width::new(k).unwrap();
    let bytes: Vec<u8> = (0..width.shares() * SHARE_BYTES).map(|i| (i / 7) as u8 ^ fill).collect();
    let index = Index::place(&transaction_blob(&[]), Vec::new(), Width::MAX).unwrap().index;
    OriginalSquare::from_shares(width, &bytes).unwrap().commit(index)
}

fn sampler(square: &CommittedSquare, seed: u8) -> BlockSampler<u8> {
    BlockSampler::new(Task {
        height: HEIGHT,
        data_root: square.data_root(),
        seed: Seed::from_bytes([seed; 32]),
        wanted: Confidence::DEFAULT,
        timing: Timing::default(),
    })
}

/// The (k+1) × (k+1) cells in the far corner: the fewest that, withheld, lose the block.
fn smallest_pattern(width: Width) -> impl Fn(Coordinates) -> bool {
    let first = (width.get() - 1) as u16;
    move |at| at.row >= first && at.column >= first
}

/// How a peer answers.
#[derive(Clone, Copy)]
enum Peer<'a> {
    Serves,
    /// Says that it does not have these cells.
    Withholds(&'a dyn Fn(Coordinates) -> bool),
    /// Never answers when asked for these cells.
    SilentAbout(&'a dyn Fn(Coordinates) -> bool),
    /// Serves the cell's neighbour.
    AnotherCell,
    /// Serves the cell of this square.
    AnotherBlock(&'a CommittedSquare),
    Garbage,
    /// Never answers, not even to a control.
    Silent,
}

impl Peer<'_> {
    fn sample(&self, square: &CommittedSquare, at: Coordinates) -> Option<Vec<u8>> {
        let encoded = |square: &CommittedSquare, at| square.sample(at).unwrap().encode();
        match self {
            Self::Serves => Some(encoded(square, at)),
            Self::Withholds(cells) | Self::SilentAbout(cells) => (!cells(at)).then(|| encoded(square, at)),
            Self::AnotherCell => {
                let column = at.column ^ 1;
                Some(encoded(square, Coordinates { column, ..at }))
            }
            Self::AnotherBlock(other) => Some(encoded(other, at)),
            Self::Garbage => Some(vec![0xa5; 700]),
            Self::Silent => None,
        }
    }
}

/// What a run showed.
#[derive(Default)]
struct Seen {
    asked: Vec<(u8, Coordinates)>,
    reported: BTreeSet<u8>,
    offline: usize,
    alarms: usize,
    kept: Vec<Vec<u8>>,
}

/// Drives a sampler from second `from` to second `to`; answers arrive at once, silence fails
/// after 5 s, reported peers are dropped.
fn drive(
    sampler: &mut BlockSampler<u8>,
    square: &CommittedSquare,
    peers: &[Peer<'_>],
    (from, to): (u64, u64),
) -> Seen {
    let mut seen = Seen::default();
    let mut silent: Vec<(Millis, u8, Coordinates)> = Vec::new();
    for now in (from * 1_000..to * 1_000).step_by(100).map(Millis) {
        let connected: Vec<u8> =
            (0..peers.len() as u8).filter(|peer| !seen.reported.contains(peer)).collect();
        let mut effects = Vec::new();
        let due = |(at, ..): &(Millis, u8, Coordinates)| *at <= now;
        for (_, peer, at) in silent.extract_if(.., |entry| due(entry)) {
            effects.extend(sampler.answered(peer, at, Answer::Failed));
        }
        effects.extend(sampler.poll(now, &connected, 100));
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Ask { peer, at, .. } => {
                    seen.asked.push((peer, at));
                    let behaviour = &peers[usize::from(peer)];
                    match (behaviour, behaviour.sample(square, at)) {
                        (Peer::Silent, _) | (Peer::SilentAbout(_), None) => {
                            silent.push((now.after(Duration::from_secs(5)), peer, at));
                        }
                        (_, Some(bytes)) => {
                            effects.extend(sampler.answered(peer, at, Answer::Bytes(&bytes)));
                        }
                        (_, None) => effects.extend(sampler.answered(peer, at, Answer::Nothing)),
                    }
                }
                Effect::Control { peer } => {
                    let control = match peers[usize::from(peer)] {
                        Peer::Silent => Control::Failed,
                        _ => Control::Served,
                    };
                    effects.extend(sampler.controlled(now, peer, control));
                }
                Effect::Report { peer, .. } => {
                    seen.reported.insert(peer);
                }
                Effect::Keep(sample) => seen.kept.push(sample.sample().encode()),
                Effect::Became(State::Unavailable { .. }) => seen.alarms += 1,
                Effect::Became(_) => {}
                Effect::Offline => seen.offline += 1,
            }
        }
    }
    for (_, peer, at) in silent {
        sampler.answered(peer, at, Answer::Failed);
    }
    seen
}

#[test]
fn honest_peers_make_a_block_available_and_share_the_load() {
    let square = square(16, 0);
    let mut sampler = sampler(&square, 1);
    assert_eq!(sampler.drawn().count(), 0);
    let seen = drive(&mut sampler, &square, &[Peer::Serves; 4], (0, 1));
    let drawn: Vec<_> = sampler.drawn().collect();
    assert_eq!(drawn.len(), 21);
    assert_eq!(sampler.state(), State::Available { confidence: confidence(square.width(), 21) });
    assert_eq!(sampler.width(), Some(square.width()));
    // The probe, then each drawn cell, once.
    let asked: Vec<_> = seen.asked.iter().map(|(_, at)| *at).collect();
    assert_eq!(asked[0], probe(&Seed::from_bytes([1; 32]), HEIGHT));
    let cells: BTreeSet<_> = asked.iter().copied().collect();
    assert_eq!(cells.len(), asked.len());
    assert!(drawn.iter().all(|at| cells.contains(at)));
    let mut load = BTreeMap::<u8, usize>::new();
    for (peer, _) in &seen.asked {
        *load.entry(*peer).or_default() += 1;
    }
    assert!(load.values().all(|&n| (5..=6).contains(&n)), "{load:?}");
}

#[test]
fn a_withheld_pattern_is_available_only_to_seeds_that_drew_around_it() {
    for k in [8, 16, 32] {
        let square = square(k, 0);
        let withheld = smallest_pattern(square.width());
        let peers = [Peer::Withholds(&withheld); 3];
        let mut fooled = 0;
        for seed in 0..60 {
            let mut sampler = sampler(&square, seed);
            let seen = drive(&mut sampler, &square, &peers, (0, 20));
            let hit: BTreeSet<_> = sampler.drawn().filter(|at| withheld(*at)).collect();
            match sampler.state() {
                State::Available { .. } => {
                    assert!(hit.is_empty(), "k = {k}, seed {seed}");
                    fooled += 1;
                }
                State::Unavailable { cells, asked, .. } => {
                    assert_eq!(cells.into_iter().collect::<BTreeSet<_>>(), hit);
                    assert_eq!((asked, seen.alarms), (vec![0, 1, 2], 1));
                }
                state => panic!("k = {k}, seed {seed}: {state:?}"),
            }
        }
        // At 99.9 %, 0.06 of 60 are expected.
        assert!(fooled <= 1, "k = {k}: {fooled} of 60");
    }
}

#[test]
fn a_retry_asks_other_peers_for_the_same_cells_then_everyone_again() {
    let square = square(8, 0);
    let withheld = smallest_pattern(square.width());
    let mut sampler = sampler(&square, 3);
    let peers = [Peer::Withholds(&withheld); 3];
    let seen = drive(&mut sampler, &square, &peers, (0, 10));
    let missing = sampler.drawn().find(|at| withheld(*at)).unwrap();
    let asked: Vec<u8> =
        seen.asked.iter().filter_map(|(peer, at)| (*at == missing).then_some(*peer)).collect();
    for round in asked.chunks_exact(3) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 3, "{asked:?}");
    }
    // Pauses of 0.25, 0.5, 1, 2, 4 s lie between the rounds, none longer within 10 s.
    assert!((12..=18).contains(&asked.len()), "{asked:?}");
    let drawn: BTreeSet<_> = sampler.drawn().collect();
    let first = probe(&Seed::from_bytes([3; 32]), HEIGHT);
    assert!(seen.asked.iter().all(|(_, at)| drawn.contains(at) || *at == first));
}

#[test]
fn liars_are_reported_and_do_not_keep_a_block_from_being_available() {
    let (square, other) = (square(8, 0), square(8, 1));
    let liars = [Peer::AnotherCell, Peer::AnotherBlock(&other), Peer::Garbage];
    for liar in liars {
        for seed in 0..5 {
            let mut sampler = sampler(&square, seed);
            let seen = drive(&mut sampler, &square, &[liar, liar, Peer::Serves], (0, 10));
            assert!(matches!(sampler.state(), State::Available { .. }));
            assert_eq!((seen.alarms, seen.offline), (0, 0));
            assert!(!seen.reported.contains(&2));
            assert!(!seen.reported.is_empty());
        }
    }
}

#[test]
fn only_liars_is_offline_and_never_available() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    let seen = drive(&mut sampler, &square, &[Peer::Garbage; 3], (0, 60));
    assert_eq!(sampler.state(), State::Pending);
    assert_eq!(seen.reported.len(), 3);
    assert!(seen.offline >= 1 && seen.alarms == 0);
}

#[test]
fn silence_of_everyone_is_offline_and_no_alarm() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    let seen = drive(&mut sampler, &square, &[Peer::Silent; 4], (0, 120));
    assert_eq!(sampler.state(), State::Pending);
    assert!(seen.offline >= 2, "{}", seen.offline);
    assert_eq!(seen.alarms, 0);
    // Back online, it goes on.
    let seen = drive(&mut sampler, &square, &[Peer::Serves; 4], (120, 180));
    assert!(matches!(sampler.state(), State::Available { .. }));
    assert_eq!(seen.alarms, 0);
}

#[test]
fn a_connection_that_is_back_just_before_the_deadline_is_no_alarm() {
    let square = square(8, 0);
    for back in 1..20 {
        let mut sampler = sampler(&square, 1);
        let away = drive(&mut sampler, &square, &[Peer::Silent; 4], (0, back));
        let home = drive(&mut sampler, &square, &[Peer::Serves; 4], (back, 60));
        assert!(matches!(sampler.state(), State::Available { .. }), "back at {back} s");
        assert_eq!(away.alarms + home.alarms, 0);
    }
}

#[test]
fn peers_that_stay_silent_about_a_pattern_but_serve_the_rest_raise_the_alarm() {
    let square = square(8, 0);
    let withheld = smallest_pattern(square.width());
    let mut sampler = sampler(&square, 1);
    let seen = drive(&mut sampler, &square, &[Peer::SilentAbout(&withheld); 3], (0, 40));
    assert!(matches!(sampler.state(), State::Unavailable { .. }));
    assert_eq!((seen.alarms, seen.offline), (1, 0));
}

#[test]
fn a_silent_peer_is_hedged() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    drive(&mut sampler, &square, &[Peer::Silent, Peer::Serves], (0, 5));
    assert!(matches!(sampler.state(), State::Available { .. }));
}

#[test]
fn without_peers_the_deadline_does_not_run() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    let seen = drive(&mut sampler, &square, &[], (0, 600));
    assert_eq!(sampler.state(), State::Pending);
    assert_eq!((seen.alarms, seen.offline, seen.asked.len()), (0, 0, 0));
}

#[test]
fn a_client_without_controls_believes_peers_that_say_they_have_nothing() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    let asks = sampler.poll(Millis(0), &[7], 100);
    let Some(&Effect::Ask { peer, at, .. }) = asks.first() else { panic!("{asks:?}") };
    sampler.answered(peer, at, Answer::Nothing);
    let late = Millis(20_000);
    let effects = sampler.poll(late, &[7], 0);
    assert_eq!(effects, [Effect::Control { peer: 7 }]);
    sampler.controlled(late, 7, Control::NoneKept);
    // It is asked once more before the alarm.
    assert!(
        matches!(sampler.poll(late, &[7], 100)[..], [Effect::Ask { peer: 7, at: again, .. }] if again == at)
    );
    assert_eq!(sampler.state(), State::Pending);
    sampler.answered(7, at, Answer::Nothing);
    sampler.poll(late, &[7], 100);
    let expected = State::Unavailable { cells: vec![at], since: late, asked: vec![7] };
    assert_eq!(sampler.state(), expected);
}

/// Asks a lone peer for a cell until the deadline, and once more after it served a control.
fn asked_once_more(sampler: &mut BlockSampler<u8>) -> (Coordinates, Millis) {
    let asks = sampler.poll(Millis(0), &[7], 100);
    let Some(&Effect::Ask { at, .. }) = asks.first() else { panic!("{asks:?}") };
    sampler.answered(7, at, Answer::Failed);
    let late = Millis(20_000);
    assert_eq!(sampler.poll(late, &[7], 0), [Effect::Control { peer: 7 }]);
    sampler.controlled(late, 7, Control::Served);
    assert!(matches!(sampler.poll(late, &[7], 100)[..], [Effect::Ask { .. }]));
    (at, late)
}

#[test]
fn silence_after_the_controls_is_an_alarm_only_if_controls_are_served_again() {
    let square = square(8, 0);
    for still_there in [true, false] {
        let mut sampler = sampler(&square, 1);
        let (at, late) = asked_once_more(&mut sampler);
        sampler.answered(7, at, Answer::Failed);
        // The connection may have broken since: controls, once more.
        assert_eq!(sampler.poll(late, &[7], 0), [Effect::Control { peer: 7 }]);
        assert_eq!(sampler.state(), State::Pending);
        let control = if still_there { Control::Served } else { Control::Failed };
        let effects = sampler.controlled(late, 7, control);
        let alarm = State::Unavailable { cells: vec![at], since: late, asked: vec![7] };
        let expected = if still_there { Effect::Became(alarm) } else { Effect::Offline };
        assert_eq!(effects, [expected]);
    }
}

#[test]
fn what_was_under_way_before_a_sleep_is_void() {
    let square = square(8, 0);
    let mut sampler = sampler(&square, 1);
    let (at, late) = asked_once_more(&mut sampler);
    let woken = Millis(late.0 + 8 * 3_600_000);
    sampler.slept(woken);
    // The answer to what was asked before the sleep: a dead connection's.
    sampler.answered(7, at, Answer::Nothing);
    let effects = sampler.poll(woken, &[7], 100);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Ask { .. })), "{effects:?}");
    assert_eq!(sampler.state(), State::Pending);
    assert!(!sampler.poll(Millis(woken.0 + 11_999), &[7], 0).contains(&Effect::Control { peer: 7 }));
    assert!(sampler.poll(Millis(woken.0 + 12_000), &[7], 0).contains(&Effect::Control { peer: 7 }));
}

#[test]
fn requests_wait_for_times_that_are_drawn() {
    let square = square(64, 0);
    let mut sampler = sampler(&square, 1);
    drive(&mut sampler, &square, &[Peer::Withholds(&|at| at.row >= 4 || at.column >= 4)], (0, 1));
    let delays: BTreeSet<_> = sampler
        .poll(Millis(2_000), &[1, 2, 3], 100)
        .iter()
        .filter_map(|effect| match effect {
            Effect::Ask { delay, .. } => Some(*delay),
            _ => None,
        })
        .collect();
    assert!(delays.len() > 15, "{delays:?}");
    assert!(delays.iter().all(|delay| *delay <= Timing::default().spread));
    assert!(delays.first().unwrap().as_millis() < 100 && delays.last().unwrap().as_millis() > 300);
}

#[test]
fn unavailable_turns_into_available_when_the_cells_appear() {
    let square = square(8, 0);
    let withheld = smallest_pattern(square.width());
    let mut sampler = sampler(&square, 2);
    drive(&mut sampler, &square, &[Peer::Withholds(&withheld); 2], (0, 60));
    assert!(matches!(sampler.state(), State::Unavailable { .. }));
    let drawn: Vec<_> = sampler.drawn().collect();
    drive(&mut sampler, &square, &[Peer::Serves; 2], (60, 120));
    assert!(matches!(sampler.state(), State::Available { .. }));
    assert_eq!(sampler.drawn().collect::<Vec<_>>(), drawn);
}

#[test]
fn a_restart_asks_only_for_what_is_missing() {
    let square = square(16, 0);
    let withheld = smallest_pattern(square.width());
    let mut before = sampler(&square, 2);
    let kept = drive(&mut before, &square, &[Peer::Withholds(&withheld)], (0, 20)).kept;
    let State::Unavailable { cells, since, .. } = before.state() else { panic!("{:?}", before.state()) };

    let mut after = sampler(&square, 2);
    let other = self::square(16, 1);
    let foreign = other.sample(cells[0]).unwrap().encode();
    let samples = kept.iter().map(Vec::as_slice);
    after.restore(samples.chain([&foreign[..], b"junk"]), Some(since));
    assert_eq!(after.verified(), before.verified());
    assert_eq!(after.drawn().collect::<Vec<_>>(), before.drawn().collect::<Vec<_>>());
    assert!(matches!(after.state(), State::Unavailable { .. }));
    let seen = drive(&mut after, &square, &[Peer::Serves], (60, 61));
    let asked: BTreeSet<_> = seen.asked.iter().map(|(_, at)| *at).collect();
    assert_eq!((seen.asked.len(), asked), (cells.len(), cells.into_iter().collect()));
    assert!(matches!(after.state(), State::Available { .. }));
}

#[test]
fn room_bounds_what_is_asked_for_at_once() {
    let square = square(16, 0);
    let mut sampler = sampler(&square, 1);
    assert!(sampler.poll(Millis(0), &[1, 2], 0).is_empty());
    drive(&mut sampler, &square, &[Peer::Withholds(&|at| at.row >= 4 || at.column >= 4)], (0, 1));
    let drawn = sampler.drawn().count();
    let asks = sampler.poll(Millis(2_000), &[1, 2], 5);
    assert_eq!((asks.len(), sampler.in_flight()), (5, 5));
    assert!(drawn > 5);
}

#[test]
fn a_width_that_no_square_has_is_refused() {
    let square = square(8, 0);
    let at = probe(&Seed::from_bytes([1; 32]), HEIGHT);
    let mut bytes = square.sample(at).unwrap().encode();
    for width in [0_u16, 1, 3, 1024] {
        bytes[..2].copy_from_slice(&width.to_be_bytes());
        assert!(matches!(check(&bytes, &square.data_root(), at), Err(Fault::Malformed(_))));
    }
    // A width of another square fails with the root that it is part of.
    let sample = Sample::decode(&square.sample(at).unwrap().encode()).unwrap();
    let elsewhere = self::square(16, 0).data_root();
    assert!(sample.verify(&elsewhere, at).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever peers answer, in whatever order: Available means that each drawn cell was
    /// answered with its own valid sample.
    #[test]
    fn available_means_that_every_drawn_cell_was_verified(
        seed: u8,
        log in 1_u32..=4,
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 0..8_u8), 0..400),
    ) {
        let square = square(1 << log, 0);
        let mut sampler = sampler(&square, seed);
        let mut open: Vec<(u8, Coordinates)> = Vec::new();
        let mut valid = BTreeSet::new();
        let mut now = Millis(0);
        for (pick, pause, kind) in steps {
            now = now.after(Duration::from_millis(u64::from(pause) * 20));
            let effects = sampler.poll(now, &[1, 2, 3, 4], 8);
            for effect in effects {
                match effect {
                    Effect::Ask { peer, at, .. } => open.push((peer, at)),
                    Effect::Control { peer } => {
                        let control = match pick % 3 {
                            0 => Control::Served,
                            1 => Control::Failed,
                            _ => Control::NoneKept,
                        };
                        sampler.controlled(now, peer, control);
                    }
                    _ => {}
                }
            }
            if open.is_empty() {
                continue;
            }
            let (peer, at) = open.swap_remove(usize::from(pick) % open.len());
            let elsewhere = Coordinates { row: at.row ^ 1, ..at };
            let other_axis = match at.axis {
                Axis::Row => Axis::Column,
                Axis::Column => Axis::Row,
            };
            let bytes = |at| square.sample(at).unwrap().encode();
            let mut tampered = bytes(at);
            let place = usize::from(pause) * 3 % tampered.len();
            tampered[place] ^= 1 << (pick % 8);
            match kind {
                0 => sampler.answered(peer, at, Answer::Failed),
                1 => sampler.answered(peer, at, Answer::Nothing),
                2 => sampler.answered(peer, at, Answer::Bytes(&bytes(elsewhere))),
                3 => sampler.answered(
                    peer,
                    at,
                    Answer::Bytes(&bytes(Coordinates { axis: other_axis, ..at })),
                ),
                4 => sampler.answered(peer, at, Answer::Bytes(&tampered)),
                _ => {
                    valid.insert(at);
                    sampler.answered(peer, at, Answer::Bytes(&bytes(at)))
                }
            };
            let drawn: BTreeSet<_> = sampler.drawn().collect();
            let complete = !drawn.is_empty() && drawn.is_subset(&valid);
            prop_assert_eq!(matches!(sampler.state(), State::Available { .. }), complete);
        }
    }
}
