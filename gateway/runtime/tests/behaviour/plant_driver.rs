//! The driver of the plant in memory: each tag is a request of its own, and everything is noted down.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_driver_api::{
    Browser, Capabilities, Cause, Compiled, CompiledDevice, ConnectFault, Cx, Driver, Expired, GroupPlan, Link,
    Listing, Lost, Next, Node, NodeKind, Poll, Readings, Session, Step, Subscriber, Writer, Written,
    config::{self, Access, Profile, Report, TagSource},
    model::{Value, ValueKind, ValueType},
};

use crate::{
    plant::{Deed, Door, Mood, Plant},
    plant_subscriber::subscribed,
};

/// The driver `plant` over one plant.
pub(crate) struct PlantDriver(pub(crate) Plant);

pub(crate) struct PlantLink {
    pub(crate) plant: Plant,
    pub(crate) name: String,
    pub(crate) devices: Vec<PlantDevice>,
}

pub(crate) struct PlantDevice {
    pub(crate) name: String,
    pub(crate) profile: Arc<Profile>,
    plans: Arc<[GroupPlan]>,
}

pub(crate) struct PlantSession<'link> {
    pub(crate) link: &'link PlantLink,
    /// Of the link, when the session was opened.
    cuts: u64,
    /// Where the list began, and how many nodes of it have been told.
    list: Option<(Option<String>, usize)>,
}

impl Driver for PlantDriver {
    fn name(&self) -> &'static str {
        "plant"
    }

    fn family(&self) -> &'static str {
        "plant"
    }

    fn summary(&self) -> &'static str {
        "A plant in memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, subscribe: true, ..Capabilities::default() }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        profile.quirks.finish(report);
        let plan = |group: &config::Group| {
            let kind = |tag: &config::Tag| match &tag.source {
                TagSource::Device(_) => Some(ValueType::single(ValueKind::F64)),
                TagSource::Constant(_) | TagSource::Expression(_) => None,
            };
            let kinds = group.tags.iter().map(kind).collect();
            subscribed(group, GroupPlan { kinds, requests: 1, bytes: 1, ..GroupPlan::default() })
        };
        Some(profile.groups.iter().map(plan).collect())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        let plans: Option<Vec<_>> = link.devices.iter().map(|device| self.plan(&device.profile, report)).collect();
        let plans = plans?;
        let compiled = plans.iter().map(|groups| CompiledDevice { groups: Arc::clone(groups) }).collect();
        let device = |(device, plans): (&config::Device, Arc<[GroupPlan]>)| PlantDevice {
            name: device.name.to_string(),
            profile: Arc::clone(&device.profile),
            plans,
        };
        let devices = link.devices.iter().zip(plans).map(device).collect();
        let link = PlantLink { plant: self.0.clone(), name: link.name.to_string(), devices };
        Some(Compiled { link: Box::new(link), devices: compiled })
    }
}

#[async_trait]
impl Link for PlantLink {
    async fn connect<'link>(&'link mut self, _cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        self.plant.note(Deed::Connect { link: self.name.clone() });
        match self.door().await {
            Door::Open => Ok(Box::new(PlantSession { cuts: self.plant.cuts(&self.name), link: self, list: None })),
            Door::Refused => {
                let detail = format!("{} refused the connection", self.name);
                Err(ConnectFault { cause: Cause::Closed, detail, retry_soon: true })
            }
            Door::Stuck => unreachable!(),
            Door::Panics => panic!("the door of {} fell off", self.name),
        }
    }
}

impl PlantLink {
    /// What the door does, which is not to be stuck.
    async fn door(&self) -> Door {
        loop {
            let bell = self.plant.bell();
            let rung = bell.notified();
            let door = self.plant.door(&self.name);
            if door != Door::Stuck {
                return door;
            }
            rung.await;
        }
    }
}

impl PlantSession<'_> {
    /// What the device does about the tag, as far as it is the same for a read and a write.
    async fn meet(&self, cx: &Cx, device: &str, tag: &str) -> Result<Mood, Lost> {
        if self.link.plant.cuts(&self.link.name) != self.cuts {
            return Err(Lost::new(Cause::Closed, "the other side closed the connection"));
        }
        match self.link.plant.take_mood(device, tag) {
            Mood::Silent => Err(expired(cx.within(std::future::pending::<()>()).await.unwrap_err(), device)),
            Mood::Lost(cause) => Err(Lost::new(cause, format!("{device} broke the connection"))),
            Mood::Stuck => std::future::pending().await,
            Mood::Panics => panic!("{device} is beyond words"),
            mood @ (Mood::Well | Mood::Fault(_) | Mood::Vague) => Ok(mood),
        }
    }
}

