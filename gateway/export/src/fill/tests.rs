use tidegate_model::{Reason, ValueType};

use super::*;

fn columns() -> Vec<Column> {
    let mut level = Column::new("level".parse().unwrap(), ValueType::single(ValueKind::F64));
    level.loss = Some(Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 10_000 });
    let mut count = Column::new("count".parse().unwrap(), ValueType::single(ValueKind::Int));
    count.loss = Some(Loss::SwingingDoor { error: "1".to_owned(), max_silence: 10_000 });
    vec![level, count, Column::new("plain".parse().unwrap(), ValueType::single(ValueKind::F64))]
}

/// A row a second from `seq` on: what a text says about `level` and `count`; `plain` is always unchanged.
fn batch(seq: u64, rows: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new(&columns());
    for (at, (level, count)) in (0..).zip(rows) {
        let slot = |text: &str, of: fn(f64) -> Value| match text {
            "-" => Slot::Unchanged,
            "bad" => Slot::Bad(Reason::Timeout),
            number => Slot::Good(of(number.parse().unwrap())),
        };
        let slots =
            [slot(level, Value::F64), slot(count, |number| of_kind(ValueKind::Int, number).unwrap()), Slot::Unchanged];
        let time = Timestamp::from_millis(1000 * i64::try_from(seq + at).unwrap());
        batch.push(seq + at, time, None, &slots).unwrap();
    }
    batch
}

/// What comes, a line a row: the values, those that were drawn with a `~`.
fn all(fill: &mut Fill) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(filled) = fill.ready().unwrap() {
        for row in 0..filled.batch.len() {
            let cell = |column: usize| match filled.batch.slot(row, column).unwrap() {
                Slot::Good(value) => {
                    let mark = if filled.drawn[row].contains(&column) { "~" } else { "" };
                    format!("{mark}{}", value.as_f64().unwrap())
                }
                Slot::Unchanged => "-".to_owned(),
                _ => "bad".to_owned(),
            };
            lines.push(format!("{} {} {}", cell(0), cell(1), cell(2)));
        }
    }
    lines
}

fn filled(rows: &[(&str, &str)]) -> Vec<String> {
    let mut fill = Fill::new(&columns()).unwrap();
    fill.push(&batch(1, rows));
    fill.end();
    all(&mut fill)
}

#[test]
fn what_was_left_out_lies_on_the_line_between_the_samples_around_it() {
    let rows = [("1", "10"), ("-", "-"), ("-", "-"), ("4", "-"), ("-", "20"), ("3", "20")];
    assert_eq!(filled(&rows), ["1 10 -", "~2 ~13 -", "~3 ~15 -", "4 ~18 -", "~3.5 20 -", "3 20 -"]);
}

#[test]
fn no_line_goes_from_or_to_what_is_not_good() {
    let rows = [("-", "1"), ("1", "2"), ("-", "3"), ("bad", "4"), ("-", "5"), ("2", "6"), ("-", "7")];
    assert_eq!(filled(&rows), ["- 1 -", "1 2 -", "- 3 -", "bad 4 -", "- 5 -", "2 6 -", "- 7 -"]);
}

#[test]
fn no_line_is_longer_than_a_tag_may_be_silent() {
    let rows = |silent: usize| {
        let mut rows = vec![("0", "1")];
        rows.extend(vec![("-", "1"); silent]);
        rows.push(("11", "1"));
        filled(&rows)
    };
    assert_eq!(rows(9)[9], "~9.9 1 -");
    assert_eq!(rows(10)[9], "- 1 -");
}

#[test]
fn rows_go_on_as_soon_as_their_lines_have_ended_and_no_line_crosses_an_end() {
    let mut fill = Fill::new(&columns()).unwrap();
    fill.push(&batch(1, &[("1", "1"), ("-", "2")]));
    assert_eq!(all(&mut fill), ["1 1 -"]);
    fill.push(&batch(3, &[("3", "3"), ("-", "4")]));
    assert_eq!(all(&mut fill), ["~2 2 -", "3 3 -"]);
    fill.end();
    fill.push(&batch(5, &[("5", "5")]));
    fill.end();
    assert_eq!(all(&mut fill), ["- 4 -", "5 5 -"]);
}

/// Rows of `level` alone, one a batch: number, seconds and value.
fn drawn(fill: &mut Fill, rows: &[(u64, i64, Option<f64>)]) -> Vec<(i64, Option<f64>, bool)> {
    drawn_with(fill, rows, |_| None)
}

