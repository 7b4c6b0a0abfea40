//! What a swinging door leaves out of the rows for the store, and what can be drawn again from the rest.

#![expect(clippy::as_conversions, reason = "the numbers of these tests are small enough to be exact")]

use tidegate_config::{At, ReportWhen, SwingingDoor, Tag};
use tidegate_model::{Reason, Slot, Timestamp, Value, ValueKind};
use tidegate_pipeline::Thinning;

use crate::group::{Dice, at, good_f64, group, raw, stages, tag};

fn door(error: &str, seconds: u64) -> Option<At<SwingingDoor>> {
    Some(at(SwingingDoor { error: error.to_owned(), max_silence: std::time::Duration::from_secs(seconds) }))
}

fn thinning(error: &str, seconds: u64) -> Thinning {
    let group = group(ReportWhen::Always, vec![Tag { swinging_door: door(error, seconds), ..tag("a") }]);
    stages(&group, &raw(&group, ValueKind::F64)).thinning().unwrap()
}

/// What the store gets of one tag's samples, each with its time in milliseconds, when every row waits for the next.
fn stored(thinning: &mut Thinning, samples: &[(i64, Slot)]) -> Vec<Slot> {
    let mut rows: Vec<Slot> = Vec::with_capacity(samples.len());
    let mut waits = false;
    for (time, slot) in samples {
        let before = rows.last_mut().filter(|_| waits).map(std::slice::from_mut);
        let had = before.is_some();
        let thinned = thinning.next(before, Timestamp::from_millis(*time), std::slice::from_ref(slot));
        assert!(had || !thinned.before, "something was left out of a row that is gone");
        waits = thinned.waits;
        rows.push(slot.clone());
    }
    thinning.rest();
    rows
}

fn seconds(values: &[f64]) -> Vec<(i64, Slot)> {
    values.iter().zip(0..).map(|(value, second)| (second * 1_000, good_f64(*value))).collect()
}

/// Which samples are left, as a drawing.
fn drawing(rows: &[Slot]) -> String {
    rows.iter().map(|slot| if *slot == Slot::Unchanged { '.' } else { 'x' }).collect()
}

fn drawn(error: &str, samples: &[(i64, Slot)]) -> String {
    drawing(&stored(&mut thinning(error, 900), samples))
}

#[test]
fn a_straight_line_is_its_two_ends() {
    let line: Vec<f64> = (0..20).map(|second| 3.0 + 0.25 * f64::from(second)).collect();
    assert_eq!(drawn("0.05", &seconds(&line)), "x..................x");
    assert_eq!(drawn("0.05", &seconds(&[7.0; 5])), "x...x");
}

#[test]
fn a_corner_is_kept_and_so_is_a_step() {
    assert_eq!(drawn("0.05", &seconds(&[0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0])), "x..x..x");
    assert_eq!(drawn("0.05", &seconds(&[1.0, 1.0, 1.0, 9.0, 9.0, 9.0])), "x.xx.x");
}

#[test]
fn no_line_is_longer_than_the_longest_silence() {
    let rows = stored(&mut thinning("0.05", 5), &seconds(&[1.0; 14]));
    assert_eq!(drawing(&rows), "x....x....x..x");
    // Polls that come more seldom than that are all kept.
    let seldom: Vec<(i64, Slot)> = (0..4).map(|minute| (minute * 60_000, good_f64(1.0))).collect();
    assert_eq!(drawing(&stored(&mut thinning("0.05", 5), &seldom)), "xxxx");
}

#[test]
fn what_is_no_good_number_ends_the_line_and_is_kept() {
    let doubtful = Slot::Uncertain(Value::F64(1.0), Reason::OutOfRange);
    let enders = [
        Slot::Bad(Reason::Timeout),
        doubtful,
        good_f64(f64::NAN),
        good_f64(f64::INFINITY),
        Slot::Good(Value::Text("1".into())),
    ];
    for ender in enders {
        let mut samples = seconds(&[1.0; 9]);
        samples[4].1 = ender.clone();
        let rows = stored(&mut thinning("0.05", 900), &samples);
        assert_eq!(drawing(&rows), "x..xxx..x", "{ender:?}");
        assert!(rows[4].value().zip(ender.value()).is_none_or(|(kept, was)| kept.same_as(was)));
    }
}

