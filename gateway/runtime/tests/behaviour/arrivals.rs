//! What devices send by themselves becomes rows at once, and nothing else waits for it.

use std::time::Duration;

use serde_json::json;
use tidegate_config::StartAt;
use tidegate_driver_api::{Cause, model::Reading};
use tidegate_model::{Quality, Reason, Slot, Value};
use tidegate_runtime::{DeviceState, LinkState};
use tidegate_store::Item;

use crate::{
    observer::is_good,
    plant::{Deed, Door, Mood, Plant, Push, changed, connect, read, until, write},
    rig::{QUICK, Rig, link},
};

/// A meter that sends two of its tags by itself, and has one that is polled.
const LIVE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Meter"
driver = "plant"
version = 1
[[group]]
name = "live"
interval = "100ms"
mode = "subscribe"
[[tag]]
name = "level"
group = "live"
[[tag]]
name = "setpoint"
group = "live"
access = "read_write"
[[tag]]
name = "twice"
group = "live"
expr = "level * 2"
[[tag]]
name = "reset"
group = "live"
access = "write"
[[group]]
name = "polled"
interval = "20ms"
[[tag]]
name = "pressure"
group = "polled"
"#;

async fn start(keys: &str) -> Rig {
    Rig::start_with(&link("press", keys, &["a"]), LIVE, Plant::default(), false).await
}

/// Both tags come, as they do when a session begins.
fn both(level: f64) -> Push {
    changed("a", "live", &[("level", level), ("setpoint", 1.0)])
}

/// A running gateway whose device has sent everything once.
async fn well(keys: &str) -> Rig {
    let rig = start(keys).await;
    rig.plant.push("press", both(1.0));
    rig.seen.row("a", "live", is_good).await;
    rig
}

#[tokio::test]
async fn what_has_changed_is_a_row_of_its_own_and_the_latest_samples_are_of_their_own_times() {
    let rig = well(QUICK).await;
    rig.plant.push("press", changed("a", "live", &[("setpoint", 7.0)]));
    let row = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
    assert_eq!(row["values"], json!({ "setpoint": 7.0 }));
    rig.plant.push("press", changed("a", "live", &[("level", 4.0)]));
    let row = rig.seen.row("a", "live", |row| row["seq"] == 3).await;
    assert_eq!(row["values"], json!({ "level": 4.0, "twice": 8.0 }));
    rig.seen.state("a", "online").await;

    let group = rig.handle().catalog()[0].groups[0].clone();
    let samples: Vec<_> = (0..4).map(|column| group.sample(column).unwrap()).collect();
    assert_eq!(samples[1].slot, Slot::Good(Value::F64(7.0)));
    assert_eq!(samples[2].slot, Slot::Good(Value::F64(8.0)));
    assert!(samples[1].time <= samples[0].time && samples[2].time == samples[0].time, "{samples:?}");
    let status = rig.link("press");
    assert_eq!((status.arrivals, status.devices[0].arrivals, status.state), (3, 3, LinkState::Online));
}

#[tokio::test]
async fn a_group_that_is_delivered_is_not_polled_and_misses_no_slot_while_others_are() {
    let rig = well(QUICK).await;
    rig.plant.wait_for(20, read("a")).await;
    let polls = rig.plant.log().into_iter().map(|entry| entry.deed);
    let tags: Vec<String> =
        polls.filter_map(|deed| if let Deed::Read { tag, .. } = deed { Some(tag) } else { None }).collect();
    assert!(tags.iter().all(|tag| tag == "pressure"), "{tags:?}");
    rig.plant.set_door("press", Door::Refused);
    rig.plant.push("press", Push::Lost(Cause::Closed));
    rig.seen.state("a", "offline").await;
    rig.plant.wait_for(4, connect("press")).await;
    assert_eq!(rig.seen.rows("a", "live").len(), 2, "one good and one bad");
}

#[tokio::test]
async fn a_device_that_cannot_be_subscribed_to_is_polled_as_ever() {
    let plant = Plant::default();
    plant.refuse_subscriptions("a");
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), LIVE, plant, false).await;
    let row = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
    assert_eq!(row["values"], json!({ "level": 1.0, "setpoint": 1.0, "twice": 2.0 }));
}