fn expired(expired: Expired, device: &str) -> Lost {
    match expired {
        Expired::Deadline => Lost::new(Cause::Timeout, format!("{device} did not answer")),
        Expired::Cancelled => Lost::new(Cause::Cancelled, "cancelled"),
    }
}

#[async_trait]
impl Session for PlantSession<'_> {
    /// The step is the place of the tag among those of the group that are read.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        let device = &self.link.devices[poll.device];
        let group = &device.profile.groups[poll.group];
        let is_read = |tag: &config::Tag| matches!(tag.source, TagSource::Device(_)) && tag.access != Access::Write;
        let mut tags = group.tags.iter().enumerate().filter(|(_, tag)| is_read(tag)).skip(step.0);
        let Some((column, tag)) = tags.next() else { return Ok(Next::Done) };
        let tag = tag.name.to_string();
        self.link.plant.note(Deed::Read { device: device.name.clone(), tag: tag.clone() });
        if let Some(gate) = self.link.plant.gate(&device.name) {
            match cx.within(gate.acquire()).await {
                Ok(permit) => permit.unwrap().forget(),
                Err(reason) => return Err(expired(reason, &device.name)),
            }
        }
        match self.meet(cx, &device.name, &tag).await? {
            Mood::Fault(reason) => out.fail(column, reason),
            _ => out.set(column, Value::F64(self.link.plant.value(&device.name, &tag))),
        }
        Ok(if tags.next().is_some() { Next::Request(Step(step.0 + 1)) } else { Next::Done })
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }

    fn subscriber(&mut self) -> Option<&mut dyn Subscriber> {
        let subscribes = self.link.devices.iter().any(|device| device.plans.iter().any(|plan| plan.subscribed));
        subscribes.then_some(self)
    }

    fn browser(&mut self) -> Option<&mut dyn Browser> {
        self.link.plant.shelf().is_some().then_some(self)
    }

    fn delivers(&self, poll: Poll) -> bool {
        let device = &self.link.devices[poll.device];
        device.plans[poll.group].subscribed && !self.link.plant.refuses_subscriptions(&device.name)
    }
}

#[async_trait]
impl Writer for PlantSession<'_> {
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let device = &self.link.devices[poll.device];
        let tag = device.profile.groups[poll.group].tags[column].name.to_string();
        let value = raw.as_f64().unwrap();
        self.link.plant.note(Deed::Write { device: device.name.clone(), tag: tag.clone(), value });
        Ok(match self.meet(cx, &device.name, &tag).await? {
            Mood::Fault(reason) => Written::Refused(format!("{} says {reason}", device.name)),
            Mood::Vague => Written::Unknown("the concentrator did not hear from it".to_owned()),
            _ => {
                self.link.plant.set_value(&device.name, &tag, value);
                Written::Confirmed
            }
        })
    }
}

/// Three nodes with each request.
#[async_trait]
impl Browser for PlantSession<'_> {
    fn begin(&mut self, start: Option<&str>) {
        self.list = Some((start.map(str::to_owned), 0));
    }

    async fn list(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Lost> {
        let (start, done) = self.list.clone().unwrap();
        let shelf = self.link.plant.shelf().unwrap();
        self.link.plant.note(Deed::List { link: self.link.name.clone() });
        self.meet(cx, &self.link.name, "list").await?;
        let wanted: Vec<&String> =
            shelf.iter().filter(|id| start.as_ref().is_none_or(|start| id.starts_with(start))).collect();
        if wanted.is_empty() {
            return Ok(Listing::Refused(format!("there is no node {}", start.unwrap_or_default())));
        }
        found.extend(wanted.iter().skip(done).take(3).map(|id| Node {
            id: (*id).clone(),
            path: (*id).clone(),
            kind: NodeKind::Tag,
            value_type: Some("Double".to_owned()),
            unit: None,
            range: None,
            description: None,
            access: Some(Access::Read),
        }));
        self.list = Some((start, done + 3));
        Ok(if done + 3 < wanted.len() { Listing::More(wanted.len() - done - 3) } else { Listing::Complete })
    }

    fn profile(&self, _chosen: &[Node]) -> Result<String, String> {
        Err("the plant has no profiles".to_owned())
    }
}

impl Drop for PlantSession<'_> {
    fn drop(&mut self) {
        self.link.plant.note(Deed::Close { link: self.link.name.clone() });
    }
}
