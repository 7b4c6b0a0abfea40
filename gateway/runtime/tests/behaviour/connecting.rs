//! A link that cannot be reached is tried for ever, and says so.

use std::time::Duration;

use serde_json::json;
use tidegate_driver_api::Cause;
use tidegate_model::{Quality, Reason};
use tidegate_runtime::{DeviceState, LinkState};

use crate::{
    observer::is_good,
    plant::{Deed, Door, Mood, Plant, connect, read},
    rig::{METER, QUICK, Rig, link, only_error},
};

async fn behind(door: Door, keys: &str) -> Rig {
    let plant = Plant::default();
    plant.set_door("press", door);
    Rig::start_with(&link("press", keys, &["a", "b"]), METER, plant, false).await
}

#[tokio::test]
async fn a_link_that_cannot_be_reached_is_tried_with_growing_pauses_until_it_can() {
    let rig = behind(Door::Refused, "retry = { first = \"20ms\", longest = \"160ms\" }").await;
    rig.plant.wait_for(8, connect("press")).await;
    let tries = rig.plant.times(connect("press"));
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Between half and all of 20, 40, 80, 160, 160 … ms; a busy machine only adds.
    for (pause, full) in pauses.iter().zip([20, 40, 80, 160, 160, 160, 160]) {
        assert!(*pause >= Duration::from_millis(full / 2), "{pauses:?}");
    }
    assert!(rig.link("press").connect_failures >= 7);

    rig.plant.set_door("press", Door::Open);
    rig.seen.row("a", "fast", is_good).await;
    rig.seen.state("a", "online").await;
    let status = rig.link("press");
    assert_eq!((status.state, status.connects, status.next_try), (LinkState::Online, 1, None));
}

#[tokio::test]
async fn while_a_link_cannot_be_reached_every_group_has_one_bad_row_and_the_status_says_why() {
    let rig = behind(Door::Refused, "retry = { first = \"20ms\", longest = \"20ms\" }").await;
    rig.plant.wait_for(6, connect("press")).await;
    for device in ["a", "b"] {
        rig.seen.state(device, "offline").await;
        let rows = rig.seen.rows(device, "fast");
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0]["bad"], json!({ "level": "disconnected", "setpoint": "disconnected" }));
        assert_eq!(rows[0]["seq"], 1);
        assert_eq!(rig.seen.states(device), [("offline".to_owned(), Some("disconnected".to_owned()))]);
        assert_eq!(rig.device(device).state, Some(DeviceState::Offline));
        assert_eq!(rig.quality(device, "level").await, Quality::Bad(Reason::Disconnected));
    }
    let status = rig.link("press");
    assert!(status.last_error.is_some_and(|error| error.contains("press refused the connection")));
    assert!(status.missed_slots > 0);
    let error = only_error(rig.write("a", 1.0).await).to_string();
    assert_eq!(error, "not sent: closed: press refused the connection");
}

#[tokio::test]
async fn the_status_of_a_link_that_waits_says_when_it_is_tried_again() {
    let rig = behind(Door::Refused, "retry = { first = \"60s\", longest = \"60s\" }").await;
    rig.seen.state("a", "offline").await;
    let status = rig.link("press");
    let now = rig.handle().clock().timestamp(rig.handle().clock().now()).as_millis();
    assert_eq!(status.state, LinkState::BackingOff);
    assert!(status.next_try.is_some_and(|next| next > now + 20_000 && next <= now + 60_000), "{status:?}");
}

#[tokio::test]
async fn a_device_that_lost_its_connection_is_bad_in_all_groups_when_the_link_does_not_come_back() {
    let two = METER.replace("group = \"fast\"\naccess", "group = \"slow\"\naccess")
        + "[[group]]\nname = \"slow\"\ninterval = \"1h\"\n";
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &two, Plant::default(), false).await;
    rig.seen.row("a", "slow", is_good).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_door("press", Door::Refused);
    rig.plant.set_mood("a", Mood::Lost(Cause::Closed));
    rig.seen.state("a", "offline").await;
    rig.seen.row("a", "slow", |row| row["bad"]["setpoint"] == "disconnected").await;
    assert_eq!(rig.quality("a", "setpoint").await, Quality::Bad(Reason::Disconnected));

    rig.plant.set_door("press", Door::Open);
    rig.plant.set_mood("a", Mood::Well);
    let rows = rig.seen.rows("a", "slow").len();
    rig.seen
        .wait_for("the slow group, long before its slot", |seen| (seen.rows("a", "slow").len() > rows).then_some(()))
        .await;
    assert_eq!(rig.quality("a", "setpoint").await, Quality::Good);
}

#[tokio::test]
async fn a_session_that_the_other_side_closed_while_nobody_used_it_is_no_failure_of_the_device() {
    let slow = METER.replace("\"20ms\"", "\"200ms\"");
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &slow, Plant::default(), false).await;
    for round in 1..=3 {
        rig.seen.wait_for("a row", |seen| (seen.rows("a", "fast").len() >= round).then_some(())).await;
        rig.plant.cut("press");
        rig.plant.wait_for(round + 1, connect("press")).await;
    }
    rig.seen.wait_for("another row", |seen| (seen.rows("a", "fast").len() >= 4).then_some(())).await;
    assert!(rig.seen.rows("a", "fast").iter().all(is_good), "{:?}", rig.seen.rows("a", "fast"));
    let (device, status) = (rig.device("a"), rig.link("press"));
    assert_eq!((device.failed_polls, device.state), (0, Some(DeviceState::Online)));
    assert_eq!((status.lost.closed, status.polls), (3, device.polls));
}

#[tokio::test]
async fn a_connection_that_is_never_used_again_does_not_hide_that_the_machine_is_gone() {
    let slow = METER.replace("\"20ms\"", "\"200ms\"");
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &slow, Plant::default(), false).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_door("press", Door::Refused);
    rig.plant.cut("press");
    rig.seen.row("a", "fast", |row| row["bad"]["level"] == "disconnected").await;
    rig.seen.state("a", "offline").await;
}

#[tokio::test]
async fn a_link_without_anything_to_poll_is_idle_and_never_connects() {
    let rig = Rig::start(&(link("empty", "", &[]) + &link("press", QUICK, &["a"]))).await;
    rig.plant.wait_for(3, read("a")).await;
    assert_eq!(rig.link("empty").state, LinkState::Idle);
    assert_eq!(rig.plant.count(connect("empty")), 0);
    assert_eq!(rig.plant.count(|deed| matches!(deed, Deed::Close { .. })), 0);
}
