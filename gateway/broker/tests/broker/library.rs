//! A client library that others wrote: rumqttc, in both versions.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as five;
use tidegate_broker::Broker;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::rig::{broker, options};

const PATIENCE: Duration = Duration::from_secs(10);

struct Client<C, P> {
    client: C,
    published: mpsc::Receiver<P>,
    task: JoinHandle<()>,
}

impl<C, P> Drop for Client<C, P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<C, P> Client<C, P> {
    async fn next(&mut self) -> P {
        timeout(PATIENCE, self.published.recv()).await.expect("a message").unwrap()
    }
}

/// A connected client of MQTT 3.1.1 with a subscription.
async fn four(broker: &Broker, filter: &str) -> Client<rumqttc::AsyncClient, rumqttc::Publish> {
    let mut options = rumqttc::MqttOptions::new("four", "127.0.0.1", broker.address().port());
    options.set_credentials("scada", "secret").set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 100);
    client.subscribe(filter, rumqttc::QoS::AtLeastOnce).await.unwrap();
    let (sender, published) = mpsc::channel(10_000);
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = events.poll().await {
            match event {
                rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => sender.send(publish).await.unwrap(),
                rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)) => {
                    ready.take().map(|ready| ready.send(()));
                }
                _ => {}
            }
        }
    });
    timeout(PATIENCE, subscribed).await.unwrap().unwrap();
    Client { client, published, task }
}

/// A connected client of MQTT 5 with a subscription.
async fn five(broker: &Broker, filter: &str) -> Client<rumqttc::v5::AsyncClient, five::Publish> {
    let mut options = rumqttc::v5::MqttOptions::new("five", "127.0.0.1", broker.address().port());
    options.set_credentials("scada", "secret");
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 100);
    client.subscribe(filter, rumqttc::v5::mqttbytes::QoS::ExactlyOnce).await.unwrap();
    let (sender, published) = mpsc::channel(10_000);
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = events.poll().await {
            match event {
                rumqttc::v5::Event::Incoming(five::Packet::Publish(publish)) => sender.send(publish).await.unwrap(),
                rumqttc::v5::Event::Incoming(five::Packet::SubAck(_)) => {
                    ready.take().map(|ready| ready.send(()));
                }
                _ => {}
            }
        }
    });
    timeout(PATIENCE, subscribed).await.unwrap().unwrap();
    Client { client, published, task }
}

async fn with_user() -> Broker {
    Broker::start(&options(&[("scada", "secret", &["#"], &["#"])])).await.unwrap()
}

#[tokio::test]
async fn both_versions_of_the_library_talk_to_each_other_at_all_levels() {
    let broker = with_user().await;
    let mut four = four(&broker, "five/#").await;
    let mut five = five(&broker, "four/#").await;
    for qos in [rumqttc::QoS::AtMostOnce, rumqttc::QoS::AtLeastOnce, rumqttc::QoS::ExactlyOnce] {
        four.client.publish("four/é", qos, false, format!("{qos:?}")).await.unwrap();
        let found = five.next().await;
        assert_eq!((&found.topic[..], &found.payload[..]), ("four/é".as_bytes(), format!("{qos:?}").as_bytes()));
    }
    use rumqttc::v5::mqttbytes::QoS;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        five.client.publish("five/x", qos, false, format!("{qos:?}")).await.unwrap();
        assert_eq!(four.next().await.payload, format!("{qos:?}"));
    }
}

#[tokio::test]
async fn a_command_of_the_library_gets_its_answer() {
    let broker = with_user().await;
    let mut inbox = broker.subscribe("tidegate/line3/+/set", 10);
    let mut five = five(&broker, "mine").await;
    let properties = five::PublishProperties {
        response_topic: Some("mine".to_owned()),
        correlation_data: Some(Bytes::from_static(b"42")),
        ..five::PublishProperties::default()
    };
    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    five.client.publish_with_properties("tidegate/line3/press/set", qos, false, "{}", properties).await.unwrap();
    let message = inbox.recv().await.unwrap();
    broker.publisher().reply(&message.response_topic.unwrap(), Bytes::from_static(b"ok"), message.correlation);
    let answer = five.next().await;
    assert_eq!(answer.payload, "ok");
    assert_eq!(answer.properties.unwrap().correlation_data.unwrap(), "42");
}

#[tokio::test]
async fn a_second_of_the_largest_load_reaches_the_library_without_loss() {
    let broker = broker().await;
    let mut four = four(&broker, "tidegate/#").await;
    let publisher = broker.publisher();
    for n in 0..1_000_u32 {
        let mut payload = vec![b' '; 20_000];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        publisher.publish(format!("tidegate/line3/d{}/data/fast", n % 100), payload.into(), false);
    }
    for n in 0..1_000_u32 {
        assert_eq!(four.next().await.payload[..4], n.to_be_bytes());
    }
    assert_eq!(broker.status().dropped, 0);
}
