//! The primary host: nothing is published without it.

use tidegate_sparkplug::{Heard, HostState};

use crate::plant::{Scene, topics};

#[test]
fn births_wait_until_the_primary_host_says_that_it_is_online() {
    let mut scene = Scene::new(Some("scada"));
    scene.connect(0);
    assert!(scene.run().is_empty() && scene.node.waits_for_host() && !scene.node.may_publish());
    assert_eq!(scene.state("other", true, 5), Heard::Nothing);
    assert_eq!(scene.state("scada", false, 5), Heard::Nothing);
    assert!(scene.run().is_empty());
    assert_eq!(scene.state("scada", true, 6), Heard::Nothing);
    assert_eq!(topics(&scene.run()), ["NBIRTH", "DBIRTH/meter-1", "DBIRTH/meter-2"]);
    assert!(scene.node.may_publish() && !scene.node.waits_for_host());
}

#[test]
fn a_primary_host_that_goes_ends_the_connection_with_a_death() {
    let mut scene = Scene::new(Some("scada"));
    scene.connect(0);
    scene.state("scada", true, 6);
    scene.run();
    assert_eq!(scene.state("scada", false, 5), Heard::Nothing, "older than what is known");
    assert!(scene.node.may_publish());
    assert_eq!(scene.state("scada", false, 6), Heard::HostGone, "the will has the time of the birth");
    assert!(!scene.node.may_publish());
    assert!(scene.node.farewell(scene.now).is_some());
    // The next connection waits again, whatever the broker has kept from before.
    scene.connect(1);
    scene.state("scada", true, 5);
    scene.state("scada", false, 6);
    assert!(scene.run().is_empty());
    scene.state("scada", true, 7);
    assert_eq!(scene.run().len(), 3);
}

#[test]
fn a_host_that_is_not_the_primary_one_changes_nothing() {
    let (mut scene, _) = Scene::born();
    assert_eq!(scene.state("scada", false, 6), Heard::Nothing);
    assert!(scene.node.may_publish());
    assert_eq!(HostState::parse(br#"{"online":true,"timestamp":1}"#).map(|state| state.online), Some(true));
}
