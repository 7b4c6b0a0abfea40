//! Going over to another site while the gateway runs.

use std::collections::BTreeMap;

use tidegate_config::StartAt;
use tidegate_runtime::{CommandError, Reloaded};
use tidegate_store::{Item, StoreError};

use crate::{
    observer::{Observer, is_good},
    plant::{Deed, Plant, connect, read},
    rig::{METER, QUICK, Rig, link},
};

#[tokio::test]
async fn what_did_not_change_goes_on_without_a_break_and_no_stream_gets_a_hole() {
    let site = |keys: &str| link("press", QUICK, &["a"]) + &link("oven", keys, &["b"]);
    let mut rig = Rig::start(&site("timeout = \"1s\"")).await;
    let mut cursor = rig.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await.unwrap();
    for number in 2..=5 {
        rig.seen.row("b", "fast", |row| row["seq"].as_u64() >= Some(number * 3)).await;
        let done = rig.reload(&site(&format!("timeout = \"{number}s\""))).await.unwrap();
        assert_eq!(done, Reloaded { kept: 1, started: 1, stopped: 1 });
    }
    rig.seen.row("b", "fast", |row| row["seq"].as_u64() >= Some(20)).await;
    assert_eq!((rig.plant.count(connect("press")), rig.plant.count(connect("oven"))), (1, 5));
    assert_eq!((rig.link("press").connects, rig.link("oven").connects), (1, 1));
    for device in ["a", "b"] {
        let seqs: Vec<u64> = rig.seen.rows(device, "fast").iter().map(|row| row["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..).take(seqs.len()).collect::<Vec<_>>());
    }
    // The store has the same numbers.
    let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while stored.get("b").is_none_or(|seqs| seqs.len() < 20) {
        for delivery in cursor.next(100, 1 << 20).await.unwrap() {
            let Item::Row { row, .. } = delivery.item else { panic!("{delivery:?}") };
            stored.entry(row.stream.device().to_string()).or_default().push(row.seq);
        }
    }
    for seqs in stored.values() {
        assert_eq!(*seqs, (1..).take(seqs.len()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_device_with_other_tags_goes_on_counting_and_can_be_written_to_as_its_new_profile_says() {
    let mut rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", |row| row["seq"] == 5).await;
    rig.write_profile(
        &METER.replace("name = \"level\"", "name = \"depth\"").replace("maximum = 100.0", "maximum = 10.0"),
    );
    rig.reload(&link("press", QUICK, &["a"])).await.unwrap();
    rig.seen.row("a", "fast", |row| row["values"]["depth"].is_number()).await;
    let seqs: Vec<u64> = rig.seen.rows("a", "fast").iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..).take(seqs.len()).collect::<Vec<_>>());
    assert_eq!(rig.write("a", 11.0).await.unwrap()[0].1.to_string(), "above maximum 10");
    let tags: Vec<String> =
        rig.handle().latest("a").await.unwrap().into_iter().map(|sample| sample.tag.to_string()).collect();
    assert_eq!(tags, ["depth", "setpoint", "reset"]);
}

#[tokio::test]
async fn what_is_gone_is_taken_off_the_broker_and_out_of_the_directory() {
    let site = |devices: &[&str]| link("press", QUICK, devices);
    let mut rig = Rig::start_with(&site(&["a", "b"]), METER, Plant::default(), true).await;
    rig.seen.state("a", "online").await;
    rig.seen.state("b", "online").await;
    rig.write_profile(&METER.replace("name = \"level\"", "name = \"depth\""));
    rig.reload(&site(&["a"])).await.unwrap();
    rig.seen.row("a", "fast", |row| row["values"]["depth"].is_number()).await;
    let late = Observer::start(&rig.broker, "tidegate/line3/#").await;
    late.wait_for("what is retained of a", |seen| seen.on("tidegate/line3/a/tag/depth").first().cloned()).await;
    late.wait_for("the state of a", |seen| seen.on("tidegate/line3/a/state").first().cloned()).await;
    let retained: Vec<String> = late.messages().into_iter().map(|message| message.topic).collect();
    let gone = |topic: &&String| topic.starts_with("tidegate/line3/b/") || topic.ends_with("/tag/level");
    assert_eq!(retained.iter().find(gone), None);
    assert!(matches!(rig.write("b", 1.0).await, Err(CommandError::UnknownDevice(_))));
    assert!(matches!(rig.handle().latest("b").await, Err(CommandError::UnknownDevice(_))));
    assert_eq!(rig.link("press").devices.len(), 1);
    let reads = rig.plant.count(read("b"));
    rig.plant.wait_for(rig.plant.count(read("a")) + 6, read("a")).await;
    assert_eq!(rig.plant.count(read("b")), reads);
}

#[tokio::test]
async fn a_device_can_move_to_another_link() {
    let mut rig = Rig::start(&(link("press", QUICK, &["a", "b"]) + &link("oven", QUICK, &["c"]))).await;
    rig.seen.row("b", "fast", is_good).await;
    rig.seen.row("c", "fast", is_good).await;
    rig.reload(&(link("press", QUICK, &["a"]) + &link("oven", QUICK, &["c", "b"]))).await.unwrap();
    let rows = rig.seen.rows("b", "fast").len();
    rig.seen.wait_for("more rows", |seen| (seen.rows("b", "fast").len() > rows + 3).then_some(())).await;
    let seqs: Vec<u64> = rig.seen.rows("b", "fast").iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..).take(seqs.len()).collect::<Vec<_>>());
    assert_eq!(rig.write("b", 4.0).await.unwrap(), []);
    assert!(rig.seen.states("b").iter().all(|(state, _)| state == "online"));
}

#[tokio::test]
async fn the_status_keeps_to_the_order_of_the_site() {
    let (press, oven, saw) = (link("press", QUICK, &["a"]), link("oven", QUICK, &["b"]), link("saw", QUICK, &["c"]));
    let mut rig = Rig::start(&format!("{press}{saw}")).await;
    rig.reload(&format!("{oven}{press}{saw}")).await.unwrap();
    let names: Vec<String> = rig.handle().status().links.into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["oven", "press", "saw"]);
}

#[tokio::test]
async fn when_the_store_cannot_make_new_streams_the_old_links_go_on() {
    let mut rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.store.clone().close().await;
    let result = rig.reload(&link("press", "timeout = \"3s\"", &["a", "b"])).await;
    assert!(matches!(result, Err(StoreError::Closed)), "{result:?}");
    rig.plant.wait_for(rig.plant.count(read("a")) + 10, read("a")).await;
    assert_eq!(rig.plant.count(|deed| matches!(deed, Deed::Close { .. })), 0);
    assert_eq!(rig.write("a", 3.0).await.unwrap(), []);
}
