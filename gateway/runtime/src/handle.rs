//! What others may ask of a running gateway and tell it to do: the only way in for the interface and the command line.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tidegate_broker::Broker;
use tidegate_model::Name;
use tidegate_store::Store;
use tokio::sync::mpsc;

use crate::{
    alarm_feed::{AlarmFeed, AlarmSender},
    board::{Board, BoardFeed},
    browse::BrowseOrder,
    catalog::Catalog,
    clock::Clock,
    command::{self, Begun, CommandError, Directory, WriteError},
    counters::{DeviceCounters, LinkCounters},
    health::{DeviceHealth, LinkHealth, Shared},
    history::Archive,
    status::{BridgeStatus, BrokerStatus, DeviceStatus, Dropped, LinkStatus, Lost, Status, StoreStatus, TargetStatus},
    view::Latest,
};

/// Tells the status of a target when asked.
pub type TargetProbe = Box<dyn Fn() -> TargetStatus + Send + Sync>;

/// Tells the status of a bridge when asked.
pub type BridgeProbe = Box<dyn Fn() -> BridgeStatus + Send + Sync>;

/// A read and command handle on a running gateway. Clones speak to the same gateway.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: Name,
    pub(crate) version: &'static str,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    pub(crate) alarms: AlarmSender,
    pub(crate) board: Board,
    pub(crate) broker: Broker,
    pub(crate) catalog: Catalog,
    pub(crate) directory: RwLock<Directory>,
    pub(crate) links: RwLock<Vec<LinkView>>,
    pub(crate) targets: RwLock<Vec<TargetProbe>>,
    pub(crate) bridges: RwLock<Vec<BridgeProbe>>,
    pub(crate) notices: RwLock<Vec<String>>,
}

/// Where the status of a link is.
#[derive(Clone)]
pub(crate) struct LinkView {
    pub(crate) name: Name,
    pub(crate) driver: String,
    pub(crate) health: Arc<Shared<LinkHealth>>,
    pub(crate) counters: Arc<LinkCounters>,
    pub(crate) devices: Vec<DeviceView>,
    pub(crate) browses: mpsc::Sender<BrowseOrder>,
}

/// Where the status of a device is.
#[derive(Clone)]
pub(crate) struct DeviceView {
    pub(crate) name: Name,
    pub(crate) profile: String,
    pub(crate) health: Arc<Shared<DeviceHealth>>,
    pub(crate) counters: Arc<DeviceCounters>,
}

impl Handle {
    pub(crate) fn new(inner: Inner) -> Handle {
        Handle { inner: Arc::new(inner) }
    }

    /// The gateway's id.
    pub fn id(&self) -> &Name {
        &self.inner.id
    }

    /// The gateway's clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(crate) fn shelf(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// Where a list of what is behind a link can be ordered.
    pub(crate) fn browses(&self, link: &str) -> Option<mpsc::Sender<BrowseOrder>> {
        let links = self.inner.links.read().unwrap_or_else(PoisonError::into_inner);
        links.iter().find(|view| view.name.as_str() == link).map(|view| view.browses.clone())
    }

    /// The alarms of all devices, from now on.
    pub fn alarms(&self) -> AlarmFeed {
        self.inner.alarms.feed()
    }

    /// What is said beside rows on the local broker: states of devices, alarms, the gateway's own figures.
    pub fn board(&self) -> BoardFeed {
        self.inner.board.feed()
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.inner.archive
    }

    /// Says how the status of the targets is found out, in place of what was said before.
    pub fn set_targets(&self, targets: Vec<TargetProbe>) {
        *self.inner.targets.write().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    /// Says how the status of the bridges is found out, in place of what was said before.
    pub fn set_bridges(&self, bridges: Vec<BridgeProbe>) {
        *self.inner.bridges.write().unwrap_or_else(PoisonError::into_inner) = bridges;
    }

    /// Says what will need a person soon, in place of what was said before.
    pub fn set_notices(&self, notices: Vec<String>) {
        *self.inner.notices.write().unwrap_or_else(PoisonError::into_inner) = notices;
    }

    pub(crate) fn replace(&self, directory: Directory, links: Vec<LinkView>) {
        *self.inner.directory.write().unwrap_or_else(PoisonError::into_inner) = directory;
        *self.inner.links.write().unwrap_or_else(PoisonError::into_inner) = links;
    }

    /// Writes tags of a device, all or none of them sent, and waits for the device. The answer lists what went wrong by
    /// tag; empty is success.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when the command as a whole could not be carried out.
    pub async fn write(
        &self,
        device: &str,
        values: &serde_json::Map<String, serde_json::Value>,
        ttl: Option<Duration>,
    ) -> Result<Vec<(String, WriteError)>, CommandError> {
        self.begin_write(device, values, ttl)?.answer(&self.inner.clock).await
    }

    /// Checks a command and hands it to its link, so that commands reach a device in the order of these calls.
    pub(crate) fn begin_write(
        &self,
        device: &str,
        values: &serde_json::Map<String, serde_json::Value>,
        ttl: Option<Duration>,
    ) -> Result<Begun, CommandError> {
        let entry = self.entry(device)?;
        command::begin(&entry, device, values, ttl.unwrap_or(command::DEFAULT_TTL), &self.inner.clock)
    }

    /// The latest sample of every tag of a device. Does not wait for the device or its link.
    ///
    /// # Errors
    ///
    /// [`CommandError::UnknownDevice`].
    pub async fn latest(&self, device: &str) -> Result<Vec<Latest>, CommandError> {
        Ok(self.entry(device)?.latest())
    }

    fn entry(&self, device: &str) -> Result<Arc<command::Entry>, CommandError> {
        self.inner.directory.read().unwrap_or_else(PoisonError::into_inner).entry(device)
    }

    /// The state of everything at this moment.
    pub fn status(&self) -> Status {
        let store = self.store_status();
        let problems: Vec<String> = store.failing.clone().into_iter().collect();
        let broker = BrokerStatus::from(&self.inner.broker);
        let mut notices = self.inner.notices.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = broker.disk.as_ref().and_then(|disk| disk.failing.as_ref()) {
            notices.push(format!("the MQTT broker cannot write its sessions and retained messages: {why}"));
        }
        Status {
            id: self.inner.id.to_string(),
            version: self.inner.version,
            uptime_s: self.inner.clock.uptime().as_secs(),
            healthy: problems.is_empty(),
            problems,
            notices,
            clock_steps: self.inner.clock.steps(),
            links: self.links(),
            targets: self.targets(),
            broker,
            bridges: self
                .inner
                .bridges
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|probe| probe())
                .collect(),
            store,
        }
    }