#[test]
fn a_clock_that_is_set_back_ends_the_line() {
    let times = [0, 1_000, 2_000, 3_000, 1_500, 2_500, 3_500, 3_500, 4_500];
    let samples: Vec<(i64, Slot)> = times.map(|time| (time, good_f64(1.0))).into();
    assert_eq!(drawn("0.05", &samples), "x..xx.xxx");
}

#[test]
fn a_row_that_went_before_its_time_is_the_beginning_of_the_next_line() {
    let mut thinning = thinning("0.05", 900);
    let mut next = |before: Option<&mut [Slot]>, second: i64| {
        thinning.next(before, Timestamp::from_millis(second * 1_000), &[good_f64(1.0)])
    };
    assert!(!next(None, 0).waits, "the first sample is kept");
    assert!(next(None, 1).waits);
    let mut before = [good_f64(1.0)];
    assert!(next(Some(&mut before), 2).before);
    assert_eq!(before, [Slot::Unchanged]);
    thinning.rest();
    let thinned = thinning.next(None, Timestamp::from_millis(3_000), &[good_f64(1.0)]);
    assert!(!thinned.before && thinned.waits);
}

#[test]
fn an_error_that_floats_cannot_resolve_leaves_nothing_out() {
    assert_eq!(drawn("0.05", &seconds(&[1e15, 1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0])), "xxxx");
    assert_eq!(drawn("0.05", &seconds(&[f64::MAX, f64::MIN, f64::MAX, f64::MAX])), "xxxx");
    assert_eq!(drawn("1e-15", &seconds(&[1e6; 4])), "xxxx");
}

#[test]
fn a_group_without_doors_has_nothing_to_thin_and_only_its_own_columns_are_touched() {
    let plain = group(ReportWhen::Always, vec![tag("a")]);
    assert!(stages(&plain, &raw(&plain, ValueKind::F64)).thinning().is_none());

    let tags = vec![tag("a"), Tag { swinging_door: door("0.5", 60), ..tag("b") }];
    let mixed = group(ReportWhen::Always, tags);
    let mut thinning = stages(&mixed, &raw(&mixed, ValueKind::F64)).thinning().unwrap();
    assert_eq!(thinning.longest_wait(), std::time::Duration::from_secs(60));
    let row = || [good_f64(1.0), good_f64(1.0)];
    thinning.next(None, Timestamp::from_millis(0), &row());
    thinning.next(None, Timestamp::from_millis(1_000), &row());
    let mut before = row();
    thinning.next(Some(&mut before), Timestamp::from_millis(2_000), &row());
    assert_eq!(before, [good_f64(1.0), Slot::Unchanged]);
}

/// The ways in which receivers draw a line.
fn lines(from: (i64, f64), to: (i64, f64), time: i64) -> [f64; 4] {
    let part = (time - from.0) as f64 / (to.0 - from.0) as f64;
    let slope = (to.1 - from.1) / (to.0 - from.0) as f64;
    [
        from.1 + (to.1 - from.1) * part,
        from.1 * (1.0 - part) + to.1 * part,
        from.1 + slope * (time - from.0) as f64,
        to.1 - slope * (to.0 - time) as f64,
    ]
}

/// How many samples are left out; panics when one is farther from its line than the error.
fn check(samples: &[(i64, Slot)], rows: &[Slot], error: f64, max_silence: i64) -> usize {
    assert_eq!(samples.len(), rows.len());
    let number = |index: usize| samples[index].1.value().and_then(Value::as_f64).unwrap();
    let mut left_out = 0;
    let mut from = None;
    for (index, slot) in rows.iter().enumerate() {
        if *slot == Slot::Unchanged {
            assert!(from.is_some(), "sample {index} is left out and nothing is before it");
            continue;
        }
        assert!(*slot == samples[index].1 || slot.value().unwrap().same_as(samples[index].1.value().unwrap()));
        let start: usize = from.replace(index).unwrap_or(index);
        if index > start + 1 {
            let ends = [start, index].map(|end| (samples[end].0, number(end)));
            assert!(ends[1].0 - ends[0].0 <= max_silence, "silence from sample {start} to {index}");
            for (time, slot) in &samples[start + 1..index] {
                left_out += 1;
                for line in lines(ends[0], ends[1], *time) {
                    let off = (line - slot.value().and_then(Value::as_f64).unwrap()).abs();
                    assert!(off <= error, "{slot:?} is off by {off} on the line from {start} to {index}");
                }
            }
        }
    }
    assert_ne!(rows.last(), Some(&Slot::Unchanged), "the last sample is kept");
    left_out
}

