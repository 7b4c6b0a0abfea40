//! What a device sends by itself: rows of what has changed.

use std::time::Duration;

use tidegate_config::{Access, ReportWhen, Rounding, SwingingDoor, Tag};
use tidegate_model::{Reading, Reason, Slot, Timestamp, Value, ValueKind};
use tidegate_pipeline::{Outcome, Stages, State};

use crate::group::{
    Dice, NOW, TIMEOUT, at, calculated, constant, deadband, good_f64, good_text, group, range, raw, scaling, stages,
    tag,
};

/// A group whose tags come when they have changed.
struct Subscribed {
    stages: Stages,
    state: State,
}

impl Subscribed {
    fn new(report: ReportWhen, tags: Vec<Tag>) -> Subscribed {
        let group = group(report, tags);
        let stages = stages(&group, &raw(&group, ValueKind::F64));
        let state = State::of_arrivals(&stages);
        Subscribed { stages, state }
    }

    fn arrive_at(&mut self, second: u64, changed: &[(usize, Reading)]) -> Option<Outcome> {
        let mut readings = vec![Reading::Missing; self.stages.columns().len()];
        for (column, reading) in changed {
            readings[*column] = reading.clone();
        }
        self.stages.run_partial(&mut self.state, &mut readings, Duration::from_secs(second), NOW)
    }

    /// The slots of the row, if there is one.
    fn arrive(&mut self, changed: &[(usize, f64)]) -> Option<Vec<Slot>> {
        let changed: Vec<(usize, Reading)> = changed.iter().map(|(column, value)| (*column, number(*value))).collect();
        self.arrive_at(0, &changed).map(|outcome| outcome.slots.into_vec())
    }
}

fn number(number: f64) -> Reading {
    Reading::Value(Value::F64(number))
}

const SAME: Slot = Slot::Unchanged;

#[test]
fn the_first_row_says_what_never_came_and_later_ones_only_what_came() {
    let mut plant =
        Subscribed::new(ReportWhen::Always, vec![tag("a"), tag("b"), constant("c", Value::Text("pump".into()))]);
    let first = plant.arrive(&[(0, 1.0)]);
    assert_eq!(first, Some(vec![good_f64(1.0), Slot::Bad(Reason::NotYetRead), good_text("pump")]));
    assert_eq!(plant.arrive(&[(1, 2.0)]), Some(vec![SAME, good_f64(2.0), SAME]));
    // The same value again is a sample all the same: the device has said it.
    assert_eq!(plant.arrive(&[(1, 2.0)]), Some(vec![SAME, good_f64(2.0), SAME]));
    assert_eq!(plant.state.latest(), [good_f64(1.0), good_f64(2.0), good_text("pump")]);
    assert_eq!(plant.arrive(&[]), None);
}

#[test]
fn a_value_goes_through_scale_range_and_doubt_as_in_a_poll() {
    let tags = vec![Tag { scaling: scaling("0.1", "0"), range: range(0.0, 10.0), ..tag("a") }, tag("b")];
    let mut plant = Subscribed::new(ReportWhen::Always, tags);
    plant.arrive(&[(0, 50.0), (1, 1.0)]);
    let beyond = Slot::Uncertain(Value::F64(20.0), Reason::OutOfRange);
    assert_eq!(plant.arrive(&[(0, 200.0)]), Some(vec![beyond, SAME]));
    let doubtful = (0, Reading::Doubtful(Value::F64(50.0), Reason::Stale));
    let slots = plant.arrive_at(0, &[doubtful]).unwrap().slots;
    assert_eq!(slots[0], Slot::Uncertain(Value::F64(5.0), Reason::Stale));
    let failed = plant.arrive_at(0, &[(1, Reading::Failed(Reason::BadAddress))]).unwrap().slots;
    assert_eq!(failed.into_vec(), [SAME, Slot::Bad(Reason::BadAddress)]);
}

#[test]
fn an_expression_takes_what_came_last_of_the_others_exact_to_the_last_bit() {
    let rounding = Some(at(Rounding { error: "0.5".to_owned() }));
    let rounded = Tag { rounding, ..tag("a") };
    let mut plant =
        Subscribed::new(ReportWhen::Always, vec![rounded, tag("b"), calculated("sum", "a + b"), tag("alone")]);
    let first = plant.arrive(&[(0, 1.25)]).unwrap();
    assert_eq!((&first[0], &first[2]), (&good_f64(1.0), &Slot::Bad(Reason::NotYetRead)));
    assert_eq!(plant.arrive(&[(1, 2.0)]), Some(vec![SAME, good_f64(2.0), good_f64(3.25), SAME]));
    assert_eq!(plant.arrive(&[(0, 7.5)]).unwrap()[2], good_f64(9.5));
    assert_eq!(plant.arrive(&[(3, 1.0)]), Some(vec![SAME, SAME, SAME, good_f64(1.0)]));
}

#[test]
fn a_deadband_is_kept_over_rows_that_do_not_have_the_tag() {
    let banded = Tag { deadband: deadband(1.0, Some(60)), ..tag("a") };
    let mut plant = Subscribed::new(ReportWhen::Always, vec![banded, tag("b")]);
    let at = |second: u64, plant: &mut Subscribed, changed: &[(usize, f64)]| {
        let changed: Vec<(usize, Reading)> = changed.iter().map(|(column, value)| (*column, number(*value))).collect();
        plant.arrive_at(second, &changed).map(|outcome| outcome.slots.into_vec())
    };
    at(0, &mut plant, &[(0, 5.0), (1, 1.0)]);
    assert_eq!(at(10, &mut plant, &[(0, 5.5)]), None, "within the deadband, and nothing else");
    assert_eq!(at(20, &mut plant, &[(1, 2.0)]), Some(vec![SAME, good_f64(2.0)]));
    assert_eq!(at(59, &mut plant, &[]), None);
    // What is known of it and was not worth a report.
    assert_eq!(at(60, &mut plant, &[]), Some(vec![good_f64(5.5), SAME]));
    assert_eq!(at(61, &mut plant, &[(0, 6.0)]), None, "from what was reported now");
    assert_eq!(at(62, &mut plant, &[(0, 6.5)]), Some(vec![good_f64(6.5), SAME]));
    assert!(plant.stages.has_longest_silence());
}

