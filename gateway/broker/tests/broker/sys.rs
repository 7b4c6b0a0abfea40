//! What the broker tells about itself.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tidegate_broker::Limits;

use crate::{
    raw::{Options, Raw, acknowledgements},
    rig::{broker, broker_with},
};

async fn topics(client: &mut Raw) -> HashMap<String, String> {
    let packets = client.ping().await;
    let read = |packet: &Vec<u8>| {
        let found = client.read_publish(packet);
        (found.topic, String::from_utf8(found.payload).unwrap())
    };
    packets.iter().map(read).collect()
}

#[tokio::test]
async fn clients_that_show_everything_find_what_the_broker_tells_about_itself() {
    let broker = broker_with(Limits { sys_interval: Duration::from_millis(20), ..Limits::default() }).await;
    broker.publisher().publish("a", Bytes::from_static(b"x"), true);
    let mut explorer = Raw::connect(broker.address(), Options::new(4, "mqtt-explorer")).await;
    assert_eq!(explorer.subscribe(&[("$SYS/#", 0)]).await, [0]);
    let mut known = HashMap::new();
    while known.get("$SYS/broker/subscriptions/count").map(String::as_str) != Some("1") {
        known.extend(topics(&mut explorer).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(known["$SYS/broker/version"].starts_with("tidegate "));
    assert!(known["$SYS/broker/uptime"].ends_with(" seconds"));
    for (topic, value) in [("clients/connected", "1"), ("clients/total", "1"), ("retained messages/count", "1")] {
        assert_eq!(known[&format!("$SYS/broker/{topic}")], value, "{topic}");
    }
    assert!(known.contains_key("$SYS/broker/load/messages/received/15min"), "{:?}", known.keys());
    assert!(known["$SYS/broker/bytes/received"].parse::<u64>().unwrap() > 10);
    assert_eq!(broker.status().retained, 1, "they are counted apart");
}

#[tokio::test]
async fn topics_of_the_broker_are_not_among_all_topics_and_nobody_may_write_them() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    assert_eq!(client.subscribe(&[("#", 0), ("+/broker/uptime", 0)]).await, [0, 0]);
    client.quiet().await;
    client.publish(0b011, "$SYS/broker/uptime", 1, &[], b"forged").await;
    let packets = client.ping().await;
    assert_eq!(acknowledgements(&packets), [(4, 1, 0x87)]);
    client.subscribe(&[("$SYS/broker/uptime", 0)]).await;
    let uptime = client.published().await;
    assert!(uptime.retain && uptime.payload.ends_with(b" seconds"), "{uptime:?}");
}

#[tokio::test]
async fn other_topics_that_begin_with_a_dollar_are_for_clients_and_not_among_all_topics() {
    let broker = broker().await;
    for version in [4, 5] {
        let [shadow, gone, below] = ["shadow", "gone", "#"].map(|rest| format!("$aws/{version}/{rest}"));
        let mut all = Raw::connect(broker.address(), Options::new(version, "all")).await;
        all.subscribe(&[("#", 0), ("+/+/shadow", 0)]).await;
        let mut cloud = Raw::connect(broker.address(), Options::new(version, "cloud")).await;
        cloud.subscribe(&[(&below, 0)]).await;
        let will = Some((gone.as_str(), "gone"));
        let mut thing = Raw::connect(broker.address(), Options { will, ..Options::new(version, "thing") }).await;
        thing.publish(0b011, &shadow, 1, &[], b"kept").await;
        assert_eq!(acknowledgements(&thing.ping().await), [(4, 1, 0)]);
        drop(thing);
        assert_eq!(cloud.published().await.topic, shadow);
        assert_eq!(cloud.published().await.topic, gone);
        cloud.subscribe(&[(&shadow, 0)]).await;
        let kept = cloud.published().await;
        assert!(kept.retain && kept.payload == b"kept", "{kept:?}");
        all.subscribe(&[("#", 0)]).await;
        all.quiet().await;
    }
}

#[tokio::test]
async fn without_an_interval_there_are_no_such_topics() {
    let broker = broker_with(Limits { sys_interval: Duration::ZERO, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    assert_eq!(client.subscribe(&[("$SYS/#", 0)]).await, [0]);
    client.quiet().await;
}
