//! Two brokers and a bridge between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod byte_by_byte;
mod reloads;
mod routes;

use std::{net::SocketAddr, path::Path, time::Duration};

use tidegate_bridge::Bridge;
use tidegate_broker::{Broker, DiskStatus, Waiting};
use tidegate_config::{self as config, BridgeDirection, BridgeProtocol, BridgeRoute, BrokerPersistence, ByteSize};
use tidegate_mqtt::{ConnectOptions, Connection, Connector, Event, Filter, Message, Properties, Protocol, QoS, Words};
use tokio::{
    net::TcpSocket,
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
        durable: false,
    }
}

/// The same route, that must not lose anything.
fn durable(route: BridgeRoute) -> BridgeRoute {
    BridgeRoute { durable: true, ..route }
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
        max_queue: ByteSize(1 << 20),
    }
}

/// A port where nobody listens. As long as the socket lives the system gives it to nobody who asks for a free one; a broker that
/// is told its number can listen beside it and go again, as both may share their address.
fn held_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A durable bridge to a broker that is not there.
fn to_nobody(nobody: SocketAddr, max_queue: u64) -> config::Bridge {
    config::Bridge {
        max_queue: ByteSize(max_queue),
        ..options(nobody, BridgeProtocol::V5, vec![durable(route(BridgeDirection::Out, "#", "", ""))])
    }
}

fn start(options: &config::Bridge, local: &Broker) -> Bridge {
    Bridge::start(options, &"line3".parse().unwrap(), local).unwrap()
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

/// Waits until the disk has what is wanted, stops the broker, and waits until its database is closed: the broker itself waits for a
/// slow disk only so long.
async fn stopped(broker: Broker, folder: &Path, wanted: impl Fn(&DiskStatus) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&broker.disk().unwrap()) {
        assert!(Instant::now() < deadline, "{:?}", broker.disk());
        sleep(Duration::from_millis(5)).await;
    }
    broker.stop().await;
    // The last that SQLite does with a database is to remove its log.
    while folder.join("broker.db-wal").exists() {
        assert!(Instant::now() < deadline, "the database is still open");
        sleep(Duration::from_millis(5)).await;
    }
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
}

/// Waits until a broker has so many subscriptions: those of bridges follow their connections.
async fn subscribed(broker: &Broker, subscriptions: u64) {
    let deadline = Instant::now() + PATIENCE;
    while broker.status().subscriptions < subscriptions {
        assert!(Instant::now() < deadline, "{:?}", broker.status());
        sleep(Duration::from_millis(5)).await;
    }
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
    let (_held, address) = held_port();
    let remote = on(address).await;
    let durable = || options(address, BridgeProtocol::V5, vec![durable(route(BridgeDirection::Out, "#", "", ""))]);
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
    stopped(local, folder.path(), |disk| disk.messages == 50).await;
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
    let (_held, nobody) = held_port();
    let durable = to_nobody(nobody, 64 << 10);
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
