//! A store with rows of one device, the device itself, and a target that runs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_config::{ByteSize, MqttTarget, SparkplugIds, SparkplugTarget as Options, StartAt, WhenFull};
use tidegate_model::{Column, Name, Reason, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_north::{EdgeGateway, SparkplugTarget, TargetSnapshot, TargetStatus};
use tidegate_sparkplug::{Command, DataType, Device, Latest, MetricInfo, Plant};
use tidegate_store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::Message;

/// Nothing in these tests takes longer than this unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// The time of the first row.
pub(crate) const START: i64 = 1_700_000_000_000;

/// The result of `work`, which has to come in time.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, work).await.expect("it takes too long")
}

/// A device with one tag.
#[derive(Clone)]
struct Fake {
    name: Name,
    metrics: Arc<[MetricInfo]>,
    latest: Arc<Mutex<Latest>>,
    stream: Arc<Stream>,
}

/// A `meter` with a counter and, when the first one is written, `notes` with a text.
#[derive(Clone)]
struct FakePlant(Vec<Fake>);

impl Device for Fake {
    fn name(&self) -> &Name {
        &self.name
    }

    fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    fn is_there(&self) -> Option<bool> {
        Some(true)
    }

    fn latest(&self, out: &mut Vec<Latest>) {
        out.push(self.latest.lock().unwrap().clone());
    }
}

impl Plant for FakePlant {
    fn version(&self) -> u64 {
        1
    }

    fn devices(&self) -> Vec<Box<dyn Device>> {
        self.0.iter().map(|device| Box::new(device.clone()) as Box<dyn Device>).collect()
    }
}

pub(crate) struct Scene {
    store: Store,
    pub(crate) rows: u64,
    pub(crate) notes: u64,
    plant: FakePlant,
    clock: Arc<AtomicI64>,
    pub(crate) retry_longest: Duration,
    pub(crate) commands: Arc<Mutex<Vec<Command>>>,
    dir: tempfile::TempDir,
}

/// A target that runs.
pub(crate) struct Running {
    pub(crate) status: TargetStatus,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

async fn fake(store: &Store, (device, tag): (&str, &str), kind: ValueKind, datatype: DataType) -> Fake {
    let (name, group): (Name, Name) = (device.parse().unwrap(), "fast".parse().unwrap());
    let column = Column::new(tag.parse().unwrap(), ValueType::single(kind));
    let (stream, _) = store.stream(&name, &group, vec![column]).await.unwrap();
    let metric = MetricInfo {
        name: tag.parse().unwrap(),
        datatype,
        unit: None,
        range: None,
        description: None,
        writable: device == "meter",
    };
    let latest = Arc::new(Mutex::new(Latest { slot: Slot::Bad(Reason::NotYetRead), time: None }));
    Fake { name, metrics: [metric].into(), latest, stream }
}

impl Scene {
    pub(crate) async fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(5),
            max_age: Duration::from_secs(3600 * 24 * 3650),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let store = Store::open(dir.path(), &options).await.unwrap().store;
        let meter = fake(&store, ("meter", "count"), ValueKind::Uint, DataType::UInt64).await;
        let clock = Arc::new(AtomicI64::new(START));
        let (plant, retry_longest) = (FakePlant(vec![meter]), Duration::from_millis(20));
        Scene { store, rows: 0, notes: 0, plant, clock, retry_longest, commands: Arc::default(), dir }
    }

    /// With a device `notes` too.
    pub(crate) async fn with_notes() -> Scene {
        let mut scene = Scene::new().await;
        scene.plant.0.push(fake(&scene.store, ("notes", "text"), ValueKind::Text, DataType::String).await);
        scene
    }

    /// So many rows, which count on; the device shows the last one.
    pub(crate) fn append(&mut self, count: u64) {
        for _ in 0..count {
            self.rows += 1;
            self.row(0, self.rows, Value::Uint(self.rows));
        }
    }

    /// A row with this text.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes += 1;
        self.row(1, self.notes, Value::Text(text.into()));
    }

    fn row(&self, device: usize, seq: u64, value: Value) {
        let device = &self.plant.0[device];
        let time = Timestamp::from_millis(START + i64::try_from(self.rows + self.notes).unwrap());
        self.clock.store(time.as_millis(), Ordering::Relaxed);
        let slot = Slot::Good(value);
        *device.latest.lock().unwrap() = Latest { slot: slot.clone(), time: Some(time) };
        let row = Row { stream: Arc::clone(&device.stream), seq, time, device_time: None, slots: [slot].into() };
        self.store.append(Arc::new(row), bytes::Bytes::new());
    }

    /// Milliseconds, on the clock of the target.
    pub(crate) fn time(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(crate) async fn committed(&self) {
        let committed = async {
            while self.store.status().rows_committed < self.rows + self.notes {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(LONG, committed).await;
    }

    pub(crate) async fn start(&self, port: u16, primary_host: Option<&str>) -> Running {
        let connection = MqttTarget {
            keep_alive: Duration::from_secs(10),
            retry_longest: self.retry_longest,
            ..MqttTarget::new("127.0.0.1", port)
        };
        let primary_host = primary_host.map(str::to_owned);
        let ids = SparkplugIds { group: "plant".to_owned(), edge_node: None, primary_host };
        let clock = Arc::clone(&self.clock);
        let clock = Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)));
        let (name, gateway): (Name, Name) = ("cloud".parse().unwrap(), "line3".parse().unwrap());
        let options = Options { connection, ids };
        let target = SparkplugTarget::new(name.clone(), &options, &gateway, "Tidegate", clock).unwrap();
        let commands = Arc::clone(&self.commands);
        let gateway = EdgeGateway {
            plant: Arc::new(self.plant.clone()),
            commands: Arc::new(move |command| {
                commands.lock().unwrap().push(command);
                Box::pin(async { Ok(Vec::new()) })
            }),
            folder: self.dir.path().to_owned(),
        };
        let cursor = within(LONG, async {
            loop {
                match self.store.cursor(&name, StartAt::Oldest).await {
                    Ok(cursor) => return cursor,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let cursor = cursor.await;
        let (status, cancel) = (target.status(), CancellationToken::new());
        let task = tokio::spawn(target.run(gateway, self.store.clone(), cursor, cancel.clone()));
        Running { status, cancel, task }
    }
}

impl Running {
    pub(crate) fn stop(&self) {
        self.cancel.cancel();
    }

    pub(crate) async fn stopped(self) {
        self.cancel.cancel();
        within(LONG, self.task).await.unwrap();
    }

    /// Waits until the status shows what is looked for.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&TargetSnapshot) -> bool) {
        let start = Instant::now();
        while !is_so(&self.status.snapshot()) {
            assert!(start.elapsed() < LONG, "never saw {what}; the target is {:?}", self.status.snapshot());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The counts in data, each with whether it is of the past.
pub(crate) fn counts(messages: &[Message]) -> Vec<(u64, bool)> {
    let data = messages.iter().filter(|message| message.topic == "DDATA/meter");
    let metrics = data.flat_map(|message| &message.payload.metrics);
    let count = |metric: &tidegate_sparkplug::wire::Metric| match metric.value {
        Some(tidegate_sparkplug::wire::MetricValue::Long(count)) => (count, metric.is_historical == Some(true)),
        _ => panic!("{metric:?}"),
    };
    metrics.map(count).collect()
}
