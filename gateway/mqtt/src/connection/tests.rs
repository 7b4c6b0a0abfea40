//! A connection over bytes in memory, with a clock that is played.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, timeout},
};

use super::*;
use crate::{FailureKind, Outcome, Protocol, Refusal, Session, Words};

const WORDS: Words =
    Words { us: "the test", address: "url", ca: "ca", client_certificate: "certificate", client_id: "id" };
const SECOND: Duration = Duration::from_secs(1);

fn options(protocol: Protocol) -> ConnectOptions {
    ConnectOptions { protocol, keep_alive: 10 * SECOND, ..ConnectOptions::new("cloud", 1883, "line3", WORDS) }
}

/// A connection whose login got this answer, and the broker's end of it.
async fn connected(options: ConnectOptions, answer: &[u8]) -> (Result<Connection, Failure>, DuplexStream) {
    let (here, mut there) = tokio::io::duplex(1 << 20);
    there.write_all(answer).await.unwrap();
    let peer = Arc::new(Peer::new(&options));
    let connection = Connection::log_in(Link::new(Box::new(here)), Arc::new(options), peer).await;
    there.read_buf(&mut Vec::with_capacity(1024)).await.unwrap();
    (connection, there)
}

async fn v311() -> (Connection, DuplexStream) {
    let (connection, there) = connected(options(Protocol::V311), &[0x20, 2, 0, 0]).await;
    (connection.unwrap(), there)
}

