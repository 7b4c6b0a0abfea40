//! Two brokers and a bridge between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{net::SocketAddr, path::Path, time::Duration};

use tidegate_bridge::Bridge;
use tidegate_broker::{Broker, Waiting};
use tidegate_config::{self as config, BridgeDirection, BridgeProtocol, BridgeRoute, BrokerPersistence, ByteSize};
use tidegate_mqtt::{ConnectOptions, Connection, Connector, Event, Filter, Message, Properties, Protocol, QoS, Words};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a message that goes in circles to come again.
const QUIET: Duration = Duration::from_millis(500);
const WORDS: Words = Words { us: "the test", address: "", ca: "", client_certificate: "", client_id: "" };

fn route(direction: BridgeDirection, filter: &str, local: &str, remote: &str) -> BridgeRoute {
    BridgeRoute {
        direction,
        filter: filter.to_owned(),
        local_prefix: local.to_owned(),
        remote_prefix: remote.to_owned(),
        qos: 1,
        retain: true,
    }
}

fn options(remote: SocketAddr, protocol: BridgeProtocol, routes: Vec<BridgeRoute>) -> config::Bridge {
    config::Bridge {
        name: "plant".parse().unwrap(),
        host: remote.ip().to_string(),
        port: remote.port(),
        tls: None,
        protocol,
        client_id: None,
        login: None,
        routes,
        keep_alive: Duration::from_secs(30),
        in_flight: 20,
        retry_longest: Duration::from_secs(1),
        durable: false,
        max_queue: ByteSize(1 << 20),
    }
}

fn start(options: &config::Bridge, local: &Broker) -> Bridge {
    let insider = local.let_in(options.name.as_str(), options.max_queue.0);
    Bridge::start(options, &"line3".parse().unwrap(), insider).unwrap()
}

async fn on(address: SocketAddr) -> Broker {
    Broker::start(&config::Broker::on(address)).await.unwrap()
}

async fn broker() -> Broker {
    Broker::start(&config::Broker::on_loopback()).await.unwrap()
}

async fn kept(folder: &Path) -> Broker {
    let persistence = BrokerPersistence { commit: Duration::from_millis(10), ..BrokerPersistence::default() };
    let options = config::Broker { persistence: Some(persistence), ..config::Broker::on_loopback() };
    Broker::start_in(&options, folder).await.unwrap()
}