#[tokio::test]
async fn a_lost_session_makes_its_groups_bad_at_once_for_its_reason_and_they_are_good_when_something_comes() {
    for (cause, reason) in [(Cause::Timeout, "timeout"), (Cause::Closed, "disconnected")] {
        let rig = well(QUICK).await;
        rig.plant.push("press", Push::Lost(cause));
        let bad = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
        assert_eq!(bad["bad"], json!({ "level": reason, "setpoint": reason, "twice": reason }));
        // The session is back long before anything comes.
        rig.plant.wait_for(2, connect("press")).await;
        let pressures = rig.seen.rows("a", "polled").len();
        rig.seen.wait_for("polls", |seen| (seen.rows("a", "polled").len() > pressures + 2).then_some(())).await;
        assert_eq!(rig.seen.rows("a", "live").len(), 2);
        assert_eq!(rig.device("a").state, Some(DeviceState::Degraded));

        rig.plant.push("press", changed("a", "live", &[("level", 3.0)]));
        let row = rig.seen.row("a", "live", |row| row["seq"] == 3).await;
        assert_eq!((&row["values"], row.get("bad")), (&json!({ "level": 3.0, "twice": 6.0 }), None));
        let expected = if cause == Cause::Timeout { Reason::Timeout } else { Reason::Disconnected };
        assert_eq!(rig.quality("a", "setpoint").await, Quality::Bad(expected), "it has not come yet");
        rig.plant.push("press", changed("a", "live", &[("setpoint", 1.0)]));
        rig.seen.state("a", "online").await;
    }
}

#[tokio::test]
async fn connections_that_fail_again_and_again_add_no_rows_and_keep_the_reason() {
    let rig = well("timeout = \"40ms\"\nretry = { first = \"10ms\", longest = \"20ms\" }").await;
    rig.plant.set_door("press", Door::Refused);
    rig.plant.push("press", Push::Lost(Cause::Timeout));
    rig.plant.wait_for(10, connect("press")).await;
    let rows = rig.seen.rows("a", "live");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[1]["bad"]["level"], "timeout");
    assert_eq!(rig.quality("a", "level").await, Quality::Bad(Reason::Timeout));
    rig.plant.set_door("press", Door::Open);
    rig.plant.push("press", both(2.0));
    rig.seen.row("a", "live", |row| row["values"]["level"] == 2.0).await;
    rig.seen.state("a", "online").await;
}

#[tokio::test]
async fn sessions_that_end_as_soon_as_they_begin_are_spaced_and_make_one_bad_row() {
    let rig = start("retry = { first = \"20ms\", longest = \"160ms\" }").await;
    rig.plant.flood("press", Push::Lost(Cause::Closed));
    rig.plant.wait_for(7, connect("press")).await;
    let tries = rig.plant.times(connect("press"));
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, full) in pauses.iter().zip([20, 40, 80, 160, 160, 160]) {
        assert!(*pause >= Duration::from_millis(full / 2), "{pauses:?}");
    }
    assert_eq!(rig.seen.rows("a", "live").len(), 1);
    assert_eq!(rig.seen.rows("a", "live")[0]["bad"]["level"], "disconnected");
}

#[tokio::test]
async fn polls_that_get_no_answer_say_nothing_of_what_comes_by_itself() {
    let rig = well("timeout = \"40ms\"\nretry = { first = \"10s\", longest = \"10s\" }").await;
    rig.plant.set_tag_mood("a", "pressure", Mood::Fault(Reason::Timeout));
    rig.seen.row("a", "polled", |row| row["bad"]["pressure"] == "timeout").await;
    let left_alone = || rig.device("a").next_try.is_some().then_some(());
    crate::plant::until("the device to be left alone", left_alone, || format!("{:?}", rig.device("a"))).await;
    assert_eq!(rig.device("a").state, Some(DeviceState::Degraded), "what comes by itself comes");
    let rows = rig.seen.rows("a", "live");
    assert_eq!(rows.len(), 1, "it was never bad: {rows:?}");
    assert_eq!(rig.quality("a", "level").await, Quality::Good);
    rig.plant.push("press", changed("a", "live", &[("level", 3.0)]));
    rig.seen.row("a", "live", |row| row["values"]["level"] == 3.0).await;
}

