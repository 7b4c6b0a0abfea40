//! Groups that are read seldom do without a value no longer than they have to.

use std::time::Instant;

use tidegate_model::{Quality, Reason};

use crate::{
    observer::is_good,
    plant::{Mood, Plant, read},
    rig::{METER, QUICK, Rig, link},
};

fn hourly() -> String {
    METER.replace("\"20ms\"", "\"1h\"")
}

#[tokio::test]
async fn a_group_that_is_read_every_hour_is_read_soon_after_the_start() {
    let rig = Rig::start_with(&link("press", QUICK, &["a", "b", "c"]), &hourly(), Plant::default(), false).await;
    for device in ["a", "b", "c"] {
        rig.seen.row(device, "fast", is_good).await;
    }
    assert!(["a", "b", "c"].iter().all(|device| rig.plant.count(read(device)) == 2), "and then in its slot only");
}

#[tokio::test]
async fn one_lost_answer_does_not_leave_such_a_group_bad_for_an_hour() {
    let plant = Plant::default();
    plant.set_next_mood("a", Mood::Silent);
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &hourly(), plant, false).await;
    rig.seen.row("a", "fast", |row| row["bad"]["level"] == "timeout").await;
    rig.seen.row("a", "fast", is_good).await;
    assert_eq!(rig.device("a").missed_slots, 0);
}

#[tokio::test]
async fn a_dead_device_with_such_groups_only_is_tried_when_its_pause_is_over() {
    let plant = Plant::default();
    plant.set_mood("a", Mood::Silent);
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &hourly(), plant, false).await;
    rig.plant.wait_for(5, read("a")).await;
    rig.seen.state("a", "offline").await;
    assert_eq!(rig.quality("a", "level").await, Quality::Bad(Reason::Timeout));
    rig.plant.set_mood("a", Mood::Well);
    rig.seen.row("a", "fast", is_good).await;
    rig.seen.state("a", "online").await;
}

#[tokio::test]
async fn a_device_that_is_read_every_hour_can_be_written_to_at_once() {
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &hourly(), Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    // A write that finds no session gets one.
    rig.plant.set_next_mood("a", Mood::Silent);
    assert!(rig.reset("a").await.unwrap()[0].1.to_string().starts_with("unknown"));
    assert_eq!(rig.write("a", 2.0).await.unwrap(), []);
    assert_eq!(rig.plant.written("a"), [("reset".to_owned(), 1.0), ("setpoint".to_owned(), 2.0)]);
}

#[tokio::test]
async fn what_was_written_is_read_back_at_once_and_the_slots_stay_where_they_are() {
    let rig = Rig::start_with(&link("press", QUICK, &["a", "b"]), &hourly(), Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.seen.row("b", "fast", is_good).await;
    assert_eq!(rig.write("a", 42.0).await.unwrap(), []);
    rig.seen.row("a", "fast", |row| row["values"]["setpoint"] == 42.0).await;
    assert_eq!(
        (rig.plant.count(read("a")), rig.plant.count(read("b"))),
        (4, 2),
        "two tags, and the other device is not asked"
    );
    assert_eq!(rig.device("a").missed_slots, 0);
}

#[tokio::test]
async fn what_the_device_has_refused_is_not_read_back() {
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &hourly(), Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_next_mood("a", Mood::Fault(Reason::DeviceFault));
    assert_eq!(rig.write("a", 42.0).await.unwrap().len(), 1);
    assert_eq!(rig.write("a", 43.0).await.unwrap(), []);
    rig.seen.row("a", "fast", |row| row["values"]["setpoint"] == 43.0).await;
    assert_eq!(rig.plant.count(read("a")), 4);
}

#[tokio::test]
async fn writes_without_end_are_read_back_once_in_a_second_and_the_last_one_is() {
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &hourly(), Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    let began = Instant::now();
    for value in 1..=50 {
        assert_eq!(rig.write("a", f64::from(value)).await.unwrap(), []);
    }
    rig.seen.row("a", "fast", |row| row["values"]["setpoint"] == 50.0).await;
    let read_back = rig.plant.count(read("a")) / 2 - 1;
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(read_back <= most, "{read_back} polls, of which {most} may be");
    assert_eq!(rig.device("a").missed_slots, 0);
}
