//! What the devices of the plant in memory send by themselves.

use async_trait::async_trait;
use tidegate_driver_api::{
    AlarmColumns, Arrival, Cause, Cx, Expired, GroupPlan, Lost, Poll, Readings, Subscriber,
    config::Group,
    model::{Reading, Timestamp},
};

use crate::{
    plant::{Deed, Push},
    plant_driver::PlantSession,
};

/// Marks what the driver is to subscribe to: `mode = "subscribe"`, or `events = "…"`.
pub(crate) fn subscribed(group: &Group, plan: GroupPlan) -> GroupPlan {
    let mut report = tidegate_config::Report::new();
    let mode = group.table.take::<String>("mode", &mut report);
    let events = group.table.take::<String>("events", &mut report);
    let column = |name: &str| group.tags.iter().position(|tag| tag.name.as_str() == name);
    let alarm = events.map(|_| AlarmColumns {
        name: column("name").unwrap(),
        active: column("active"),
        acked: column("acked"),
        severity: column("severity"),
        message: column("message"),
        retain: column("retain"),
        ..AlarmColumns::default()
    });
    GroupPlan { subscribed: mode.is_some() || alarm.is_some(), alarm, ..plan }
}

impl PlantSession<'_> {
    fn place(&self, device: &str, group: &str) -> (Poll, &Group) {
        let device_index = self.link.devices.iter().position(|found| found.name == device).unwrap();
        let groups = &self.link.devices[device_index].profile.groups;
        let group_index = groups.iter().position(|found| found.name.as_str() == group).unwrap();
        (Poll { device: device_index, group: group_index }, &groups[group_index])
    }

    fn take(&self, push: Push, out: &mut Readings) -> Result<Arrival, Lost> {
        match push {
            Push::Lost(cause) => Err(Lost::new(cause, "the other side has had enough")),
            Push::Panic => panic!("too much to bear"),
            Push::Settled { device, group } => Ok(Arrival::Settled(self.place(&device, &group).0)),
            Push::Anew { device, group } => Ok(Arrival::Anew(self.place(&device, &group).0)),
            Push::Row { device, group, readings, device_time, past } => {
                let (poll, group) = self.place(&device, &group);
                out.reset(group.tags.len());
                for (tag, reading) in readings {
                    let column = group.tags.iter().position(|found| found.name.as_str() == tag).unwrap();
                    match reading {
                        Reading::Value(value) => out.set(column, value),
                        Reading::Doubtful(value, reason) => out.doubt(column, value, reason),
                        Reading::Failed(reason) => out.fail(column, reason),
                        Reading::Missing => {}
                    }
                }
                if let Some(time) = device_time {
                    out.set_device_time(Timestamp::from_millis(time));
                }
                if past {
                    out.set_past();
                }
                self.link.plant.note(Deed::Push { device });
                Ok(Arrival::Row(poll))
            }
        }
    }
}

#[async_trait]
impl Subscriber for PlantSession<'_> {
    async fn next(&mut self, cx: &Cx, out: &mut Readings) -> Result<Arrival, Lost> {
        let (plant, name) = (&self.link.plant, &self.link.name);
        let came = async {
            loop {
                // Made before the look, so that nothing is missed in between.
                let bell = plant.bell();
                let rung = bell.notified();
                if let Some(push) = plant.next_push(name) {
                    return push;
                }
                rung.await;
            }
        };
        match cx.within(came).await {
            Ok(push) => self.take(push, out),
            Err(Expired::Deadline) => Ok(Arrival::Nothing),
            Err(Expired::Cancelled) => Err(Lost::new(Cause::Cancelled, "cancelled")),
        }
    }
}