#[tokio::test]
async fn an_order_is_carried_out_at_once_and_polls_keep_their_slots_while_a_device_sends_without_end() {
    // The same meter, which sends nothing: a stall of the machine that runs this costs it as many slots.
    let site = link("press", QUICK, &["a"]) + &link("calm", QUICK, &["w"]);
    let rig = Rig::start_with(&site, LIVE, Plant::default(), false).await;
    rig.plant.push("press", both(1.0));
    rig.seen.row("a", "live", is_good).await;
    rig.plant.wait_for(1, read("a")).await;
    rig.plant.flood("press", changed("a", "live", &[("level", 2.0)]));
    rig.seen.row("a", "live", |row| row["values"]["level"] == 2.0).await;
    let missed_by = |device| usize::try_from(rig.device(device).missed_slots).unwrap();
    let (polls, before) = (rig.plant.count(read("a")), (missed_by("a"), missed_by("w")));
    for value in 0..20_u8 {
        let begun = rig.plant.log().len();
        assert_eq!(rig.write("a", f64::from(value)).await.unwrap(), []);
        let deeds: Vec<Deed> = rig.plant.log().into_iter().skip(begun).map(|entry| entry.deed).collect();
        // At once is in its order: of what never ends, no more comes before it than is taken in one go, and that twice.
        let pushes = deeds.iter().take_while(|deed| !write("a")(deed)).filter(|deed| matches!(deed, Deed::Push { .. }));
        assert!(pushes.count() <= 16, "{deeds:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Two more, from the last one before: polls that starve are slots that pass, or are waited for in vain.
    let polled = rig.plant.count(read("a"));
    let more = || (rig.plant.count(read("a")) >= polled + 2).then_some(());
    until("polls beside what never ends", more, || format!("{polled} polls")).await;
    let times = rig.plant.times(read("a")).split_off(polls - 1);
    let apart = times[times.len() - 1] - times[0];
    let slots = usize::try_from(apart.as_millis() / 20).unwrap();
    let (missed, calm) = (missed_by("a") - before.0, missed_by("w") - before.1);
    let made = times.len() - 1;
    assert!(made + missed + 2 >= slots, "{made} polls and {missed} missed of {slots}");
    assert!(missed * 4 <= slots + 8 * calm, "{missed} missed of {slots}, while a calm one missed {calm}");
    assert!(rig.link("press").arrivals > 100, "{}", rig.link("press").arrivals);
}

#[tokio::test]
async fn the_past_is_a_row_with_its_own_time_and_does_not_become_the_present() {
    let rig = well(QUICK).await;
    let mut cursor = rig.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await.unwrap();
    let readings = vec![("level".to_owned(), Reading::Value(Value::F64(9.0)))];
    let time = 1_600_000_000_000;
    let past =
        Push::Row { device: "a".to_owned(), group: "live".to_owned(), readings, device_time: Some(time), past: true };
    rig.plant.push("press", past);
    let row = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
    assert_eq!((&row["ts"], &row["device_ts"], &row["hist"]), (&json!(time), &json!(time), &json!(true)));
    assert_eq!(row["values"], json!({ "level": 9.0, "twice": 18.0 }));
    let latest = rig.handle().latest("a").await.unwrap();
    assert_eq!(latest[0].slot, Slot::Good(Value::F64(1.0)));

    loop {
        let deliveries = cursor.next(1, 1 << 20).await.unwrap();
        let found = deliveries.into_iter().any(|delivery| {
            let Item::Row { row, .. } = delivery.item else { return false };
            row.time.as_millis() == time
                && row.device_time == Some(row.time)
                && row.slots[0] == Slot::Good(Value::F64(9.0))
        });
        if found {
            break;
        }
    }
}

#[tokio::test]
async fn a_tag_that_says_nothing_new_is_reported_after_its_longest_silence() {
    let silent = async |longest: &str| {
        let deadband = format!("name = \"level\"\ndeadband = {{ absolute = 1.0, max_silence = \"{longest}\" }}\n");
        let profile = LIVE.replacen("name = \"level\"\n", &deadband, 1);
        let rig = Rig::start_with(&link("press", QUICK, &["a"]), &profile, Plant::default(), false).await;
        rig.plant.push("press", both(1.0));
        rig.seen.row("a", "live", is_good).await;
        rig.plant.push("press", changed("a", "live", &[("level", 1.5)]));
        rig
    };
    let rig = silent("1h").await;
    let row = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
    assert_eq!(row["values"], json!({ "twice": 3.0 }), "within its deadband, which what is calculated from it has not");
    let rig = silent("1s").await;
    // What is known of it, not what was reported last.
    rig.seen.row("a", "live", |row| row["values"]["level"] == 1.5).await;
}

#[tokio::test]
async fn a_driver_that_panics_while_it_waits_loses_its_session_and_nothing_more() {
    let rig = well(QUICK).await;
    rig.plant.push("press", Push::Panic);
    let bad = rig.seen.row("a", "live", |row| row["seq"] == 2).await;
    assert_eq!(bad["bad"]["level"], "device_fault");
    rig.plant.push("press", both(2.0));
    rig.seen.row("a", "live", |row| row["values"]["level"] == 2.0).await;
}

#[tokio::test]
async fn a_quiet_session_is_kept_for_the_next_order() {
    let rig = well(QUICK).await;
    for value in 0..3_u8 {
        assert_eq!(rig.write("a", f64::from(value)).await.unwrap(), []);
    }
    assert_eq!(rig.plant.count(connect("press")), 1);
}
