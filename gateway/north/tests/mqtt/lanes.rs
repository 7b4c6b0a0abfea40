//! Live rows and backlog share one connection.

use std::time::Instant;

use rumqttc::mqttbytes::v4::{ConnectReturnCode, Publish};
use tidegate_config::{Backfill, ByteRate};

use crate::scene::{Broker, Client, NOW, Plant, Running, options, seq, start, start_as};

fn is_history(publish: &Publish) -> bool {
    publish.payload.windows(12).any(|bytes| bytes == br#""hist":true,"#)
}

fn size(publish: &Publish) -> usize {
    publish.topic.len() + publish.payload.len()
}

/// Waits until the target has read so many live rows.
async fn live_rows_given(target: &Running, rows: u64) {
    target.until("live rows", |status| status.live_rows >= rows).await;
}

#[tokio::test]
async fn rows_are_sent_at_once_after_the_login() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(3);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.asked().await;
    client.answer(ConnectReturnCode::Success).await;
    // Not even the message with the state has been acknowledged.
    assert_eq!(client.publish().await.topic, "plant/line3/state");
    for row in 1..=3 {
        assert_eq!(client.row().await.0, row);
    }
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn after_an_outage_the_newest_rows_go_first() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(5_000);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    for row in 1..=20 {
        assert_eq!(client.take_rows(1).await, [row]);
    }
    plant.live_rows(10);
    live_rows_given(&target, 10).await;
    // Behind what is on its way already come the live rows, long before the rest of the backlog.
    let mut before = 0;
    let mut live = Vec::new();
    while live.len() < 10 {
        let publish = client.publish().await;
        client.acknowledge(publish.pkid).await;
        if is_history(&publish) { before += 1 } else { live.push(seq(&publish)) }
    }
    assert_eq!(live, (5_001..=5_010).collect::<Vec<_>>());
    assert!(before < 200, "{before} rows of backlog before 10 live ones");
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn a_backlog_that_nobody_acknowledges_leaves_room_for_live_rows() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(100);
    let mut options = options(broker.port());
    options.in_flight = 8;
    let target = start(&options, plant.cursor().await);
    let mut client = broker.client().await;
    for row in 1..=6 {
        assert_eq!(client.row().await.0, row);
    }
    for row in 101..=102 {
        plant.live_rows(1);
        let (found, _) = client.row().await;
        assert_eq!(found, row, "not a row of the backlog");
    }
    drop((client, broker));
    target.stopped().await;
}

/// Rows of a lane that are read and not acknowledged, so that the lane has something to send: more than can be on their way.
const READ: u64 = 100 + 30;

/// Bytes of live rows and of backlog among the next messages, each acknowledged when the next has come and both lanes have more to send:
/// while the store is slow to give the rows of one, there is nothing to be shared.
async fn bytes_of_both(target: &Running, client: &mut Client, messages: usize) -> (usize, usize) {
    let (mut live, mut backlog) = (0, 0);
    for _ in 0..messages {
        let publish = client.publish().await;
        target.until("both lanes", |status| status.live_rows >= READ && status.backlog_read >= READ).await;
        client.acknowledge(publish.pkid).await;
        *(if is_history(&publish) { &mut backlog } else { &mut live }) += size(&publish);
    }
    (live, backlog)
}

#[tokio::test]
async fn while_both_lanes_have_rows_the_backlog_gets_its_share() {
    for share in [0.2, 0.5, 0.8] {
        let (mut plant, broker) = (Plant::new().await, Broker::new().await);
        // Rows of the backlog are five times as large.
        (0..3_000).for_each(|_| plant.row(NOW, &"b".repeat(500)));
        let mut options = options(broker.port());
        options.backfill = Backfill { share, max_rate: None, ..options.backfill };
        let target = start(&options, plant.cursor().await);
        let mut client = broker.client().await;
        plant.live_rows(12_000);
        live_rows_given(&target, 256).await;
        // What was on its way before there were live rows does not count.
        bytes_of_both(&target, &mut client, 100).await;
        let (live, backlog) = bytes_of_both(&target, &mut client, 2_000).await;
        let found = f64::from(u32::try_from(backlog).unwrap()) / f64::from(u32::try_from(live + backlog).unwrap());
        assert!((found - share).abs() < 0.05, "{found} instead of {share}: {live} live, {backlog} backlog");
        drop((client, broker));
        target.stopped().await;
    }
}

#[tokio::test]
async fn the_rate_of_the_backlog_is_limited_and_that_of_live_rows_is_not() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    (0..2_000).for_each(|_| plant.row(NOW, &"b".repeat(920)));
    let mut options = options(broker.port());
    let rate = 100 * 1024;
    options.backfill = Backfill { share: 1.0, max_rate: Some(ByteRate(rate)), ..options.backfill };
    let queue = plant.cursor().await;
    // Before the target can have sent anything, whatever the machine does in between.
    let begin = Instant::now();
    let target = start(&options, queue);
    let mut client = broker.client().await;
    let (mut backlog, mut live) = (0, 0);
    // How long that takes is the machine's affair; that the rate is used is shown where the clock is played (`simulated.rs`).
    while live < 5_000 * 60 || backlog < 200_000 {
        if live == 0 && backlog > 20_000 {
            plant.live_rows(5_000);
            live = 1;
        }
        let publish = client.publish().await;
        client.acknowledge(publish.pkid).await;
        if is_history(&publish) {
            backlog += size(&publish);
            let most = (begin.elapsed().as_secs_f64() + 0.25) * f64::from(u32::try_from(rate).unwrap());
            // A quarter of a second may come at once, and one message more.
            let found = f64::from(u32::try_from(backlog).unwrap());
            assert!(found < most * 1.05 + 2_000.0, "{found} bytes where there may be {most}");
        } else {
            live += size(&publish);
        }
    }
    // Under the same limit they would have had to wait for twenty times as much backlog.
    assert!(live > 5_000 * 60 && backlog < 1_000_000, "{live} bytes of live rows beside {backlog} of backlog");
    drop((client, broker));
    target.stopped().await;
}

#[tokio::test]
async fn a_target_with_another_name_goes_on_where_the_old_one_was() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(6);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    for row in 1..=6 {
        let (_, id) = client.row().await;
        if row % 2 == 0 {
            client.acknowledge(id).await;
        }
    }
    target.until("half acknowledged", |status| status.acknowledged == 3).await;
    drop(client);
    target.stopped().await;

    assert!(plant.rename("cloud", "cloud-2").await);
    assert!(!plant.rename("cloud", "cloud-2").await, "once");
    let target = start_as("cloud-2", &options(broker.port()), plant.cursor_of("cloud-2").await);
    let mut client = broker.client().await;
    assert_eq!(client.connect.client_id, "line3-cloud-2");
    assert_eq!(client.take_rows(3).await, [1, 3, 5]);
    plant.live_rows(1);
    assert_eq!(client.take_rows(1).await, [7]);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}
