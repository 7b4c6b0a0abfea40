//! Commands: checked, before polls, at most once, in order, and never called failed when it is not known.

use std::time::{Duration, Instant};

use rumqttc::QoS;
use serde_json::{Value as Json, json};
use tidegate_driver_api::{Cause, model::Reason};
use tidegate_runtime::CommandError;

use crate::{
    observer::{Message, is_good},
    plant::{AT_ONCE, Deed, Door, LONG, Mood, Plant, connect, read, until, write},
    rig::{METER, PATIENT, QUICK, Rig, link, only_error, setpoint},
};

const SET: &str = "tidegate/line3/a/set";

async fn meter(keys: &str) -> Rig {
    let rig = Rig::start(&link("press", keys, &["a", "b"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.seen.row("b", "fast", is_good).await;
    rig
}

/// Waits until a poll of the device waits at its closed gate, before its first request has been answered.
async fn first_request(rig: &Rig, device: &str) {
    until("a poll that waits", || at_first_request(rig, device).then_some(()), || format!("{:?}", rig.plant.log()))
        .await;
}

fn at_first_request(rig: &Rig, device: &str) -> bool {
    let log = rig.plant.log();
    let last = log.last().map(|entry| entry.deed.clone());
    last == Some(Deed::Read { device: device.to_owned(), tag: "level".to_owned() })
}

#[tokio::test]
async fn a_write_goes_before_the_next_request_of_a_poll_that_is_under_way() {
    let plant = Plant::default();
    let gate = plant.close_gate("a");
    let rig = Rig::start_with(&link("press", PATIENT, &["a"]), METER, plant, false).await;
    first_request(&rig, "a").await;
    let handle = rig.handle();
    let values = setpoint(42.0);
    let written = handle.write("a", &values, None);
    let release = async {
        // The command is in the queue once it has been looked at for the first time.
        tokio::task::yield_now().await;
        gate.add_permits(2);
    };
    assert_eq!(tokio::join!(written, release).0.unwrap(), []);
    rig.seen.row("a", "fast", |row| row["values"]["setpoint"] == 42.0).await;
    let order: Vec<Deed> = rig.plant.log().into_iter().map(|entry| entry.deed).skip(1).take(3).collect();
    let read = |tag: &str| Deed::Read { device: "a".to_owned(), tag: tag.to_owned() };
    let write = Deed::Write { device: "a".to_owned(), tag: "setpoint".to_owned(), value: 42.0 };
    assert_eq!(order, [read("level"), write, read("setpoint")]);
}

#[tokio::test]
async fn what_the_device_says_about_a_write_is_the_answer() {
    let rig = meter(QUICK).await;
    assert_eq!(rig.write("a", 42.0).await.unwrap(), []);
    rig.plant.set_tag_mood("a", "setpoint", Mood::Fault(Reason::DeviceFault));
    let refused = only_error(rig.write("a", 43.0).await).to_string();
    assert_eq!(refused, "refused by the device: a says device_fault");
    rig.plant.set_tag_mood("a", "setpoint", Mood::Vague);
    let vague = only_error(rig.write("a", 44.0).await).to_string();
    assert!(vague.starts_with("unknown: the concentrator did not hear from it; the device may have"), "{vague}");
    assert_eq!(rig.plant.count(connect("press")), 1, "the session goes on");
    let status = rig.link("press");
    assert_eq!((status.writes, status.failed_writes), (3, 2));
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_unknown_and_sent_once() {
    let rig = meter(QUICK).await;
    for (count, mood) in (1..).zip([Mood::Silent, Mood::Lost(Cause::Closed), Mood::Lost(Cause::Mismatch)]) {
        rig.plant.set_tag_mood("a", "reset", mood);
        let error = only_error(rig.reset("a").await).to_string();
        assert!(error.starts_with("unknown: a ") && error.contains("may have taken"), "{error}");
        assert_eq!(rig.plant.count(write("a")), count);
        // A poll that is answered, so that the next failure is the first again.
        let polls = rig.device("a").polls;
        until("a poll", || (rig.device("a").polls > polls + 1).then_some(()), || "none".to_owned()).await;
    }
    assert_eq!(rig.device("a").failed_polls, 0);
    assert!(rig.seen.rows("a", "fast").iter().all(is_good));
}

#[tokio::test]
async fn a_write_that_loses_the_session_does_not_hurt_the_device_that_is_being_polled() {
    let rig = meter(PATIENT).await;
    let gate = rig.plant.close_gate("a");
    first_request(&rig, "a").await;
    rig.plant.set_tag_mood("b", "reset", Mood::Lost(Cause::Closed));
    let rows = rig.seen.rows("a", "fast").len();
    let release = async {
        // The command is in the queue once it has been looked at for the first time.
        tokio::task::yield_now().await;
        gate.add_permits(1_000_000);
    };
    let (written, ()) = tokio::join!(rig.reset("b"), release);
    assert!(only_error(written).to_string().starts_with("unknown: b "));
    rig.seen.wait_for("rows of a", |seen| (seen.rows("a", "fast").len() > rows + 3).then_some(())).await;
    assert!(rig.seen.rows("a", "fast").iter().all(is_good), "{:?}", rig.seen.rows("a", "fast"));
    assert_eq!((rig.device("a").failed_polls, rig.plant.count(connect("press"))), (0, 2));
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_answered_then_and_never_sent() {
    let rig = meter("timeout = \"60s\"").await;
    let gate = rig.plant.close_gate("a");
    first_request(&rig, "a").await;
    let began = Instant::now();
    let error = only_error(rig.handle().write("a", &setpoint(9.0), Some(Duration::from_millis(50))).await);
    assert_eq!(error.to_string(), "not sent: its time to live was over");
    assert!(began.elapsed() < AT_ONCE, "the link is still waiting for its answer");
    gate.add_permits(1_000_000);
    assert_eq!(rig.write("a", 10.0).await.unwrap(), []);
    assert_eq!(rig.plant.written("a"), [("setpoint".to_owned(), 10.0)]);
}

#[tokio::test]
async fn a_queue_that_is_full_is_answered_busy_and_what_is_in_it_is_sent_in_order() {
    let rig = meter(PATIENT).await;
    let gate = rig.plant.close_gate("a");
    first_request(&rig, "a").await;
    let mut waiting = Vec::new();
    let mut values = 0..;
    let busy = loop {
        let (handle, value) = (rig.handle(), f64::from(values.next().unwrap()));
        let mut write = Box::pin(async move { handle.write("a", &setpoint(value), None).await });
        match futures_util::poll!(&mut write) {
            std::task::Poll::Pending => waiting.push(write),
            std::task::Poll::Ready(answer) => break answer,
        }
    };
    assert!(matches!(busy, Err(CommandError::Busy(_))), "{busy:?}");
    assert_eq!(waiting.len(), 64);
    gate.add_permits(1_000_000);
    for write in waiting {
        assert_eq!(write.await.unwrap(), []);
    }
    let written: Vec<f64> = rig.plant.written("a").into_iter().map(|(_, value)| value).collect();
    assert_eq!(written, (0..64).map(f64::from).collect::<Vec<_>>());
    // Many orders between two requests do not keep the poll from going on.
    let deeds: Vec<Deed> = rig.plant.log().into_iter().map(|entry| entry.deed).collect();
    let first = deeds.iter().position(write("a")).unwrap();
    assert_eq!(deeds[first..].iter().take_while(|deed| write("a")(deed)).count(), 8);
    assert_eq!(deeds[first + 8], Deed::Read { device: "a".to_owned(), tag: "setpoint".to_owned() });
}

#[tokio::test]
async fn a_write_to_a_device_that_is_left_alone_is_not_sent() {
    let rig = meter("timeout = \"40ms\"\nretry = { first = \"60s\", longest = \"60s\" }").await;
    rig.plant.set_mood("a", Mood::Silent);
    rig.seen.state("a", "offline").await;
    let error = only_error(rig.write("a", 5.0).await).to_string();
    assert_eq!(error, "not sent: the device does not answer and is left alone until its next try");
    assert_eq!(rig.plant.written("a"), []);
    assert_eq!(rig.write("b", 5.0).await.unwrap(), []);
}

#[tokio::test]
async fn a_write_while_the_link_is_being_connected_is_sent_when_it_is_or_refused_when_its_time_is_over() {
    let plant = Plant::default();
    plant.set_door("press", Door::Stuck);
    let rig = Rig::start_with(&link("press", "connect_timeout = \"60s\"", &["a"]), METER, plant, false).await;
    rig.plant.wait_for(1, connect("press")).await;
    let (began, handle) = (Instant::now(), rig.handle());
    let error = only_error(handle.write("a", &setpoint(1.0), Some(Duration::from_millis(20))).await).to_string();
    assert_eq!(error, "not sent: its time to live was over");
    assert!(began.elapsed() < AT_ONCE, "the link is still being connected");
    let values = setpoint(2.0);
    let open = async {
        // The command is in the queue once it has been looked at for the first time.
        tokio::task::yield_now().await;
        rig.plant.set_door("press", Door::Open);
    };
    let (written, ()) = tokio::join!(handle.write("a", &values, None), open);
    assert_eq!(written.unwrap(), []);
    assert_eq!(rig.plant.written("a"), [("setpoint".to_owned(), 2.0)]);
    assert_eq!(rig.plant.count(connect("press")), 1);
}

/// Sends a command over MQTT.
async fn send(rig: &Rig, topic: &str, payload: &str) {
    rig.seen.client.publish(topic, QoS::AtLeastOnce, false, payload.as_bytes()).await.unwrap();
}

/// The first reply that is as wanted.
async fn reply(rig: &Rig, topic: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let topic = format!("{topic}/reply");
    rig.seen.wait_for("the reply", |seen| seen.on(&topic).iter().map(Message::json).find(|reply| wanted(reply))).await
}

#[tokio::test]
async fn a_command_over_mqtt_is_carried_out_and_answered() {
    let rig = meter(QUICK).await;
    send(&rig, SET, r#"{"id":"42","values":{"setpoint":42.0},"ttl":"10s"}"#).await;
    assert_eq!(reply(&rig, SET, |reply| reply["id"] == "42").await, json!({ "id": "42", "ok": true }));
    send(&rig, SET, r#"{"id":43,"values":{"setpoint":420.0,"level":1,"depth":1}}"#).await;
    let errors = reply(&rig, SET, |reply| reply["id"] == 43).await;
    let expected = json!({ "setpoint": "above maximum 100", "level": "not writable", "depth": "unknown tag" });
    assert_eq!(errors, json!({ "id": 43, "ok": false, "errors": expected }));
    assert_eq!(rig.plant.written("a"), [("setpoint".to_owned(), 42.0)]);
}

#[tokio::test]
async fn a_command_that_cannot_be_read_or_is_for_nobody_gets_a_reply_too() {
    let rig = meter(QUICK).await;
    send(&rig, SET, "{\"id\":").await;
    let why = reply(&rig, SET, |reply| reply["id"].is_null()).await;
    assert!(why["ok"] == false && why["error"].as_str().unwrap().contains("no JSON"), "{why}");
    send(&rig, SET, r#"{"id":"1","values":{"setpoint":1},"ttl":"soon"}"#).await;
    let why = reply(&rig, SET, |reply| reply["id"] == "1").await;
    assert!(why["error"].as_str().unwrap().contains("`ttl`"), "{why}");
    let nobody = "tidegate/line3/nobody/set";
    send(&rig, nobody, r#"{"id":"2","values":{"setpoint":1}}"#).await;
    let why = reply(&rig, nobody, |reply| reply["id"] == "2").await;
    assert!(why["error"].as_str().unwrap().contains("there is no device \"nobody\""), "{why}");
    assert_eq!(rig.plant.count(write("a")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_over_mqtt_reach_a_device_in_the_order_in_which_they_came() {
    let rig = meter(QUICK).await;
    for value in 0..50 {
        send(&rig, SET, &format!("{{\"id\":{value},\"values\":{{\"setpoint\":{value}}}}}")).await;
    }
    reply(&rig, SET, |reply| reply["id"] == 49).await;
    let written: Vec<f64> = rig.plant.written("a").into_iter().map(|(_, value)| value).collect();
    assert_eq!(written, (0..50).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_link_that_lets_commands_wait_does_not_hold_up_those_of_another() {
    let site = link("press", PATIENT, &["a"]) + &link("oven", QUICK, &["b"]);
    let rig = Rig::start(&site).await;
    rig.seen.row("a", "fast", is_good).await;
    let gate = rig.plant.close_gate("a");
    first_request_of(&rig, "a").await;
    for id in 0..80 {
        send(&rig, SET, &format!("{{\"id\":{id},\"values\":{{\"setpoint\":1}},\"ttl\":\"1h\"}}")).await;
    }
    let other = "tidegate/line3/b/set";
    send(&rig, other, r#"{"id":"b","values":{"setpoint":2}}"#).await;
    assert_eq!(reply(&rig, other, |reply| reply["id"] == "b").await["ok"], true);
    let busy = reply(&rig, SET, |reply| reply["ok"] == false).await;
    assert!(busy["error"].as_str().unwrap().contains("too many commands"), "{busy}");
    gate.add_permits(1_000_000);
    reply(&rig, SET, |reply| reply["id"] == 0 && reply["ok"] == true).await;
}

/// Waits until a poll of a device has begun after now, while others go on.
async fn first_request_of(rig: &Rig, device: &str) {
    let reads = rig.plant.count(read(device));
    rig.plant.wait_for(reads + 1, read(device)).await;
}

#[tokio::test]
async fn the_response_topic_and_correlation_data_of_mqtt_5_are_honoured() {
    use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions, mqttbytes::QoS, mqttbytes::v5::PublishProperties};
    let rig = meter(QUICK).await;
    let options = MqttOptions::new("scada", "127.0.0.1", rig.broker.address().port());
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("answers/here", QoS::AtLeastOnce).await.unwrap();
    let properties = PublishProperties {
        response_topic: Some("answers/here".to_owned()),
        correlation_data: Some("order 7".into()),
        ..PublishProperties::default()
    };
    let payload = r#"{"id":"7","values":{"setpoint":7}}"#;
    let answer = async {
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Incoming::SubAck(_)) => {
                    let sent =
                        client.publish_with_properties(SET, QoS::AtLeastOnce, false, payload, properties.clone());
                    sent.await.unwrap();
                }
                Event::Incoming(Incoming::Publish(publish)) => break publish,
                _ => {}
            }
        }
    };
    let answer = tokio::time::timeout(LONG, answer).await.unwrap();
    assert_eq!(answer.properties.unwrap().correlation_data, Some("order 7".into()));
    assert_eq!(serde_json::from_slice::<Json>(&answer.payload).unwrap(), json!({ "id": "7", "ok": true }));
    assert!(rig.seen.on(&format!("{SET}/reply")).is_empty());
}
