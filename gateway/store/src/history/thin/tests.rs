//! What stays of samples.

use tidegate_model::{Reason, Timestamp};

use super::*;

const HOUR: i64 = 3_600_000;

fn thin(most: usize, samples: impl IntoIterator<Item = (i64, Slot)>) -> (Vec<(i64, Slot)>, bool) {
    let mut thin = Thin::new(Frame { from: 0, to: HOUR - 1, most });
    samples
        .into_iter()
        .for_each(|(time, slot)| thin.add(Sample { time: Timestamp::from_millis(time), slot, drawn: false }));
    let (kept, thinned) = thin.finish();
    assert!(kept.len() <= most.max(PER_BUCKET), "{} of {most}", kept.len());
    assert!(kept.is_sorted_by_key(|sample| sample.time));
    (kept.into_iter().map(|sample| (sample.time.as_millis(), sample.slot)).collect(), thinned)
}

fn number(value: f64) -> Slot {
    Slot::Good(Value::F64(value))
}

fn on(value: bool) -> Slot {
    Slot::Good(Value::Bool(value))
}

/// A sample a second.
fn every_second(value: impl Fn(i64) -> Slot) -> Vec<(i64, Slot)> {
    (0..3600).map(|second| (second * 1000, value(second))).collect()
}

#[test]
fn what_fits_stays_as_it_is() {
    let samples = vec![(5, number(1.0)), (6, number(1.0)), (7, Slot::Bad(Reason::Timeout)), (9, number(-3.5))];
    assert_eq!(thin(PER_BUCKET, samples.clone()), (samples, false));
    assert_eq!(thin(100, []), (vec![], false));
}

#[test]
fn the_ends_and_every_single_spike_of_a_noisy_line_stay() {
    let value = |second: i64| match second {
        1234 => 500.0,
        2345 => -500.0,
        _ => f64::from(u32::try_from(second * 7919 % 100).unwrap()),
    };
    for most in [PER_BUCKET, 7, 10, 99, 1000, 3599] {
        let (kept, thinned) = thin(most, every_second(|second| number(value(second))));
        assert!(thinned);
        for second in [0, 1234, 2345, 3599] {
            assert!(kept.contains(&(second * 1000, number(value(second)))), "{second} of {most}");
        }
        assert!(kept.len() * 3 >= most, "no more is left out than has to be: {} of {most}", kept.len());
    }
}

#[test]
fn each_part_of_the_time_keeps_its_smallest_and_largest_value() {
    let values = every_second(|second| number(f64::from(u32::try_from(second * second % 4001).unwrap())));
    let (kept, _) = thin(400, values.clone());
    // At least a hundred buckets are left of two hundred.
    for part in values.chunks(36) {
        let extreme = |larger: bool| {
            let numbers = part.iter().map(|(_, slot)| slot.value().unwrap().as_f64().unwrap());
            numbers.reduce(|a, b| if larger { a.max(b) } else { a.min(b) }).unwrap()
        };
        let times = part[0].0..=part[part.len() - 1].0;
        let near = |number: f64| {
            kept.iter().any(|(time, slot)| times.contains(time) && slot.value().unwrap().as_f64() == Some(number))
        };
        assert!(near(extreme(true)) && near(extreme(false)));
    }
}

#[test]
fn integers_beyond_the_precision_of_floats_come_out_unchanged() {
    let samples = every_second(|second| Slot::Good(Value::Uint(u64::MAX - u64::try_from(second).unwrap())));
    let (kept, _) = thin(10, samples.clone());
    assert!(kept.iter().all(|sample| samples.contains(sample)));
}

#[test]
fn a_short_outage_stays_visible_among_good_values() {
    let samples = every_second(|second| match second {
        1800..1803 => Slot::Bad(Reason::Timeout),
        2700 => Slot::Uncertain(Value::F64(50.0), Reason::OutOfRange),
        3000 => number(f64::NAN),
        second => number(f64::from(u32::try_from(second % 100).unwrap())),
    });
    let (kept, _) = thin(60, samples);
    assert!(kept.contains(&(1_800_000, Slot::Bad(Reason::Timeout))));
    assert!(kept.contains(&(2_700_000, Slot::Uncertain(Value::F64(50.0), Reason::OutOfRange))));
    let nan = |slot: &Slot| slot.value().and_then(Value::as_f64).is_some_and(f64::is_nan);
    assert!(kept.iter().any(|(time, slot)| *time == 3_000_000 && nan(slot)));
}

