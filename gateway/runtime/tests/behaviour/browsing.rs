//! What a device offers is listed beside everything else that a link does.

use tidegate_runtime::BrowseError;

use crate::{
    plant::{AT_ONCE, Deed, Door, Mood, Plant, connect, read},
    rig::{METER, QUICK, Rig, link},
};

const OFFERED: [&str; 8] = ["tank", "tank.level", "tank.full", "pump", "pump.on", "pump.rpm", "pump.hours", "door"];

async fn rig() -> Rig {
    let plant = Plant::default();
    plant.offer(&OFFERED);
    Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await
}

fn ids(listed: &tidegate_runtime::Listed) -> Vec<&str> {
    listed.nodes.iter().map(|node| node.id.as_str()).collect()
}

#[tokio::test]
async fn a_list_has_everything_once_and_can_begin_anywhere() {
    let rig = rig().await;
    let all = rig.handle().browse("press", None).await.unwrap();
    assert_eq!((ids(&all), all.complete), (OFFERED.to_vec(), true));
    let pump = rig.handle().browse("press", Some("pump")).await.unwrap();
    assert_eq!(ids(&pump), ["pump", "pump.on", "pump.rpm", "pump.hours"]);
    let refused = rig.handle().browse("press", Some("roof")).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no node roof");
    assert_eq!(rig.plant.count(connect("press")), 1, "over the connection that is there");
}

#[tokio::test]
async fn polls_and_writes_go_on_while_a_long_list_is_made() {
    let plant = Plant::default();
    let ids: Vec<String> = (0..3_000).map(|number| format!("tag-{number}")).collect();
    plant.offer(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let rig = Rig::start_with(&link("press", QUICK, &["a"]), METER, plant, false).await;
    rig.plant.wait_for(2, read("a")).await;
    let handle = rig.handle();
    let list = tokio::spawn(async move { handle.browse("press", None).await });
    rig.plant.wait_for(10, |deed| matches!(deed, Deed::List { .. })).await;
    assert_eq!(rig.write("a", 1.0).await.unwrap(), []);
    let listed = list.await.unwrap().unwrap();
    assert_eq!(listed.nodes.len(), 3_000);
    let lists = rig.plant.times(|deed| matches!(deed, Deed::List { .. }));
    let written = rig.plant.times(|deed| matches!(deed, Deed::Write { .. }))[0];
    assert!(written < *lists.last().unwrap(), "the write did not wait for the list");
}

#[tokio::test]
async fn what_cannot_be_listed_says_why() {
    let rig = rig().await;
    let unknown = rig.handle().browse("pres", None).await.unwrap_err();
    assert_eq!(unknown, BrowseError::UnknownLink("pres".to_owned()));
    rig.plant.set_next_mood("press", Mood::Silent);
    let silent = rig.handle().browse("press", None).await.unwrap_err();
    assert_eq!(silent.to_string(), "press did not answer");
    assert_eq!(rig.handle().browse("press", None).await.unwrap().nodes.len(), OFFERED.len(), "over a new connection");

    let unable = Rig::start(&link("press", QUICK, &["a"])).await;
    let why = unable.handle().browse("press", None).await.unwrap_err();
    assert_eq!(why, BrowseError::Unable("press".to_owned()));
}

#[tokio::test]
async fn a_link_that_cannot_be_reached_says_so_at_once_and_one_without_devices_is_connected() {
    let plant = Plant::default();
    plant.offer(&OFFERED);
    plant.set_door("press", Door::Refused);
    let site = link("press", "retry = { first = \"60s\", longest = \"60s\" }", &["a"]) + &link("empty", "", &[]);
    let rig = Rig::start_with(&site, METER, plant, false).await;
    rig.seen.state("a", "offline").await;
    let handle = rig.handle();
    let refused = tokio::time::timeout(AT_ONCE, handle.browse("press", None)).await.unwrap();
    assert!(refused.unwrap_err().to_string().contains("press refused the connection"));
    assert_eq!(rig.handle().browse("empty", None).await.unwrap().nodes.len(), OFFERED.len());
}
