//! The driver shows what every driver must show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidegate_driver_api::{
    Cause, Driver, Poll, Readings, Step, async_trait,
    config::{self, Kind, Node, Origin, Profiles, Report},
    model::Value,
    testkit::{self, Behaviour, Harness, Rig, ScriptedDevice},
};
use tidegate_driver_template::LineTcp;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};

const SITE: &str = r#"
[gateway]
id = "test"
profiles = ["profiles"]
[[link]]
name = "line"
driver = "line-tcp"
address = "127.0.0.1:4001"
[[device]]
name = "tank-1"
link = "line"
profile = "tank"
"#;

const PROFILE: &str = r#"
[profile]
manufacturer = "Test"
model = "Tank"
driver = "line"
version = 1
[[group]]
name = "all"
interval = "1s"
[[tag]]
name = "level"
group = "all"
item = "level"
[[tag]]
name = "setpoint"
group = "all"
item = "setpoint"
access = "read_write"
[[tag]]
name = "reset"
group = "all"
item = "reset"
access = "write"
"#;

/// What the healthy device holds, by column; `reset` is never read.
const HELD: [(&str, f64); 2] = [("level", 12.5), ("setpoint", 40.0)];

struct Line;

#[async_trait]
impl Harness for Line {
    fn driver(&self) -> &dyn Driver {
        &LineTcp
    }

    async fn start(&self, behaviour: Behaviour) -> Rig {
        let device = Device::default();
        if behaviour == Behaviour::Refusing {
            // The port is taken, but nobody listens.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let link = link(&socket.local_addr().unwrap().to_string());
            return Rig { link, device: Box::new(Device { taken: Some(socket), ..device }) };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = link(&listener.local_addr().unwrap().to_string());
        let counters = Arc::clone(&device.counters);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counters = Arc::clone(&counters);
                counters.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    serve(stream, behaviour, &counters).await;
                    counters.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Rig { link, device: Box::new(device) }
    }

    fn expected(&self, _: Poll, column: usize) -> Option<Value> {
        HELD.get(column).map(|(_, value)| Value::F64(*value))
    }

    fn write(&self) -> Option<(Poll, usize, Value)> {
        Some((Poll { device: 0, group: 0 }, 1, Value::F64(41.0)))
    }
}

/// The link of the site, with this address.
fn link(address: &str) -> config::Link {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    std::fs::write(folder.path().join("profiles/tank.toml"), PROFILE).unwrap();
    std::fs::write(folder.path().join("tidegate.toml"), SITE).unwrap();
    let (site, report) = config::load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
    assert_eq!(report.render(), "");
    let mut link = site.unwrap().links.remove(0);
    link.table.set("address", Node { origin: Origin::Default, kind: Kind::Text(address.to_owned()) });
    link
}

#[derive(Default)]
struct Counters {
    requests: AtomicUsize,
    writes: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Default)]
struct Device {
    counters: Arc<Counters>,
    #[expect(dead_code, reason = "keeps the port taken")]
    taken: Option<TcpSocket>,
}

impl ScriptedDevice for Device {
    fn requests(&self) -> usize {
        self.counters.requests.load(Ordering::SeqCst)
    }

    fn writes(&self) -> usize {
        self.counters.writes.load(Ordering::SeqCst)
    }

    fn open_connections(&self) -> usize {
        self.counters.open.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, behaviour: Behaviour, counters: &Counters) {
    let mut lines = BufReader::new(stream).lines();
    for number in 0.. {
        let Ok(Some(line)) = lines.next_line().await else { return };
        counters.requests.fetch_add(1, Ordering::SeqCst);
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words.as_slice() {
            ["read", item] => {
                let held = HELD.iter().find(|(name, _)| name == item);
                held.map_or(format!("{item} ?\n"), |(_, value)| format!("{item} {value}\n"))
            }
            ["write", item, _] => {
                counters.writes.fetch_add(1, Ordering::SeqCst);
                format!("{item} ok\n")
            }
            _ => return,
        };
        match behaviour {
            Behaviour::Silent => {}
            Behaviour::SilentAfter(answers) if number >= answers => {}
            Behaviour::ClosedAfter(answers) if number >= answers => return,
            _ => drop(lines.get_mut().write_all(answer.as_bytes()).await),
        }
    }
}

#[tokio::test]
async fn the_driver_shows_what_every_driver_must_show() {
    assert_eq!(testkit::check(&Line).await, []);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = link(&listener.local_addr().unwrap().to_string());
    let ((read, was_read), (sent, was_sent)) = (oneshot::channel(), oneshot::channel());
    let device = async {
        let mut lines = BufReader::new(listener.accept().await.unwrap().0).lines();
        lines.next_line().await.unwrap();
        lines.get_mut().write_all(b"level 1\n").await.unwrap();
        // A segment of its own: the session has its answer by now.
        was_read.await.unwrap();
        lines.get_mut().write_all(b"level 2\n").await.unwrap();
        sent.send(()).unwrap();
        // Open until the gateway is through with it.
        lines
    };
    let gateway = async {
        let mut compiled = LineTcp.compile(&link, &mut Report::new()).unwrap();
        let cx = || testkit::within(Duration::from_secs(10));
        let mut session = compiled.link.connect(&cx()).await.unwrap();
        let mut out = Readings::new(3);
        let poll = Poll { device: 0, group: 0 };
        session.read(&cx(), poll, Step::FIRST, &mut out).await.unwrap();
        read.send(()).unwrap();
        was_sent.await.unwrap();
        // Loopback delivers at once, but the runtime has to be told: it looks while nobody has anything to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let lost = session.read(&cx(), poll, Step::FIRST, &mut out).await.unwrap_err();
        assert_eq!(lost.cause, Cause::Mismatch, "{lost}");
    };
    let (_lines, ()) = tokio::join!(device, gateway);
}
