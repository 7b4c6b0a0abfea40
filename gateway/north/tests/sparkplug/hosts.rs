//! What hosts say and ask.

use rumqttc::mqttbytes::v4::Packet;
use tidegate_model::Timestamp;
use tidegate_sparkplug::{
    HostState, NodeId, REBIRTH, encode, rebirth_request,
    wire::{Metric, MetricValue, Payload},
};

use crate::{
    broker::{Broker, bd_seq},
    scene::{Scene, counts},
};

fn state(online: bool, timestamp: u64) -> Vec<u8> {
    HostState { online, timestamp }.payload()
}

const STATE: &str = "spBv1.0/STATE/scada";

#[tokio::test]
async fn rows_wait_in_the_store_until_the_primary_host_is_online_and_while_it_is_not() {
    let (broker, mut scene) = (Broker::new().await, Scene::new().await);
    scene.append(2);
    scene.committed().await;
    let running = scene.start(broker.port(), Some("scada")).await;
    let mut client = broker.client().await;
    client.quiet(3).await;
    assert!(client.filters.iter().any(|(filter, _)| filter == STATE));
    client.publish(STATE, state(false, 5), true).await;
    client.quiet(3).await;
    client.publish(STATE, state(true, 6), false).await;
    let messages = client.until("DDATA/meter").await;
    assert_eq!(messages[0].topic, "NBIRTH");
    assert_eq!(counts(&messages), [(1, true), (2, true)]);
    running.until("both rows taken", |_| true).await;
    // The will of the host: the node dies and begins anew.
    client.publish(STATE, state(false, 6), false).await;
    let death = client.until("NDEATH").await.pop().unwrap();
    assert_eq!(bd_seq(&death.payload), 0);
    assert_eq!(client.packet().await, Some(Packet::Disconnect));
    let mut client = broker.client().await;
    assert_eq!(client.bd_seq(), 1);
    client.publish(STATE, state(false, 6), true).await;
    scene.append(2);
    scene.committed().await;
    client.quiet(3).await;
    client.publish(STATE, state(true, 7), false).await;
    let mut messages = client.until("DDATA/meter").await;
    while !counts(&messages).iter().any(|(count, _)| *count == 4) {
        messages.push(client.message().await);
    }
    let last = counts(&messages);
    assert!(last.ends_with(&[(3, true), (4, true)]), "{last:?}");
    running.stop();
}

#[tokio::test]
async fn a_rebirth_brings_births_between_rows_and_a_write_goes_to_the_command_path() {
    let (broker, mut scene) = (Broker::new().await, Scene::new().await);
    let running = scene.start(broker.port(), None).await;
    let mut client = broker.client().await;
    let births = client.until("DBIRTH/meter").await;
    let rebirth = rebirth_request(&NodeId::new("plant", "line3"), Timestamp::from_millis(1));
    client.publish(&rebirth.topic, rebirth.payload.clone(), false).await;
    scene.append(5);
    // Those of the connection are young: until others are made, rows go on.
    let birth = client.until("NBIRTH").await.pop().unwrap();
    assert_eq!(birth.payload.seq, Some(0));
    assert!(birth.payload.metrics.iter().any(|metric| metric.name.as_deref() == Some(REBIRTH)));
    client.until("DBIRTH/meter").await;
    scene.append(5);
    client.until("DDATA/meter").await;
    let alias = births[1].payload.metrics[0].alias;
    let write = Metric { alias, value: Some(MetricValue::Long(42)), ..Metric::default() };
    let payload = Payload { timestamp: Some(1), metrics: vec![write], ..Payload::default() };
    client.publish("spBv1.0/plant/DCMD/line3/meter", encode(&payload), false).await;
    let commands = scene.commands.clone();
    let serve = async { while client.packet().await.is_some() {} };
    let came = running.until("the command", |_| !commands.lock().unwrap().is_empty());
    tokio::select! {
        () = serve => panic!("the connection has ended"),
        () = came => {}
    }
    let command = scene.commands.lock().unwrap().pop().unwrap();
    assert_eq!((command.device.as_str(), command.values["count"].as_u64()), ("meter", Some(42)));
    running.stop();
}

#[tokio::test]
async fn a_command_that_comes_while_the_primary_host_is_offline_is_never_carried_out() {
    let (broker, scene) = (Broker::new().await, Scene::new().await);
    let running = scene.start(broker.port(), Some("scada")).await;
    let mut client = broker.client().await;
    let write = |value| {
        let name = Some("count".to_owned());
        let metric = Metric { name, value: Some(MetricValue::Long(value)), ..Metric::default() };
        encode(&Payload { timestamp: Some(1), metrics: vec![metric], ..Payload::default() })
    };
    const TOPIC: &str = "spBv1.0/plant/DCMD/line3/meter";
    client.quiet(3).await;
    client.publish(TOPIC, write(1), false).await;
    client.publish(STATE, state(true, 6), false).await;
    client.until("DBIRTH/meter").await;
    client.publish(TOPIC, write(2), false).await;
    let commands = scene.commands.clone();
    let serve = async { while client.packet().await.is_some() {} };
    tokio::select! {
        () = serve => panic!("the connection has ended"),
        () = running.until("the command", |_| !commands.lock().unwrap().is_empty()) => {}
    }
    let values: Vec<_> =
        scene.commands.lock().unwrap().iter().map(|command| command.values["count"].as_u64()).collect();
    assert_eq!(values, [Some(2)]);
    running.stop();
}
