//! Routes that must not lose anything beside others.

use tidegate_bridge::Bridge;
use tidegate_config::{self as config, BridgeDirection, BridgeProtocol, BridgeRoute};
use tidegate_mqtt::Message;

use crate::{
    Broker, broker, client, durable, held_port, kept, next, next_while, on, options, quiet, route, start, stopped,
    subscribed, text, until,
};

fn out(filter: &str) -> BridgeRoute {
    route(BridgeDirection::Out, filter, "", "")
}

fn publish(local: &Broker, topic: &'static str, messages: std::ops::Range<u32>) {
    messages.for_each(|n| local.publisher().publish(topic, n.to_string().into(), false));
}

#[tokio::test]
async fn one_route_keeps_what_comes_while_the_other_broker_is_away_and_the_other_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (_held, address) = held_port();
    let remote = on(address).await;
    let mixed = options(address, BridgeProtocol::V5, vec![durable(out("alarms/#")), out("values/#")]);
    let local = kept(folder.path()).await;
    let bridge = start(&mixed, &local);
    subscribed(&local, 2).await;
    remote.stop().await;
    until(&bridge, |status, _| status.last_error.is_some()).await;
    publish(&local, "values/x", 0..10);
    publish(&local, "alarms/x", 0..10);
    until(&bridge, |_, waiting| waiting.messages == 10).await;
    bridge.stop().await;
    stopped(local, folder.path(), |disk| disk.messages == 10).await;
    let local = kept(folder.path()).await;
    let remote = on(address).await;
    let mut far = client(address, "far", "#").await;
    let bridge = start(&mixed, &local);
    let mut found = Vec::new();
    while found.len() < 10 {
        found.push(next(&mut far).await);
    }
    subscribed(&local, 2).await;
    publish(&local, "values/x", 10..11);
    found.push(next(&mut far).await);
    let found: Vec<_> = found.iter().map(|it| (text(&it.topic), text(&it.payload))).collect();
    let alarms = (0..10).map(|n: u32| ("alarms/x".to_owned(), n.to_string()));
    assert_eq!(found, alarms.chain([("values/x".to_owned(), "10".to_owned())]).collect::<Vec<_>>());
    until(&bridge, |_, waiting| waiting.messages == 0).await;
    bridge.stop().await;
    local.stop().await;
    remote.stop().await;
}

#[tokio::test]
async fn what_two_routes_select_goes_once_over_the_first() {
    let (local, remote) = (broker().await, broker().await);
    let other = |filter: &str| route(BridgeDirection::Out, filter, "", "other/");
    let routes = vec![durable(out("a/#")), other("#")];
    let bridge = start(&options(remote.address(), BridgeProtocol::V5, routes), &local);
    subscribed(&local, 2).await;
    let mut far = client(remote.address(), "far", "#").await;
    publish(&local, "a/x", 0..1);
    assert_eq!(text(&next(&mut far).await.topic), "a/x");
    publish(&local, "b", 0..1);
    assert_eq!(text(&next(&mut far).await.topic), "other/b");
    quiet(&mut far).await;
    until(&bridge, |status, waiting| (status.sent, status.acknowledged, waiting.messages) == (2, 2, 0)).await;
    bridge.stop().await;
}

#[tokio::test]
async fn what_comes_in_over_one_session_does_not_go_out_over_the_other() {
    for protocol in [BridgeProtocol::V5, BridgeProtocol::V4] {
        let (local, remote) = (broker().await, broker().await);
        let both = |filter: &str| route(BridgeDirection::Both, filter, "", "");
        let routes = vec![durable(both("a/#")), both("b/#")];
        let bridge = start(&options(remote.address(), protocol, routes), &local);
        subscribed(&local, 2).await;
        subscribed(&remote, 2).await;
        let mut far = client(remote.address(), "far", "#").await;
        let mut near = client(local.address(), "near", "#").await;
        for topic in ["a/x", "b/x"] {
            far.publish(Message::new(topic, "down")).unwrap();
            assert_eq!(text(&next(&mut far).await.payload), "down");
            assert_eq!(text(&next_while(&mut near, &mut far).await.topic), topic);
            near.publish(Message::new(topic, "up")).unwrap();
            assert_eq!(text(&next(&mut near).await.payload), "up");
            assert_eq!(text(&next_while(&mut far, &mut near).await.topic), topic);
        }
        quiet(&mut near).await;
        quiet(&mut far).await;
        assert_eq!(bridge.probe()().0.looped, 0);
        bridge.stop().await;
    }
}

#[tokio::test]
async fn nothing_waits_any_more_for_a_route_that_is_gone_or_no_longer_durable() {
    let local = broker().await;
    let (_held, nobody) = held_port();
    let with = |routes| options(nobody, BridgeProtocol::V5, routes);
    let go_on = |options: &config::Bridge| {
        let names = Bridge::sessions(options, false);
        local.let_out_all_but(&names.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let bridge = start(&with(vec![durable(out("a")), durable(out("b")), durable(out("c"))]), &local);
    until(&bridge, |status, _| status.connect_failures > 0).await;
    for topic in ["a", "b", "c"] {
        publish(&local, topic, 0..1);
    }
    until(&bridge, |_, waiting| waiting.messages == 3).await;
    bridge.stop().await;
    let fewer = with(vec![durable(out("a")), out("b")]);
    go_on(&fewer);
    let bridge = start(&fewer, &local);
    until(&bridge, |status, _| status.connect_failures > 0).await;
    for topic in ["a", "b", "c"] {
        publish(&local, topic, 0..10);
    }
    until(&bridge, |_, waiting| waiting.messages == 13).await;
    bridge.stop().await;
    let none = with(vec![out("a"), out("b")]);
    go_on(&none);
    assert_eq!((local.status().sessions_offline, local.status().subscriptions), (0, 0));
}
