//! The samples of a tag, for a chart.

use tidegate_model::{Column, Reason, Slot, Value, ValueKind, ValueType};
use tidegate_store::{HistoryQuery, Store, Why};

use crate::{archive::*, plant::*};

fn query(device: &str, tag: &str, max_points: usize) -> HistoryQuery {
    HistoryQuery { device: name(device), tag: tag.parse().unwrap(), from: None, to: None, max_points }
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