/// The same with the device's own times.
fn drawn_with(
    fill: &mut Fill,
    rows: &[(u64, i64, Option<f64>)],
    device_time: fn(i64) -> Option<i64>,
) -> Vec<(i64, Option<f64>, bool)> {
    for (seq, at, level) in rows.iter().copied() {
        let slots =
            [level.map_or(Slot::Unchanged, |level| Slot::Good(Value::F64(level))), Slot::Unchanged, Slot::Unchanged];
        let mut batch = Batch::new(&columns());
        let device_time = device_time(at).map(|at| Timestamp::from_millis(1000 * at));
        batch.push(seq, Timestamp::from_millis(1000 * at), device_time, &slots).unwrap();
        fill.push(&batch);
    }
    fill.end();
    let mut found = Vec::new();
    while let Some(Filled { batch, drawn }) = fill.ready().unwrap() {
        found.extend((0..batch.len()).map(|row| {
            let level = batch.slot(row, 0).unwrap().value().and_then(Value::as_f64);
            (batch.time(row).unwrap().as_millis() / 1000, level, drawn[row].contains(&0))
        }));
    }
    found
}

#[test]
fn a_row_of_the_past_is_on_no_line_and_ends_none() {
    let mut rows = vec![
        (1, 100, Some(0.0)),
        (2, 101, None),
        (3, 50, Some(9.0)),
        (4, 52, None),
        (5, 54, Some(5.0)),
        (6, 102, None),
        (7, 103, Some(3.0)),
    ];
    let past = [(50, Some(9.0), false), (52, None, false), (54, Some(5.0), false)];
    let [before, after] =
        [[(100, Some(0.0), false), (101, Some(1.0), true)], [(102, Some(2.0), true), (103, Some(3.0), false)]];
    let found = drawn(&mut Fill::new(&columns()).unwrap(), &rows);
    assert_eq!(found, [before.as_slice(), &past, &after].concat());
    // A number that is left out ends it there, too, and what is of the past stays so behind it.
    rows.remove(3);
    let mut fill = Fill::new(&columns()).unwrap();
    let found: Vec<_> = drawn(&mut fill, &rows).into_iter().filter(|(.., drawn)| *drawn).collect();
    assert_eq!(found, []);
    assert_eq!(drawn(&mut fill, &[(8, 60, Some(1.0)), (9, 61, None), (10, 62, Some(3.0))])[1], (61, None, false));
}

#[test]
fn rows_of_the_past_are_known_by_their_times_where_nothing_before_them_is_read() {
    // What is before 100 was handed over by the device; what is from there on it has said a second ago.
    let times = |at: i64| Some(if at < 100 { at } else { at - 1 });
    let past = [(5, 50, Some(0.0)), (6, 51, None), (7, 52, Some(8.0))];
    let drawn_of = |fill: &mut Fill, rows: &[_]| {
        let found = drawn_with(fill, rows, times);
        assert_eq!(found.len(), rows.len(), "{found:?}");
        found.into_iter().filter_map(|(at, level, drawn)| drawn.then_some((at, level))).collect::<Vec<_>>()
    };
    let mut fill = Fill::new(&columns()).unwrap();
    assert_eq!(drawn_of(&mut fill, &past), []);
    // The present goes on behind them, and behind a hole nobody knows again.
    let present = [(8, 100, Some(0.0)), (9, 101, None), (10, 60, Some(9.0)), (11, 102, Some(4.0))];
    assert_eq!(drawn_of(&mut fill, &present), [(101, Some(2.0))]);
    assert_eq!(drawn_of(&mut fill, &[(20, 103, Some(0.0)), (21, 104, None), (22, 105, Some(2.0))]), [(104, Some(1.0))]);
    let ahead = |at| Some(at);
    let mut fill = Fill::new(&columns()).unwrap();
    assert_eq!(drawn(&mut fill, &[(1, 10, Some(0.0))]).len(), 1);
    let found = drawn_with(&mut fill, &past, ahead);
    assert!(found.iter().all(|(.., drawn)| !drawn), "behind a hole, and later than what was before: {found:?}");
    // As soon as one row is of the present, a device whose answer takes no time is told from the past by the order alone.
    let mut fill = Fill::new(&columns()).unwrap();
    drawn(&mut fill, &[(4, 49, None)]);
    assert_eq!(drawn_with(&mut fill, &past, ahead)[1], (51, Some(4.0), true));
}

#[test]
fn rows_outside_of_what_is_wanted_are_on_lines_and_not_handed_on() {
    let at = |seconds: i64| Some(Timestamp::from_millis(1000 * seconds));
    let mut fill = Fill::new(&columns()).unwrap().within(at(101), at(104));
    let rows = [
        (1, 100, Some(0.0)),
        (2, 101, None),
        (3, 50, Some(9.0)),
        (4, 102, None),
        (5, 103, None),
        (6, 104, Some(4.0)),
        (7, 105, None),
    ];
    assert_eq!(
        drawn(&mut fill, &rows),
        [(101, 1.0), (102, 2.0), (103, 3.0)].map(|(at, level)| (at, Some(level), true))
    );
}

#[test]
fn without_a_door_there_is_nothing_to_draw() {
    assert!(Fill::new(&columns()[2..]).is_none());
}
