//! The metrics of a profile, by group, planned once.

use std::{collections::HashMap, sync::Arc};

use tidegate_driver_api::{
    GroupPlan,
    config::{Access, Profile, Report, TagSource},
    model::ValueType,
};
use tidegate_sparkplug::DataType;

use crate::config::TagKeys;

/// Tags that are told with one ping.
pub(crate) const TOGETHER: usize = 256;
/// Bytes of a ping and its answer.
const PING: u32 = 4;

/// One tag.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) column: usize,
    pub(crate) metric: Arc<str>,
    pub(crate) datatype: DataType,
    pub(crate) items: Option<u32>,
    pub(crate) access: Access,
}

/// The tags of one group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) items: Vec<Item>,
    pub(crate) columns: usize,
}

/// All groups of a profile, and where each metric is.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
    /// Group and place of the item, by metric.
    pub(crate) places: HashMap<Arc<str>, Vec<(usize, usize)>>,
}

impl Group {
    /// The tags that have a value, in their order.
    pub(crate) fn read(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.access != Access::Write)
    }

    fn describe(&self) -> GroupPlan {
        let mut kinds = vec![None; self.columns];
        for item in &self.items {
            let kind = item.datatype.kind().map(|(kind, _)| ValueType { kind, items: item.items });
            if let Some(place) = kinds.get_mut(item.column) {
                *place = kind;
            }
        }
        let requests = u32::try_from(self.read().count().div_ceil(TOGETHER).max(1)).unwrap_or(u32::MAX);
        let bytes = requests.saturating_mul(PING);
        GroupPlan { kinds: kinds.into(), requests, bytes, subscribed: true, ..GroupPlan::default() }
    }
}

impl Plan {
    /// Plans a profile. Every mistake goes into `report`; the answer is `None` when there was one.
    pub(crate) fn parse(profile: &Profile, report: &mut Report) -> Option<Plan> {
        profile.quirks.finish(report);
        let mut complete = true;
        let mut groups = Vec::with_capacity(profile.groups.len());
        let mut places: HashMap<Arc<str>, Vec<(usize, usize)>> = HashMap::new();
        for (number, group) in profile.groups.iter().enumerate() {
            let mut items = Vec::with_capacity(group.tags.len());
            for (column, tag) in group.tags.iter().enumerate() {
                let TagSource::Device(keys) = &tag.source else { continue };
                let Some(TagKeys { metric, datatype, items: count }) = TagKeys::parse(keys, report) else {
                    complete = false;
                    continue;
                };
                let metric: Arc<str> = metric.map_or_else(|| tag.name.as_str().into(), Into::into);
                places.entry(Arc::clone(&metric)).or_default().push((number, items.len()));
                items.push(Item { column, metric, datatype, items: count, access: tag.access });
            }
            groups.push(Group { items, columns: group.tags.len() });
        }
        complete.then_some(Plan { groups, places })
    }

    /// What the runtime is told about the groups.
    pub(crate) fn describe(&self) -> Arc<[GroupPlan]> {
        self.groups.iter().map(Group::describe).collect()
    }
}
