//! Starting and stopping.

use std::time::Duration;

use bytes::Bytes;
use tidegate_broker::{Broker, Limits};
use tidegate_config as config;

use crate::{
    raw::{Options, PATIENCE, Raw},
    rig::{broker, broker_with, held_port, options, until},
};

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it_and_says_what_to_do() {
    let first = broker().await;
    let mut options = options(&[]);
    options.listen = first.address();
    let error = Broker::start(&options).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()) && error.contains("[broker]"), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_an_error_that_says_so() {
    let mut options = options(&[]);
    options.listen = ([192, 0, 2, 1], 0).into();
    let error = Broker::start(&options).await.unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:0") && error.contains("no such address"), "{error}");
}

#[tokio::test]
async fn a_stopped_broker_has_freed_its_port_and_told_its_clients() {
    // So that nobody else takes the port when the broker has freed it.
    let held = held_port();
    let options = config::Broker::on(held.local_addr().unwrap());
    let broker = Broker::start(&options).await.unwrap();
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    let mut inbox = broker.subscribe("#", 1);
    broker.stop().await;
    assert_eq!(five.goodbye().await, Some(0x8B));
    assert_eq!(four.ended().await, None);
    assert_eq!(inbox.recv().await, None);
    let again = Broker::start(&options).await.unwrap();
    Raw::connect(again.address(), Options::new(4, "four")).await.quiet().await;
    // What belongs to the first broker does no harm any more.
    broker.publisher().publish("a", Bytes::from_static(b"x"), true);
    assert_eq!(broker.subscribe("a", 1).recv().await, None);
    broker.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_client_reaches_it_before_the_broker_stops() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("state", 1)]).await;
    broker.publisher().publish("state", Bytes::from_static(b"offline"), true);
    broker.stop().await;
    assert_eq!(client.published().await.payload, b"offline");
    assert_eq!(client.packet().await, None);
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_stop() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    for _ in 0..90 {
        broker.publisher().publish("a", Bytes::from(vec![0; 100_000]), false);
    }
    tokio::time::timeout(PATIENCE, broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_broker_ends_without_being_stopped() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    drop(broker);
    assert!(client.ended().await.is_some());
}

#[tokio::test]
async fn brokers_of_one_process_know_nothing_of_each_other() {
    let (site, cloud) = (broker().await, broker().await);
    let mut at_site = Raw::connect(site.address(), Options::new(4, "client")).await;
    let mut at_cloud = Raw::connect(cloud.address(), Options::new(4, "client")).await;
    at_site.subscribe(&[("#", 0)]).await;
    at_cloud.subscribe(&[("#", 0)]).await;
    site.publisher().publish("a", Bytes::from_static(b"site"), true);
    cloud.publisher().publish("a", Bytes::from_static(b"cloud"), true);
    assert_eq!(at_site.published().await.payload, b"site");
    assert_eq!(at_cloud.published().await.payload, b"cloud");
    at_site.quiet().await;
    at_cloud.quiet().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let broker = broker_with(Limits { connections: 2, ..Limits::default() }).await;
    let first = Raw::connect(broker.address(), Options::new(4, "1")).await;
    let _second = Raw::connect(broker.address(), Options::new(4, "2")).await;
    assert_eq!(Raw::open(broker.address()).await.packet().await, None);
    assert_eq!((broker.status().refused_connections, broker.status().refused), (1, 1));
    drop(first);
    until(&broker, |status| status.clients == 1).await;
    Raw::connect(broker.address(), Options::new(4, "3")).await.quiet().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let broker = broker_with(Limits { connect_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    assert_eq!(Raw::open(broker.address()).await.packet().await, None);
}

#[tokio::test]
async fn the_status_counts_what_happens() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("a/#", 0)]).await;
    broker.publisher().publish("a/b", Bytes::from_static(b"12345"), true);
    broker.publisher().publish("elsewhere", Bytes::from_static(b"123"), false);
    client.publish(0, "a/c", 0, &[], b"1234567").await;
    client.published().await;
    client.published().await;
    let status = broker.status();
    assert_eq!((status.clients, status.published, status.bytes, status.received), (1, 2, 8, 1));
    assert_eq!((status.delivered, status.delivered_bytes, status.dropped, status.refused), (2, 12, 0, 0));
    assert_eq!(status.retained, 1);
    assert!(status.retained_bytes >= 8);
}
