//! A device that does not answer costs its neighbours nothing.

use std::time::Duration;

use tidegate_driver_api::{model::Reason, testkit::Stalls};
use tidegate_model::Quality;
use tidegate_runtime::DeviceState;

use crate::{
    observer::is_good,
    plant::{Mood, Plant, connect, read, until},
    rig::{METER, PATIENT, QUICK, Rig, link},
};

#[tokio::test]
async fn a_dead_device_is_probed_once_per_pause_and_the_others_lose_nothing() {
    let meter = METER.replace("\"20ms\"", "\"100ms\"");
    let others = ["b", "c", "d", "e"];
    let site = link("press", QUICK, &["a", "b", "c", "d", "e"]);
    let stalls = Stalls::watch();
    let plant = Plant::default();
    plant.set_mood("a", Mood::Silent);
    let rig = Rig::start_with(&site, &meter, plant, false).await;
    rig.seen.state("a", "offline").await;
    rig.plant.wait_for(8, read("a")).await;
    let probes = rig.plant.times(read("a"));
    // The breaker opens with the second failure. After that, pauses of at least 80 % of 200 ms.
    for pair in probes.windows(2).skip(1) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(160), "{:?}", pair[1] - pair[0]);
    }
    let dead = rig.device("a");
    assert_eq!((dead.state, dead.reason), (Some(DeviceState::Offline), Some("timeout")));
    assert!(dead.missed_slots > 0 && dead.next_try.is_some() && dead.failed_polls >= 7, "{dead:?}");
    for other in others {
        let enough = || Some(rig.device(other)).filter(|device| device.polls >= 40);
        let device = until("polls", enough, || format!("{:?}", rig.device(other))).await;
        assert_eq!((device.state, device.failed_polls), (Some(DeviceState::Online), 0), "{device:?}");
        // Who waits 40 ms for the dead one is late for a slot of 100 ms only when the machine stands still for the rest of it.
        // One poll in ten may be late because only the thread of this test had to wait for a core.
        let stalled = stalls.so_far();
        let excused = u64::try_from(stalled.as_millis()).unwrap() / 50;
        assert!(device.missed_slots <= excused + device.polls / 10, "{device:?}, after stalls of {stalled:?}");
        assert!(rig.seen.rows(other, "fast").iter().all(is_good));
    }
    assert!(rig.seen.rows("a", "fast").iter().all(|row| row["bad"]["level"] == "timeout"));

    rig.plant.set_mood("a", Mood::Well);
    rig.seen.state("a", "online").await;
    let reads = rig.plant.count(read("a"));
    rig.plant.wait_for(reads + 6, read("a")).await;
    assert_eq!(rig.device("a").next_try, None);
}

#[tokio::test]
async fn slots_that_pass_during_a_long_poll_are_counted_and_never_made_up_for() {
    let meter = METER.replace("\"20ms\"", "\"50ms\"");
    let plant = Plant::default();
    let gate = plant.close_gate("a");
    let rig = Rig::start_with(&link("press", PATIENT, &["a"]), &meter, plant, false).await;
    rig.plant.wait_for(1, read("a")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.add_permits(1000);
    rig.plant.wait_for(12, read("a")).await;
    let device = rig.device("a");
    assert!(device.missed_slots >= 8, "{device:?}");
    // The first poll ended half a second late; each that follows starts in a slot of its own. Two reads are a poll.
    let polls: Vec<_> = rig.plant.times(read("a")).into_iter().step_by(2).skip(1).collect();
    let apart = polls[polls.len() - 1] - polls[0];
    let slots = u32::try_from(polls.len() - 1).unwrap();
    assert!(apart >= Duration::from_millis(50) * (slots - 1), "{slots} slots within {apart:?}");
}

#[tokio::test]
async fn one_lost_answer_is_no_dead_device() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_next_mood("a", Mood::Silent);
    let back = |seen: &crate::observer::Observer| (seen.states("a").len() == 3).then(|| seen.states("a"));
    let states = rig.seen.wait_for("three states", back).await;
    assert_eq!(states.iter().map(|(state, _)| &**state).collect::<Vec<_>>(), ["online", "degraded", "online"]);
    let rows = rig.seen.rows("a", "fast");
    assert_eq!(rows.iter().filter(|row| !is_good(row)).count(), 1);
    assert_eq!(rig.device("a").failed_polls, 1);
}