async fn until(bridge: &Bridge, what: impl Fn(&tidegate_bridge::BridgeStatus, Waiting) -> bool) {
    let (ask, deadline) = (bridge.probe(), Instant::now() + PATIENCE);
    loop {
        let (status, waiting) = ask();
        if what(&status, waiting) {
            return;
        }
        assert!(Instant::now() < deadline, "{status:?} {waiting:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn online(bridge: &Bridge) {
    until(bridge, |status, _| status.state == tidegate_bridge::BridgeState::Online).await;
    // The subscriptions follow the connection at once.
    sleep(Duration::from_millis(100)).await;
}

/// A client with one subscription.
async fn client(broker: SocketAddr, id: &str, filter: &str) -> Connection {
    let mut options = ConnectOptions::new(broker.ip().to_string(), broker.port(), id, WORDS);
    options.protocol = Protocol::V5;
    let mut connection = Connector::new(options).unwrap().connect().await.unwrap();
    connection.subscribe(&[Filter { as_published: true, ..Filter::new(filter, QoS::AtLeastOnce) }]).unwrap();
    while !matches!(timeout(PATIENCE, connection.next()).await.unwrap().unwrap(), Event::Subscribed(..)) {}
    connection
}

async fn next(client: &mut Connection) -> Message {
    loop {
        if let Event::Message(message) = timeout(PATIENCE, client.next()).await.expect("a message").unwrap() {
            if message.packet_id != 0 {
                client.acknowledge(message.packet_id);
            }
            return message;
        }
    }
}

/// The next message of a client while another one sends what it has published.
async fn next_while(client: &mut Connection, other: &mut Connection) -> Message {
    tokio::select! {
        found = next(client) => found,
        () = async { while other.next().await.is_ok() {} } => panic!("the other client has lost its connection"),
    }
}

async fn quiet(client: &mut Connection) {
    let silence = async {
        loop {
            if let Event::Message(message) = client.next().await.unwrap() {
                panic!("{message:?}");
            }
        }
    };
    assert!(timeout(QUIET, silence).await.is_err());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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

#[tokio::test]
async fn messages_cross_both_ways_under_other_topics_with_what_belongs_to_them() {
    for protocol in [BridgeProtocol::V5, BridgeProtocol::V4] {
        let (local, remote) = (broker().await, broker().await);
        let routes = vec![
            route(BridgeDirection::Out, "line3/#", "tidegate/", "plant/hall2/"),
            route(BridgeDirection::In, "orders/#", "", "plant/"),
        ];
        let bridge = start(&options(remote.address(), protocol, routes), &local);
        online(&bridge).await;
        let mut far = client(remote.address(), "far", "plant/hall2/#").await;
        let mut near = client(local.address(), "near", "orders/#").await;
        let properties = Properties { content_type: Some("text".to_owned()), ..Properties::default() };
        let message = Message::new("tidegate/line3/é", "hello").retained();
        near.publish(Message { properties: Some(Box::new(properties)), ..message }).unwrap();
        let found = next_while(&mut far, &mut near).await;
        assert_eq!((text(&found.topic), text(&found.payload)), ("plant/hall2/line3/é".to_owned(), "hello".to_owned()));
        assert_eq!((found.qos, found.retain), (QoS::AtLeastOnce, true), "{protocol:?}");
        let content = found.properties.and_then(|properties| properties.content_type);
        assert_eq!(content, (protocol == BridgeProtocol::V5).then(|| "text".to_owned()));
        far.publish(Message::new("plant/orders/1", "42").unacknowledged()).unwrap();
        let found = next_while(&mut near, &mut far).await;
        assert_eq!((text(&found.topic), found.qos), ("orders/1".to_owned(), QoS::AtMostOnce));
        until(&bridge, |status, _| (status.sent, status.acknowledged, status.received) == (1, 1, 1)).await;
        bridge.stop().await;
        local.stop().await;
        remote.stop().await;
    }
}

#[tokio::test]
async fn who_asks_over_a_bridge_is_answered_over_it_or_not_at_all() {
    let (local, remote) = (broker().await, broker().await);
    let routes = vec![
        route(BridgeDirection::Out, "+/reply", "tidegate/", "plant/"),
        route(BridgeDirection::In, "set/#", "", "plant/"),
    ];
    let bridge = start(&options(remote.address(), BridgeProtocol::V5, routes), &local);
    online(&bridge).await;
    let mut far = client(remote.address(), "far", "plant/+/reply").await;
    let mut near = client(local.address(), "near", "set/#").await;
    let questions = [("plant/line3/reply", Some("tidegate/line3/reply")), ("tidegate/line3/state", None)];
    for (asked, allowed) in questions {
        let properties = Properties { response_topic: Some(asked.to_owned()), ..Properties::default() };
        let question = Message { properties: Some(Box::new(properties)), ..Message::new("plant/set/x", "1") };
        far.publish(question).unwrap();
        let found = next_while(&mut near, &mut far).await.properties.and_then(|it| it.response_topic);
        assert_eq!(found.as_deref(), allowed);
        if let Some(topic) = found {
            near.publish(Message::new(topic, "done")).unwrap();
            assert_eq!(text(&next_while(&mut far, &mut near).await.topic), asked);
        }
    }
    bridge.stop().await;
}

#[tokio::test]
async fn nothing_goes_round_in_circles() {
    for protocol in [BridgeProtocol::V5, BridgeProtocol::V4] {
        let (local, remote) = (broker().await, broker().await);
        let bridge =
            start(&options(remote.address(), protocol, vec![route(BridgeDirection::Both, "#", "", "")]), &local);
        online(&bridge).await;
        let mut far = client(remote.address(), "far", "#").await;
        let mut near = client(local.address(), "near", "#").await;
        near.publish(Message::new("a", "from near")).unwrap();
        assert_eq!(text(&next(&mut near).await.payload), "from near");
        assert_eq!(text(&next(&mut far).await.payload), "from near");
        quiet(&mut near).await;
        quiet(&mut far).await;
        far.publish(Message::new("b", "from far")).unwrap();
        assert_eq!(text(&next(&mut far).await.payload), "from far");
        assert_eq!(text(&next(&mut near).await.payload), "from far", "{protocol:?}");
        quiet(&mut near).await;
        quiet(&mut far).await;
        bridge.stop().await;
    }
}

#[tokio::test]
async fn two_bridges_to_the_same_broker_make_no_circle_either() {
    let (local, remote) = (broker().await, broker().await);
    let both = |name: &str| config::Bridge {
        name: name.parse().unwrap(),
        ..options(remote.address(), BridgeProtocol::V5, vec![route(BridgeDirection::Both, "#", "", "")])
    };
    let (one, two) = (start(&both("one"), &local), start(&both("two"), &local));
    online(&one).await;
    online(&two).await;
    let mut near = client(local.address(), "near", "#").await;
    near.publish(Message::new("a", "x")).unwrap();
    next(&mut near).await;
    until(&one, |status, _| status.looped > 0).await;
    until(&two, |status, _| status.looped > 0).await;
    quiet(&mut near).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_durable_bridge_survives_restarts_of_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let remote = broker().await;
    let address = remote.address();
    let durable = || config::Bridge {
        durable: true,
        ..options(address, BridgeProtocol::V5, vec![route(BridgeDirection::Out, "#", "", "")])
    };
    let local = kept(folder.path()).await;
    let bridge = start(&durable(), &local);
    online(&bridge).await;
    remote.stop().await;
    until(&bridge, |status, _| status.last_error.is_some()).await;
    for n in 0..50_u32 {
        local.publisher().publish("data", n.to_string().into(), false);
    }
    until(&bridge, |_, waiting| waiting.messages == 50).await;
    bridge.stop().await;
    local.stop().await;
    let local = kept(folder.path()).await;
    for n in 50..100_u32 {
        local.publisher().publish("data", n.to_string().into(), false);
    }
    let remote = on(address).await;
    let mut far = client(address, "far", "data").await;
    let bridge = start(&durable(), &local);
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "99") {
        found.push(text(&next(&mut far).await.payload));
    }
    // One that was on its way when the connection ended may come twice.
    found.dedup();
    assert_eq!(found, (0..100).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    until(&bridge, |_, waiting| waiting.messages == 0).await;
    bridge.stop().await;
    local.stop().await;
    remote.stop().await;
}

#[tokio::test]
async fn a_durable_bridge_keeps_what_comes_before_it_was_ever_connected_and_counts_what_finds_no_room() {
    let local = broker().await;
    let nobody: SocketAddr = {
        let gone = broker().await;
        let address = gone.address();
        gone.stop().await;
        address
    };
    let durable = config::Bridge {
        durable: true,
        max_queue: ByteSize(64 << 10),
        ..options(nobody, BridgeProtocol::V5, vec![route(BridgeDirection::Out, "#", "", "")])
    };
    let bridge = start(&durable, &local);
    until(&bridge, |status, _| status.connect_failures > 0).await;
    for _ in 0..100 {
        local.publisher().publish("data", vec![b'x'; 1_000].into(), false);
    }
    until(&bridge, |_, waiting| waiting.messages + waiting.dropped == 100).await;
    let (_, waiting) = bridge.probe()();
    assert!(waiting.dropped > 0 && waiting.bytes <= 64 << 10 && waiting.bytes_high <= 64 << 10, "{waiting:?}");
    let stranger = ConnectOptions::new("127.0.0.1", local.address().port(), "$bridge/plant", WORDS);
    assert!(Connector::new(stranger).unwrap().connect().await.is_err(), "nobody else gets its session");
    assert_eq!(bridge.probe()().1.messages, waiting.messages);
    bridge.stop().await;
}
