//! A broker that closes the connection over one row: the row may neither block the queue for ever nor vanish silently.

use rumqttc::mqttbytes::v4::{Packet, Publish};
use tidegate_north::TargetSnapshot;

use crate::scene::{Broker, Plant, Running, options, seq, start};

/// Lets the target log in again and again until it has got everything across that `bears` does not close the connection over.
/// Returns the messages that were acknowledged.
async fn broker_that_bears(broker: &Broker, last: u64, bears: impl Fn(&Publish) -> bool) -> Vec<(String, String)> {
    let mut taken = Vec::new();
    loop {
        let mut client = broker.client().await;
        while let Some(Packet::Publish(publish)) = client.packet().await {
            if !bears(&publish) {
                break;
            }
            client.acknowledge(publish.pkid).await;
            let is_last = publish.topic.ends_with("/data/fast") && seq(&publish) == last;
            taken.push((publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap()));
            if is_last {
                return taken;
            }
        }
    }
}

async fn finished(target: Running, acknowledged: u64) -> TargetSnapshot {
    let snapshot = target.until("all acknowledged", |status| status.acknowledged >= acknowledged).await;
    target.stopped().await;
    snapshot
}

#[tokio::test]
async fn a_row_that_the_broker_never_bears_is_announced_as_a_gap_and_the_queue_goes_on() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(20);
    plant.row(i64::MAX, &"x".repeat(200_000));
    plant.live_rows(20);
    let target = start(&options(broker.port()), plant.cursor().await);
    let taken = broker_that_bears(&broker, 41, |publish| publish.payload.len() < 100_000).await;
    drop(broker);

    let gaps: Vec<_> = taken.iter().filter(|(topic, _)| topic.ends_with("/gap/fast")).collect();
    let gap = r#"{"gap":{"from":21,"to":21,"reason":"refused"}}"#;
    assert_eq!(gaps, [&("plant/line3/meter/gap/fast".to_owned(), gap.to_owned())]);
    for seq in (1..=20).chain(22..=41) {
        let wanted = format!("\"seq\":{seq},");
        assert!(taken.iter().any(|(_, payload)| payload.contains(&wanted)), "row {seq} is missing");
    }
    let snapshot = finished(target, 41).await;
    assert_eq!(snapshot.left_out, 1);
    plant.live_rows(1);
    assert_eq!(plant.unacknowledged(42).await, [42]);
}

#[tokio::test]
async fn where_not_even_the_gap_record_is_borne_nothing_is_dropped() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(3);
    let target = start(&options(broker.port()), plant.cursor().await);
    // The right to publish is missing altogether …
    let (mut rows, mut gaps) = (0, 0);
    while rows < 20 {
        let mut client = broker.client().await;
        let first = client.publish().await;
        *(if first.topic.ends_with("/gap/fast") { &mut gaps } else { &mut rows }) += 1;
    }
    assert!(gaps >= 2, "{gaps} gap records were tried");
    assert_eq!(target.status.snapshot().acknowledged, 0);
    // … until it is given, while a row has its turn.
    loop {
        let mut client = broker.client().await;
        let first = client.publish().await;
        if first.topic.ends_with("/gap/fast") {
            continue;
        }
        client.acknowledge(first.pkid).await;
        assert_eq!(seq(&first), 1);
        assert_eq!(client.take_rows(2).await, [2, 3]);
        target.until("all acknowledged", |status| status.acknowledged == 3).await;
        target.stop();
        client.until_disconnect().await;
        break;
    }
    assert_eq!(finished(target, 3).await.left_out, 0);
}

#[tokio::test]
async fn a_broker_that_breaks_off_at_different_rows_gets_every_one() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(60);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut expected = 1;
    while expected <= 60 {
        // It takes one row, and closes over the next: each row is once the one that it closes over.
        let mut client = broker.client().await;
        assert_eq!(client.take_rows(1).await, [expected]);
        expected += 1;
        target.until("the acknowledgement", |status| status.acknowledged == expected - 1).await;
    }
    drop(broker);
    assert_eq!(finished(target, 60).await.left_out, 0);
}
