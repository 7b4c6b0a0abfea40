//! An edge node and its broker in one: it answers subscriptions and pings as it is told, is born when it is asked, and carries out
//! writes. Pings and writes are its requests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use bytes::BytesMut;
use rumqttc::{
    QoS,
    mqttbytes::{
        Error,
        v4::{ConnAck, ConnectReturnCode, Packet, Publish, SubAck, SubscribeReasonCode},
    },
};
use tidegate_driver_api::{
    model::Value,
    testkit::{Behaviour, ScriptedDevice},
};
use tidegate_sparkplug::{
    Bounds, DataType, HostState, decode, encode,
    wire::{Metric, MetricValue, Payload},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::broadcast,
};

/// Metrics of the pump that are only read: more than are told with one ping.
pub(crate) const TAGS: usize = 300;
/// The time of what it publishes as history.
pub(crate) const PAST: i64 = 1_600_000_000_000;

const STATE: &str = "spBv1.0/STATE/scada";

/// What a metric has.
pub(crate) fn value(metric: usize) -> Value {
    Value::F64(f64::from(u32::try_from(metric).unwrap()) + 0.5)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Die,
    BeBorn,
    /// Without the pump.
    BeBornAlone,
    History,
    /// A host says that its connection of that moment is over.
    HostGone(u64),
}

#[derive(Default)]
struct Counters {
    requests: AtomicUsize,
    writes: AtomicUsize,
    open: AtomicUsize,
    host_there: AtomicU64,
}

pub(crate) struct Plant {
    address: String,
    counters: Arc<Counters>,
    acts: broadcast::Sender<Act>,
    /// Keeps the port taken.
    _taken: Option<TcpSocket>,
}

impl Plant {
    pub(crate) async fn start(behaviour: Behaviour) -> Plant {
        let (counters, acts) = (Arc::new(Counters::default()), broadcast::channel(16).0);
        if behaviour == Behaviour::Refusing {
            // The port is taken, but nobody listens.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = socket.local_addr().unwrap().to_string();
            return Plant { address, counters, acts, _taken: Some(socket) };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let plant = Plant { address, counters: Arc::clone(&counters), acts: acts.clone(), _taken: None };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (counters, acts) = (Arc::clone(&counters), acts.subscribe());
                counters.open.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    Client { socket, behaviour, counters: &counters, answered: 0, seq: 0 }.serve(acts).await;
                    counters.open.fetch_sub(1, SeqCst);
                });
            }
        });
        plant
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn die(&self) {
        self.acts.send(Act::Die).unwrap();
    }

    pub(crate) fn be_born(&self) {
        self.acts.send(Act::BeBorn).unwrap();
    }

    pub(crate) fn be_born_alone(&self) {
        self.acts.send(Act::BeBornAlone).unwrap();
    }

    pub(crate) fn host_gone(&self, connected: u64) {
        self.acts.send(Act::HostGone(connected)).unwrap();
    }

    /// When the connection began of which was said last that the host is there, in Unix milliseconds; 0 when it was not.
    pub(crate) fn host_there(&self) -> u64 {
        self.counters.host_there.load(SeqCst)
    }

    pub(crate) fn history(&self) {
        self.acts.send(Act::History).unwrap();
    }
}

impl ScriptedDevice for Plant {
    fn requests(&self) -> usize {
        self.counters.requests.load(SeqCst)
    }

    fn writes(&self) -> usize {
        self.counters.writes.load(SeqCst)
    }

    fn open_connections(&self) -> usize {
        self.counters.open.load(SeqCst)
    }
}

struct Client<'a> {
    socket: TcpStream,
    behaviour: Behaviour,
    counters: &'a Counters,
    answered: usize,
    seq: u64,
}

