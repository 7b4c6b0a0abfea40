//! Brokers that are away, come back, break off, or are something else.

use std::time::Duration;

use rumqttc::mqttbytes::v4::ConnectReturnCode;
use tidegate_config::Secret;
use tidegate_north::TargetState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{Broker, LONG, NOW, Plant, options, seq, start, within};

#[tokio::test]
async fn when_a_broker_is_back_everything_is_drained_at_once_and_in_order() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    plant.live_rows(3);
    assert_eq!(client.take_rows(3).await, [1, 2, 3]);
    target.until("three acknowledged", |status| status.acknowledged == 3).await;
    drop(client);
    let away = broker.away();

    plant.live_rows(2000);
    plant.committed().await;
    let down = target.until("a failed try", |status| status.connect_failures >= 3).await;
    assert!(down.last_error.unwrap().contains("nothing listens on that port"));
    target.until("a pause", |status| matches!(status.state, TargetState::BackingOff { .. })).await;

    let broker = away.back();
    let tries = target.status.snapshot().connect_failures;
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(2000).await, (4..=2003).collect::<Vec<_>>());
    let snapshot = target.until("all acknowledged", |status| status.acknowledged == 2003).await;
    assert_eq!((snapshot.sent, snapshot.reconnects, snapshot.left_out), (2003, 1, 0));
    assert!(snapshot.connect_failures <= tries + 1, "a try that had begun before may have failed after, and no other");
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn the_next_try_is_shown_and_never_later_than_the_longest_pause() {
    let (plant, broker) = (Plant::new().await, Broker::new().await);
    let mut options = options(broker.port());
    options.retry_longest = Duration::from_secs(3);
    let _away = broker.away();
    let target = start(&options, plant.cursor().await);
    let snapshot = target.until("a pause", |status| matches!(status.state, TargetState::BackingOff { .. })).await;
    let TargetState::BackingOff { until } = snapshot.state else { unreachable!() };
    assert!((NOW..=NOW + 3_000).contains(&until.as_millis()), "{until}");
    target.stopped().await;
}

#[tokio::test]
async fn only_what_was_committed_before_the_connection_is_marked_as_history() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.row(NOW + 1, "before, by a clock that is ahead");
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut client = broker.client().await;
    let mut marks = Vec::new();
    for text in ["during", "during, by a clock that is behind"] {
        let publish = client.publish().await;
        let payload: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        marks.push((seq(&publish), payload.get("hist").cloned()));
        client.acknowledge(publish.pkid).await;
        plant.row(NOW - 1, text);
    }
    let publish = client.publish().await;
    let payload: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    marks.push((seq(&publish), payload.get("hist").cloned()));
    client.acknowledge(publish.pkid).await;
    assert_eq!(marks, [(1, Some(true.into())), (2, None), (3, None)]);
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn connections_that_break_off_under_load_lose_nothing() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(1000);
    let target = start(&options(broker.port()), plant.cursor().await);
    let mut received = std::collections::BTreeSet::new();
    let mut connections = 0;
    while received.len() < 1000 {
        connections += 1;
        let mut client = broker.client().await;
        // Each connection takes a few rows more than it acknowledges, and breaks off.
        for taken in 0..40 {
            if received.len() == 1000 {
                break;
            }
            let (seq, id) = client.row().await;
            received.insert(seq);
            if taken < 35 {
                client.acknowledge(id).await;
            }
        }
    }
    assert!(connections > 20, "{connections}");
    assert_eq!(received.into_iter().collect::<Vec<_>>(), (1..=1000).collect::<Vec<_>>());
    drop(broker);
    target.stopped().await;
}

#[tokio::test]
async fn a_thin_link_is_not_given_up_because_the_ping_waits_behind_the_rows() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(200);
    let mut options = options(broker.port());
    // A ping has to be answered within six seconds; all rows at once would hold it back for twelve.
    options.keep_alive = Duration::from_secs(6);
    let target = start(&options, plant.cursor().await);
    let mut client = broker.client().await;
    for seq in 1..=200 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(client.take_rows(1).await, [seq]);
    }
    let snapshot = target.until("all acknowledged", |status| status.acknowledged == 200).await;
    assert_eq!((snapshot.sent, snapshot.reconnects), (200, 0));
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn a_refused_login_is_told_in_clear_words_and_tried_again_until_it_is_put_right() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(1);
    let mut options = options(broker.port());
    options.login = Some(("line3".to_owned(), Secret::literal("tide")));
    let target = start(&options, plant.cursor().await);
    for (code, words) in [
        (ConnectReturnCode::BadUserNamePassword, "wrong user name or password"),
        (ConnectReturnCode::NotAuthorized, "not authorised"),
        (ConnectReturnCode::BadClientId, "does not allow the client id \"line3-cloud\""),
    ] {
        let mut client = broker.asked().await;
        let login = client.connect.login.clone().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("line3", "tide"));
        assert_eq!(client.connect.client_id, "line3-cloud");
        client.answer(code).await;
        target.until(words, |status| status.last_error.as_ref().is_some_and(|text| text.contains(words))).await;
    }
    let mut client = broker.client().await;
    assert_eq!(client.take_rows(1).await, [1]);
    target.until("the row acknowledged", |status| status.acknowledged == 1).await;
    target.stop();
    client.until_disconnect().await;
    target.stopped().await;
}

#[tokio::test]
async fn what_is_no_broker_is_told_in_clear_words() {
    let (plant, broker) = (Plant::new().await, Broker::new().await);
    let target = start(&options(broker.port()), plant.cursor().await);
    let page = "x".repeat(100);
    for (tries, body) in [(1, ""), (2, page.as_str())] {
        let mut socket = broker.socket().await;
        // The request is read, so that the answer is not lost in a reset.
        let _ = socket.read(&mut [0; 1000]).await.unwrap();
        socket.write_all(format!("HTTP/1.1 400 Bad Request\r\n\r\n{body}").as_bytes()).await.unwrap();
        drop(socket);
        let snapshot = target.until("the error", |status| status.connect_failures == tries).await;
        let text = snapshot.last_error.unwrap();
        assert!(text.contains("is not MQTT") && text.contains("is it the right port?"), "{text}");
    }
    drop(broker.socket().await);
    let is_told = |text: &String| text.contains("closed the connection before it answered the login");
    target.until("the error", |status| status.last_error.as_ref().is_some_and(is_told)).await;
    within(LONG, target.stopped()).await;
}