#[test]
fn after_an_outage_a_tag_is_bad_until_it_comes() {
    let mut plant = Subscribed::new(ReportWhen::OnChange, vec![tag("a"), tag("b")]);
    plant.arrive(&[(0, 1.0), (1, 2.0)]);
    let mut lost = vec![Reading::Failed(Reason::Timeout); 2];
    let row = plant.stages.run(&mut plant.state, &mut lost, Duration::ZERO, NOW).unwrap();
    assert_eq!(*row.slots, [TIMEOUT, TIMEOUT]);
    assert_eq!(plant.arrive(&[(0, 1.0)]), Some(vec![good_f64(1.0), SAME]));
    assert_eq!(plant.state.latest(), [good_f64(1.0), TIMEOUT]);
}

#[test]
fn a_tag_with_a_swinging_door_is_in_every_row_so_that_no_line_is_drawn_through_a_step() {
    let door = SwingingDoor { error: "0.05".to_owned(), max_silence: Duration::from_secs(900) };
    let tags = vec![Tag { swinging_door: Some(at(door)), ..tag("a") }, tag("b")];
    let mut plant = Subscribed::new(ReportWhen::Always, tags);
    let mut thinning = plant.stages.thinning().unwrap();
    let mut rows: Vec<Vec<Slot>> = Vec::new();
    for second in 0..20_i32 {
        // Nothing is heard of `a` for a while, then it has doubled.
        let changed = match second {
            0 => vec![(0, 10.0), (1, 0.0)],
            15 => vec![(0, 20.0)],
            _ => vec![(1, f64::from(second))],
        };
        let row = plant.arrive(&changed).unwrap();
        let time = Timestamp::from_millis(i64::from(second) * 1_000);
        thinning.next(rows.last_mut().map(Vec::as_mut_slice), time, &row);
        rows.push(row);
    }
    let kept: Vec<usize> = (0..20).filter(|second| rows[*second][0] != SAME).collect();
    assert_eq!(kept, [0, 14, 15, 19], "the step is a step");
}

#[test]
fn the_past_passes_without_a_trace_in_the_present() {
    let banded = Tag { deadband: deadband(5.0, None), ..tag("a") };
    let mut plant = Subscribed::new(ReportWhen::Always, vec![banded, tag("b"), calculated("sum", "a + b")]);
    plant.arrive(&[(0, 10.0), (1, 20.0)]);
    let past = |a: Reading, b: Reading| {
        let mut readings = vec![a, b, Reading::Missing];
        plant.stages.run_past(&mut readings, NOW).map(|outcome| outcome.slots.into_vec())
    };
    assert_eq!(past(number(9.0), number(1.0)), Some(vec![good_f64(9.0), good_f64(1.0), good_f64(10.0)]));
    assert_eq!(past(number(8.0), Reading::Missing), Some(vec![good_f64(8.0), SAME, SAME]));
    assert_eq!(past(Reading::Missing, Reading::Missing), None);
    assert_eq!(plant.state.latest(), [good_f64(10.0), good_f64(20.0), good_f64(30.0)]);
    assert_eq!(plant.arrive(&[(0, 14.0)]), Some(vec![SAME, SAME, good_f64(34.0)]), "the deadband is of the present");
}

/// Where only changes are reported, it makes no difference whether all tags are read or only those come that have changed.
#[test]
fn what_comes_by_itself_makes_the_rows_that_a_poll_of_everything_would_have_made() {
    let rounding = || Some(at(Rounding { error: "0.5".to_owned() }));
    let tags = || {
        vec![
            Tag { deadband: deadband(2.0, Some(7)), ..tag("a") },
            Tag { rounding: rounding(), ..tag("b") },
            Tag { scaling: scaling("0.5", "1"), range: range(0.0, 4.0), ..tag("c") },
            calculated("sum", "a + b"),
            Tag { deadband: deadband(3.0, Some(11)), rounding: rounding(), ..calculated("wide", "sum * c") },
            constant("same", Value::F64(1.0)),
            Tag { access: Access::Write, ..tag("order") },
        ]
    };
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut plant = Subscribed::new(ReportWhen::OnChange, tags());
        let mut polled = State::new(&plant.stages);
        let mut held = vec![Reading::Missing; 7];
        for second in 0..60 {
            let mut changed: Vec<(usize, Reading)> = Vec::new();
            for (column, held) in held.iter_mut().enumerate().take(3) {
                if second == 0 || dice.below(3) == 0 {
                    let reading = match dice.below(8) {
                        0 => Reading::Failed(Reason::DeviceFault),
                        1 => Reading::Doubtful(Value::F64(1.0), Reason::Stale),
                        _ => number(dice.between(0.0, 10.0)),
                    };
                    *held = reading.clone();
                    changed.push((column, reading));
                }
            }
            let arrived = plant.arrive_at(second, &changed);
            let expected = plant.stages.run(&mut polled, &mut held.clone(), Duration::from_secs(second), NOW);
            assert_eq!(arrived, expected, "seed {seed}, second {second}, {changed:?}");
            assert_eq!(plant.state.latest(), polled.latest(), "seed {seed}, second {second}");
        }
    }
}
