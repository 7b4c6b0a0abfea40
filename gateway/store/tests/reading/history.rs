//! The samples of a tag, for a chart.

use tidegate_model::{Column, Loss, Reason, Slot, Value, ValueKind, ValueType};
use tidegate_store::{Fill, HistoryQuery, Part, Query, Store, Why};

use crate::{archive::*, plant::*};

fn query(device: &str, tag: &str, max_points: usize) -> HistoryQuery {
    HistoryQuery {
        device: name(device),
        tag: tag.parse().unwrap(),
        from: None,
        to: None,
        max_points,
        fill: Fill::Nothing,
    }
}

fn column(tag: &str, kind: ValueKind) -> Column {
    Column { unit: Some("bar".to_owned()), ..Column::new(tag.parse().unwrap(), ValueType::single(kind)) }
}

async fn committed(store: &Store, rows: u64) {
    until(|| store.status().rows_committed >= rows, "it is committed").await;
}

#[tokio::test]
async fn the_samples_of_one_tag_come_by_time_with_quality_and_unit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut sensor = Sensor::new(&store, "press", "g", column("pressure", ValueKind::F64)).await;
    let said = [
        number(1.5),
        Slot::Unchanged,
        Slot::Uncertain(Value::F64(9.0), Reason::OutOfRange),
        Slot::Bad(Reason::Timeout),
        number(f64::INFINITY),
    ];
    for (second, slot) in (1..).zip(said.clone()) {
        sensor.say(&store, time(second), slot);
    }
    committed(&store, 5).await;
    let history = store.reader().history(&query("press", "pressure", 100)).await.unwrap().unwrap();
    assert_eq!((history.unit.as_deref(), history.thinned, history.total), (Some("bar"), false, 4));
    let expected: Vec<_> = (1..).zip(said).filter(|(_, slot)| *slot != Slot::Unchanged).collect();
    let given: Vec<_> = history.samples.into_iter().map(|sample| (sample.time, sample.slot)).collect();
    assert_eq!(given, expected.into_iter().map(|(second, slot)| (time(second), slot)).collect::<Vec<_>>());
    assert_eq!(history.missing, []);
}

#[tokio::test]
async fn a_tag_that_was_never_recorded_has_no_history_and_one_without_rows_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 2).await;
    produce(&store, &mut [&mut press], 1).await;
    let reader = store.reader();
    assert_eq!(reader.history(&query("nobody", "tag0", 100)).await.unwrap(), None);
    assert_eq!(reader.history(&query("press", "tag2", 100)).await.unwrap(), None);
    let later = HistoryQuery { from: Some(time(100)), ..query("press", "tag1", 100) };
    let history = reader.history(&later).await.unwrap().unwrap();
    assert_eq!((history.samples, history.total, history.unit.as_deref()), (vec![], 0, Some("V")));
}

#[tokio::test]
async fn a_history_keeps_to_its_times() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 2).await;
    produce(&store, &mut [&mut press], 10).await;
    let some = HistoryQuery { from: Some(time(31)), to: Some(time(55)), ..query("press", "tag0", 100) };
    let history = store.reader().history(&some).await.unwrap().unwrap();
    let times: Vec<_> = history.samples.iter().map(|sample| sample.time).collect();
    assert_eq!(times, (31..55).map(time).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_samples_are_thinned_and_a_spike_and_an_outage_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut sensor = Sensor::new(&store, "press", "g", column("pressure", ValueKind::F64)).await;
    for second in 1..=5_000 {
        let slot = match second {
            1_234 => number(1e9),
            3_000..3_005 => Slot::Bad(Reason::Disconnected),
            _ => number(f64::from(second % 10)),
        };
        sensor.say(&store, time(second.into()), slot);
    }
    committed(&store, 5_000).await;
    let history = store.reader().history(&query("press", "pressure", 200)).await.unwrap().unwrap();
    assert!(history.thinned && history.total == 5_000 && (100..=200).contains(&history.samples.len()));
    let has =
        |second, slot: Slot| history.samples.iter().any(|sample| sample.time == time(second) && sample.slot == slot);
    assert!(has(1, number(1.0)) && has(1_234, number(1e9)) && has(5_000, number(0.0)));
    assert!(has(3_000, Slot::Bad(Reason::Disconnected)));
    assert!(history.samples.is_sorted_by_key(|sample| sample.time));
}

