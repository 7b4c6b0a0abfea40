//! A broker that does what the test says: it answers nothing on its own but pings.

use bytes::BytesMut;
use rumqttc::mqttbytes::{
    Error,
    v4::{ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{LONG, within};

const LARGEST: usize = 64 * 1024 * 1024;

pub(crate) struct Broker {
    listener: TcpListener,
    /// Has the same port and does not listen.
    place: TcpSocket,
}

/// A broker that is not there, and whose port nobody else is given meanwhile: connections to it are refused.
pub(crate) struct Away(TcpSocket);

/// A socket with this port of this machine, which others of its kind may have too.
fn bound(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    socket
}

/// One connection of a target.
pub(crate) struct Client<S = TcpStream> {
    socket: S,
    received: BytesMut,
    /// What it logged in with.
    pub(crate) connect: Connect,
}

impl Broker {
    pub(crate) async fn new() -> Broker {
        Broker::listening(bound(0))
    }

    fn listening(socket: TcpSocket) -> Broker {
        let listener = socket.listen(1024).unwrap();
        let place = bound(listener.local_addr().unwrap().port());
        Broker { listener, place }
    }

    /// Listens no more.
    pub(crate) fn away(self) -> Away {
        Away(self.place)
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next connection, before anything has been read from it.
    pub(crate) async fn socket(&self) -> TcpStream {
        within(LONG, self.listener.accept()).await.unwrap().0
    }

    /// The next connection, which has asked to log in and got no answer yet.
    pub(crate) async fn asked(&self) -> Client {
        Client::of(self.socket().await).await.unwrap()
    }

    /// The next connection, logged in, whose `online` has been acknowledged.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.asked().await;
        client.log_in().await;
        client
    }
}

impl Away {
    /// Listens again.
    pub(crate) fn back(self) -> Broker {
        Broker::listening(self.0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Waits for the login; `None` when the connection ends before it.
    pub(crate) async fn of(socket: S) -> Option<Client<S>> {
        let connect = Connect::new("");
        let mut client = Client { socket, received: BytesMut::new(), connect };
        match client.packet().await {
            Some(Packet::Connect(connect)) => client.connect = connect,
            Some(other) => panic!("{other:?} in place of a login"),
            None => return None,
        }
        Some(client)
    }

    pub(crate) async fn answer(&mut self, code: ConnectReturnCode) {
        self.send(&Packet::ConnAck(ConnAck::new(code, false))).await;
    }

    pub(crate) async fn log_in(&mut self) {
        self.answer(ConnectReturnCode::Success).await;
        let online = self.publish().await;
        assert_eq!((online.topic.as_str(), &online.payload[..]), ("plant/line3/state", &b"online"[..]));
        assert!(online.retain);
        self.acknowledge(online.pkid).await;
    }

    /// The next packet that is no ping; `None` when the connection has ended.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.received, LARGEST) {
                Ok(Packet::PingReq) => self.send(&Packet::PingResp).await,
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

    /// The next packet, which has to be a message with QoS 1.
    pub(crate) async fn publish(&mut self) -> Publish {
        match self.packet().await {
            Some(Packet::Publish(publish)) => {
                assert_ne!(publish.pkid, 0, "a message without an acknowledgement");
                publish
            }
            other => panic!("{other:?} in place of a message"),
        }
    }

    /// The next message, which has to be a row: its number and its packet id.
    pub(crate) async fn row(&mut self) -> (u64, u16) {
        let publish = self.publish().await;
        assert_eq!(publish.topic, "plant/line3/meter/data/fast");
        (seq(&publish), publish.pkid)
    }

    /// So many rows, each acknowledged at once; their numbers.
    pub(crate) async fn take_rows(&mut self, count: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        for _ in 0..count {
            let (seq, id) = self.row().await;
            self.acknowledge(id).await;
            taken.push(seq);
        }
        taken
    }

    pub(crate) async fn acknowledge(&mut self, packet_id: u16) {
        self.send(&Packet::PubAck(PubAck::new(packet_id))).await;
    }

    /// Does the broker's part of a clean end: acknowledges what comes until the target takes leave. Returns the last message.
    pub(crate) async fn until_disconnect(mut self) -> Option<Publish> {
        let mut last = None;
        loop {
            match self.packet().await {
                Some(Packet::Publish(publish)) => {
                    self.acknowledge(publish.pkid).await;
                    last = Some(publish);
                }
                Some(Packet::Disconnect) => return last,
                other => panic!("{other:?} in place of a farewell"),
            }
        }
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, LARGEST).unwrap();
        // The target may be gone already; the test sees that where it reads.
        let _ = self.socket.write_all(&bytes).await;
    }
}

/// The number of the row in a message.
pub(crate) fn seq(publish: &Publish) -> u64 {
    let payload: Value = serde_json::from_slice(&publish.payload).unwrap();
    payload["seq"].as_u64().unwrap()
}
