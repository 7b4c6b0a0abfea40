//! The cursor moves on the acknowledgement of exactly the message that carried the row, whatever the broker does.

use std::time::Duration;

use rumqttc::mqttbytes::{QoS, v4::Packet};
use tidegate_north::TargetState;

use crate::scene::{Broker, Plant, options, start};

#[tokio::test]
async fn rows_are_published_in_order_and_every_acknowledgement_moves_the_cursor() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(300);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(300).await, (1..=300).collect::<Vec<_>>());

    let snapshot = target.until("300 acknowledged", |status| status.acknowledged == 300).await;
    assert_eq!((snapshot.sent, snapshot.in_flight, snapshot.reconnects), (300, 0, 0));
    assert_eq!(snapshot.state, TargetState::Online);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(301).await, [301]);
}

#[tokio::test]
async fn without_an_acknowledgement_the_cursor_stays_and_the_row_is_sent_again() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(5);
    let target = start(&options(broker.port()), plant.cursor().await);

    let mut client = broker.client().await;
    for seq in 1..=5 {
        let (found, id) = client.row().await;
        assert_eq!(found, seq);
        if seq != 3 {
            client.acknowledge(id).await;
        }
    }
    target.until("four of five acknowledged", |status| status.acknowledged == 4).await;
    drop(client);

    let mut client = broker.client().await;
    assert_eq!(client.take_rows(1).await, [3], "and none of its neighbours");
    plant.live_rows(1);
    assert_eq!(client.take_rows(1).await, [6]);
    target.until("all acknowledged", |status| status.acknowledged == 6).await;
    assert_eq!(target.status.snapshot().reconnects, 1);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_withheld_acknowledgement_is_still_missing_after_a_stop() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(4);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    client.take_rows(1).await;
    client.row().await;
    client.take_rows(2).await;
    target.until("three acknowledged", |status| status.acknowledged == 3).await;
    drop(client);
    drop(broker);
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(5).await, [2, 5]);
}

#[tokio::test]
async fn acknowledgements_in_any_order_count_for_their_own_rows() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(10);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(client.row().await.1);
    }
    for id in ids.iter().skip(5).rev() {
        client.acknowledge(*id).await;
    }
    target.until("half acknowledged", |status| status.acknowledged == 5).await;
    drop((client, broker));
    target.stopped().await;
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(11).await, [1, 2, 3, 4, 5, 11]);
}

#[tokio::test]
async fn an_acknowledgement_of_a_message_that_was_never_sent_moves_nothing() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(3);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let (_, first) = client.row().await;
    for _ in 0..2 {
        client.row().await;
    }
    client.acknowledge(first).await;
    client.acknowledge(99).await;
    assert_eq!(client.packet().await, None, "the connection is given up");
    let snapshot = target.until("the error", |status| status.last_error.is_some()).await;
    assert!(snapshot.last_error.unwrap().contains("acknowledged message 99, which was not sent"));

    let mut client = broker.client().await;
    assert_eq!(client.take_rows(2).await, [2, 3], "the first was acknowledged, and counts");
    target.until("all acknowledged", |status| status.acknowledged == 3).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_second_acknowledgement_of_the_same_message_moves_nothing_else() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(2);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let (_, first) = client.row().await;
    client.row().await;
    client.acknowledge(first).await;
    client.acknowledge(first).await;
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(1).await, [2]);
    target.until("both acknowledged", |status| status.acknowledged == 2).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn no_more_messages_are_on_their_way_than_configured() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut options = options(broker.port());
    options.in_flight = 7;
    let target = start(&options, plant.cursor().await);
    let mut client = broker.client().await;
    plant.live_rows(50);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(client.row().await.1);
    }
    // An eighth message would come at once; that it does not cannot be waited for, only given time.
    let eighth = tokio::time::timeout(Duration::from_millis(200), client.packet()).await;
    assert!(eighth.is_err(), "{eighth:?}");
    assert_eq!(target.status.snapshot().in_flight, 7);
    // The second is acknowledged, the first is not: the line does not get shorter.
    client.acknowledge(ids[1]).await;
    let eighth = tokio::time::timeout(Duration::from_millis(100), client.packet()).await;
    assert!(eighth.is_err(), "{eighth:?}");
    client.acknowledge(ids[0]).await;
    assert_eq!(client.row().await.0, 8);
    assert_eq!(client.row().await.0, 9);
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn a_broker_that_stops_acknowledging_is_left_and_tried_anew() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(1);
    let mut options = options(broker.port());
    options.ack_timeout = Duration::from_secs(10);
    let target = start(&options, plant.cursor().await);
    let mut client = broker.client().await;
    client.row().await;
    // It goes on answering pings.
    assert_eq!(client.packet().await, None);
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(1).await, [1]);
    let snapshot = target.until("the row acknowledged", |status| status.acknowledged == 1).await;
    assert!(snapshot.last_error.unwrap().ends_with("has not acknowledged a message for 10 s"));
    assert_eq!((snapshot.watchdog_resets, snapshot.refused), (1, 0));
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_on_its_way_and_says_goodbye() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(2);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let will = client.connect.last_will.clone().unwrap();
    assert_eq!((will.topic.as_str(), &will.message[..]), ("plant/line3/state", &b"offline"[..]));
    assert!(will.retain && will.qos == QoS::AtLeastOnce && client.connect.clean_session);

    let (ids, status) = ([client.row().await.1, client.row().await.1], target.status.clone());
    target.stop();
    let stopped = tokio::spawn(target.stopped());
    for id in ids {
        client.acknowledge(id).await;
    }
    let offline = client.publish().await;
    assert_eq!((offline.topic.as_str(), &offline.payload[..]), ("plant/line3/state", &b"offline"[..]));
    assert!(offline.retain);
    client.acknowledge(offline.pkid).await;
    assert_eq!(client.packet().await, Some(Packet::Disconnect));
    stopped.await.unwrap();
    assert_eq!((status.snapshot().acknowledged, status.snapshot().state), (2, TargetState::Stopped));
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(3).await, [3]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_for_a_broker_that_does_not_answer() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(1);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    client.row().await;
    // A few seconds for what is on its way and for the farewell; the rest is for a machine that stands still.
    let start = std::time::Instant::now();
    target.stopped().await;
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(2).await, [1, 2]);
}
