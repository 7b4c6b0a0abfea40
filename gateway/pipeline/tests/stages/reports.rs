//! What of a poll is reported.

use tidegate_config::{ReportWhen, Tag};
use tidegate_model::{Reading, Reason, Slot, Value, ValueKind};

use crate::group::{
    Polled, TIMEOUT, calculated, constant, deadband, f32s, good_f32, good_f64, good_int, group, ints, range, tag,
};

const FAILED: Reading = Reading::Failed(Reason::Timeout);

#[test]
fn without_a_deadband_every_poll_is_a_row_even_when_nothing_moves() {
    let mut polled = Polled::new(&group(ReportWhen::Always, vec![tag("a")]), ValueKind::F32);
    for _ in 0..3 {
        assert_eq!(polled.poll(&f32s(&[1.0])), Some(vec![good_f32(1.0)]));
    }
    for _ in 0..3 {
        assert_eq!(polled.poll(&[FAILED]), Some(vec![TIMEOUT]));
    }
}

#[test]
fn a_tag_within_its_deadband_is_left_out_of_the_row() {
    let tags = vec![Tag { deadband: deadband(1.0, None), ..tag("a") }, tag("b")];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::F32);
    assert_eq!(polled.poll(&f32s(&[10.0, 1.0])), Some(vec![good_f32(10.0), good_f32(1.0)]));
    assert_eq!(polled.poll(&f32s(&[10.5, 1.0])), Some(vec![Slot::Unchanged, good_f32(1.0)]));
    assert_eq!(polled.state.latest(), [good_f32(10.5), good_f32(1.0)]);
    assert_eq!(polled.poll(&f32s(&[11.0, 1.0])), Some(vec![good_f32(11.0), good_f32(1.0)]));
}

#[test]
fn a_poll_with_every_tag_within_its_deadband_is_no_row() {
    let tags = vec![Tag { deadband: deadband(1.0, Some(3)), ..tag("a") }];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::F32);
    assert_eq!(polled.poll(&f32s(&[10.0])), Some(vec![good_f32(10.0)]));
    assert_eq!(polled.poll(&f32s(&[10.1])), None);
    assert_eq!(polled.poll(&f32s(&[10.2])), None);
    assert_eq!(polled.state.latest(), [good_f32(10.2)]);
    assert_eq!(polled.poll(&f32s(&[10.3])), Some(vec![good_f32(10.3)]), "after three seconds of silence");
}

#[test]
fn losing_and_regaining_a_tag_with_a_deadband_is_reported_once_each() {
    let tags = vec![Tag { deadband: deadband(100.0, None), range: range(0.0, 50.0), ..tag("a") }];
    let mut polled = Polled::new(&group(ReportWhen::Always, tags), ValueKind::F32);
    assert_eq!(polled.poll(&f32s(&[1.0])), Some(vec![good_f32(1.0)]));
    assert_eq!(polled.poll(&[FAILED]), Some(vec![TIMEOUT]));
    assert_eq!(polled.poll(&[FAILED]), None);
    assert_eq!(polled.poll(&f32s(&[1.0])), Some(vec![good_f32(1.0)]));
    let implausible = Slot::Uncertain(Value::F32(51.0), Reason::OutOfRange);
    assert_eq!(polled.poll(&f32s(&[51.0])), Some(vec![implausible]));
    assert_eq!(polled.poll(&f32s(&[52.0])), None);
}

#[test]
fn an_on_change_group_reports_what_changed_and_nothing_else() {
    let mut polled = Polled::new(&group(ReportWhen::OnChange, vec![tag("a"), tag("b")]), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[1, 2])), Some(vec![good_int(1), good_int(2)]));
    assert_eq!(polled.poll(&ints(&[1, 2])), None);
    assert_eq!(polled.poll(&ints(&[1, 3])), Some(vec![Slot::Unchanged, good_int(3)]));
    let half = [Reading::Value(Value::Int(1)), FAILED];
    assert_eq!(polled.poll(&half), Some(vec![Slot::Unchanged, TIMEOUT]));
    assert_eq!(polled.poll(&half), None);
    assert_eq!(polled.poll(&ints(&[1, 3])), Some(vec![Slot::Unchanged, good_int(3)]));
}

