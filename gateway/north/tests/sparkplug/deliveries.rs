//! Births, rows, and when the cursor moves.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rumqttc::mqttbytes::v4::Packet;

use crate::{
    broker::{Broker, Message, bd_seq, read},
    scene::{Scene, counts},
};

/// Messages until so many rows have come.
async fn rows(client: &mut crate::broker::Client, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while counts(&messages).len() < count {
        messages.push(client.message().await);
    }
    messages
}

#[tokio::test]
async fn rows_count_once_a_ping_that_came_behind_them_was_answered() {
    let (broker, mut scene) = (Broker::new().await, Scene::new().await);
    scene.append(3);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let mut client = broker.client().await;
    client.answers = false;
    assert_eq!(client.bd_seq(), 0);
    let messages = rows(&mut client, 3).await;
    let topics: Vec<&str> = messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics[..2], ["NBIRTH", "DBIRTH/meter"]);
    assert_eq!(bd_seq(&messages[0].payload), 0);
    // The birth has shown the newest value; the others are of the past.
    assert_eq!(counts(&messages), [(1, true), (2, true), (3, true)]);
    let filters: Vec<&str> = client.filters.iter().map(|(filter, _)| filter.as_str()).collect();
    assert_eq!(filters, ["spBv1.0/plant/NCMD/line3", "spBv1.0/plant/DCMD/line3/meter"]);
    assert!(client.filters.iter().all(|(_, qos)| *qos == rumqttc::QoS::AtLeastOnce));
    assert_eq!((running.status.snapshot().sent, running.status.snapshot().acknowledged), (3, 0));
    // The next connection answers.
    drop(client);
    let mut client = broker.client().await;
    assert_eq!(client.bd_seq(), 1);
    let messages = rows(&mut client, 3).await;
    assert_eq!((messages[0].topic.as_str(), bd_seq(&messages[0].payload)), ("NBIRTH", 1));
    assert_eq!(counts(&messages), [(1, true), (2, true), (3, true)]);
    let serve = async {
        while let Some(packet) = client.packet().await {
            assert!(matches!(packet, Packet::Publish(_)), "{packet:?}");
        }
    };
    let acknowledged = running.until("the acknowledgement", |now| now.acknowledged == 3);
    tokio::select! {
        () = serve => panic!("the connection has ended"),
        () = acknowledged => {}
    }
    // What is known to have arrived does not come again.
    drop(client);
    let mut client = broker.client().await;
    assert_eq!(client.message().await.topic, "NBIRTH");
    assert_eq!(client.message().await.topic, "DBIRTH/meter");
    scene.append(1);
    assert_eq!(counts(&rows(&mut client, 1).await), [(4, false)]);
    running.stop();
}

#[tokio::test]
async fn a_target_that_stops_says_that_the_node_is_going() {
    let (broker, scene) = (Broker::new().await, Scene::new().await);
    let running = scene.start(broker.port(), None).await;
    let mut client = broker.client().await;
    client.until("DBIRTH/meter").await;
    running.stop();
    let death = client.message().await;
    assert_eq!((death.topic.as_str(), bd_seq(&death.payload)), ("NDEATH", 0));
    assert_eq!(client.packet().await, Some(Packet::Disconnect));
    running.stopped().await;
}

#[tokio::test]
async fn the_number_of_the_connection_goes_on_over_restarts() {
    let (broker, scene) = (Broker::new().await, Scene::new().await);
    for number in 0..4 {
        let running = scene.start(broker.port(), None).await;
        let mut client = broker.client().await;
        assert_eq!(client.bd_seq(), number);
        client.until("DBIRTH/meter").await;
        running.stop();
        while client.packet().await.is_some() {}
        running.stopped().await;
    }
}

#[tokio::test]
async fn connections_that_are_cut_at_any_packet_lose_no_row_and_no_number() {
    let (broker, mut scene) = (Broker::new().await, Scene::new().await);
    let running = scene.start(broker.port(), None).await;
    let mut random = StdRng::seed_from_u64(5);
    let mut seen = vec![0_u32; 20_000];
    for cut in 0_u64..60 {
        let mut client = broker.client().await;
        assert_eq!(client.bd_seq(), cut % 256);
        // Pings of some connections are never answered: nothing of theirs counts.
        client.answers = cut % 3 != 0;
        let mut last = None;
        let packets = random.random_range(0..40);
        for _ in 0..packets {
            scene.append(random.random_range(0..30));
            let next = tokio::time::timeout(Duration::from_millis(40), client.packet()).await;
            let Ok(packet) = next else { continue };
            let Some(Packet::Publish(publish)) = packet else { panic!("{packet:?}") };
            let message = read(&publish);
            let seq = message.payload.seq.unwrap();
            assert_eq!(seq, last.map_or(0, |last| (last + 1) % 256), "{}", message.topic);
            last = Some(seq);
            for (count, _) in counts(std::slice::from_ref(&message)) {
                seen[usize::try_from(count).unwrap()] += 1;
            }
        }
    }
    let total = scene.rows;
    let mut client = broker.client().await;
    while (1..=total).any(|count| seen[usize::try_from(count).unwrap()] == 0) {
        for (count, _) in counts(&[client.message().await]) {
            seen[usize::try_from(count).unwrap()] += 1;
        }
    }
    assert!(total > 5_000, "only {total} rows");
    running.stop();
}
