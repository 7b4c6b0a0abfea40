//! A target on its own, and the rows that it sends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_codec::json;
use tidegate_config::{self as config, ByteSize, MqttTarget as Options, StartAt, TopicTemplate, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_north::{MqttTarget, RowTopics, TargetSnapshot, TargetStatus};
use tidegate_store::Store;
use tidegate_tests::{Cut, FaultProxy, PATIENCE, wait_until};
use tidegate_topics::Layout;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// More rows are made in a loop while fewer than this wait to be acknowledged, however slow the machine is.
const AHEAD: u64 = 2_000;

/// A store with one stream, and a target that reads it.
pub(crate) struct Line {
    runtime: Runtime,
    store: Store,
    stream: Arc<Stream>,
    /// The number of the last row.
    pub(crate) last: u64,
    target: Option<Running>,
    _folder: tempfile::TempDir,
}

struct Running {
    status: TargetStatus,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Line {
    pub(crate) fn new() -> Line {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(20),
            max_age: Duration::from_secs(3600),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        let (store, stream) = runtime.block_on(async {
            let store = Store::open(folder.path(), &options).await.unwrap().store;
            let (device, group) = ("meter".parse().unwrap(), "fast".parse().unwrap());
            let (stream, _) = store.stream(&device, &group, vec![column]).await.unwrap();
            (store, stream)
        });
        Line { runtime, store, stream, last: 0, target: None, _folder: folder }
    }

    pub(crate) fn rows(&mut self, count: u64) {
        (0..count).for_each(|_| self.row("x"));
    }

    pub(crate) fn row(&mut self, text: &str) {
        self.last += 1;
        let slots = [Slot::Good(Value::Text(text.into()))].into();
        let row = Row { stream: Arc::clone(&self.stream), seq: self.last, time: now(), device_time: None, slots };
        let mut payload = Vec::new();
        json::row(&row, false, &mut payload);
        self.store.append(Arc::new(row), payload.into());
    }

    pub(crate) fn start(&mut self, options: &Options) {
        self.run(Line::target(options));
    }

    /// Starts a target whose rows go to the topics of these templates alone.
    pub(crate) fn start_on(&mut self, options: &Options, templates: Vec<TopicTemplate>) {
        let names = templates.iter().map(|template| template.name.clone()).collect();
        let topics = config::RowTopics { standard: false, templates: names };
        let topics = RowTopics::new(Layout::with_templates(templates).into(), topics);
        self.run(Line::target(options).on_topics(topics));
    }

    fn target(options: &Options) -> MqttTarget {
        let gateway = "line3".parse().unwrap();
        MqttTarget::new("cloud".parse().unwrap(), options, &gateway, "plant", Arc::new(now)).unwrap()
    }

    fn run(&mut self, target: MqttTarget) {
        let (status, cancel) = (target.status(), CancellationToken::new());
        let cursor = self.runtime.block_on(self.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest)).unwrap();
        let task = self.runtime.spawn(target.run(self.store.clone(), cursor, cancel.clone()));
        self.target = Some(Running { status, cancel, task });
    }

    pub(crate) fn stop(&mut self) {
        let Running { cancel, task, .. } = self.target.take().unwrap();
        cancel.cancel();
        self.runtime.block_on(task).unwrap();
    }

    pub(crate) fn status(&self) -> TargetSnapshot {
        self.target.as_ref().unwrap().status.snapshot()
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&TargetSnapshot) -> bool) -> TargetSnapshot {
        let found = wait_until(PATIENCE, what, || Some(self.status()).filter(&is_so));
        found.unwrap_or_else(|error| panic!("{error}; the target is {:?}", self.status()))
    }

    pub(crate) fn until_all_acknowledged(&self) -> TargetSnapshot {
        self.until("all rows acknowledged", |status| status.acknowledged >= self.last)
    }

    /// For a connection that is made afterwards all of them are backlog: they come in their order.
    pub(crate) fn until_all_committed(&self) {
        let committed = || (self.store.status().rows_committed == self.last).then_some(());
        wait_until(PATIENCE, "all rows committed", committed).unwrap();
    }

    /// Cuts the link so many times under load: rows come all the time, and a cut hits what is on its way.
    pub(crate) fn cut(&mut self, proxy: &FaultProxy, times: u32, mut row: impl FnMut(&mut Line)) {
        let mut last = None;
        for cut in 0..times {
            let connection = wait_until(PATIENCE, "something on its way over a new connection", || {
                if self.last < self.status().acknowledged + AHEAD {
                    (0..20).for_each(|_| row(self));
                }
                let status = self.status();
                (status.in_flight > 0 && last != Some(status.reconnects)).then_some(status.reconnects)
            });
            last = Some(
                connection.unwrap_or_else(|error| panic!("{error}, cut {cut}; the target is {:?}", self.status())),
            );
            proxy.cut(if cut % 2 == 0 { Cut::Reset } else { Cut::Closed });
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis().try_into().unwrap())
}
