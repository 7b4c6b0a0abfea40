//! One link from its assembly to its end: building its task, and stopping it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_model::{Name, Stream, TagName};
use tidegate_pipeline::Stages;
use tidegate_store::StoreError;
use tidegate_topics::Layout;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    alarm::Retained,
    assembly::{AssembledDevice, AssembledLink},
    backoff::Backoff,
    breaker::Breaker,
    catalog::{DeviceInfo, GroupHandle, GroupInfo, ProfileInfo},
    clock::{Alarm, Clock},
    command::{Directory, Entry, QUEUE, WriteOrder},
    counters::LinkCounters,
    device::{DeviceTask, SOON},
    group::{Emitter, GroupTask, Manner},
    handle::{DeviceView, LinkView},
    health::{DeviceHealth, LinkHealth, Shared},
    link::{LinkTask, Memory, Times, part},
    outputs::Outputs,
    presence::Presence,
    recorded::{self, Wanted},
    schedule::Schedule,
    view::GroupView,
};

/// What a driver that holds its thread may take until it is left behind.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Within that time the links of a site begin to subscribe.
const FIRST_SUBSCRIPTION: Duration = Duration::from_secs(1);

/// A link that runs.
pub(crate) struct RunningLink {
    pub(crate) name: Name,
    pub(crate) fingerprint: String,
    pub(crate) view: LinkView,
    pub(crate) devices: Vec<RunningDevice>,
    times: Times,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    orders: mpsc::Sender<WriteOrder>,
}

/// What others need to know about a device of a link that runs.
pub(crate) struct RunningDevice {
    pub(crate) name: Name,
    pub(crate) tags: Arc<HashMap<TagName, (usize, usize)>>,
    profile: Arc<ProfileInfo>,
    infos: Vec<Arc<GroupInfo>>,
    stages: Vec<Arc<Stages>>,
    views: Vec<GroupView>,
    health: Arc<Shared<DeviceHealth>>,
    alarms: Vec<Retained>,
    pub(crate) presence: Presence,
}

/// The place of a link among those that start together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) count: usize,
}

impl RunningLink {
    /// Starts the task of a link.
    ///
    /// # Errors
    ///
    /// When the store cannot give the streams their numbers.
    pub(crate) async fn start(
        assembled: AssembledLink,
        place: Place,
        layout: &Layout,
        outputs: &Outputs,
        clock: &Clock,
    ) -> Result<RunningLink, StoreError> {
        let since = clock.timestamp(clock.now());
        let counters = Arc::new(LinkCounters::default());
        let health = Arc::new(Shared::new(LinkHealth::idle(since)));
        let mut tasks = Vec::with_capacity(assembled.devices.len());
        for device in &assembled.devices {
            let groups = groups(device, layout, outputs).await?;
            let breaker = Breaker::new(assembled.times.retry, assembled.times.timeout);
            tasks.push(DeviceTask::new(device.name.clone(), groups, breaker, DeviceHealth::unknown(since)));
        }
        let (browses, browse_orders) = mpsc::channel(1);
        let view = LinkView {
            name: assembled.name.clone(),
            driver: assembled.driver,
            health: Arc::clone(&health),
            counters: Arc::clone(&counters),
            devices: assembled.devices.iter().zip(&tasks).map(device_view).collect(),
            browses,
        };
        let devices: Vec<RunningDevice> = assembled
            .devices
            .iter()
            .zip(&tasks)
            .map(|(device, task)| running_device(device, task, layout, outputs))
            .collect();
        let (orders, receiver) = mpsc::channel(QUEUE);
        let cancel = CancellationToken::new();
        let mut link = assembled.link;
        let past = link.wants_recorded().then(|| (outputs.store.clone(), Wanted::of(&devices)));
        let task = LinkTask {
            name: assembled.name.clone(),
            holds: tasks.iter().any(DeviceTask::holds),
            schedule: staggered(&tasks, clock, place),
            devices: tasks,
            orders: receiver,
            browses: browse_orders,
            times: assembled.times,
            health,
            emitter: Emitter { outputs: outputs.clone(), clock: clock.clone(), counters },
            cancel: cancel.clone(),
            readings: tidegate_driver_api::Readings::default(),
            backoff: Backoff::new(assembled.times.retry, link.longest_pause()),
            alarm: Alarm::new(),
            memory: Memory::default(),
        };
        Ok(RunningLink {
            name: assembled.name,
            fingerprint: assembled.fingerprint,
            view,
            devices,
            times: assembled.times,
            cancel,
            task: tokio::spawn(async move {
                if let Some((store, wanted)) = past {
                    recorded::tell(&mut *link, &task.name, (&store, &wanted), &task.emitter.clock, &task.cancel).await;
                }
                task.run(link).await;
            }),
            orders,
        })
    }