impl Client<'_> {
    async fn serve(&mut self, mut acts: broadcast::Receiver<Act>) {
        let mut received = BytesMut::new();
        loop {
            match Packet::read(&mut received, 1 << 20) {
                Ok(packet) => {
                    if !self.packet(packet).await {
                        return;
                    }
                }
                Err(Error::InsufficientBytes(_)) => tokio::select! {
                    read = self.socket.read_buf(&mut received) => {
                        if read.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    Ok(act) = acts.recv() => self.act(act).await,
                },
                Err(_) => return,
            }
        }
    }

    /// False when the connection is to be closed.
    async fn packet(&mut self, packet: Packet) -> bool {
        if self.behaviour == Behaviour::Silent {
            return true;
        }
        match packet {
            Packet::Connect(_) => self.send(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await,
            Packet::Subscribe(subscribe) => {
                let codes = subscribe.filters.iter().map(|_| SubscribeReasonCode::Success(QoS::AtLeastOnce)).collect();
                self.send(&Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await;
            }
            Packet::PingReq => {
                self.counters.requests.fetch_add(1, SeqCst);
                match self.behaviour {
                    Behaviour::SilentAfter(answers) if self.answered >= answers => {}
                    Behaviour::ClosedAfter(answers) if self.answered >= answers => return false,
                    _ => self.send(&Packet::PingResp).await,
                }
                self.answered += 1;
            }
            Packet::Publish(publish) if publish.topic == STATE => {
                let state = HostState::parse(&publish.payload).unwrap();
                self.counters.host_there.store(state.timestamp, SeqCst);
            }
            Packet::Publish(publish) if publish.topic == "spBv1.0/plant/NCMD/line4" => self.act(Act::BeBorn).await,
            Packet::Publish(publish) if publish.topic == "spBv1.0/plant/DCMD/line4/pump" => {
                self.counters.requests.fetch_add(1, SeqCst);
                self.counters.writes.fetch_add(1, SeqCst);
                let silent = matches!(self.behaviour, Behaviour::SilentAfter(answers) if self.answered >= answers);
                if !silent {
                    let payload = decode(&publish.payload, Bounds::default()).unwrap();
                    self.publish("DDATA/line4/pump", payload.metrics).await;
                }
            }
            _ => {}
        }
        true
    }

    async fn act(&mut self, act: Act) {
        let bd_seq = Metric {
            name: Some("bdSeq".to_owned()),
            datatype: Some(DataType::Int64.code()),
            value: Some(MetricValue::Long(0)),
            ..Metric::default()
        };
        match act {
            Act::Die => self.publish("NDEATH/line4", vec![bd_seq]).await,
            Act::BeBornAlone => {
                self.seq = 0;
                self.publish("NBIRTH/line4", vec![bd_seq]).await;
            }
            Act::BeBorn => {
                self.seq = 0;
                self.publish("NBIRTH/line4", vec![bd_seq]).await;
                let metric = |number: usize| {
                    let Value::F64(value) = value(number) else { panic!("a float") };
                    born(&format!("t{number}"), number, DataType::Double, MetricValue::Double(value))
                };
                let mut metrics: Vec<Metric> = (0..TAGS).map(metric).collect();
                metrics.push(born("Set/Point", TAGS, DataType::Int16, MetricValue::Int(0xFFFB)));
                self.publish("DBIRTH/line4/pump", metrics).await;
            }
            Act::HostGone(timestamp) => {
                let payload = HostState { online: false, timestamp }.payload();
                self.send(&Packet::Publish(Publish::new(STATE, QoS::AtMostOnce, payload))).await;
            }
            Act::History => {
                let past = Metric {
                    alias: Some(2),
                    timestamp: Some(u64::try_from(PAST).unwrap()),
                    is_historical: Some(true),
                    value: Some(MetricValue::Double(-1.0)),
                    ..Metric::default()
                };
                self.publish("DDATA/line4/pump", vec![past]).await;
            }
        }
    }

    async fn publish(&mut self, topic: &str, metrics: Vec<Metric>) {
        let (verb, rest) = topic.split_once('/').unwrap();
        let seq = (verb != "NDEATH").then_some(self.seq);
        self.seq = (self.seq + 1) % 256;
        let payload = Payload { timestamp: Some(1_700_000_000_000), metrics, seq, ..Payload::default() };
        let publish = Publish::new(format!("spBv1.0/plant/{verb}/{rest}"), QoS::AtMostOnce, encode(&payload));
        self.send(&Packet::Publish(publish)).await;
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1 << 20).unwrap();
        // The gateway may be gone already; the test sees that where it looks.
        let _ = self.socket.write_all(&bytes).await;
    }
}

fn born(name: &str, place: usize, datatype: DataType, value: MetricValue) -> Metric {
    Metric {
        name: Some(name.to_owned()),
        alias: Some(u64::try_from(place).unwrap() + 1),
        timestamp: Some(1_700_000_000_000),
        datatype: Some(datatype.code()),
        value: Some(value),
        ..Metric::default()
    }
}
