//! The driver shows what every driver must show.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rig::{Plant, deaf_port, link, numbers, tag};
use tidegate_driver_api::{
    Driver, Poll, async_trait,
    model::Value,
    testkit::{self, Behaviour, Harness, Rig, ScriptedDevice},
};
use tidegate_driver_opcua::OpcUa;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Nodes of the group that is polled, in two requests.
const POLLED: usize = 1100;
/// A read of that many bytes is one of a poll; questions about the server and the types of nodes are shorter.
const POLL_BYTES: usize = 400;
/// Numbers of the encodings of requests (Part 6 A.2).
const READ: u16 = 631;
const WRITE: u16 = 673;

/// What a server has been asked, seen from the way to it.
#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    writes: AtomicUsize,
    open: AtomicUsize,
}

struct Device {
    counts: Arc<Counts>,
    _plant: Plant,
    /// Where nobody listens.
    _nobody: TcpSocket,
}

impl ScriptedDevice for Device {
    fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    fn writes(&self) -> usize {
        self.counts.writes.load(Ordering::SeqCst)
    }

    fn open_connections(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

struct OpcUaHarness(OpcUa);

#[async_trait]
impl Harness for OpcUaHarness {
    fn driver(&self) -> &dyn Driver {
        &self.0
    }

    async fn start(&self, behaviour: Behaviour) -> Rig {
        let plant = Plant::start(POLLED).await;
        let nobody = deaf_port();
        let mut address = nobody.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        if behaviour != Behaviour::Refusing {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address = listener.local_addr().unwrap();
            let (server, counts) = (plant.address, Arc::clone(&counts));
            tokio::spawn(async move {
                while let Ok((near, _)) = listener.accept().await {
                    let counts = Arc::clone(&counts);
                    tokio::spawn(async move {
                        counts.open.fetch_add(1, Ordering::SeqCst);
                        let far = TcpStream::connect(server).await.unwrap();
                        serve(near, far, behaviour, &counts).await;
                        counts.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
        }
        let other = "\n[[group]]\nname = \"other\"\ninterval = \"50ms\"\n".to_owned()
            + &tag("count", "Count", "type = \"i16\"\naccess = \"read_write\"")
                .replace("group = \"all\"", "group = \"other\"");
        let link = link(address, "", "mode = \"poll\"", &(numbers(POLLED) + &other));
        Rig { link, device: Box::new(Device { counts, _plant: plant, _nobody: nobody }) }
    }

    fn expected(&self, poll: Poll, _column: usize) -> Option<Value> {
        Some(if poll.group == 0 { Value::F64(0.0) } else { Value::Int(3) })
    }

    fn write(&self) -> Option<(Poll, usize, Value)> {
        Some((Poll { device: 0, group: 1 }, 0, Value::Int(7)))
    }

    fn subscribed(&self) -> Option<Poll> {
        Some(Poll { device: 0, group: 1 })
    }
}

/// Passes messages on, until the device has had enough.
async fn serve(near: TcpStream, far: TcpStream, behaviour: Behaviour, counts: &Counts) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let answers = tokio::io::copy(&mut far_read, &mut near_write);
    let asked = async {
        let mut answered = 0;
        let mut silent = behaviour == Behaviour::Silent;
        loop {
            let mut message = vec![0; 8];
            if near_read.read_exact(&mut message).await.is_err() {
                return;
            }
            let length = u32::from_le_bytes(message[4..8].try_into().unwrap());
            message.resize(usize::try_from(length).unwrap(), 0);
            if near_read.read_exact(&mut message[8..]).await.is_err() {
                return;
            }
            // Behind the headers of chunk, security and sequence: the node of the encoding, in its form of four bytes.
            let kind = message.get(24..28).map_or(0, |id| u16::from_le_bytes([id[2], id[3]]));
            let is_write = kind == WRITE && message.starts_with(b"MSG");
            let is_poll = kind == READ && message.starts_with(b"MSG") && message.len() >= POLL_BYTES;
            if is_write || is_poll {
                counts.requests.fetch_add(1, Ordering::SeqCst);
                counts.writes.fetch_add(usize::from(is_write), Ordering::SeqCst);
                match behaviour {
                    Behaviour::SilentAfter(most) if answered >= most => silent = true,
                    Behaviour::ClosedAfter(most) if answered >= most => return,
                    _ => answered += 1,
                }
            }
            if !silent && far_write.write_all(&message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = answers => {}
        () = asked => {}
    }
}

#[tokio::test]
async fn the_driver_behaves() {
    assert_eq!(testkit::check(&OpcUaHarness(OpcUa::new())).await, []);
}
