//! What a device warns of has a topic of its own for as long as it is of interest.

use serde_json::{Value as Json, json};
use tidegate_driver_api::{Cause, model::Reading};
use tidegate_model::Value;

use crate::{
    observer::{Message, Observer},
    plant::{Plant, Push},
    rig::{QUICK, Rig, link},
};

const WATCH: &str = r#"
[profile]
manufacturer = "Acme"
model = "Watch"
driver = "plant"
version = 1
[[group]]
name = "events"
interval = "1s"
events = "all"
[[tag]]
name = "name"
group = "events"
[[tag]]
name = "active"
group = "events"
[[tag]]
name = "acked"
group = "events"
[[tag]]
name = "severity"
group = "events"
[[tag]]
name = "message"
group = "events"
"#;

async fn watch() -> Rig {
    Rig::start_with(&link("press", QUICK, &["a"]), WATCH, Plant::default(), false).await
}

/// An event about an alarm.
fn event(name: &str, active: bool, acked: bool) -> Push {
    let text = |text: &str| Reading::Value(Value::Text(text.into()));
    let readings = vec![
        ("name".to_owned(), text(name)),
        ("active".to_owned(), Reading::Value(Value::Bool(active))),
        ("acked".to_owned(), Reading::Value(Value::Bool(acked))),
        ("severity".to_owned(), Reading::Value(Value::Uint(700))),
        ("message".to_owned(), text("the tank is full")),
    ];
    Push::Row {
        device: "a".to_owned(),
        group: "events".to_owned(),
        readings,
        device_time: Some(1_700_000_000_123),
        past: false,
    }
}

fn settled() -> Push {
    Push::Settled { device: "a".to_owned(), group: "events".to_owned() }
}

fn on(seen: &Observer, level: &str) -> Vec<Message> {
    seen.on(&format!("tidegate/line3/a/alarm/{level}"))
}

/// What somebody who subscribes now gets to see of the alarms.
async fn retained(rig: &Rig) -> Vec<(String, Json)> {
    let late = Observer::start(&rig.broker, "tidegate/line3/a/#").await;
    // The state comes last: nothing more is retained by then.
    let state = |message: &Message| message.retained && message.topic.ends_with("/state");
    late.wait_for("the state", |seen| seen.messages().iter().any(state).then_some(())).await;
    // What changes meanwhile comes too, and was not retained.
    let alarms = late.messages().into_iter().filter(|message| message.retained && message.topic.contains("/alarm/"));
    alarms.map(|message| (message.topic.rsplit('/').next().unwrap().to_owned(), message.json())).collect()
}

async fn until_retained(rig: &Rig, names: &[&str]) {
    let began = std::time::Instant::now();
    loop {
        let mut found: Vec<String> = retained(rig).await.into_iter().map(|(name, _)| name).collect();
        found.sort();
        if found == names {
            return;
        }
        assert!(began.elapsed() < crate::plant::LONG, "{found:?}, not {names:?}");
    }
}

#[tokio::test]
async fn an_alarm_is_a_row_and_a_retained_message_until_it_is_over_and_acknowledged() {
    let rig = watch().await;
    rig.plant.push("press", event("high", true, false));
    let row = rig.seen.row("a", "events", |_| true).await;
    assert_eq!((&row["values"]["message"], row.get("bad")), (&json!("the tank is full"), None));
    let alarm = rig.seen.wait_for("the alarm", |seen| on(seen, "high").pop()).await.json();
    let expected = json!({
        "ts": 1_700_000_000_123_i64, "name": "high", "active": true, "acked": false, "severity": 700,
        "message": "the tank is full", "source": null, "condition": null,
    });
    assert_eq!(alarm, expected);
    until_retained(&rig, &["high"]).await;

    rig.plant.push("press", event("high", false, false));
    rig.seen.wait_for("the second", |seen| (on(seen, "high").len() == 2).then_some(())).await;
    until_retained(&rig, &["high"]).await;
    rig.plant.push("press", event("high", false, true));
    let last = rig.seen.wait_for("the end", |seen| (on(seen, "high").len() == 4).then(|| on(seen, "high"))).await;
    assert_eq!((last[2].json()["acked"].clone(), last[3].payload.as_str()), (json!(true), ""));
    until_retained(&rig, &[]).await;
    assert_eq!(rig.seen.rows("a", "events").len(), 3);
}

#[tokio::test]
async fn alarms_that_the_next_session_does_not_tell_of_are_over() {
    let rig = watch().await;
    for name in ["high", "low"] {
        rig.plant.push("press", event(name, true, false));
    }
    rig.plant.push("press", settled());
    until_retained(&rig, &["high", "low"]).await;

    rig.plant.push("press", Push::Lost(Cause::Timeout));
    rig.seen.row("a", "events", |row| row["bad"]["name"] == "timeout").await;
    until_retained(&rig, &["high", "low"]).await;
    rig.plant.push("press", event("low", true, false));
    rig.plant.push("press", settled());
    until_retained(&rig, &["low"]).await;
    rig.seen.state("a", "online").await;
}

#[tokio::test]
async fn alarms_that_ended_while_nobody_listened_are_over_once_everything_has_been_told_again() {
    let rig = watch().await;
    for name in ["high", "low"] {
        rig.plant.push("press", event(name, true, false));
    }
    rig.plant.push("press", settled());
    until_retained(&rig, &["high", "low"]).await;

    rig.plant.push("press", Push::Anew { device: "a".to_owned(), group: "events".to_owned() });
    rig.plant.push("press", event("low", true, false));
    rig.seen.wait_for("the second", |seen| (on(seen, "low").len() == 2).then_some(())).await;
    until_retained(&rig, &["high", "low"]).await;
    rig.plant.push("press", settled());
    until_retained(&rig, &["low"]).await;
    let rows = rig.seen.rows("a", "events");
    assert!(rows.len() == 3 && rows.iter().all(|row| row.get("bad").is_none()), "the group was never bad: {rows:?}");
}

#[tokio::test]
async fn a_device_without_events_is_well_once_its_subscription_is_confirmed() {
    let rig = watch().await;
    rig.plant.push("press", settled());
    rig.seen.state("a", "online").await;
    assert_eq!(rig.seen.rows("a", "events").len(), 0);
    rig.plant.push("press", Push::Lost(Cause::Closed));
    rig.seen.state("a", "offline").await;
    rig.plant.push("press", settled());
    rig.seen.state("a", "online").await;
    let rows = rig.seen.rows("a", "events");
    assert_eq!(
        rows.iter().map(|row| row["bad"]["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["disconnected", "not_yet_read"]
    );
}

#[tokio::test]
async fn the_alarms_of_a_device_that_is_taken_out_of_the_site_go_with_it() {
    let mut rig = watch().await;
    rig.plant.push("press", event("tank/1 high", true, false));
    rig.seen.wait_for("the alarm", |seen| on(seen, "tank_1_high-5c0d1f1e").pop().or(alarm_of(seen))).await;
    rig.reload("").await.unwrap();
    let late = Observer::start(&rig.broker, "tidegate/#").await;
    late.wait_for("the gateway", |seen| seen.on("tidegate/line3/state").pop()).await;
    assert_eq!(alarm_of(&late).map(|message| message.topic), None);
}

/// The first message about an alarm.
fn alarm_of(seen: &Observer) -> Option<Message> {
    seen.messages().into_iter().find(|message| message.topic.contains("/alarm/tank_1_high-"))
}
