//! A gateway's store with a target on it, without the rest of the gateway.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_codec::json;
use tidegate_config::{ByteSize, Format, MqttTarget as Options, StartAt, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_north::{MqttTarget, TargetStatus};
use tidegate_store::Store;
use tidegate_tests::{PATIENCE, wait_until};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The gateway `line3` with some devices, `machine-0` and so on; the group of each is `fast`, its tags are `tag-0` and so on.
pub(crate) struct Sender {
    pub(crate) runtime: Runtime,
    pub(crate) store: Store,
    streams: Vec<Arc<Stream>>,
    /// The number of the last row of each device.
    pub(crate) last: u64,
    target: Option<(TargetStatus, CancellationToken, JoinHandle<()>)>,
    _folder: tempfile::TempDir,
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The value of a tag: its own number, and that of the row.
pub(crate) fn value(tag: usize, seq: u64) -> f64 {
    f64::from(u32::try_from(tag).unwrap()) * 1_000_000.0 + f64::from(u32::try_from(seq).unwrap()) / 2.0
}

impl Sender {
    pub(crate) fn new(devices: usize, tags: usize) -> Sender {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(20),
            max_age: Duration::from_secs(72 * 3600),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let column = |tag| Column::new(format!("tag-{tag}").parse().unwrap(), ValueType::single(ValueKind::F64));
        let columns: Vec<Column> = (0..tags).map(column).collect();
        let (store, streams) = runtime.block_on(async {
            let store = Store::open(folder.path(), &options).await.unwrap().store;
            let mut streams = Vec::new();
            for device in 0..devices {
                let (device, group) = (format!("machine-{device}").parse().unwrap(), "fast".parse().unwrap());
                streams.push(store.stream(&device, &group, columns.clone()).await.unwrap().0);
            }
            (store, streams)
        });
        Sender { runtime, store, streams, last: 0, target: None, _folder: folder }
    }

    /// So many rows of each device, a second apart, the last of them now.
    pub(crate) fn rows(&mut self, count: u64) {
        self.rows_until(now(), count);
    }

    /// The same, written to the disk part by part, as it goes over hours.
    pub(crate) fn hours_of_rows(&mut self, parts: u64, count: u64) {
        let begin = now() - i64::try_from(parts * count).unwrap() * 1_000;
        for part in 1..=parts {
            self.rows_until(begin + i64::try_from(part * count).unwrap() * 1_000, count);
            let rows = self.total();
            let committed = || (self.store.status().rows_committed >= rows).then_some(());
            wait_until(PATIENCE, "the commit", committed).unwrap();
        }
    }

    fn rows_until(&mut self, end: i64, count: u64) {
        for left in (0..count).rev() {
            self.last += 1;
            let time = Timestamp::from_millis(end - i64::try_from(left).unwrap() * 1_000);
            for stream in &self.streams {
                let slots = (0..stream.columns().len()).map(|tag| Slot::Good(Value::F64(value(tag, self.last))));
                let (stream, slots) = (Arc::clone(stream), slots.collect());
                let row = Row { stream, seq: self.last, time, device_time: None, slots };
                let mut payload = Vec::new();
                json::row(&row, false, &mut payload);
                self.store.append(Arc::new(row), payload.into());
            }
        }
    }

    /// Rows of all devices.
    pub(crate) fn total(&self) -> u64 {
        self.last * u64::try_from(self.streams.len()).unwrap()
    }

    /// Starts the target.
    pub(crate) fn start(&mut self, broker: SocketAddr, format: Format) {
        let options = Options {
            format,
            batch: Duration::ZERO,
            retry_longest: Duration::from_millis(500),
            ..Options::new(broker.ip().to_string(), broker.port())
        };
        let clock = Arc::new(|| Timestamp::from_millis(now()));
        let (name, gateway) = ("cloud".parse().unwrap(), "line3".parse().unwrap());
        let target = MqttTarget::new(name, &options, &gateway, "tidegate", clock).unwrap();
        let (status, cancel) = (target.status(), CancellationToken::new());
        let cursor = self.runtime.block_on(self.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest)).unwrap();
        let task = self.runtime.spawn(target.run(self.store.clone(), cursor, cancel.clone()));
        self.target = Some((status, cancel, task));
    }

    /// Waits until the broker has all rows, and stops the target.
    pub(crate) fn finish(&mut self) {
        let (status, cancel, task) = self.target.take().unwrap();
        wait_until(PATIENCE, "the broker to have all rows", || {
            (status.snapshot().acknowledged >= self.total()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {status:?}"));
        cancel.cancel();
        self.runtime.block_on(task).unwrap();
    }
}
