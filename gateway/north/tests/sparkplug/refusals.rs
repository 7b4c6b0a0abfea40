//! A broker that closes the connection over a message, as MQTT 3.1.1 has no other word.

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, Publish};
use tidegate_north::TargetState;
use tidegate_sparkplug::wire::MetricValue;

use crate::{
    broker::{Broker, Client, Message, read},
    scene::{Running, Scene, counts},
};

/// What a broker has taken.
struct Taken {
    messages: Vec<Message>,
    /// Connections that it has closed over a message.
    closed: usize,
    client: Client,
}

/// Takes messages, and closes the connection over those that it refuses, until it is `done`.
async fn serve(broker: &Broker, refuses: impl Fn(&Publish) -> bool, done: impl Fn(&[Message]) -> bool) -> Taken {
    let (mut messages, mut closed) = (Vec::new(), 0);
    loop {
        let mut client = broker.client().await;
        loop {
            match client.packet().await {
                Some(Packet::Publish(publish)) if refuses(&publish) => {
                    closed += 1;
                    assert!(closed < 200, "it goes on for ever");
                    break;
                }
                Some(Packet::Publish(publish)) => messages.push(read(&publish)),
                other => panic!("{other:?} in place of a message"),
            }
            if done(&messages) {
                return Taken { messages, closed, client };
            }
        }
    }
}

/// The gaps that were declared.
fn gaps(messages: &[Message]) -> Vec<serde_json::Value> {
    let data = messages.iter().filter(|message| message.topic == "NDATA");
    let texts = data.flat_map(|message| &message.payload.metrics).map(|metric| match &metric.value {
        Some(MetricValue::String(text)) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?} in place of a gap"),
    });
    texts.collect()
}

fn gap(row: u64, reason: &str) -> serde_json::Value {
    serde_json::json!({"device": "notes", "group": "fast", "from": row, "to": row, "reason": reason})
}

/// The texts in data.
fn texts(messages: &[Message]) -> Vec<String> {
    let data = messages.iter().filter(|message| message.topic == "DDATA/notes");
    let texts = data.flat_map(|message| &message.payload.metrics).map(|metric| match &metric.value {
        Some(MetricValue::String(text)) => text.clone(),
        other => panic!("{other:?} in place of a text"),
    });
    texts.collect()
}

/// Whether all counts have come.
fn has_counts(messages: &[Message], last: u64) -> bool {
    let mut found: Vec<u64> = counts(messages).iter().map(|(count, _)| *count).collect();
    found.sort_unstable();
    found.dedup();
    found.len() == usize::try_from(last).unwrap()
}

/// What comes next over the same connection, while the cursor moves.
async fn goes_on(scene: &mut Scene, running: &Running, taken: &mut Taken) {
    let before = running.status.snapshot().reconnects;
    scene.append(5);
    scene.note("last");
    while !has_counts(&taken.messages, scene.rows) || !texts(&taken.messages).contains(&"last".to_owned()) {
        taken.messages.push(taken.client.message().await);
    }
    assert_eq!(running.status.snapshot().reconnects, before, "over the same connection");
}

#[tokio::test]
async fn a_row_that_is_too_large_for_the_broker_becomes_one_gap_after_eight_connections_and_all_else_arrives() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    scene.append(100);
    scene.note("first");
    scene.note(&"x".repeat(10_000));
    scene.note("third");
    scene.append(100);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let done = |messages: &[Message]| has_counts(messages, 200) && texts(messages).contains(&"third".to_owned());
    let mut taken = serve(&broker, |publish| publish.payload.len() > 5_000, done).await;
    assert_eq!(taken.closed, 8);
    assert_eq!(gaps(&taken.messages), [gap(2, "too_large")]);
    goes_on(&mut scene, &running, &mut taken).await;
    // The next one of that size is not even tried.
    scene.note(&"y".repeat(10_000));
    scene.note("last but one");
    while !texts(&taken.messages).contains(&"last but one".to_owned()) {
        taken.messages.push(taken.client.message().await);
    }
    assert_eq!(gaps(&taken.messages), [gap(2, "too_large"), gap(5, "too_large")]);
    let now = running.status.snapshot();
    assert_eq!((now.left_out, now.refused), (2, 8), "{now:?}");
    running.stop();
}

