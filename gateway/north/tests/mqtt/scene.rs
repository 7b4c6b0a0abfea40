//! What the tests of the mqtt target play on: a store with rows, a target that runs, and a broker that does what the test says.

mod broker;
mod plant;
mod receiver;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_config::{MqttTarget as Options, TopicTemplate};
use tidegate_model::Timestamp;
use tidegate_north::{AnnouncementFeed, MqttTarget, RowTopics, SentSoFar, TargetSnapshot, TargetStatus};
use tidegate_store::{Cursor, Store};
use tidegate_topics::Layout;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use broker::{Broker, Client, seq};
pub(crate) use plant::Plant;
pub(crate) use receiver::Receiver;

/// What the target's clock shows, always. Rows with a later time are live.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// Nothing in these tests takes longer than this unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A target that runs.
pub(crate) struct Running {
    pub(crate) status: TargetStatus,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Options of a target for the broker on that port of this machine.
pub(crate) fn options(port: u16) -> Options {
    Options {
        keep_alive: Duration::from_secs(10),
        ack_timeout: Duration::from_secs(20),
        retry_longest: Duration::from_millis(50),
        ..Options::new("127.0.0.1", port)
    }
}

pub(crate) fn start(options: &Options, queue: (Store, Cursor)) -> Running {
    start_as("cloud", options, queue)
}

/// A target of another name than usual.
pub(crate) fn start_as(name: &str, options: &Options, queue: (Store, Cursor)) -> Running {
    run(target(name, options), queue)
}

/// A target that says what this feed gives too.
pub(crate) fn start_announcing(options: &Options, queue: (Store, Cursor), feed: Box<dyn AnnouncementFeed>) -> Running {
    run(target("cloud", options).announcing(feed), queue)
}

/// A target whose rows go to these templates, and to no other topics.
pub(crate) fn start_on(options: &Options, queue: (Store, Cursor), templates: Vec<TopicTemplate>) -> Running {
    start_after(&SentSoFar::default(), options, queue, templates)
}

/// Such a target after another one of the same name.
pub(crate) fn start_after(
    sent: &SentSoFar,
    options: &Options,
    queue: (Store, Cursor),
    templates: Vec<TopicTemplate>,
) -> Running {
    let names = templates.iter().map(|template| template.name.clone()).collect();
    let topics = tidegate_config::RowTopics { standard: false, templates: names };
    let layout = Layout::with_templates(templates).into();
    run(target("cloud", options).on_topics(RowTopics::new(layout, topics).after(sent.clone())), queue)
}

fn target(name: &str, options: &Options) -> MqttTarget {
    let clock = Arc::new(|| Timestamp::from_millis(NOW));
    let gateway = "line3".parse().unwrap();
    MqttTarget::new(name.parse().unwrap(), options, &gateway, "plant", clock).unwrap()
}

fn run(target: MqttTarget, (store, cursor): (Store, Cursor)) -> Running {
    let (status, cancel) = (target.status(), CancellationToken::new());
    let task = tokio::spawn(target.run(store, cursor, cancel.clone()));
    Running { status, cancel, task }
}

impl Running {
    /// Says stop; the broker has to do its part before [`Running::stopped`] returns.
    pub(crate) fn stop(&self) {
        self.cancel.cancel();
    }

    pub(crate) async fn stopped(self) {
        self.cancel.cancel();
        within(LONG, self.task).await.unwrap();
    }

    /// Waits until the status shows what is looked for.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&TargetSnapshot) -> bool) -> TargetSnapshot {
        let start = Instant::now();
        loop {
            let snapshot = self.status.snapshot();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(start.elapsed() < LONG, "never saw {what}; the target is {snapshot:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The result of `work`, which has to come in time.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, work).await.expect("it takes too long")
}