/// What the connection sends until nothing more comes.
async fn sent(connection: &mut Connection, there: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            biased;
            event = connection.next() => panic!("{event:?}"),
            read = timeout(SECOND / 100, there.read_buf(&mut bytes)) => if read.is_err() { return bytes },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_has_an_outcome_of_its_own_in_any_order() {
    let (mut connection, mut there) = connected(options(Protocol::V5), &[0x20, 3, 0, 0, 0]).await;
    let connection = connection.as_mut().unwrap();
    for id in 0..3 {
        assert_eq!(connection.publish(Message::new("a", "1")), Ok(Some(PublishId(id))));
    }
    assert_eq!(connection.publish(Message::new("a", "2").unacknowledged()), Ok(None));
    assert_eq!(connection.in_flight(), 3);
    // The third, the first with nobody who listens, the second refused.
    there.write_all(&[0x40, 2, 0, 3, 0x40, 3, 0, 1, 0x10, 0x40, 3, 0, 2, 0x97]).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(connection.next().await.unwrap());
    }
    assert_eq!(
        events,
        [
            Event::Published(PublishId(2), Outcome::Acknowledged { nobody: false }),
            Event::Published(PublishId(0), Outcome::Acknowledged { nobody: true }),
            Event::Published(PublishId(1), Outcome::Refused(Refusal::Quota)),
        ]
    );
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_ends_the_connection_after_those_before_it() {
    let (mut connection, mut there) = v311().await;
    connection.publish(Message::new("a", "1")).unwrap();
    there.write_all(&[0x40, 2, 0, 1, 0x40, 2, 0, 1]).await.unwrap();
    assert!(matches!(connection.next().await, Ok(Event::Published(PublishId(0), _))));
    let failure = connection.next().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Protocol);
    assert!(
        failure.text.contains("acknowledged message 1, which was not sent or had been acknowledged before"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_of_a_connection_counts() {
    let (mut connection, mut there) = v311().await;
    connection.publish(Message::new("a", "1")).unwrap();
    connection.publish(Message::new("a", "2")).unwrap();
    // The second acknowledgement is cut in its middle.
    there.write_all(&[0x40, 2, 0, 1, 0x40, 2, 0]).await.unwrap();
    drop(there);
    assert!(matches!(connection.next().await, Ok(Event::Published(PublishId(0), _))));
    assert_eq!(connection.next().await.unwrap_err().kind, FailureKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_grants_is_held() {
    // Receive maximum 2, maximum packet size 40, no retained messages.
    let answer = [0x20, 13, 0, 0, 10, 33, 0, 2, 39, 0, 0, 0, 40, 37, 0];
    let (connection, _there) = connected(options(Protocol::V5), &answer).await;
    let mut connection = connection.unwrap();
    assert_eq!(connection.publish(Message::new("a", "1").retained()), Err(Refused::Retain));
    let large = connection.publish(Message::new("a", vec![0; 100]));
    assert_eq!(large, Err(Refused::TooLarge { bytes: 108, most: 40 }));
    for topic in ["", "a/+", "a\0b"] {
        assert_eq!(connection.publish(Message::new(topic, "1")), Err(Refused::Malformed), "{topic:?}");
    }
    assert_eq!((connection.room(), connection.in_flight()), (2, 0), "nothing of it was sent");
    connection.publish(Message::new("a", "1")).unwrap();
    connection.publish(Message::new("a", "2")).unwrap();
    assert_eq!(connection.publish(Message::new("a", "3")), Err(Refused::NoRoom));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_pinged_and_given_up_when_nothing_answers() {
    let (mut connection, mut there) = v311().await;
    let start = Instant::now();
    let (failure, pings) = tokio::join!(
        async {
            let pong = connection.next().await.unwrap();
            assert_eq!(pong, Event::Pong(start + 10 * SECOND));
            connection.next().await.unwrap_err()
        },
        async {
            let mut ping = [0; 2];
            there.read_exact(&mut ping).await.unwrap();
            assert_eq!(ping, [0xC0, 0]);
            there.write_all(&[0xD0, 0]).await.unwrap();
            there.read_exact(&mut ping).await.unwrap();
            ping
        }
    );
    assert_eq!(pings, [0xC0, 0]);
    assert_eq!((failure.kind, start.elapsed()), (FailureKind::Silent, 30 * SECOND));
    assert!(failure.text.ends_with("no longer answers to pings"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nothing_is_given_up() {
    let options = ConnectOptions { patience: 7 * SECOND, ..options(Protocol::V311) };
    let (mut connection, there) = connected(options, &[0x20, 2, 0, 0]).await;
    let connection = connection.as_mut().unwrap();
    let start = Instant::now();
    // More than the bytes in memory hold.
    connection.publish(Message::new("a", vec![0; 2 << 20])).unwrap();
    let failure = connection.next().await.unwrap_err();
    assert_eq!((failure.kind, start.elapsed()), (FailureKind::Silent, 7 * SECOND));
    assert!(failure.text.ends_with("no longer takes what is sent"), "{failure}");
    drop(there);
}

#[tokio::test(start_paused = true)]
async fn messages_come_and_are_acknowledged_when_it_is_said() {
    let (mut connection, mut there) = v311().await;
    let id = connection.subscribe(&[Filter::new("a/#", QoS::AtLeastOnce), Filter::new("b", QoS::AtMostOnce)]).unwrap();
    assert_eq!(sent(&mut connection, &mut there).await, b"\x82\x0c\0\x01\0\x03a/#\x01\0\x01b\0");
    there.write_all(&[0x90, 4, 0, 1, 1, 0x80]).await.unwrap();
    let answers = vec![Ok(QoS::AtLeastOnce), Err(Refusal::Unspecified)];
    assert_eq!(connection.next().await.unwrap(), Event::Subscribed(id, answers));
    there.write_all(b"\x33\x08\0\x03a/x\x12\x34y").await.unwrap();
    let Event::Message(message) = connection.next().await.unwrap() else { panic!("a message") };
    assert_eq!((&message.topic[..], &message.payload[..], message.packet_id), (&b"a/x"[..], &b"y"[..], 0x1234));
    assert!(message.retain && message.qos == QoS::AtLeastOnce);
    assert_eq!(sent(&mut connection, &mut there).await, b"", "not by itself");
    connection.acknowledge(message.packet_id);
    assert_eq!(sent(&mut connection, &mut there).await, [0x40, 2, 0x12, 0x34]);
}

#[tokio::test(start_paused = true)]
async fn properties_and_shared_subscriptions_of_version_5_travel() {
    let session = Session::Kept(Duration::from_secs(3600));
    let (connection, mut there) =
        connected(ConnectOptions { session, ..options(Protocol::V5) }, &[0x20, 3, 1, 0, 0]).await;
    let mut connection = connection.unwrap();
    assert!(connection.granted().session_present);
    connection.subscribe(&[Filter::new("$share/g/a", QoS::AtLeastOnce)]).unwrap();
    let mut message = Message::new("a", Bytes::from_static(b"p"));
    message.properties = Some(Box::new(crate::Properties {
        content_type: Some("t".to_owned()),
        user: vec![("k".to_owned(), "v".to_owned())],
        ..crate::Properties::default()
    }));
    connection.publish(message.clone()).unwrap();
    let bytes = sent(&mut connection, &mut there).await;
    assert!(bytes.windows(10).any(|part| part == b"$share/g/a"));
    // The message comes back as it went.
    let at = bytes.iter().position(|byte| *byte == 0x32).unwrap();
    there.write_all(&bytes[at..]).await.unwrap();
    let Event::Message(came) = connection.next().await.unwrap() else { panic!("a message") };
    assert_eq!(came.properties, message.properties);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_of_the_broker_is_told_with_its_reason() {
    let (connection, mut there) = connected(options(Protocol::V5), &[0x20, 3, 0, 0, 0]).await;
    there.write_all(&[0xE0, 1, 0x8E]).await.unwrap();
    let failure = connection.unwrap().next().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TakenOver);
    assert!(failure.text.contains("another client has logged in at cloud:1883 with the id \"line3\""), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_broker_is_told_as_that() {
    for (answer, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], FailureKind::Protocol),
        (&[0x20, 2, 0, 4], FailureKind::Refused),
        (&[0x20, 2, 0, 3], FailureKind::Unreachable),
        (&[0xD0, 0], FailureKind::Protocol),
    ] {
        let (here, mut there) = tokio::io::duplex(1024);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let options = options(Protocol::V311);
        let peer = Arc::new(Peer::new(&options));
        let failure = Connection::log_in(Link::new(Box::new(here)), Arc::new(options), peer).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_farewell_comes_after_what_was_handed_over() {
    let (mut connection, mut there) = v311().await;
    connection.publish(Message::new("a", "1")).unwrap();
    connection.disconnect(SECOND).await;
    let mut bytes = Vec::new();
    there.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"\x32\x06\0\x01a\0\x011\xe0\0");
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_is_cut_inside_itself_ends_the_connection_at_once() {
    // A subscription's answer whose properties are longer than it; a message whose topic is.
    for packet in [&[0x90, 4, 0, 1, 9, 0][..], &[0x30, 3, 0, 9, 0]] {
        let (connection, mut there) = connected(options(Protocol::V5), &[0x20, 3, 0, 0, 0]).await;
        there.write_all(packet).await.unwrap();
        let start = Instant::now();
        let failure = connection.unwrap().next().await.unwrap_err();
        assert_eq!((failure.kind, start.elapsed()), (FailureKind::Protocol, Duration::ZERO), "{failure}");
    }
}