#[tokio::test]
async fn a_tag_that_moves_to_another_group_and_gets_other_neighbours_has_one_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut rows = 0;
    let mut second = 0;
    for (group, kind) in [("fast", ValueKind::F64), ("slow", ValueKind::F64), ("slow", ValueKind::Int)] {
        let mut sensor = Sensor::new(&store, "press", group, column("pressure", kind)).await;
        for _ in 0..5 {
            second += 1;
            sensor.say(&store, time(second), Slot::Good(Value::Int(second)));
        }
        rows += 5;
        committed(&store, rows).await;
    }
    let history = store.reader().history(&query("press", "pressure", 100)).await.unwrap().unwrap();
    let given: Vec<_> = history.samples.into_iter().map(|sample| (sample.time, sample.slot)).collect();
    assert_eq!(given, (1..=15).map(|second| (time(second), Slot::Good(Value::Int(second)))).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_read_is_told_beside_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 1).await;
    produce(&store, &mut [&mut press], 5).await;
    run(dir.path(), "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = 20").await;
    let history = store.reader().history(&query("press", "tag0", 100)).await.unwrap().unwrap();
    assert_eq!((history.total, history.samples.len(), history.missing.len()), (40, 40, 1));
    let missing = &history.missing[0];
    assert_eq!((missing.first, missing.last), (Some(21), Some(30)));
    assert!(matches!(missing.why, Why::Damaged(_)));
}

#[tokio::test]
async fn every_column_of_a_wide_group_comes_out_of_long_blocks() {
    const WIDTH: usize = 11;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", WIDTH).await;
    produce(&store, &mut [&mut press], 100).await;
    until(|| store.status().block_rows >= 600, "rows are in blocks").await;
    let packed = "SELECT count(*) FROM body WHERE substr(hex(bytes), 3, 2) = '12'";
    assert!(number_of(dir.path(), packed).await > 0, "long blocks of many columns are packed in parts");
    let (reader, mut scan) = (store.reader(), store.reader().scan(&Query::of(name("press"))).await.unwrap());
    let mut rows = Vec::new();
    while let Some(part) = scan.next().await.unwrap() {
        let Part::Rows { batch, .. } = part else { panic!("nothing is missing") };
        rows.extend(
            (0..batch.len()).map(|row| (batch.time(row).unwrap(), batch.row(row, &press.stream).unwrap().slots)),
        );
    }
    assert_eq!(rows.len(), 1_000);
    for column in 0..WIDTH {
        let history = reader.history(&query("press", &format!("tag{column}"), 20_000)).await.unwrap().unwrap();
        let found: Vec<_> = history.samples.into_iter().map(|sample| (sample.time, sample.slot)).collect();
        let expected: Vec<_> = rows.iter().map(|(time, slots)| (*time, slots[column].clone())).collect();
        assert!(found == expected, "column {column}");
    }
}

#[tokio::test]
async fn what_a_device_hands_over_of_an_outage_stands_at_the_times_of_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut sensor = Sensor::new(&store, "press", "g", column("pressure", ValueKind::F64)).await;
    (1..=10).for_each(|second| sensor.say(&store, time(second), number(1.0)));
    sensor.say(&store, time(11), Slot::Bad(Reason::Disconnected));
    (30..=35).for_each(|second| sensor.say(&store, time(second), number(3.0)));
    for second in 12..30 {
        sensor.say_of_the_past(&store, time(second), number(2.0));
        if second % 3 == 0 {
            sensor.say(&store, time(30 + second), number(4.0));
        }
    }
    committed(&store, 10 + 1 + 6 + 18 + 6).await;
    let reader = store.reader();
    let all = reader.history(&query("press", "pressure", 100)).await.unwrap().unwrap();
    assert_eq!(all.samples.len(), 41);
    assert!(all.samples.is_sorted_by_key(|sample| sample.time));
    let hole = HistoryQuery { from: Some(time(12)), to: Some(time(30)), ..query("press", "pressure", 100) };
    let hole = reader.history(&hole).await.unwrap().unwrap();
    let found: Vec<_> = hole.samples.into_iter().map(|sample| (sample.time, sample.slot)).collect();
    assert_eq!(found, (12..30).map(|second| (time(second), number(2.0))).collect::<Vec<_>>());
}