#[test]
fn a_text_is_thinned_to_its_changes() {
    let text = |text: &str| Slot::Good(Value::Text(text.into()));
    let samples = every_second(|second| match second {
        0..100 => text("idle"),
        100..3000 => text("run"),
        3000..3010 => Slot::Bad(Reason::Timeout),
        _ => text("run"),
    });
    let expected = vec![
        (0, text("idle")),
        (100_000, text("run")),
        (3_000_000, Slot::Bad(Reason::Timeout)),
        (3_010_000, text("run")),
        (3_599_000, text("run")),
    ];
    assert_eq!(thin(10, samples), (expected, true));
}

#[test]
fn a_text_that_changes_too_often_keeps_the_last_of_each_part() {
    let samples = every_second(|second| Slot::Good(Value::Text(second.to_string().into())));
    let (kept, thinned) = thin(50, samples.clone());
    assert!(thinned && kept.len() >= 16);
    assert_eq!((kept.first(), kept.last()), (samples.first(), samples.last()));
}

#[test]
fn the_steps_of_a_bool_stay_and_none_lasts_longer_than_it_did_by_more_than_a_part() {
    let (kept, _) = thin(10, every_second(|second| on((100..200).contains(&second))));
    assert_eq!(kept, [(0, on(false)), (100_000, on(true)), (200_000, on(false)), (3_599_000, on(false))]);
    // On for a second each minute, but only in the first half.
    let (kept, _) = thin(30, every_second(|second| on(second % 60 == 30 && second < 1800)));
    assert!(kept.iter().any(|(_, slot)| *slot == on(true)));
    assert!(kept.iter().rev().take_while(|(time, _)| *time > 2_200_000).all(|(_, slot)| *slot == on(false)));
    let before = kept.iter().rev().find(|(time, _)| *time <= 2_200_000).unwrap();
    assert_eq!(before.1, on(false));
}

#[test]
fn a_clock_that_was_set_back_and_times_beyond_the_frame_do_no_harm() {
    let times = (0..3000).map(|second| second * 1000).chain((1000..4000).map(|second| second * 1000));
    let (kept, _) = thin(20, times.zip(0..).map(|(time, value)| (time, number(f64::from(value)))));
    assert_eq!(kept.last(), Some(&(3_999_000, number(5_999.0))));
    let (kept, _) = thin(PER_BUCKET, [i64::MIN, i64::MAX, -1, 0].repeat(5).into_iter().map(|at| (at, number(0.0))));
    assert_eq!((kept[0].0, kept.last().unwrap().0), (i64::MIN, i64::MAX));
}

#[test]
fn what_a_device_hands_over_late_stands_where_it_belongs() {
    let text = |text: &str| Slot::Good(Value::Text(text.into()));
    let present = (0..3600).filter(|second| !(1000..2000).contains(second)).map(|second| match second {
        2000..2005 => (second * 1000, Slot::Bad(Reason::Timeout)),
        _ => (second * 1000, text("run")),
    });
    // It comes among the samples of the present, from which it differs.
    let past = (1000..2000).map(|second| (second * 1000, text(if second < 1500 { "stop" } else { "idle" })));
    let mut samples: Vec<(i64, Slot)> = present.collect();
    let after = samples.split_off(1200);
    for (late, now) in past.zip(&after) {
        samples.extend([late, now.clone()]);
    }
    samples.extend_from_slice(&after[1000..]);
    let (kept, thinned) = thin(20, samples);
    assert!(thinned);
    let at = |second: i64| {
        let before = kept.iter().rev().find(|(time, _)| *time <= second * 1000);
        before.map(|(_, slot)| slot.clone())
    };
    let expected =
        [(0, "run"), (999, "run"), (1000, "stop"), (1499, "stop"), (1500, "idle"), (1999, "idle"), (2005, "run")];
    for (second, expected) in expected {
        assert_eq!(at(second), Some(text(expected)), "{second}");
    }
    assert_eq!(at(2000), Some(Slot::Bad(Reason::Timeout)));
}