#[test]
fn the_first_poll_of_an_on_change_group_is_reported_whatever_it_says() {
    let mut polled = Polled::new(&group(ReportWhen::OnChange, vec![tag("a")]), ValueKind::Int);
    let nothing = vec![Slot::Bad(Reason::NotYetRead)];
    assert_eq!(polled.poll(&[Reading::Missing]), Some(nothing));
    assert_eq!(polled.poll(&[Reading::Missing]), None);
}

#[test]
fn deadbands_and_plain_tags_live_together_in_an_on_change_group() {
    let tags = vec![Tag { deadband: deadband(1.0, None), ..tag("a") }, tag("b"), constant("c", Value::Int(5))];
    let mut polled = Polled::new(&group(ReportWhen::OnChange, tags), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[1, 1])), Some(vec![good_int(1), good_int(1), good_int(5)]));
    assert_eq!(polled.poll(&ints(&[2, 1])), Some(vec![good_int(2), Slot::Unchanged, Slot::Unchanged]));
    assert_eq!(polled.poll(&ints(&[2, 1])), None);
}

#[test]
fn a_calculated_tag_is_reported_by_its_own_deadband() {
    let sum = Tag { deadband: deadband(5.0, None), ..calculated("sum", "a + 1") };
    let mut polled = Polled::new(&group(ReportWhen::Always, vec![tag("a"), sum]), ValueKind::Int);
    assert_eq!(polled.poll(&ints(&[1])), Some(vec![good_int(1), good_f64(2.0)]));
    assert_eq!(polled.poll(&ints(&[5])), Some(vec![good_int(5), Slot::Unchanged]));
    assert_eq!(polled.poll(&ints(&[6])), Some(vec![good_int(6), good_f64(7.0)]));
}

/// A small deterministic source of numbers (SplitMix64), so that a failing case fails again.
fn dice(seed: &mut u64, limit: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % limit
}

/// A walk of small steps, now and then out of range or without an answer.
fn random_reading(seed: &mut u64, level: &mut i64) -> Reading {
    *level += i64::try_from(dice(seed, 5)).unwrap() - 2;
    match dice(seed, 12) {
        0 => FAILED,
        1 => Reading::Failed(Reason::Disconnected),
        2 => Reading::Value(Value::Int(1_000)),
        _ => Reading::Value(Value::Int(*level)),
    }
}

#[test]
fn who_keeps_the_last_report_of_each_tag_is_never_further_off_than_its_deadband() {
    const BAND: i64 = 4;
    let mut seed = 6;
    let mut silent_polls = 0;
    for report in [ReportWhen::Always, ReportWhen::OnChange] {
        let tags = vec![
            Tag { deadband: deadband(4.0, Some(20)), range: range(-500.0, 500.0), ..tag("banded") },
            Tag { deadband: deadband(4.0, None), ..tag("banded_for_ever") },
            Tag { range: range(-500.0, 500.0), ..tag("plain") },
        ];
        let tags = if report == ReportWhen::Always { tags.into_iter().take(2).collect() } else { tags };
        let count = tags.len();
        let mut polled = Polled::new(&group(report, tags), ValueKind::Int);
        let mut known = vec![Slot::Unchanged; count];
        let mut levels = vec![0; count];
        for _ in 0..5_000 {
            let readings: Vec<Reading> = levels.iter_mut().map(|level| random_reading(&mut seed, level)).collect();
            match polled.poll(&readings) {
                None => silent_polls += 1,
                Some(slots) => {
                    assert!(slots.iter().any(|slot| *slot != Slot::Unchanged), "an empty row");
                    for (known, slot) in known.iter_mut().zip(slots).filter(|(_, slot)| *slot != Slot::Unchanged) {
                        *known = slot;
                    }
                }
            }
            for (column, (known, latest)) in known.iter().zip(polled.state.latest()).enumerate() {
                assert_eq!(known.quality(), latest.quality(), "column {column}");
                let (Some(Value::Int(known)), Some(Value::Int(latest))) = (known.value(), latest.value()) else {
                    continue;
                };
                let off = if column < 2 { BAND - 1 } else { 0 };
                assert!((known - latest).abs() <= off, "column {column}: {known} is kept, {latest} is true");
            }
        }
    }
    assert!(silent_polls > 100, "only {silent_polls} polls without a row");
}
