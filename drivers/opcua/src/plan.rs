//! What all devices of a profile share: which nodes a group watches, and which tags each of them gives.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opcua::types::NodeId;
use tidegate_driver_api::{
    AlarmColumns, GroupPlan,
    config::{Group, Profile, Report, TagSource},
    model::ValueType,
};

use crate::{
    config::{GroupKeys, Mode, Quirks},
    node::Address,
    point::{Point, Role},
};

/// Nodes that one read asks for, unless the server takes fewer.
const READ_AT_ONCE: usize = 1000;
/// Bytes of one node in a request and its answer, with a name of usual length.
const NODE_BYTES: usize = 90;

/// The field of an event that does not come from the server: source and condition, which together tell alarms apart.
pub(crate) const ALARM_NAME: &str = "Name";

/// A node of the server, and the tags that its value gives.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) address: Address,
    /// Indices into the group's points; at least one.
    pub(crate) points: Box<[usize]>,
    /// How often the server looks at the value; the group's interval unless set.
    pub(crate) sampling: Option<Duration>,
    /// Values that the server keeps between two messages.
    pub(crate) queue: u32,
    /// Changes up to this are left out by the server.
    pub(crate) deadband: Option<f64>,
}

/// The tags of one group.
#[derive(Debug)]
pub(crate) struct GroupTags {
    pub(crate) mode: Mode,
    /// The node whose events the rows are.
    pub(crate) events: Option<Address>,
    pub(crate) points: Box<[Point]>,
    /// The nodes that are read or watched; none in a group of events.
    pub(crate) items: Box<[Item]>,
    /// Columns of the group, also those that are not the driver's.
    pub(crate) columns: usize,
}

impl GroupTags {
    fn parse(group: &Group, report: &mut Report) -> Option<GroupTags> {
        let keys = GroupKeys::parse(group, report);
        let has_events = group.table.has("events");
        let mut complete = keys.is_some();
        let mut points = Vec::with_capacity(group.tags.len());
        for (column, tag) in group.tags.iter().enumerate() {
            let TagSource::Device(table) = &tag.source else { continue };
            let point = match has_events {
                true => Point::of_event(tag, column, table, report),
                false => Point::parse(tag, column, table, report),
            };
            complete &= point.is_some();
            points.extend(point);
        }
        let GroupKeys { mode, events } = keys.filter(|_| complete)?;
        let items = items(&points);
        Some(GroupTags { mode, events, points: points.into(), items, columns: group.tags.len() })
    }

    /// The tag in that column, if it may be written or called.
    pub(crate) fn writable(&self, column: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.column == column).filter(|point| match point.role {
            Role::Value { write, .. } => write,
            Role::Method { .. } => true,
            Role::EventField(_) => false,
        })
    }

    /// The columns that are read.
    pub(crate) fn read_columns(&self) -> impl Iterator<Item = usize> {
        self.points.iter().filter(|point| point.is_read()).map(|point| point.column)
    }

    fn describe(&self) -> GroupPlan {
        let mut kinds: Vec<Option<ValueType>> = vec![None; self.columns];
        for point in &self.points {
            if let Some(kind) = kinds.get_mut(point.column) {
                *kind = Some(point.value_type());
            }
        }
        let methods = self.points.iter().filter(|point| matches!(point.role, Role::Method { .. }));
        GroupPlan {
            kinds: kinds.into(),
            requests: u32::try_from(self.items.len().div_ceil(READ_AT_ONCE)).unwrap_or(u32::MAX),
            bytes: u32::try_from(self.items.len().saturating_mul(NODE_BYTES)).unwrap_or(u32::MAX),
            subscribed: self.mode == Mode::Subscribe || self.events.is_some(),
            arguments: methods.map(|point| point.column).collect(),
            alarm: self.alarm(),
        }
    }

    /// Where the fields of an alarm are. Without a name, events are rows and no alarms.
    fn alarm(&self) -> Option<AlarmColumns> {
        self.events.as_ref()?;
        let column = |field: &str| {
            self.points.iter().find(|point| point.event_field().as_deref() == Some(field)).map(|point| point.column)
        };
        Some(AlarmColumns {
            name: column(ALARM_NAME)?,
            active: column("ActiveState/Id"),
            acked: column("AckedState/Id"),
            severity: column("Severity"),
            message: column("Message"),
            source: column("SourceName"),
            condition: column("ConditionName"),
            retain: column("Retain"),
        })
    }
}

/// The nodes of the points that are read; each once for all the tags that it gives.
fn items(points: &[Point]) -> Box<[Item]> {
    let mut places: HashMap<&Address, usize> = HashMap::new();
    let mut items: Vec<(Address, Vec<usize>)> = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let (true, Some(address)) = (point.is_read(), &point.address) else { continue };
        let place = *places.entry(address).or_insert_with(|| {
            items.push((address.clone(), Vec::new()));
            items.len() - 1
        });
        if let Some((_, of)) = items.get_mut(place) {
            of.push(index);
        }
    }
    let item = |(address, indices): (Address, Vec<usize>)| {
        let of = || indices.iter().filter_map(|index| points.get(*index));
        Item {
            address,
            sampling: of().filter_map(|point| point.sampling).min(),
            queue: of().map(|point| point.queue).max().unwrap_or(1),
            // What one tag may leave out another may need.
            deadband: of().map(|point| point.deadband).reduce(|a, b| a.zip(b).map(|(a, b)| a.min(b))).flatten(),
            points: indices.into(),
        }
    };
    items.into_iter().map(item).collect()
}

/// What all devices of a profile share.
#[derive(Debug)]
pub(crate) struct ProfilePlan {
    pub(crate) quirks: Quirks,
    groups: Box<[GroupTags]>,
    kinds: Arc<[GroupPlan]>,
}

impl ProfilePlan {
    /// Takes all keys of a profile. Every mistake goes into `report`; the answer is `None` when a group has one.
    pub(crate) fn parse(profile: &Profile, report: &mut Report) -> Option<ProfilePlan> {
        let quirks = Quirks::parse(profile, report);
        // Every group is looked at, so that all mistakes come out at once.
        let groups: Vec<_> = profile.groups.iter().map(|group| GroupTags::parse(group, report)).collect();
        let groups: Box<[GroupTags]> = groups.into_iter().collect::<Option<_>>()?;
        let kinds = groups.iter().map(GroupTags::describe).collect();
        Some(ProfilePlan { quirks, groups, kinds })
    }

    /// The groups, by index in the profile.
    pub(crate) fn groups(&self) -> &[GroupTags] {
        &self.groups
    }

    /// What the runtime is told about the groups.
    pub(crate) fn kinds(&self) -> Arc<[GroupPlan]> {
        Arc::clone(&self.kinds)
    }
}

/// A group of a device, as a session sees it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) poll: tidegate_driver_api::Poll,
    pub(crate) plan: Arc<ProfilePlan>,
    pub(crate) interval: Duration,
    /// The first of its items among those of all slots.
    pub(crate) first_item: usize,
}

impl Slot {
    /// The group's tags.
    pub(crate) fn tags(&self) -> Option<&GroupTags> {
        self.plan.groups().get(self.poll.group)
    }
}

/// Where an address is, once a session has looked: the node, or that the server has none.
pub(crate) type Place = Option<NodeId>;
