//! The end of a gateway: orderly, in time, and said to everybody.

use std::time::Duration;

use tidegate_runtime::CommandError;

use crate::{
    observer::is_good,
    plant::{AT_ONCE, Deed, Mood, Plant, connect, read, write},
    rig::{METER, QUICK, Rig, link, setpoint},
};

#[tokio::test]
async fn a_stop_says_goodbye_and_leaves_nothing_running() {
    let rig = Rig::start(&(link("press", QUICK, &["a"]) + &link("oven", QUICK, &["b"]))).await;
    rig.seen.state("a", "online").await;
    rig.seen.state("b", "online").await;
    let handle = rig.handle();
    rig.gateway.stop().await;
    let closed = rig.plant.count(|deed| matches!(deed, Deed::Close { .. }));
    assert_eq!(closed, rig.plant.count(connect("press")) + rig.plant.count(connect("oven")));
    let deeds = rig.plant.log().len();
    rig.seen.state("a", "offline").await;
    rig.seen.state("b", "offline").await;
    let last = |topic: &'static str| {
        rig.seen.wait_for("goodbye", move |seen| {
            seen.on(topic).last().cloned().filter(|message| message.payload == "offline")
        })
    };
    last("tidegate/line3/state").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.plant.log().len(), deeds, "nothing is asked any more");
    assert!(matches!(handle.write("a", &setpoint(1.0), None).await, Err(CommandError::Stopping(_))));
    // Every row is in the store, with the number that subscribers have seen.
    let seen = rig.seen.rows("a", "fast").len() + rig.seen.rows("b", "fast").len();
    rig.store.clone().close().await;
    assert_eq!(usize::try_from(rig.store.status().rows), Ok(seen));
}

#[tokio::test]
async fn a_write_that_is_on_its_way_is_answered_before_the_stop() {
    let plant = Plant::default();
    let rig = Rig::start_with(&link("press", "timeout = \"300ms\"", &["a"]), METER, plant, false).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_tag_mood("a", "reset", Mood::Silent);
    let handle = rig.handle();
    let values = [("reset".to_owned(), 1.into())].into_iter().collect();
    let writing = tokio::spawn(async move { handle.write("a", &values, None).await });
    rig.plant.wait_for(1, write("a")).await;
    rig.gateway.stop().await;
    let error = writing.await.unwrap().unwrap().remove(0).1.to_string();
    assert!(error.starts_with("unknown: a did not answer"), "{error}");
    assert_eq!(rig.plant.count(write("a")), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_answer_of_a_device() {
    let plant = Plant::default();
    let _gate = plant.close_gate("a");
    let rig = Rig::start_with(&link("press", "timeout = \"600s\"", &["a"]), METER, plant, false).await;
    rig.plant.wait_for(1, read("a")).await;
    tokio::time::timeout(AT_ONCE, rig.gateway.stop()).await.unwrap();
    assert!(rig.seen.rows("a", "fast").is_empty(), "what a stop has cut off is no row");
}

#[tokio::test]
async fn a_gateway_that_is_started_again_goes_on_counting() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", |row| row["seq"] == 5).await;
    let rig = rig.restart(&link("press", QUICK, &["a"])).await;
    rig.seen.wait_for("more rows", |seen| (seen.rows("a", "fast").len() > 3).then_some(())).await;
    let first = rig.seen.rows("a", "fast")[0]["seq"].as_u64().unwrap();
    assert_eq!(first, rig.rows_before + 1);
}
