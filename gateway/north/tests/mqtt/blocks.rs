//! `format = "block"`: many rows a message, and the schemas they are read by.

use std::{collections::HashSet, time::Duration};

use rumqttc::mqttbytes::v4::Packet;
use tidegate_config::{Format, MqttTarget as Options};

use crate::scene::{Broker, NOW, Plant, Receiver, options, start};

fn block_options(port: u16) -> Options {
    Options { format: Format::Block, batch: Duration::from_millis(50), ..options(port) }
}

#[tokio::test]
async fn live_rows_of_several_streams_share_messages_and_arrive_to_the_last_bit() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let (mut one, mut two) = (plant.numbers("fast").await, plant.numbers("slow").await);
    let target = start(&block_options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut receiver = Receiver::default();
    for _ in 0..3 {
        plant.append(&mut one, 100);
        plant.append(&mut two, 10);
        receiver.take_rows(&mut client, 110).await;
    }
    receiver.has_exactly(&[&one.rows, &two.rows]);
    assert!(receiver.messages.len() <= 9, "{} messages for 330 rows", receiver.messages.len());
    assert_eq!(receiver.schemas_published.len(), 2, "one for each stream, once");
    let snapshot = target.until("all acknowledged", |status| status.acknowledged == 330).await;
    assert_eq!((snapshot.sent, snapshot.in_flight, snapshot.live_rows), (330, 0, 0));
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn rows_from_before_a_restart_share_no_block_with_those_after_it() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut one = plant.numbers("fast").await;
    plant.append(&mut one, 40);
    plant.restart(&mut one).await;
    plant.append(&mut one, 60);
    let target = start(&block_options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut receiver = Receiver::default();
    receiver.take_rows(&mut client, 100).await;
    receiver.has_exactly(&[&one.rows]);
    for (first, rows, boot) in receiver.starts {
        let of_one = if boot == 1 { 1..41 } else { 41..101 };
        assert!(of_one.contains(&first) && of_one.contains(&(first + u64::from(rows) - 1)), "{first} {rows} {boot}");
    }
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn rows_wait_for_each_other_as_long_as_the_site_says() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut one = plant.numbers("fast").await;
    // Longer than any machine takes for six commits. That the wait has an end, and that one message follows, is shown where the clock
    // is an argument (`queue.rs`).
    let options = Options { batch: Duration::from_secs(3_600), ..block_options(broker.port()) };
    let target = start(&options, plant.cursor().await);
    let client = broker.client().await;
    for _ in 0..6 {
        plant.append(&mut one, 5);
        plant.committed().await;
    }
    let snapshot = target.until("all rows read", |status| status.live_rows == 30).await;
    assert_eq!((snapshot.sent, snapshot.in_flight), (0, 0));
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn one_acknowledgement_counts_for_all_rows_of_its_message_and_for_no_other() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let (mut one, mut two) = (plant.numbers("fast").await, plant.numbers("slow").await);
    let target = start(&block_options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut ids = Vec::new();
    let mut receiver = Receiver::default();
    for _ in 0..4 {
        plant.append(&mut one, 50);
        plant.append(&mut two, 50);
        let mut rows = 0;
        while rows < 100 {
            let publish = client.publish().await;
            let taken = receiver.take(&publish);
            rows += taken;
            if taken == 0 {
                client.acknowledge(publish.pkid).await;
            } else {
                ids.push((publish.pkid, taken));
            }
        }
    }
    // Every second message, the last one first.
    let acknowledged: usize = ids.iter().rev().step_by(2).map(|(_, rows)| rows).sum();
    for (id, _) in ids.iter().rev().step_by(2) {
        client.acknowledge(*id).await;
    }
    let wanted = u64::try_from(acknowledged).unwrap();
    target.until("every second message", |status| status.acknowledged == wanted).await;
    drop(client);

    let mut client = broker.client().await;
    let mut again = Receiver::default();
    again.take_rows(&mut client, 400 - acknowledged).await;
    target.until("all acknowledged", |status| status.acknowledged == 400).await;
    for (row, came) in &again.rows {
        assert_eq!((came.len(), receiver.rows[row].len()), (1, 1), "{row:?} was acknowledged and came again");
    }
    assert_eq!(again.schemas_published.len(), 2, "the broker may have forgotten the schemas with the connection");
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_backlog_comes_in_few_messages_that_every_broker_takes() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let (mut one, mut two) = (plant.numbers("fast").await, plant.numbers("slow").await);
    for _ in 0..20 {
        plant.append(&mut one, 300);
        plant.append(&mut two, 100);
    }
    let target = start(&block_options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut receiver = Receiver::default();
    receiver.take_rows(&mut client, 8_000).await;
    receiver.has_exactly(&[&one.rows, &two.rows]);
    assert!(receiver.messages.iter().all(|length| *length <= 64 * 1024), "{:?}", receiver.messages);
    assert!(receiver.messages.len() <= 16, "{:?}", receiver.messages);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_row_that_the_broker_never_bears_is_found_in_its_block_and_announced_as_a_gap() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut one = plant.numbers("slow").await;
    plant.append(&mut one, 20);
    plant.live_rows(20);
    // Letters in no order, so that they cannot be packed away.
    let mut seed = 1_u64;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((seed >> 33) % 90).unwrap())
    };
    let text: String = (0..200_000).map(|_| letter()).collect();
    plant.row(NOW, &text);
    plant.live_rows(20);
    let target = start(&block_options(broker.port()), plant.cursor().await);
    let mut receiver = Receiver::default();
    let mut connections = 0;
    while receiver.rows.len() < 60 || receiver.gaps.is_empty() {
        connections += 1;
        let mut client = broker.client().await;
        while let Some(Packet::Publish(publish)) = client.packet().await {
            if publish.payload.len() > 100_000 {
                break;
            }
            receiver.take(&publish);
            client.acknowledge(publish.pkid).await;
            if receiver.rows.len() == 60 && !receiver.gaps.is_empty() {
                target.until("all acknowledged", |status| status.acknowledged == 61).await;
                break;
            }
        }
    }
    assert!(connections <= 12, "{connections} connections");
    let gaps: Vec<_> = receiver.gaps.iter().map(|gap| (gap.first_seq, gap.last_seq, gap.reason)).collect();
    assert_eq!(gaps, [(21, 21, 129)]);
    let numbers: HashSet<u64> =
        receiver.rows.keys().filter(|(group, _)| group == "fast").map(|(_, seq)| *seq).collect();
    assert_eq!(numbers, (1..=20).chain(22..=41).collect());
    let snapshot = target.status.snapshot();
    assert_eq!(snapshot.left_out, 1);
    assert!(snapshot.refused >= 8, "{snapshot:?}");
    target.stopped().await;
}

#[tokio::test]
async fn another_format_and_another_broker_go_on_where_the_last_ones_were() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut one = plant.numbers("fast").await;
    plant.append(&mut one, 10);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    for row in 1..=10 {
        let publish = client.publish().await;
        if row % 2 == 0 {
            client.acknowledge(publish.pkid).await;
        }
    }
    target.until("half acknowledged", |status| status.acknowledged == 5).await;
    drop((client, broker));
    target.stopped().await;

    let broker = Broker::new().await;
    let target = start(&block_options(broker.port()), plant.cursor().await);
    plant.append(&mut one, 10);
    let mut client = broker.client().await;
    let mut receiver = Receiver::default();
    receiver.take_rows(&mut client, 15).await;
    let wanted: Vec<_> = one.rows.iter().filter(|row| row.seq % 2 == 1 || row.seq > 10).cloned().collect();
    receiver.has_exactly(&[&wanted]);
    target.until("all acknowledged", |status| status.acknowledged == 15).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}
