//! A broker that does what the test says: it answers logins, subscriptions and, when it is told to, pings.

use bytes::BytesMut;
use rumqttc::{
    QoS,
    mqttbytes::{
        Error,
        v4::{ConnAck, Connect, ConnectReturnCode, Packet, Publish, SubAck, SubscribeReasonCode, UnsubAck},
    },
};
use tidegate_sparkplug::{Bounds, decode, wire::Payload};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::scene::{LONG, within};

const LARGEST: usize = 16 * 1024 * 1024;

pub(crate) struct Broker(TcpListener);

/// One connection of the target.
pub(crate) struct Client {
    socket: TcpStream,
    received: BytesMut,
    pub(crate) connect: Connect,
    /// Whether pings are answered.
    pub(crate) answers: bool,
    pub(crate) filters: Vec<(String, QoS)>,
}

/// What the target has published.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The topic without what is the same in all.
    pub(crate) topic: String,
    pub(crate) payload: Payload,
}

impl Broker {
    pub(crate) async fn new() -> Broker {
        Broker(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection, logged in.
    pub(crate) async fn client(&self) -> Client {
        let (socket, _) = within(LONG, self.0.accept()).await.unwrap();
        let connect = Connect::new("");
        let mut client = Client { socket, received: BytesMut::new(), connect, answers: true, filters: Vec::new() };
        match client.packet().await {
            Some(Packet::Connect(connect)) => client.connect = connect,
            other => panic!("{other:?} in place of a login"),
        }
        client.send(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
        client
    }
}

impl Client {
    /// The number of the connection, in its will.
    pub(crate) fn bd_seq(&self) -> u64 {
        let will = self.connect.last_will.as_ref().unwrap();
        assert_eq!(
            (will.topic.as_str(), will.qos, will.retain),
            ("spBv1.0/plant/NDEATH/line3", QoS::AtLeastOnce, false)
        );
        assert!(self.connect.clean_session);
        bd_seq(&decode(&will.message, Bounds::default()).unwrap())
    }

    /// The next packet that is neither a ping nor a subscription; `None` when the connection has ended.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.received, LARGEST) {
                Ok(Packet::PingReq) if self.answers => self.send(&Packet::PingResp).await,
                Ok(Packet::PingReq) => {}
                Ok(Packet::Subscribe(subscribe)) => {
                    let filters = subscribe.filters.iter().map(|filter| (filter.path.clone(), filter.qos));
                    self.filters.extend(filters);
                    let codes =
                        subscribe.filters.iter().map(|filter| SubscribeReasonCode::Success(filter.qos)).collect();
                    self.send(&Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await;
                }
                Ok(Packet::Unsubscribe(unsubscribe)) => {
                    self.send(&Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid))).await;
                }
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {
                    let read = within(LONG, self.socket.read_buf(&mut self.received)).await;
                    if read.unwrap_or(0) == 0 {
                        return None;
                    }
                }
                Err(error) => panic!("the target sent what is not MQTT: {error}"),
            }
        }
    }

    /// The next message, which has to come.
    pub(crate) async fn message(&mut self) -> Message {
        match self.packet().await {
            Some(Packet::Publish(publish)) => read(&publish),
            other => panic!("{other:?} in place of a message"),
        }
    }

    /// Messages up to the first with this topic.
    pub(crate) async fn until(&mut self, topic: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.message().await);
            if messages.last().is_some_and(|message| message.topic == topic) {
                return messages;
            }
        }
    }

    /// Answers what comes for a while; nothing may be published.
    pub(crate) async fn quiet(&mut self, filters: usize) {
        while self.filters.len() < filters {
            let more = tokio::time::timeout(std::time::Duration::from_millis(20), self.packet()).await;
            assert!(more.is_err(), "{more:?} was published");
        }
        let more = tokio::time::timeout(std::time::Duration::from_millis(300), self.packet()).await;
        assert!(more.is_err(), "{more:?} was published");
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: Vec<u8>, retain: bool) {
        let mut publish = Publish::new(topic, QoS::AtMostOnce, payload);
        publish.retain = retain;
        self.send(&Packet::Publish(publish)).await;
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, LARGEST).unwrap();
        // The target may be gone already; the test sees that where it reads.
        let _ = self.socket.write_all(&bytes).await;
    }
}

pub(crate) fn read(publish: &Publish) -> Message {
    assert_eq!((publish.qos, publish.retain), (QoS::AtMostOnce, false), "{}", publish.topic);
    let topic = publish.topic.replace("spBv1.0/plant/", "").replace("/line3", "");
    Message { topic, payload: decode(&publish.payload, Bounds::default()).unwrap() }
}

pub(crate) fn bd_seq(payload: &Payload) -> u64 {
    let metric = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some("bdSeq")).unwrap();
    match metric.value {
        Some(tidegate_sparkplug::wire::MetricValue::Long(number)) => number,
        _ => panic!("{metric:?}"),
    }
}
