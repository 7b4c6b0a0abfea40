//! What other brokers do only at times.

use std::time::Duration;

use tidegate_config::{BridgeDirection, BridgeProtocol};
use tidegate_mqtt::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{PATIENCE, broker, client, next, online, options, route, start, subscribed, text, until};

/// Where brokers say what they are.
const VERSION: &str = "$SYS/broker/version";

/// The other broker byte by byte (MQTT 3.1.1), for what real ones do only at times.
struct Far(TcpStream);

impl Far {
    /// A connection of a bridge with one filter, to a broker that refuses those who log in as bridges.
    async fn accept(listener: &TcpListener, session_present: bool) -> Far {
        let (mut far, mut as_bridge) = Far::enters(listener).await;
        if as_bridge {
            far.0.write_all(&[0x20, 2, 0, 1]).await.unwrap();
            (far, as_bridge) = Far::enters(listener).await;
        }
        assert!(!as_bridge);
        far.let_in(session_present).await;
        far.grants("a").await;
        far
    }

    /// Somebody logs in; says whether as a bridge.
    async fn enters(listener: &TcpListener) -> (Far, bool) {
        let mut far = Far(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0);
        let connect = far.until(1).await;
        assert_eq!(connect[..6], *b"\0\x04MQTT");
        (far, connect[6] == 0x84)
    }

    async fn let_in(&mut self, session_present: bool) {
        self.0.write_all(&[0x20, 2, u8::from(session_present), 0]).await.unwrap();
    }

    /// The next subscription, which is to one filter; returns its packet id.
    async fn asked(&mut self, filter: &str) -> [u8; 2] {
        let subscribe = self.until(8).await;
        assert_eq!(text(&subscribe[4..subscribe.len() - 1]), filter);
        [subscribe[0], subscribe[1]]
    }

    /// Answers a subscription to one filter with a QoS, or with 128.
    async fn answers(&mut self, [high, low]: [u8; 2], code: u8) {
        self.0.write_all(&[0x90, 3, high, low, code]).await.unwrap();
    }

    /// Grants the next subscription, which is to one filter.
    async fn grants(&mut self, filter: &str) {
        let asked = self.asked(filter).await;
        self.answers(asked, 1).await;
    }

    /// Publishes the broker's name and version.
    async fn says_to_be(&mut self, name: &str) {
        let length = u8::try_from(2 + VERSION.len() + name.len()).unwrap();
        let head = [0x31, length, 0, u8::try_from(VERSION.len()).unwrap()];
        self.0.write_all(&[&head[..], VERSION.as_bytes(), name.as_bytes()].concat()).await.unwrap();
    }

    /// What follows the length of the next packet of a kind.
    async fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let first = timeout(PATIENCE, self.0.read_u8()).await.unwrap().unwrap();
            let length = self.0.read_u8().await.unwrap();
            assert!(length < 128, "the packets of these tests are short");
            let mut rest = vec![0; usize::from(length)];
            self.0.read_exact(&mut rest).await.unwrap();
            if first >> 4 == kind {
                return rest;
            }
        }
    }

    /// Publishes to "a" at QoS 1.
    async fn publish(&mut self, again: bool, packet_id: u16, payload: &str) {
        let length = u8::try_from(5 + payload.len()).unwrap();
        let mut packet = vec![0x32 | u8::from(again) << 3, length, 0, 1, b'a'];
        packet.extend(packet_id.to_be_bytes());
        packet.extend(payload.as_bytes());
        self.0.write_all(&packet).await.unwrap();
    }

    /// Acknowledges the next message to "a", and returns its payload.
    async fn acknowledge(&mut self) -> String {
        let publish = self.until(3).await;
        assert_eq!(publish[..3], [0, 1, b'a']);
        self.0.write_all(&[0x40, 2, publish[3], publish[4]]).await.unwrap();
        text(&publish[5..])
    }
}

