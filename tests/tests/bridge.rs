//! A bridge from the gateway to mosquitto: both directions, and messages that must not be lost while either is away.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use tidegate_tests::{
    Gateway, Mosquitto, PATIENCE, Peers, Site, Subscriber, SubscriberOptions, get, publish, wait_until,
};

fn site(mosquitto: &Mosquitto) -> Site {
    let site = Site::new().unwrap();
    let bridge = format!(
        "[broker.persistence]\ncommit = \"20ms\"\n\n\
         [[bridge]]\nname = \"plant\"\nurl = \"mqtt://{}\"\ndurable = true\nretry_longest = \"1s\"\n\n\
         [[bridge.route]]\ndirection = \"out\"\nfilter = \"up/#\"\nremote_prefix = \"far/\"\n\n\
         [[bridge.route]]\ndirection = \"in\"\nfilter = \"down/#\"\nremote_prefix = \"far/\"\n",
        mosquitto.address()
    );
    site.write_file("profiles/none.md", "There is nothing to poll.\n").unwrap();
    site.write("line3", &bridge).unwrap();
    site
}

fn online(site: &Site) {
    wait_until(PATIENCE, "the bridge", || {
        let text = get(site.web_address(), "/metrics").ok()?.body;
        text.contains("tidegate_bridge_online{bridge=\"plant\"} 1").then_some(())
    })
    .unwrap();
}

/// Waits until a subscriber has all of these payloads, in whatever order and however often.
fn has_all(subscriber: &Subscriber, wanted: &BTreeSet<String>) {
    wait_until(PATIENCE, "all messages", || {
        let found: BTreeSet<String> = subscriber.messages().into_iter().map(|message| message.payload).collect();
        wanted.is_subset(&found).then_some(())
    })
    .unwrap();
}

#[test]
fn nothing_is_lost_while_mosquitto_restarts_and_the_gateway_is_killed() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let mut mosquitto = Mosquitto::start(&peers).unwrap();
    let site = site(&mosquitto);
    let gateway = Gateway::start(&site).unwrap();
    online(&site);
    let near = Subscriber::start(&peers, site.broker_address(), "down/#").unwrap();
    publish(&peers, mosquitto.address(), "far/down/x", "hello").unwrap();
    has_all(&near, &BTreeSet::from(["hello".to_owned()]));
    assert_eq!(near.messages()[0].topic, "down/x");

    // mosquitto keeps a session for the one who wants all of them.
    let kept = SubscriberOptions { session: Some("far".to_owned()), ..SubscriberOptions::default() };
    let far = Subscriber::start_with(&peers, mosquitto.address(), "far/up/#", &kept).unwrap();
    mosquitto.stop().unwrap();
    let payloads: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
    for payload in &payloads[..10] {
        publish(&peers, site.broker_address(), "up/x", payload).unwrap();
    }
    // What was acknowledged is on the disk an interval later.
    wait_until(PATIENCE, "the disk", || {
        let text = get(site.web_address(), "/metrics").ok()?.body;
        text.contains("tidegate_broker_disk_messages 10").then_some(())
    })
    .unwrap();
    gateway.kill();
    let gateway = Gateway::start(&site).unwrap();
    for payload in &payloads[10..] {
        publish(&peers, site.broker_address(), "up/x", payload).unwrap();
    }
    mosquitto.resume().unwrap();
    has_all(&far, &payloads.into_iter().collect());
    assert!(far.messages().iter().all(|message| message.topic == "far/up/x"));
    gateway.stop().unwrap();
}