#[tokio::test]
async fn a_tag_that_is_too_large_at_every_poll_is_found_although_each_connection_brings_the_next_one() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    // What is too large is only in rows: the births are small.
    let poll = |scene: &mut Scene| {
        scene.note(&"x".repeat(10_000));
        scene.note("small");
    };
    scene.append(20);
    poll(&mut scene);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let (mut messages, mut closed): (Vec<Message>, usize) = (Vec::new(), 0);
    'connections: loop {
        let mut client = broker.client().await;
        loop {
            let publish = match client.packet().await {
                Some(Packet::Publish(publish)) => publish,
                other => panic!("{other:?} in place of a message"),
            };
            if publish.payload.len() > 5_000 {
                closed += 1;
                assert!(closed < 60, "it is never found");
                break;
            }
            messages.push(read(&publish));
            if publish.topic.contains("NBIRTH") {
                // Behind the parting of the lanes, and before any ping is answered.
                poll(&mut scene);
                scene.committed().await;
            }
            // Each of them becomes a gap.
            let found = gaps(&messages);
            if (1..scene.notes).step_by(2).all(|row| found.contains(&gap(row, "too_large"))) {
                break 'connections;
            }
        }
    }
    assert!((8..=24).contains(&closed), "{closed} connections");
    running.stop();
}

#[tokio::test]
async fn a_birth_that_is_too_large_for_the_broker_is_made_without_its_largest_values() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    scene.append(10);
    scene.note("first");
    scene.note(&"x".repeat(10_000));
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let done = |messages: &[Message]| has_counts(messages, 10) && !gaps(messages).is_empty();
    let mut taken = serve(&broker, |publish| publish.payload.len() > 5_000, done).await;
    // The row, which is a little smaller, is not even tried.
    assert_eq!(taken.closed, 8);
    assert_eq!(gaps(&taken.messages), [gap(2, "too_large")]);
    let birth = taken.messages.iter().find(|message| message.topic == "DBIRTH/notes").unwrap();
    assert_eq!(birth.payload.metrics[0].is_null, Some(true));
    goes_on(&mut scene, &running, &mut taken).await;
    running.stop();
}

#[tokio::test]
async fn a_device_that_the_broker_does_not_bear_is_left_out_and_gaps_say_so() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    scene.append(10);
    scene.note("first");
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let done = |messages: &[Message]| has_counts(messages, 10) && !gaps(messages).is_empty();
    let taken = serve(&broker, |publish| publish.topic.contains("DBIRTH/line3/notes"), done).await;
    assert!((8..=12).contains(&taken.closed), "{} connections", taken.closed);
    assert_eq!(gaps(&taken.messages), [gap(1, "too_large")]);
    running.stop();
}

#[tokio::test]
async fn a_row_that_the_broker_does_not_bear_although_it_is_small_becomes_a_gap() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    scene.append(300);
    scene.note("first");
    scene.note("poison");
    scene.note("third");
    scene.append(300);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let refuses = |publish: &Publish| {
        publish.topic.contains("DDATA") && publish.payload.windows(6).any(|bytes| bytes == b"poison")
    };
    let done = |messages: &[Message]| has_counts(messages, 600) && texts(messages).contains(&"third".to_owned());
    let mut taken = serve(&broker, refuses, done).await;
    assert!((8..=24).contains(&taken.closed), "{} connections", taken.closed);
    assert_eq!(gaps(&taken.messages), [gap(2, "refused")]);
    goes_on(&mut scene, &running, &mut taken).await;
    running.stop();
}

#[tokio::test]
async fn a_broker_that_takes_births_and_no_rows_is_called_less_and_less_often() {
    let (broker, mut scene) = (Broker::new().await, Scene::new().await);
    scene.retry_longest = Duration::from_secs(2);
    scene.append(10);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    for connection in 0..60 {
        let mut client = broker.client().await;
        // From the fourth connection on the births have been read before anything else comes.
        while let Some(Packet::Publish(publish)) = client.packet().await
            && !publish.topic.contains("DATA")
        {}
        drop(client);
        running.until("the end of the connection", |now| now.state != TargetState::Online).await;
        if let TargetState::BackingOff { until } = running.status.snapshot().state
            && connection > 5
            && until.as_millis() - scene.time() > 300
        {
            return running.stop();
        }
    }
    panic!("it is called again at once for ever");
}

#[tokio::test]
async fn a_broker_that_takes_small_messages_alone_gets_all_rows_in_small_messages() {
    let (broker, mut scene) = (Broker::new().await, Scene::with_notes().await);
    scene.append(4_000);
    scene.committed().await;
    let running = scene.start(broker.port(), None).await;
    let taken = serve(&broker, |publish| publish.payload.len() > 3_000, |messages| has_counts(messages, 4_000)).await;
    assert!(taken.closed <= 24, "{} connections", taken.closed);
    assert_eq!((gaps(&taken.messages), running.status.snapshot().left_out), (Vec::new(), 0));
    running.stop();
}
