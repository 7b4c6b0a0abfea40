//! A running gateway: the link tasks, the command path and the sys topics; started, changed and stopped as a whole.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use tidegate_broker::Broker;
use tidegate_model::Name;
use tidegate_store::{Store, StoreError};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    assembly::{AssembledDevice, AssembledLink, Assembly},
    backoff::Backoff,
    breaker::Breaker,
    clock::Clock,
    command::{Directory, Entry, Order, QUEUE},
    counters::LinkCounters,
    device::{DeviceTask, Emitter, GroupTask, SharedHealth},
    handle::{DeviceView, Handle, Inner, LinkView},
    link::{LinkTask, SharedLinkHealth},
    outputs::{Outputs, Topics},
    schedule::Schedule,
    set, sys,
};

/// What a gateway is started with.
pub struct Options {
    /// The gateway's id.
    pub id: Name,
    /// Version of the program, for the status.
    pub version: &'static str,
    /// First level of all topics.
    pub topic_root: String,
    /// Whether each tag has a retained topic of its own.
    pub tag_topics: bool,
    /// The durable log.
    pub store: Store,
    /// The local broker.
    pub broker: Broker,
}

/// A running gateway.
pub struct Gateway {
    handle: Handle,
    outputs: Outputs,
    links: Vec<RunningLink>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

struct RunningLink {
    name: Name,
    fingerprint: String,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    view: LinkView,
    orders: mpsc::Sender<Order>,
    /// What the directory needs to know about the devices.
    devices: Vec<AssembledDevice>,
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Links that went on without a break.
    pub kept: usize,
    /// Links that were started.
    pub started: usize,
    /// Links that were stopped.
    pub stopped: usize,
}

impl Gateway {
    /// Starts all links of an assembly.
    ///
    /// # Errors
    ///
    /// When the store cannot give the streams their numbers.
    pub async fn start(options: Options, assembly: Assembly) -> Result<Gateway, StoreError> {
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let clock = Clock::start();
        let topics = Topics::new(&options.topic_root, &options.id);
        let outputs = Outputs {
            publisher: options.broker.publisher(),
            store: options.store.clone(),
            topics: topics.clone(),
            tag_topics: options.tag_topics,
        };
        let inbox = options.broker.subscribe(&topics.set_filter(), QUEUE);
        let handle = Handle::new(Inner {
            id: options.id,
            version: options.version,
            clock: clock.clone(),
            store: options.store,
            broker: options.broker,
            directory: RwLock::new(Directory::default()),
            links: RwLock::new(Vec::new()),
            targets: RwLock::new(Vec::new()),
        });
        let mut gateway = Gateway { handle, outputs, links: Vec::new(), cancel, tasks };
        gateway.start_links(assembly).await?;
        gateway.tasks.spawn(clock.follow(gateway.cancel.clone()));
        gateway.tasks.spawn(set::run(inbox, gateway.handle.clone(), gateway.outputs.clone(), gateway.cancel.clone()));
        gateway.tasks.spawn(sys::run(gateway.handle.clone(), gateway.outputs.clone(), gateway.cancel.clone()));
        gateway.outputs.publisher.publish(topics.gateway_state(), "online".into(), true);
        Ok(gateway)
    }

    /// What others may ask of the gateway and tell it to do.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Goes over to another assembly. Links that are the same in both go on without a break.
    ///
    /// # Errors
    ///
    /// When the store cannot give new streams their numbers; links that had to stop are stopped then.
    pub async fn reload(&mut self, assembly: Assembly) -> Result<Reloaded, StoreError> {
        let mut new = assembly.links;
        let mut kept = Vec::new();
        let mut stopped = Vec::new();
        for link in self.links.drain(..) {
            let same = new.iter().position(|other| other.name == link.name && other.fingerprint == link.fingerprint);
            match same {
                Some(index) => {
                    new.remove(index);
                    kept.push(link);
                }
                None => stopped.push(link),
            }
        }
        let mut result = Reloaded { kept: kept.len(), started: new.len(), stopped: stopped.len() };
        self.links = kept;
        for link in &stopped {
            link.cancel.cancel();
        }
        for link in stopped {
            // A task that panicked has been reported by the runtime; its link is gone either way.
            let _ = link.task.await;
        }
        let started = self.start_links(Assembly { links: new }).await;
        if started.is_err() {
            result.started = 0;
        }
        started.map(|()| result)
    }