#[tokio::test]
async fn when_a_device_is_left_alone_no_group_of_it_stays_good_and_the_slow_ones_are_read_when_it_is_back() {
    let meter = METER.replace("group = \"fast\"\naccess", "group = \"slow\"\naccess")
        + "[[group]]\nname = \"slow\"\ninterval = \"1h\"\n";
    let rig = Rig::start_with(&link("press", QUICK, &["a", "b"]), &meter, Plant::default(), false).await;
    // The slot of `b` is half an hour away; it is read all the same.
    rig.seen.row("a", "slow", is_good).await;
    rig.seen.row("b", "slow", is_good).await;
    rig.seen.state("a", "online").await;
    rig.plant.set_mood("a", Mood::Silent);
    rig.seen.state("a", "offline").await;
    rig.seen.row("a", "slow", |row| row["bad"]["setpoint"] == "timeout").await;
    for tag in ["level", "setpoint"] {
        assert_eq!(rig.quality("a", tag).await, Quality::Bad(Reason::Timeout));
        assert_eq!(rig.quality("b", tag).await, Quality::Good);
    }
    rig.plant.set_mood("a", Mood::Well);
    rig.seen.state("a", "online").await;
    rig.seen.row("a", "slow", |row| row["seq"] == 3 && is_good(row)).await;
    assert_eq!(rig.quality("a", "setpoint").await, Quality::Good);
    assert_eq!(rig.seen.rows("b", "slow").len(), 1);
}

#[tokio::test]
async fn a_device_that_answers_half_of_each_poll_is_left_alone_and_its_half_does_not_stay_good() {
    let keys = "timeout = \"40ms\"\nretry = { first = \"60s\", longest = \"60s\" }";
    let plant = Plant::default();
    plant.set_tag_mood("a", "setpoint", Mood::Silent);
    let rig = Rig::start_with(&link("press", keys, &["a"]), METER, plant, false).await;
    rig.seen.state("a", "offline").await;
    rig.seen.wait_for("three rows", |seen| (seen.rows("a", "fast").len() == 3).then_some(())).await;
    let rows = rig.seen.rows("a", "fast");
    for half in &rows[..2] {
        assert_eq!((&half["values"]["level"], &half["bad"]["setpoint"]), (&1.0.into(), &"timeout".into()));
    }
    assert_eq!(rows[2]["bad"], serde_json::json!({ "level": "timeout", "setpoint": "timeout" }));
    assert_eq!(rig.quality("a", "level").await, Quality::Bad(Reason::Timeout));
}

#[tokio::test]
async fn a_group_that_asks_the_device_nothing_is_no_sign_of_life() {
    let meter = format!(
        "{METER}[[group]]\nname = \"plate\"\ninterval = \"10ms\"\n[[tag]]\nname = \"maker\"\ngroup = \"plate\"\nvalue = 7\n"
    );
    let plant = Plant::default();
    plant.set_mood("a", Mood::Silent);
    let keys = "timeout = \"40ms\"\nretry = { first = \"60s\", longest = \"60s\" }";
    let rig = Rig::start_with(&link("press", keys, &["a"]), &meter, plant, false).await;
    rig.seen.state("a", "offline").await;
    assert_eq!(rig.plant.count(read("a")), 2);
    assert_eq!(rig.device("a").state, Some(DeviceState::Offline));
}

#[tokio::test]
async fn a_group_that_is_well_does_not_hide_that_another_one_is_not() {
    let meter = METER.replace("group = \"fast\"\naccess", "group = \"other\"\naccess")
        + "[[group]]\nname = \"other\"\ninterval = \"20ms\"\n";
    let plant = Plant::default();
    plant.set_tag_mood("a", "setpoint", Mood::Fault(Reason::BadAddress));
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), &meter, plant, false).await;
    rig.seen
        .wait_for("many rows of both", |seen| {
            (seen.rows("a", "fast").len() > 10 && seen.rows("a", "other").len() > 10).then_some(())
        })
        .await;
    let states = rig.seen.states("a");
    assert!(states.len() <= 2, "the state does not go to and fro: {states:?}");
    assert_eq!(states.last().unwrap(), &("degraded".to_owned(), Some("bad_address".to_owned())));
    assert_eq!(rig.plant.count(connect("press")), 1);
}
