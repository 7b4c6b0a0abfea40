//! Tags with a swinging door: who is here sees every sample, the store gets those that a line needs.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidegate_config::StartAt;
use tidegate_model::{Loss, Reason, Row, Slot, Value};
use tidegate_store::{Cursor, Item, Store};

use crate::{
    observer::is_good,
    plant::{Mood, Plant},
    rig::{METER, QUICK, Rig, link},
};

/// A meter whose level has a swinging door.
fn doored(max_silence: &str) -> String {
    let door = format!("unit = \"m\"\nswinging_door = {{ error = 0.5, max_silence = \"{max_silence}\" }}");
    METER.replace("unit = \"m\"", &door)
}

async fn start(max_silence: &str) -> Rig {
    Rig::start_with(&link("press", QUICK, &["a"]), &doored(max_silence), Plant::default(), false).await
}

async fn cursor(store: &Store) -> Cursor {
    store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await.unwrap()
}

/// The first `count` rows of the store.
async fn stored(store: &Store, count: usize) -> Vec<(Arc<Row>, Option<Json>)> {
    read(&mut cursor(store).await, count).await
}

/// The next `count` rows, with the payload that targets get of them while it is in memory.
async fn read(cursor: &mut Cursor, count: usize) -> Vec<(Arc<Row>, Option<Json>)> {
    let mut rows = Vec::new();
    while rows.len() < count {
        for delivery in cursor.next(100, 1 << 20).await.unwrap() {
            let Item::Row { row, payload } = delivery.item else { panic!("{delivery:?}") };
            rows.push((row, payload.map(|payload| serde_json::from_slice(&payload).unwrap())));
        }
    }
    rows
}

/// Which rows of these have the first tag, as a drawing.
fn drawing(rows: &[(Arc<Row>, Option<Json>)]) -> String {
    rows.iter().map(|(row, _)| if row.slots[0] == Slot::Unchanged { '.' } else { 'x' }).collect()
}

/// The drawing of rows with one value, which is one line. Between rows of one millisecond, as a stall makes them, there is none.
fn on_a_line(rows: &[(Arc<Row>, Option<Json>)]) -> String {
    let broken = |place: usize| rows[place].0.time >= rows[place + 1].0.time;
    let end = rows.len() - 1;
    let is_kept = |place| place == 0 || place == end || broken(place - 1) || broken(place);
    (0..rows.len()).map(|place| if is_kept(place) { 'x' } else { '.' }).collect()
}

fn numbers(rows: &[(Arc<Row>, Option<Json>)]) -> Vec<u64> {
    rows.iter().map(|(row, _)| row.seq).collect()
}

#[tokio::test]
async fn a_sample_on_a_line_is_published_and_not_stored_and_no_row_is_missing() {
    let rig = start("15m").await;
    let mut cursor = cursor(&rig.store).await;
    // As a target that is there: what it gets at once has its payload with it.
    let mut rows = read(&mut cursor, 20).await;
    let latest = rig.handle().latest("a").await.unwrap();
    assert_eq!(latest[0].slot, Slot::Good(Value::F64(1.0)));
    rig.gateway.stop().await;
    // Messages come in their order, and this is behind all rows.
    rig.seen.state("a", "offline").await;
    let seen = rig.seen.rows("a", "fast");
    assert!(seen.iter().all(|row| row["values"] == json!({ "level": 1.0, "setpoint": 1.0 })), "{seen:?}");

    rows.extend(read(&mut cursor, seen.len() - rows.len()).await);
    assert_eq!(numbers(&rows), (1..).take(rows.len()).collect::<Vec<_>>());
    assert_eq!(drawing(&rows), on_a_line(&rows), "the first row and the one of the stop");
    let with_payload =
        || rows.iter().zip(&seen).filter_map(|((row, payload), seen)| Some((row, payload.as_ref()?, seen)));
    assert!(with_payload().count() > 2);
    for (row, payload, seen) in with_payload() {
        assert_eq!((&payload["seq"], &payload["ts"]), (&seen["seq"], &seen["ts"]));
        assert_eq!(payload["values"].get("level").is_some(), row.slots[0] != Slot::Unchanged);
        assert_eq!(payload["values"]["setpoint"], 1.0);
    }
}