/// A signal of one kind at regular or irregular times.
fn signal(dice: &mut Dice, kind: u64, count: usize, error: f64, widen: impl Fn(f64) -> Value) -> Vec<(i64, Slot)> {
    let level = 10_f64.powf(dice.between(-3.0, 7.0)) * error;
    let (mut value, mut drift) = (dice.between(-level, level), 0.0);
    let mut time = 1_700_000_000_000;
    let regular = dice.below(2) == 0;
    let mut samples = Vec::with_capacity(count);
    for index in 0..count {
        time += if regular { 1_000 } else { 1 + i64::try_from(dice.below(5_000)).unwrap() };
        value += match kind {
            // A walk of small steps, of large ones, one that drifts, steps, a wave.
            0 => dice.between(-0.2, 0.2) * error,
            1 => dice.between(-3.0, 3.0) * error,
            2 => {
                drift += dice.between(-0.02, 0.02) * error;
                drift
            }
            3 => match dice.below(50) {
                0 => dice.between(-level, level),
                _ => 0.0,
            },
            _ => (index as f64 / 40.0).cos() * error * 5.0,
        };
        let slot = match dice.below(400) {
            0 => Slot::Bad(Reason::Timeout),
            1 => Slot::Good(widen(f64::NAN)),
            2 => Slot::Uncertain(widen(value), Reason::OutOfRange),
            // A spike.
            3 => Slot::Good(widen(value + level)),
            _ => Slot::Good(widen(value)),
        };
        samples.push((time, slot));
    }
    samples
}

/// Cuts the rows where no line can be drawn and checks each piece.
fn check_pieces(samples: &[(i64, Slot)], rows: &[Slot], error: f64, max_silence: i64) -> usize {
    let drawable = |index: &usize| match &samples[*index].1 {
        Slot::Good(value) => value.as_f64().is_some_and(f64::is_finite),
        _ => false,
    };
    let mut left_out = 0;
    let mut start = 0;
    while start < samples.len() {
        if !drawable(&start) {
            assert_ne!(rows[start], Slot::Unchanged);
            start += 1;
            continue;
        }
        let end = (start..samples.len()).find(|index| !drawable(index)).unwrap_or(samples.len());
        left_out += check(&samples[start..end], &rows[start..end], error, max_silence);
        start = end;
    }
    left_out
}

#[test]
fn every_sample_that_is_left_out_is_within_the_error_of_the_line_however_it_is_drawn() {
    let mut dice = Dice::new(20);
    let (mut samples_seen, mut left_out) = (0, 0);
    for round in 0..200_u64 {
        let (text, error) = [("0.05", 0.05), ("2", 2.0), ("0.001", 0.001), ("1e-6", 1e-6)][round as usize % 4];
        let widen: fn(f64) -> Value = match (round / 4) % 3 {
            0 => Value::F64,
            1 => |number| Value::F32(number as f32),
            _ => |number| if number.is_nan() { Value::F64(number) } else { Value::Int(number.round() as i64) },
        };
        let samples = signal(&mut dice, round % 5, 5_000, error, widen);
        let mut thinning = thinning(text, 900);
        let rows = stored(&mut thinning, &samples);
        left_out += check_pieces(&samples, &rows, error, 900_000);
        samples_seen += samples.len();
    }
    assert_eq!(samples_seen, 1_000_000);
    assert!(left_out > 300_000, "only {left_out} of {samples_seen} samples are left out");
}