    /// Tells the task to stop; [`RunningLink::ended`] waits for it.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits until the task has stopped. A driver that does not give its thread back is left behind after a while.
    pub(crate) async fn ended(self, clock: &Clock) -> Vec<RunningDevice> {
        let abort = self.task.abort_handle();
        match clock.until(clock.now() + self.times.to_stop() + LAST_GRACE, self.task).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(link = %self.name, %error, "the task of the link has ended by a mistake in the program; please report it")
            }
            None => {
                abort.abort();
                tracing::error!(link = %self.name, "the driver holds its thread and does not stop; it is left behind; please report it");
            }
        }
        self.devices
    }

    /// Enters the link's devices.
    pub(crate) fn enter(&self, directory: &mut Directory) {
        for (index, device) in self.devices.iter().enumerate() {
            let entry = Entry {
                index,
                groups: device.stages.clone(),
                tags: Arc::clone(&device.tags),
                orders: self.orders.clone(),
                views: device.views.clone(),
            };
            directory.add(device.name.clone(), entry);
        }
    }

    /// What is to be known of the link's devices.
    pub(crate) fn infos(&self) -> impl Iterator<Item = DeviceInfo> {
        self.devices.iter().map(|device| {
            let groups = device.infos.iter().zip(&device.views);
            let groups = groups.map(|(info, view)| GroupHandle::new(Arc::clone(info), view.clone())).collect();
            let (profile, health) = (Arc::clone(&device.profile), Arc::clone(&device.health));
            DeviceInfo::new(device.name.clone(), self.name.clone(), profile, groups, health)
        })
    }
}

async fn groups(device: &AssembledDevice, layout: &Layout, outputs: &Outputs) -> Result<Vec<GroupTask>, StoreError> {
    let mut groups = Vec::with_capacity(device.groups.len());
    for group in &device.groups {
        let columns = group.stages.columns();
        let (stream, last_seq) = outputs.store.stream(&device.name, &group.name, columns).await?;
        let topic = outputs.topics.data(&device.name, &group.name);
        let others = layout.stream(&device.name, &group.name, stream.columns(), |_| true);
        let manner = Manner { interval: group.interval, subscribed: group.subscribed, alarm: group.alarm };
        groups.push(GroupTask::new(manner, Arc::clone(&group.stages), stream, last_seq, (topic, others)));
    }
    Ok(groups)
}

fn device_view((device, task): (&AssembledDevice, &DeviceTask)) -> DeviceView {
    DeviceView {
        name: device.name.clone(),
        profile: device.profile.path.clone(),
        health: Arc::clone(&task.health),
        counters: Arc::clone(&task.counters),
    }
}

fn running_device(device: &AssembledDevice, task: &DeviceTask, layout: &Layout, outputs: &Outputs) -> RunningDevice {
    RunningDevice {
        name: device.name.clone(),
        tags: Arc::clone(&device.tags),
        profile: Arc::clone(&device.profile),
        infos: device.groups.iter().map(|group| Arc::clone(&group.info)).collect(),
        stages: device.groups.iter().map(|group| Arc::clone(&group.stages)).collect(),
        views: task.groups.iter().map(GroupTask::view).collect(),
        health: Arc::clone(&task.health),
        alarms: task.groups.iter().filter_map(GroupTask::alarms).collect(),
        presence: Presence::begin(device, task.groups.iter().map(GroupTask::others).collect(), layout, outputs),
    }
}

impl RunningDevice {
    /// The streams of its groups.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Arc<Stream>> {
        self.views.iter().map(|view| Arc::clone(view.stream()))
    }

    /// Takes the alarms of a device that has been stopped off the local broker.
    pub(crate) fn forget_alarms(&self, outputs: &Outputs) {
        for alarms in &self.alarms {
            alarms.forget(&self.name, outputs);
        }
    }
}

/// The slots of a link's groups, spread so that neither its devices nor the links of a site are all due at once. A group
/// whose first slot is far is read once before it.
fn staggered(devices: &[DeviceTask], clock: &Clock, place: Place) -> Schedule {
    let mut schedule = Schedule::default();
    let start = clock.now();
    let links = place.count.max(1);
    let total = devices.len().max(1) * links;
    for (index, device) in devices.iter().enumerate() {
        let place = index * links + place.index;
        for (poll, interval) in device.polls(index) {
            // What comes by itself is worth its connection at once, however seldom it comes.
            let soonest = if device.is_subscribed(poll.group) { interval.min(FIRST_SUBSCRIPTION) } else { interval };
            let first = part(soonest, place, total);
            schedule.add(poll, interval, start + first);
            if first > SOON {
                schedule.add_extra(poll, start + part(SOON, place, total));
            }
        }
    }
    schedule
}
