//! Devices in memory: the driver reads and writes a table.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, ConnectFault, Cx, Driver, GroupPlan, Link, Lost, Next, Poll, Readings,
    Session, Step, Writer, Written,
    config::{self, Access, Profile, Report, TagSource},
    model::{Reason, Value, ValueKind, ValueType},
};

/// What each tag of each device is: a value, or why it has none.
type Tags = HashMap<(String, String), Result<Value, Reason>>;

#[derive(Clone, Default)]
pub(crate) struct Plant(Arc<Mutex<Tags>>);

impl Plant {
    pub(crate) fn set(&self, device: &str, tag: &str, value: impl Into<f64>) {
        self.put(device, tag, Ok(Value::F64(value.into())));
    }

    pub(crate) fn put(&self, device: &str, tag: &str, value: Result<Value, Reason>) {
        self.0.lock().unwrap().insert((device.to_owned(), tag.to_owned()), value);
    }

    pub(crate) fn get(&self, device: &str, tag: &str) -> Result<Value, Reason> {
        let tags = self.0.lock().unwrap();
        tags.get(&(device.to_owned(), tag.to_owned())).cloned().unwrap_or(Ok(Value::F64(1.0)))
    }
}

pub(crate) struct PlantDriver(pub(crate) Plant);

struct PlantLink {
    plant: Plant,
    devices: Vec<(String, Arc<Profile>)>,
}

struct PlantSession<'link>(&'link PlantLink);

impl Driver for PlantDriver {
    fn name(&self) -> &'static str {
        "plant"
    }

    fn family(&self) -> &'static str {
        "plant"
    }

    fn summary(&self) -> &'static str {
        "Devices in memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, ..Capabilities::default() }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        profile.quirks.finish(report);
        let plan = |group: &config::Group| {
            let kind = |tag: &config::Tag| match (&tag.source, &tag.texts) {
                (TagSource::Device(_), Some(_)) => Some(ValueType::single(ValueKind::Int)),
                (TagSource::Device(_), None) => Some(ValueType::single(ValueKind::F64)),
                (TagSource::Constant(_) | TagSource::Expression(_), _) => None,
            };
            GroupPlan { kinds: group.tags.iter().map(kind).collect(), requests: 1, bytes: 1, ..GroupPlan::default() }
        };
        Some(profile.groups.iter().map(plan).collect())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        let plans = link.devices.iter().map(|device| self.plan(&device.profile, report));
        let compiled = plans.map(|groups| Some(CompiledDevice { groups: groups? })).collect::<Option<_>>()?;
        let devices = link.devices.iter().map(|device| (device.name.to_string(), Arc::clone(&device.profile)));
        let link = PlantLink { plant: self.0.clone(), devices: devices.collect() };
        Some(Compiled { link: Box::new(link), devices: compiled })
    }
}

#[async_trait]
impl Link for PlantLink {
    async fn connect<'link>(&'link mut self, _cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        Ok(Box::new(PlantSession(self)))
    }
}

#[async_trait]
impl Session for PlantSession<'_> {
    async fn read(&mut self, _cx: &Cx, poll: Poll, _step: Step, out: &mut Readings) -> Result<Next, Lost> {
        let (device, profile) = &self.0.devices[poll.device];
        for (column, tag) in profile.groups[poll.group].tags.iter().enumerate() {
            if !matches!(tag.source, TagSource::Device(_)) || tag.access == Access::Write {
                continue;
            }
            match self.0.plant.get(device, tag.name.as_str()) {
                Ok(Value::F64(number)) if tag.texts.is_some() => out.set(column, Value::Int(number as i64)),
                Ok(value) => out.set(column, value),
                Err(reason) => out.fail(column, reason),
            }
        }
        Ok(Next::Done)
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }
}

#[async_trait]
impl Writer for PlantSession<'_> {
    async fn write(&mut self, _cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let (device, profile) = &self.0.devices[poll.device];
        let tag = &profile.groups[poll.group].tags[column].name;
        if self.0.plant.get(device, tag.as_str()) == Err(Reason::DeviceFault) {
            return Ok(Written::Refused("it is broken".to_owned()));
        }
        self.0.plant.set(device, tag.as_str(), raw.as_f64().unwrap());
        Ok(Written::Confirmed)
    }
}