#[tokio::test]
async fn lines_of_a_swinging_door_are_drawn_on_wish_also_over_the_ends_of_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let door = Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 900_000 };
    let column = Column { loss: Some(door), ..column("level", ValueKind::F64) };
    let mut sensor = Sensor::new(&store, "tank", "g", column).await;
    for second in 0..=600 {
        sensor.say(
            &store,
            time(second),
            if second % 100 == 0 { number(f64::from(i32::try_from(second % 200).unwrap())) } else { Slot::Unchanged },
        );
    }
    committed(&store, 601).await;
    let ask = async |from, to, max_points, fill| {
        let query =
            HistoryQuery { from: Some(time(from)), to: Some(time(to)), fill, ..query("tank", "level", max_points) };
        store.reader().history(&query).await.unwrap().unwrap()
    };
    let recorded = ask(0, 601, 1_000, Fill::Nothing).await;
    assert_eq!((recorded.samples.len(), recorded.samples.iter().any(|sample| sample.drawn)), (7, false));
    let drawn = ask(0, 601, 1_000, Fill::Lines).await;
    assert_eq!((drawn.total, drawn.thinned), (601, false));
    for sample in &drawn.samples {
        let second = (sample.time.as_millis() - time(0).as_millis()) / 1_000;
        let expected =
            f64::from(i32::try_from(if second % 200 < 100 { second % 200 } else { 200 - second % 200 }).unwrap());
        assert_eq!((sample.slot.clone(), sample.drawn), (number(expected), second % 100 != 0), "{second}");
    }
    let part = ask(120, 180, 1_000, Fill::Lines).await;
    assert_eq!(part.samples, drawn.samples[120..180], "its line begins and ends elsewhere");
    let few = ask(0, 601, 50, Fill::Lines).await;
    assert!(few.thinned && few.samples.len() <= 50 && few.samples.iter().all(|sample| drawn.samples.contains(sample)));
}

#[tokio::test]
async fn a_line_goes_on_over_rows_of_the_past_also_when_these_are_outside_of_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let door = Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 60_000 };
    let column = Column { loss: Some(door), ..column("level", ValueKind::F64) };
    let mut sensor = Sensor::new(&store, "tank", "g", column).await;
    for second in 1_000..=1_010 {
        let is_kept = second == 1_000 || second == 1_010;
        let level = f64::from(i32::try_from(second - 1_000).unwrap());
        sensor.say(&store, time(second), if is_kept { number(level) } else { Slot::Unchanged });
        if second == 1_004 {
            // Of an outage long before.
            (0..20).for_each(|second| sensor.say_of_the_past(&store, time(second), number(50.0)));
        }
    }
    committed(&store, 31).await;
    let ask = async |from, to| {
        let query = HistoryQuery {
            from: Some(time(from)),
            to: Some(time(to)),
            fill: Fill::Lines,
            ..query("tank", "level", 1_000)
        };
        let history = store.reader().history(&query).await.unwrap().unwrap();
        history.samples.into_iter().map(|sample| (sample.time, sample.slot, sample.drawn)).collect::<Vec<_>>()
    };
    let level = |second: i64| number(f64::from(i32::try_from(second - 1_000).unwrap()));
    let expected = |seconds: std::ops::Range<i64>| {
        seconds.map(|second| (time(second), level(second), second % 10 != 0)).collect::<Vec<_>>()
    };
    assert_eq!(ask(1_000, 1_011).await, expected(1_000..1_011));
    assert_eq!(ask(1_003, 1_008).await, expected(1_003..1_008));
    assert_eq!(ask(0, 20).await.len(), 20);
    assert_eq!(ask(0, 2_000).await.len(), 31);
}

#[tokio::test]
async fn no_line_is_drawn_in_rows_of_the_past_also_when_nothing_before_them_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let door = Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 60_000 };
    let column = Column { loss: Some(door), ..column("level", ValueKind::F64) };
    let mut sensor = Sensor::new(&store, "tank", "g", column).await;
    sensor.say(&store, time(10_000), number(1.0));
    committed(&store, 1).await;
    // Of an outage long before, in a commit of its own.
    for second in 0..=1_000 {
        let slot =
            if second % 10 == 0 { number(f64::from(i32::try_from(second % 7).unwrap())) } else { Slot::Unchanged };
        sensor.say_of_the_past(&store, time(second), slot);
    }
    committed(&store, 1_002).await;
    for (from, to, samples) in [(0, 20_000, 102), (0, 1_001, 101), (500, 600, 10)] {
        let query = HistoryQuery {
            from: Some(time(from)),
            to: Some(time(to)),
            fill: Fill::Lines,
            ..query("tank", "level", 2_000)
        };
        let history = store.reader().history(&query).await.unwrap().unwrap();
        assert_eq!(history.samples.len(), samples, "{from} to {to}");
        assert!(history.samples.iter().all(|sample| !sample.drawn));
    }
}