#[tokio::test]
async fn what_was_sent_is_known_when_it_comes_back_after_a_reconnect() {
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let routes = vec![route(BridgeDirection::Both, "a", "", "")];
    let bridge = start(&options(listener.local_addr().unwrap(), BridgeProtocol::V4, routes), &local);
    let mut far = Far::accept(&listener, false).await;
    online(&bridge).await;
    let mut near = client(local.address(), "near", "a").await;
    for payload in ["open", "close"] {
        near.publish(Message::new("a", payload)).unwrap();
        assert_eq!(text(&next(&mut near).await.payload), payload);
        assert_eq!(far.acknowledge().await, payload);
    }
    far.publish(false, 1, "open").await;
    assert_eq!(far.until(4).await, [0, 1]);
    until(&bridge, |status, _| (status.acknowledged, status.looped) == (2, 1)).await;
    drop(far);
    let mut far = Far::accept(&listener, true).await;
    // The first because the broker did not hear that it came, the second because there was no time for it.
    far.publish(true, 1, "open").await;
    far.publish(false, 2, "close").await;
    far.publish(false, 3, "somebody else's").await;
    assert_eq!(text(&next(&mut near).await.payload), "somebody else's");
    until(&bridge, |status, _| status.looped == 3).await;
    bridge.stop().await;
}

