//! The requests of a poll, planned once for each profile. Here each tag is a request of its own.

use std::sync::Arc;

use tidegate_driver_api::{
    GroupPlan,
    config::{Access, Profile, Report, TagSource},
    model::{ValueKind, ValueType},
};

use crate::config;

/// Bytes around the item of a request and its answer, with a value of usual length.
const AROUND: usize = 20;

/// One tag.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) column: usize,
    pub(crate) name: String,
    pub(crate) access: Access,
}

/// The tags of one group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) items: Vec<Item>,
    columns: usize,
}

impl Group {
    /// The tags that are polled, in the order they are asked for.
    pub(crate) fn polled(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.access != Access::Write)
    }

    fn describe(&self) -> GroupPlan {
        let kind = |column| {
            let known = self.items.iter().any(|item| item.column == column);
            known.then_some(ValueType::single(ValueKind::F64))
        };
        let bytes = self.polled().map(|item| 2 * item.name.len() + AROUND).sum::<usize>();
        GroupPlan {
            kinds: (0..self.columns).map(kind).collect(),
            requests: u32::try_from(self.polled().count()).unwrap_or(u32::MAX),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..GroupPlan::default()
        }
    }
}

/// Plans the groups of a profile. Every mistake goes into `report`; the answer is `None` when there was one.
pub(crate) fn groups(profile: &Profile, report: &mut Report) -> Option<Arc<[Group]>> {
    profile.quirks.finish(report);
    let mut complete = true;
    let mut groups = Vec::with_capacity(profile.groups.len());
    for group in &profile.groups {
        let mut items = Vec::with_capacity(group.tags.len());
        for (column, tag) in group.tags.iter().enumerate() {
            let TagSource::Device(keys) = &tag.source else { continue };
            match config::item(keys, report) {
                Some(name) => items.push(Item { column, name, access: tag.access }),
                None => complete = false,
            }
        }
        groups.push(Group { items, columns: group.tags.len() });
    }
    complete.then(|| groups.into())
}

/// What the runtime is told about the groups.
pub(crate) fn describe(groups: &[Group]) -> Arc<[GroupPlan]> {
    groups.iter().map(Group::describe).collect()
}