    fn links(&self) -> Vec<LinkStatus> {
        self.inner.links.read().unwrap_or_else(PoisonError::into_inner).iter().map(LinkView::status).collect()
    }

    fn targets(&self) -> Vec<TargetStatus> {
        let store = self.inner.store.status();
        let probes = self.inner.targets.read().unwrap_or_else(PoisonError::into_inner);
        let mut targets: Vec<TargetStatus> = probes.iter().map(|probe| probe()).collect();
        for target in &mut targets {
            let Some(queue) = store.targets.iter().find(|queue| queue.target.as_str() == target.name) else { continue };
            target.cursor = queue.last_acknowledged.map(|time| time.as_millis());
            target.waiting_rows = queue.waiting_rows;
            target.backlog_rows = queue.waiting_rows.saturating_sub(target.live_rows);
            target.waiting_bytes = share(store.bytes, queue.waiting_rows, store.rows);
            target.live_bytes = share(target.waiting_bytes, target.live_rows, queue.waiting_rows);
            target.backlog_bytes = target.waiting_bytes.saturating_sub(target.live_bytes);
            target.oldest_waiting = queue.waiting_since.map(|time| time.as_millis());
            target.oldest_live = queue.live_since.map(|time| time.as_millis());
            target.oldest_backlog = queue.backlog_since.map(|time| time.as_millis());
            target.gaps = queue.gaps;
        }
        targets
    }

    fn store_status(&self) -> StoreStatus {
        let status = self.inner.store.status();
        StoreStatus {
            boot: status.boot,
            rows: status.rows,
            bytes: status.bytes,
            file_bytes: status.file_bytes,
            rows_committed: status.rows_committed,
            bytes_committed: status.bytes_committed,
            commits: status.commits,
            fsyncs: status.fsyncs,
            epochs: status.epochs,
            blocks: status.blocks,
            block_rows: status.block_rows,
            fresh_rows: status.fresh_rows,
            fresh_bytes: status.fresh_bytes,
            fresh_seconds: status.fresh_span.as_secs_f64(),
            pending_rows: status.pending_rows,
            pending_bytes: status.pending_bytes,
            pending_bytes_high: status.pending_bytes_high,
            dropped: Dropped {
                disk_failing: status.dropped.disk_failing,
                too_old: status.dropped.too_old,
                store_full: status.dropped.store_full,
                thinned: status.dropped.thinned,
                damaged: status.dropped.damaged,
            },
            oldest: status.oldest.map(|time| time.as_millis()),
            failing: status.failing,
            longest_commit_ms: status.commit_times.longest.as_secs_f64() * 1_000.0,
            commit_seconds: status.commit_times.sum.as_secs_f64(),
        }
    }
}

/// The bytes that `part` rows of `all` take, when all together take `bytes`.
fn share(bytes: u64, part: u64, all: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part.min(all)) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl LinkView {
    fn status(&self) -> LinkStatus {
        let health = self.health.get();
        let counters = &self.counters;
        LinkStatus {
            name: self.name.to_string(),
            driver: self.driver.clone(),
            state: health.state,
            since: health.since.as_millis(),
            next_try: health.next_try.map(|time| time.as_millis()),
            last_error: health.last_error,
            connects: counters.connects.get(),
            connect_failures: counters.connect_failures.get(),
            requests: counters.requests.get(),
            polls: counters.polls.get(),
            arrivals: counters.arrivals.get(),
            failed_polls: counters.failed_polls.get(),
            missed_slots: counters.missed_slots.get(),
            rows: counters.rows.get(),
            values: counters.values.get(),
            payload_bytes: counters.payload_bytes.get(),
            writes: counters.writes.get(),
            failed_writes: counters.failed_writes.get(),
            lost: Lost {
                timeout: counters.lost_timeout.get(),
                closed: counters.lost_closed.get(),
                mismatch: counters.lost_mismatch.get(),
                malformed: counters.lost_malformed.get(),
            },
            latency: counters.latency.snapshot(),
            devices: self.devices.iter().map(DeviceView::status).collect(),
        }
    }
}

impl DeviceView {
    fn status(&self) -> DeviceStatus {
        let health = self.health.get();
        DeviceStatus {
            name: self.name.to_string(),
            profile: self.profile.clone(),
            state: health.state,
            reason: health.reason.map(|reason| reason.as_str()),
            since: health.since.as_millis(),
            next_try: health.next_try.map(|time| time.as_millis()),
            polls: self.counters.polls.get(),
            arrivals: self.counters.arrivals.get(),
            failed_polls: self.counters.failed_polls.get(),
            missed_slots: self.counters.missed_slots.get(),
            rows: self.counters.rows.get(),
        }
    }
}