#[tokio::test]
async fn an_outage_ends_the_line_and_is_stored_without_waiting() {
    let rig = start("15m").await;
    rig.seen.row("a", "fast", |row| row["seq"] == 5).await;
    rig.plant.set_mood("a", Mood::Silent);
    let bad = rig.seen.row("a", "fast", |row| row["bad"]["level"] == "timeout").await["seq"].as_u64().unwrap();
    let rows = stored(&rig.store, usize::try_from(bad).unwrap()).await;
    let ends = &rows[rows.iter().position(|(row, _)| row.seq == bad - 1).unwrap()..];
    assert_eq!(ends[0].0.slots[0], Slot::Good(Value::F64(1.0)));
    assert_eq!(ends[1].0.slots[0], Slot::Bad(Reason::Timeout));
    rig.plant.set_mood("a", Mood::Well);
    let back = rig.seen.row("a", "fast", |row| row["seq"].as_u64() > Some(bad) && is_good(row)).await;
    rig.gateway.stop().await;
    let rows = stored(&rig.store, rig.seen.rows("a", "fast").len()).await;
    let first = rows.iter().find(|(row, _)| Some(row.seq) == back["seq"].as_u64()).unwrap();
    assert_eq!(first.0.slots[0], Slot::Good(Value::F64(1.0)), "the first value after an outage");
}

#[tokio::test]
async fn a_line_does_not_cross_a_restart() {
    let rig = start("15m").await;
    rig.seen.row("a", "fast", |row| row["seq"] == 5).await;
    let rig = rig.restart(&link("press", QUICK, &["a"])).await;
    let before = usize::try_from(rig.rows_before).unwrap();
    rig.seen.wait_for("more rows", |seen| (seen.rows("a", "fast").len() > 3).then_some(())).await;
    let rows = stored(&rig.store, before + 3).await;
    assert_eq!(&drawing(&rows)[before - 1..=before], "xx");
    assert_eq!(drawing(&rows)[before..][..2], on_a_line(&rows[before..])[..2], "and a line begins there");
    assert_eq!(numbers(&rows), (1..).take(rows.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_error_is_another_stream_that_goes_on_counting() {
    let mut rig = start("15m").await;
    rig.seen.row("a", "fast", |row| row["seq"] == 5).await;
    rig.write_profile(&METER.replace("unit = \"m\"", "unit = \"m\"\nrounding = { error = 0.5 }"));
    rig.reload(&link("press", QUICK, &["a"])).await.unwrap();
    let count = rig.seen.rows("a", "fast").len() + 3;
    rig.seen.row("a", "fast", |row| row["seq"] == count).await;
    rig.gateway.stop().await;
    let rows = stored(&rig.store, rig.seen.rows("a", "fast").len()).await;
    assert_eq!(numbers(&rows), (1..).take(rows.len()).collect::<Vec<_>>());
    let split = rows.iter().position(|(row, _)| row.stream != rows[0].0.stream).unwrap();
    assert_eq!(drawing(&rows[..split]), on_a_line(&rows[..split]));
    assert_eq!(drawing(&rows[split..]), "x".repeat(rows.len() - split));
    let losses = [0, split].map(|row| rows[row].0.stream.columns()[0].loss.clone().unwrap());
    let error = || "0.5".to_owned();
    assert_eq!(losses[0], Loss::SwingingDoor { error: error(), max_silence: 900_000 });
    assert_eq!(losses[1], Loss::Rounding { error: error() });
    assert_ne!(rows[0].0.stream.id(), rows[split].0.stream.id());
}

#[tokio::test]
async fn a_row_does_not_wait_longer_than_the_longest_silence() {
    let profile = doored("1s").replace("\"20ms\"", "\"1h\"");
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &profile, Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    // What is written is read back: that is the second row, and the third is an hour away.
    assert_eq!(rig.write("a", 1.0).await.unwrap(), []);
    let rows = stored(&rig.store, 2).await;
    assert_eq!(rig.seen.rows("a", "fast").len(), 2, "the second row is stored before the third is there");
    assert_eq!(drawing(&rows), "xx");
}
