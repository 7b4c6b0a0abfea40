//! What is in the rows, and what the latest samples are.

use serde_json::json;
use tidegate_config::StartAt;
use tidegate_driver_api::{Cause, model::Reason};
use tidegate_model::{Quality, Slot, Value};
use tidegate_store::Item;

use crate::{
    observer::is_good,
    plant::{Mood, Plant, connect, read},
    rig::{METER, QUICK, Rig, link},
};

#[tokio::test]
async fn a_row_has_its_time_its_number_and_every_tag_and_goes_to_the_store_as_it_is() {
    let plant = Plant::default();
    plant.set_value("a", "level", 12.5);
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await;
    let mut cursor = rig.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await.unwrap();
    let row = rig.seen.row("a", "fast", |row| row["seq"] == 3).await;
    assert_eq!(row["values"], json!({ "level": 12.5, "setpoint": 1.0 }));
    let now = rig.handle().clock().timestamp(rig.handle().clock().now()).as_millis();
    assert!(row["ts"].as_i64().is_some_and(|ts| ts <= now && ts > now - 60_000), "{row}");
    let seqs: Vec<_> = rig.seen.rows("a", "fast").iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs[..3], [1, 2, 3]);

    let mut stored = Vec::new();
    while stored.len() < 3 {
        stored.extend(cursor.next(1, 1 << 20).await.unwrap().into_iter().map(|delivery| delivery.item));
    }
    let Item::Row { row: third, .. } = &stored[2] else { panic!("{:?}", stored[2]) };
    assert_eq!((third.seq, Some(third.time.as_millis())), (3, row["ts"].as_i64()));
    assert_eq!(*third.slots, [Slot::Good(Value::F64(12.5)), Slot::Good(Value::F64(1.0)), Slot::Unchanged]);
}

#[tokio::test]
async fn a_poll_that_loses_its_session_keeps_the_half_that_was_read_and_the_rest_says_why() {
    for (mood, reason) in [
        (Mood::Silent, "timeout"),
        (Mood::Lost(Cause::Closed), "disconnected"),
        (Mood::Lost(Cause::Mismatch), "device_fault"),
        (Mood::Lost(Cause::Malformed), "device_fault"),
    ] {
        let plant = Plant::default();
        plant.set_tag_mood("a", "setpoint", mood);
        let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await;
        let row = rig.seen.row("a", "fast", |row| row["seq"] == 1).await;
        assert_eq!((&row["values"], &row["bad"]), (&json!({ "level": 1.0 }), &json!({ "setpoint": reason })));
        rig.plant.wait_for(2, connect("press")).await;
    }
}

#[tokio::test]
async fn a_tag_that_the_device_cannot_serve_is_bad_beside_good_neighbours() {
    let plant = Plant::default();
    plant.set_tag_mood("a", "level", Mood::Fault(Reason::DeviceFault));
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await;
    let row = rig.seen.row("a", "fast", |_| true).await;
    assert_eq!((&row["values"], &row["bad"]), (&json!({ "setpoint": 1.0 }), &json!({ "level": "device_fault" })));
    rig.seen.state("a", "degraded").await;
    assert_eq!(rig.quality("a", "level").await, Quality::Bad(Reason::DeviceFault));
}

#[tokio::test]
async fn a_device_that_a_concentrator_cannot_reach_counts_as_one_that_does_not_answer() {
    let plant = Plant::default();
    plant.set_mood("a", Mood::Fault(Reason::Timeout));
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await;
    rig.seen.state("a", "offline").await;
    assert_eq!(rig.plant.count(connect("press")), 1, "the session is kept");
    assert!(rig.device("a").next_try.is_some());
}

#[tokio::test]
async fn the_latest_samples_are_told_at_once_also_while_the_device_lets_wait() {
    let plant = Plant::default();
    let rig = Rig::start_with(&link("press", "timeout = \"60s\"", &["a"]), METER, plant, false).await;
    rig.plant.set_value("a", "level", 7.0);
    rig.seen.row("a", "fast", |row| row["values"]["level"] == 7.0).await;
    let gate = rig.plant.close_gate("a");
    let reads = rig.plant.count(read("a"));
    rig.plant.wait_for(reads + 1, read("a")).await;
    let latest = rig.handle().latest("a").await.unwrap();
    let level = latest.iter().find(|sample| sample.tag.as_str() == "level").unwrap();
    assert_eq!((&level.slot, level.unit.as_deref()), (&Slot::Good(Value::F64(7.0)), Some("m")));
    assert!(level.time.is_some());
    assert_eq!(gate.available_permits(), 0, "the poll was still waiting");
    assert!(rig.handle().latest("b").await.unwrap_err().to_string().contains("\"b\""));
}

#[tokio::test]
async fn before_its_first_poll_a_tag_is_not_yet_read() {
    let plant = Plant::default();
    let _gate = plant.close_gate("a");
    let rig = Rig::start_with(&link("press", "timeout = \"60s\"", &["a"]), METER, plant, false).await;
    assert_eq!(rig.quality("a", "level").await, Quality::Bad(Reason::NotYetRead));
    assert_eq!(rig.device("a").state, None);
}

#[tokio::test]
async fn a_group_that_reports_on_change_makes_a_row_when_something_has_changed() {
    let meter = METER.replace("interval = \"20ms\"", "interval = \"20ms\"\nreport = \"on_change\"");
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &meter, Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.wait_for(20, read("a")).await;
    assert_eq!(rig.seen.rows("a", "fast").len(), 1);
    rig.plant.set_value("a", "level", 2.0);
    let row = rig.seen.row("a", "fast", |row| row["seq"] == 2).await;
    assert_eq!(row["values"], json!({ "level": 2.0 }));
    rig.plant.set_mood("a", Mood::Silent);
    let row = rig.seen.row("a", "fast", |row| row["seq"] == 3).await;
    assert_eq!(row["bad"], json!({ "level": "timeout", "setpoint": "timeout" }));
    rig.plant.wait_for(rig.plant.count(read("a")) + 3, read("a")).await;
    assert_eq!(rig.seen.rows("a", "fast").len(), 3, "nothing new is nothing new");
}
