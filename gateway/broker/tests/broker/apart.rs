//! The broker on a thread of its own.

use std::net::TcpListener;

use tidegate_broker::Broker;
use tidegate_config as config;
use tokio::time::{Duration, sleep, timeout};

use crate::{
    disk::stopped,
    raw::{Options, PATIENCE, Raw, packet, text},
    rig::{held_port, options},
};

#[tokio::test]
async fn a_client_that_publishes_does_not_overtake_one_that_subscribed_just_before() {
    let broker = Broker::start_apart(&options(&[]), None).await.unwrap();
    let mut one = Raw::connect(broker.address(), Options::new(5, "one")).await;
    let mut other = Raw::connect(broker.address(), Options::new(5, "other")).await;
    // Of what a client has sent at its beginning the system may still be telling.
    one.ping().await;
    other.ping().await;
    for number in 0..100u8 {
        let topic = format!("round/{number}");
        let mut body = vec![0, 1, 0];
        text(&mut body, topic.as_bytes());
        body.push(0);
        // Nobody waits for an answer in between.
        one.send(&packet(0x82, &body)).await;
        other.publish(0, &topic, 0, &[], &[number]).await;
        assert_eq!(one.packet().await.map(|answer| answer[0]), Some(0x90));
        assert_eq!(one.published().await.payload, [number]);
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_thread_of_its_own_ends_with_the_broker_and_frees_the_port() {
    for stopped in [true, false] {
        // So that nobody else takes the port when the broker has freed it.
        let held = held_port();
        let address = held.local_addr().unwrap();
        let broker = Broker::start_apart(&config::Broker::on(address), None).await.unwrap();
        let mut client = Raw::connect(address, Options::new(5, "client")).await;
        if stopped {
            broker.stop().await;
        }
        drop(broker);
        client.ended().await;
        // The thread drops the listener in its own time.
        let free = async {
            while TcpListener::bind(address).is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, free).await.expect("the thread ends and frees the port");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_to_who_starts_it() {
    let first = Broker::start_apart(&options(&[]), None).await.unwrap();
    let mut options = options(&[]);
    options.listen = first.address();
    let error = Broker::start_apart(&options, None).await.unwrap_err().to_string();
    assert!(error.contains("the port is in use"), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn what_is_to_be_kept_is_on_the_disk_when_a_broker_with_a_thread_of_its_own_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let kept = || Some(folder.path().to_owned());
    let broker = Broker::start_apart(&options(&[]), kept()).await.unwrap();
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.publish(1, "plant/state", 0, &[], b"running").await;
    client.ping().await;
    stopped(&broker, folder.path()).await;
    let broker = Broker::start_apart(&options(&[]), kept()).await.unwrap();
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe(&[("plant/#", 0)]).await;
    assert_eq!(client.published().await.payload, b"running");
    broker.stop().await;
}