#[tokio::test]
async fn a_bridge_is_not_online_before_its_subscriptions_are_answered() {
    for code in [1, 128] {
        let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let bridge = both_ways(&listener, &local);
        let (mut far, as_bridge) = Far::enters(&listener).await;
        assert!(as_bridge);
        far.let_in(false).await;
        let question = far.asked(VERSION).await;
        // The answer to this comes late: it is no answer to what the bridge asks for then.
        far.says_to_be("mosquitto version 2.0.11").await;
        let asked = far.asked("a").await;
        far.answers(question, 0).await;
        subscribed(&local, 1).await;
        far.publish(false, 1, "early").await;
        // All that was sent before has been read when this is acknowledged.
        assert_eq!(far.until(4).await, [0, 1]);
        assert_eq!(bridge.probe()().0.state, tidegate_bridge::BridgeState::Connecting);
        far.answers(asked, code).await;
        online(&bridge).await;
        bridge.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_the_subscriptions_is_called_again() {
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let bridge = both_ways(&listener, &local);
    let (mut far, _) = Far::enters(&listener).await;
    far.let_in(false).await;
    let question = far.asked(VERSION).await;
    far.says_to_be("mosquitto version 2.0.11").await;
    far.answers(question, 0).await;
    far.asked("a").await;
    subscribed(&local, 1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    Far::enters(&listener).await;
    let failed = |error: &str| error.contains("no answer to the subscriptions within 20 s");
    assert!(bridge.probe()().0.last_error.as_deref().is_some_and(failed), "{:?}", bridge.probe()().0);
    bridge.stop().await;
}

#[tokio::test]
async fn a_broker_that_does_not_wait_for_acknowledgements_loses_nothing() {
    const MESSAGES: u16 = 10_000;
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let routes = vec![route(BridgeDirection::In, "a", "", "")];
    let bridge = start(&options(listener.local_addr().unwrap(), BridgeProtocol::V4, routes), &local);
    let Far(stream) = Far::accept(&listener, false).await;
    let (mut answers, mut far) = stream.into_split();
    let mut near = client(local.address(), "near", "a").await;
    tokio::join!(
        async {
            for id in 1..=MESSAGES {
                let [high, low] = id.to_be_bytes();
                far.write_all(&[0x32, 6, 0, 1, b'a', high, low, b'x']).await.unwrap();
            }
        },
        async {
            for id in 1..=MESSAGES {
                let mut answer = [0; 4];
                timeout(PATIENCE, answers.read_exact(&mut answer)).await.unwrap().unwrap();
                assert_eq!(answer, [0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
            }
        },
        async {
            for _ in 1..=MESSAGES {
                next(&mut near).await;
            }
        }
    );
    until(&bridge, |status, _| (status.received, status.dropped) == (u64::from(MESSAGES), 0)).await;
    bridge.stop().await;
}

/// A bridge of both ways to this broker.
fn both_ways(listener: &TcpListener, local: &tidegate_broker::Broker) -> tidegate_bridge::Bridge {
    let routes = vec![route(BridgeDirection::Both, "a", "", "")];
    start(&options(listener.local_addr().unwrap(), BridgeProtocol::V4, routes), local)
}

#[tokio::test]
async fn a_broker_that_says_to_be_mosquitto_is_believed_to_send_nothing_back() {
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let bridge = both_ways(&listener, &local);
    let (mut far, as_bridge) = Far::enters(&listener).await;
    assert!(as_bridge);
    far.let_in(true).await;
    // From the session that it has kept.
    far.publish(false, 1, "early").await;
    far.grants(VERSION).await;
    far.says_to_be("mosquitto version 2.0.11").await;
    let mut near = client(local.address(), "near", "a").await;
    far.grants("a").await;
    subscribed(&local, 2).await;
    assert_eq!(far.until(4).await, [0, 1]);
    near.publish(Message::new("a", "open")).unwrap();
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "open") {
        found.push(text(&next(&mut near).await.payload));
    }
    assert_eq!(far.acknowledge().await, "open");
    far.publish(false, 2, "open").await;
    assert_eq!(text(&next(&mut near).await.payload), "open", "it is the other side's own");
    until(&bridge, |status, _| (status.received, status.looped) == (2, 0)).await;
    bridge.stop().await;
}

#[tokio::test]
async fn a_broker_that_takes_a_bridge_and_does_not_say_what_it_is_gets_a_client_like_others() {
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let bridge = both_ways(&listener, &local);
    let (mut far, as_bridge) = Far::enters(&listener).await;
    assert!(as_bridge);
    far.let_in(false).await;
    far.grants(VERSION).await;
    far.until(12).await;
    far.0.write_all(&[0xD0, 0]).await.unwrap();
    // What it had subscribed to is not left behind in the session.
    far.until(10).await;
    far.until(14).await;
    let mut far = Far::accept(&listener, false).await;
    subscribed(&local, 1).await;
    let mut near = client(local.address(), "near", "a").await;
    near.publish(Message::new("a", "open")).unwrap();
    assert_eq!(text(&next(&mut near).await.payload), "open");
    assert_eq!(far.acknowledge().await, "open");
    far.publish(false, 1, "open").await;
    until(&bridge, |status, _| (status.received, status.looped) == (1, 1)).await;
    bridge.stop().await;
}

/// Where a connection of a bridge ends that has no answer.
#[derive(Clone, Copy)]
enum Cut {
    Login,
    Question,
}

/// A login as a bridge that ends without an answer, and one like any other client that is let in and lost after a while.
async fn trouble(listener: &TcpListener, cut: Cut) {
    let (mut far, as_bridge) = Far::enters(listener).await;
    assert!(as_bridge);
    if let Cut::Question = cut {
        far.let_in(false).await;
        far.until(8).await;
    }
    drop(far);
    let (mut far, as_bridge) = Far::enters(listener).await;
    assert!(!as_bridge);
    far.let_in(false).await;
    far.grants("a").await;
}

#[tokio::test]
async fn a_broker_that_closes_the_connection_over_a_bridge_or_the_question_is_not_asked_for_ever() {
    for cut in [Cut::Login, Cut::Question] {
        let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let bridge = both_ways(&listener, &local);
        for _ in 0..3 {
            trouble(&listener, cut).await;
        }
        let (mut far, as_bridge) = Far::enters(&listener).await;
        assert!(!as_bridge);
        far.let_in(false).await;
        far.grants("a").await;
        until(&bridge, |status, _| status.state == tidegate_bridge::BridgeState::Online).await;
        bridge.stop().await;
    }
}

#[tokio::test]
async fn a_bridge_that_was_lost_while_it_logged_in_logs_in_as_one_the_next_time() {
    let (local, listener) = (broker().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let bridge = both_ways(&listener, &local);
    for _ in 0..2 {
        trouble(&listener, Cut::Login).await;
        trouble(&listener, Cut::Question).await;
        // The network is well again.
        let (mut far, as_bridge) = Far::enters(&listener).await;
        assert!(as_bridge);
        far.let_in(false).await;
        far.grants(VERSION).await;
        far.says_to_be("mosquitto version 2.0.11").await;
        far.grants("a").await;
    }
    bridge.stop().await;
}