    /// Stops everything in order and says goodbye on the local broker. The store is left open.
    pub async fn stop(self) {
        self.cancel.cancel();
        for link in self.links {
            link.cancel.cancel();
            // A task that panicked has been reported by the runtime.
            let _ = link.task.await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.outputs.publisher.publish(self.outputs.topics.gateway_state(), "offline".into(), true);
    }

    async fn start_links(&mut self, assembly: Assembly) -> Result<(), StoreError> {
        let count = assembly.links.len();
        for (index, link) in assembly.links.into_iter().enumerate() {
            let link = self.start_link(link, index, count).await?;
            self.links.push(link);
        }
        self.publish_directory();
        Ok(())
    }

    async fn start_link(
        &self,
        assembled: AssembledLink,
        index: usize,
        count: usize,
    ) -> Result<RunningLink, StoreError> {
        let clock = self.handle.clock();
        let counters = Arc::new(LinkCounters::default());
        let since = clock.timestamp(clock.now());
        let health = Arc::new(SharedLinkHealth::new(since));
        let (orders, receiver) = mpsc::channel(QUEUE);
        let mut devices = Vec::with_capacity(assembled.devices.len());
        for device in &assembled.devices {
            devices.push(self.device_task(device, &assembled, since).await?);
        }
        let views = assembled.devices.iter().zip(&devices).map(|(device, task)| DeviceView {
            name: device.name.clone(),
            profile: device.profile.clone(),
            health: Arc::clone(&task.health),
        });
        let view = LinkView {
            name: assembled.name.clone(),
            driver: assembled.driver.clone(),
            health: Arc::clone(&health),
            counters: Arc::clone(&counters),
            devices: views.collect(),
        };
        let cancel = CancellationToken::new();
        let task = LinkTask {
            name: assembled.name.clone(),
            schedule: staggered(&devices, clock, index, count),
            devices,
            orders: receiver,
            times: assembled.times,
            health,
            emitter: Emitter { outputs: self.outputs.clone(), clock: clock.clone(), counters },
            cancel: cancel.clone(),
            readings: tidegate_driver_api::Readings::default(),
            backoff: Backoff::new(assembled.times.retry),
        };
        Ok(RunningLink {
            name: assembled.name,
            fingerprint: assembled.fingerprint,
            cancel,
            task: tokio::spawn(task.run(assembled.link)),
            view,
            orders,
            devices: assembled.devices,
        })
    }

    async fn device_task(
        &self,
        device: &AssembledDevice,
        link: &AssembledLink,
        since: tidegate_model::Timestamp,
    ) -> Result<DeviceTask, StoreError> {
        let mut groups = Vec::with_capacity(device.groups.len());
        for group in &device.groups {
            let (stream, last_seq) =
                self.outputs.store.stream(&device.name, &group.name, group.stages.columns()).await?;
            let topic = self.outputs.topics.data(&device.name, &group.name);
            let stages = Arc::clone(&group.stages);
            groups.push(GroupTask::new(group.interval, stages, stream, last_seq, topic));
        }
        Ok(DeviceTask {
            name: device.name.clone(),
            groups,
            breaker: Breaker::new(link.times.retry, link.times.timeout),
            health: Arc::new(SharedHealth::new(since)),
        })
    }

    /// Tells the handle which links and devices there are now.
    fn publish_directory(&self) {
        let mut directory = Directory::default();
        for link in &self.links {
            for (index, device) in link.devices.iter().enumerate() {
                let groups = device.groups.iter().map(|group| Arc::clone(&group.stages)).collect();
                let tags = Arc::clone(&device.tags);
                directory.add(device.name.clone(), Entry { index, groups, tags, orders: link.orders.clone() });
            }
        }
        self.handle.replace(directory, self.links.iter().map(|link| link.view.clone()).collect());
    }
}

/// The slots of a link's groups, spread so that neither its devices nor the links of a site are all due at once.
fn staggered(devices: &[DeviceTask], clock: &Clock, link: usize, links: usize) -> Schedule {
    let mut schedule = Schedule::default();
    let start = clock.now();
    let total = devices.len().max(1) * links.max(1);
    for (index, device) in devices.iter().enumerate() {
        let place = index * links.max(1) + link;
        for (poll, interval) in device.polls(index) {
            schedule.add(poll, interval, start + part(interval, place, total));
        }
    }
    schedule
}

/// The `place`-th of `total` equal parts of a time.
fn part(time: Duration, place: usize, total: usize) -> Duration {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
    time.mul_f64(f64::from(place) / f64::from(total))
}
