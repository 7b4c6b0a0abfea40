//! What a client of the local broker finds beside the rows.

use serde_json::json;

use crate::{
    observer::{Observer, is_good},
    plant::{Mood, Plant},
    rig::{METER, QUICK, Rig, link},
};

#[tokio::test]
async fn who_comes_later_finds_the_states_that_are_true() {
    let plant = Plant::default();
    plant.set_mood("b", Mood::Silent);
    let rig = Rig::start_with(&link("press", QUICK, &["a", "b"]), METER, plant, false).await;
    rig.seen.state("a", "online").await;
    rig.seen.state("b", "offline").await;
    let late = Observer::start(&rig.broker, "tidegate/line3/#").await;
    let state = late.wait_for("the state of b", |seen| seen.on("tidegate/line3/b/state").first().cloned()).await;
    assert!(state.retained);
    assert_eq!((&state.json()["state"], &state.json()["reason"]), (&json!("offline"), &json!("timeout")));
    assert!(state.json()["since"].as_i64() >= Some(rig.device("b").since - 1));
    let online = late.wait_for("the gateway", |seen| seen.on("tidegate/line3/state").first().cloned()).await;
    assert_eq!((online.payload.as_str(), online.retained), ("online", true));
    late.wait_for("the state of a", |seen| seen.on("tidegate/line3/a/state").first().cloned()).await;
    assert_eq!(late.states("a"), [("online".to_owned(), None)]);
    assert!(!late.messages().iter().any(|message| message.topic.contains("/data/") && message.retained));
}

#[tokio::test]
async fn the_sys_topics_tell_of_links_queue_and_metrics() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    let late = Observer::start(&rig.broker, "tidegate/line3/sys/#").await;
    let sys = |what: &'static str| {
        let late = &late;
        async move {
            let topic = format!("tidegate/line3/sys/{what}");
            late.wait_for(what, |seen| seen.on(&topic).first().cloned()).await.json()
        }
    };
    assert_eq!(sys("links").await["links"][0]["name"], "press");
    assert_eq!(sys("links").await["links"][0]["devices"][0]["name"], "a");
    assert_eq!(sys("queue").await["targets"], json!([]));
    assert_eq!(sys("metrics").await["healthy"], true);
}

#[tokio::test]
async fn each_tag_has_a_retained_topic_when_that_is_wanted() {
    let plant = Plant::default();
    plant.set_value("a", "level", 12.5);
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, true).await;
    rig.seen.row("a", "fast", is_good).await;
    let late = Observer::start(&rig.broker, "tidegate/line3/a/tag/#").await;
    let level = late.wait_for("the level", |seen| seen.on("tidegate/line3/a/tag/level").first().cloned()).await;
    let json = level.json();
    assert_eq!((&json["v"], &json["q"], &json["u"]), (&json!(12.5), &json!("good"), &json!("m")));
    assert!(level.retained && json["t"].is_i64());
    rig.plant.set_mood("a", Mood::Silent);
    let bad = |seen: &Observer| {
        seen.on("tidegate/line3/a/tag/level").last().cloned().filter(|last| last.json()["q"] == "bad")
    };
    let bad = late.wait_for("the bad level", bad).await;
    assert_eq!((&bad.json()["v"], &bad.json()["reason"]), (&json!(null), &json!("timeout")));
}

#[tokio::test]
async fn tags_have_no_topics_of_their_own_unless_that_is_wanted() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", |row| row["seq"] == 3).await;
    assert!(!rig.seen.messages().iter().any(|message| message.topic.contains("/tag/")));
}
