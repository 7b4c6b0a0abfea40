//! What other brokers do only at times.

use tidegate_config::{BridgeDirection, BridgeProtocol};
use tidegate_mqtt::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{PATIENCE, broker, client, next, online, options, route, start, text, until};

/// The other broker byte by byte (MQTT 3.1.1), for what real ones do only at times.
struct Far(TcpStream);

impl Far {
    /// A connection of a bridge with one filter.
    async fn accept(listener: &TcpListener, session_present: bool) -> Far {
        let mut far = Far(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0);
        far.until(1).await;
        far.0.write_all(&[0x20, 2, u8::from(session_present), 0]).await.unwrap();
        let subscribe = far.until(8).await;
        far.0.write_all(&[0x90, 3, subscribe[0], subscribe[1], 1]).await.unwrap();
        far
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
