//! A running gateway: the link tasks, the command path and the sys topics; started, changed and stopped as a whole.

use std::{collections::HashSet, sync::RwLock, time::Duration};

use tidegate_broker::Broker;
use tidegate_model::{Name, Reason, TagName};
use tidegate_store::{Store, StoreError};
use tidegate_topics::Layout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    alarm_feed::AlarmSender,
    assembly::{AssembledLink, Assembly},
    board::Board,
    catalog::Catalog,
    clock::Clock,
    command::{Directory, INBOX},
    handle::{Handle, Inner},
    history::Archive,
    outputs::{Outputs, Topics},
    presence,
    running::{Place, RunningDevice, RunningLink},
    set,
    status::DeviceState,
    sys,
};

/// How long the answers to the last commands may take after the links have stopped.
const LAST_WAIT: Duration = Duration::from_secs(2);

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
        let (alarms, board) = (AlarmSender::new(), Board::new());
        let outputs = Outputs {
            alarms: alarms.clone(),
            board: board.clone(),
            publisher: options.broker.publisher(),
            store: options.store.clone(),
            topics: topics.clone(),
            tag_topics: options.tag_topics,
            gateway: options.id.clone(),
            version: options.version,
        };
        let inbox = options.broker.subscribe(&topics.set_filter(), INBOX);
        let handle = Handle::new(Inner {
            id: options.id,
            version: options.version,
            clock: clock.clone(),
            alarms,
            board,
            archive: Archive::new(&options.store),
            store: options.store,
            broker: options.broker,
            catalog: Catalog::default(),
            directory: RwLock::new(Directory::default()),
            links: RwLock::new(Vec::new()),
            targets: RwLock::new(Vec::new()),
            bridges: RwLock::new(Vec::new()),
            notices: RwLock::new(Vec::new()),
        });
        let mut gateway = Gateway { handle, outputs, links: Vec::new(), cancel, tasks };
        if let Err(error) = gateway.start_links(assembly.links, &assembly.layout).await {
            gateway.stop_links(|_| true).await;
            return Err(error);
        }
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
    /// When the store cannot give new streams their numbers; the links go on as they were then, unless the store has been closed
    /// in between.
    pub async fn reload(&mut self, assembly: Assembly) -> Result<Reloaded, StoreError> {
        let order: Vec<Name> = assembly.links.iter().map(|link| link.name.clone()).collect();
        let is_same = |running: &RunningLink, new: &AssembledLink| {
            running.name == new.name && running.fingerprint == new.fingerprint
        };
        let (same, new): (Vec<_>, Vec<_>) =
            assembly.links.into_iter().partition(|new| self.links.iter().any(|running| is_same(running, new)));
        // The store is asked before anything is stopped: with a disk that is full, the old links go on.
        for link in &new {
            self.know_streams(link).await?;
        }
        let kept: HashSet<Name> = same.into_iter().map(|link| link.name).collect();
        let gone = self.stop_links(|link| !kept.contains(&link.name)).await;
        let result = Reloaded { kept: kept.len(), started: new.len(), stopped: gone.links };
        // Before the new links have alarms of their own.
        gone.devices.iter().for_each(|device| device.forget_alarms(&self.outputs));
        let started = self.start_links(new, &assembly.layout).await;
        self.links.sort_by_key(|link| order.iter().position(|name| *name == link.name));
        self.publish_directory();
        self.forget(&gone.devices);
        started.map(|()| result)
    }

    /// Stops everything in order and says goodbye on the local broker. The store is left open.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        let gone = self.stop_links(|_| true).await;
        self.tasks.close();
        let clock = self.handle.clock();
        if clock.until(clock.now() + LAST_WAIT, self.tasks.wait()).await.is_none() {
            tracing::warn!("commands over MQTT were not answered in time; the gateway stops without waiting for them");
        }
        let since = clock.timestamp(clock.now());
        for device in &gone.devices {
            let reason = Some(Reason::Disconnected.as_str());
            self.outputs.device_state(&device.name, DeviceState::Offline, reason, since);
        }
        self.outputs.publisher.publish(self.outputs.topics.gateway_state(), "offline".into(), true);
    }

    /// Stops the links that are chosen, all at the same time.
    async fn stop_links(&mut self, choose: impl Fn(&RunningLink) -> bool) -> Gone {
        let (chosen, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.links).into_iter().partition(choose);
        self.links = rest;
        for link in &chosen {
            link.cancel();
        }
        let mut gone = Gone { links: chosen.len(), devices: Vec::new() };
        for link in chosen {
            gone.devices.extend(link.ended(self.handle.clock()).await);
        }
        gone
    }

    async fn start_links(&mut self, links: Vec<AssembledLink>, layout: &Layout) -> Result<(), StoreError> {
        let count = links.len();
        let mut result = Ok(());
        for (index, link) in links.into_iter().enumerate() {
            match RunningLink::start(link, Place { index, count }, layout, &self.outputs, self.handle.clock()).await {
                Ok(link) => self.links.push(link),
                Err(error) => result = Err(error),
            }
        }
        self.publish_directory();
        result
    }

    /// Lets the store make the streams of a link, should there be new ones.
    async fn know_streams(&self, link: &AssembledLink) -> Result<(), StoreError> {
        for device in &link.devices {
            for group in &device.groups {
                self.outputs.store.stream(&device.name, &group.name, group.stages.columns()).await?;
            }
        }
        Ok(())
    }

    /// Takes what is retained about devices and tags that are gone off the local broker.
    fn forget(&self, stopped: &[RunningDevice]) {
        let devices = || self.links.iter().flat_map(|link| &link.devices);
        let (gone, kept) = (stopped.iter().map(|device| &device.presence), devices().map(|device| &device.presence));
        presence::forget(gone, kept, &self.outputs);
        for device in stopped {
            let successor = devices().find(|other| other.name == device.name);
            if successor.is_none() {
                self.outputs.forget_device(&device.name);
            }
            let is_gone = |tag: &&TagName| !successor.is_some_and(|other| other.tags.contains_key(*tag));
            for tag in device.tags.keys().filter(is_gone) {
                self.outputs.forget_tag(&device.name, tag);
            }
        }
    }

    /// Tells the handle which links and devices there are now.
    fn publish_directory(&self) {
        let mut directory = Directory::default();
        for link in &self.links {
            link.enter(&mut directory);
        }
        self.handle.replace(directory, self.links.iter().map(|link| link.view.clone()).collect());
        self.handle.shelf().replace(self.links.iter().flat_map(RunningLink::infos).collect());
    }
}

/// Links that have been stopped.
struct Gone {
    links: usize,
    devices: Vec<RunningDevice>,
}
