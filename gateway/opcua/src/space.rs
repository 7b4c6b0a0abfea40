//! The catalog with what it takes to find something in it.

use std::{collections::HashMap, sync::Arc};

use tidegate_model::{Name, TagName};
use tidegate_runtime::{DeviceInfo, GroupHandle, GroupInfo, Handle, TagInfo, TagSample};

use crate::node::TagPlace;

/// The columns of a group by tag; shared by the devices of a profile.
type Columns = Arc<HashMap<TagName, usize>>;

/// The devices there are, at one moment. When the site is loaded anew there is another one.
pub(crate) struct Space {
    namespace: u16,
    version: u64,
    gateway: Name,
    devices: Arc<[DeviceInfo]>,
    by_name: HashMap<Name, usize>,
    /// By device, then by group.
    columns: Vec<Box<[Columns]>>,
}

impl Space {
    /// The devices there are now.
    pub(crate) fn now(handle: &Handle, namespace: u16) -> Space {
        // The version before the devices: a change in between is found in the next round.
        let version = handle.catalog_version();
        Space::new(namespace, version, handle.id().clone(), handle.catalog())
    }

    fn new(namespace: u16, version: u64, gateway: Name, devices: Arc<[DeviceInfo]>) -> Space {
        let mut known: HashMap<usize, Columns> = HashMap::new();
        let mut columns = Vec::with_capacity(devices.len());
        for device in devices.iter() {
            let of_group = |group: &GroupHandle| {
                let address = Arc::as_ptr(group.info()).addr();
                Arc::clone(known.entry(address).or_insert_with(|| index(group.info())))
            };
            columns.push(device.groups.iter().map(of_group).collect());
        }
        let by_name = devices.iter().enumerate().map(|(at, device)| (device.name.clone(), at)).collect();
        Space { namespace, version, gateway, devices, by_name, columns }
    }

    /// The index of the gateway's namespace.
    pub(crate) fn namespace(&self) -> u16 {
        self.namespace
    }

    /// The version of the catalog that this is.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The gateway.
    pub(crate) fn gateway(&self) -> &Name {
        &self.gateway
    }

    /// All devices, each with its place.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (usize, &DeviceInfo)> {
        self.devices.iter().enumerate()
    }

    pub(crate) fn device(&self, device: usize) -> Option<&DeviceInfo> {
        self.devices.get(device)
    }

    pub(crate) fn group(&self, device: usize, group: usize) -> Option<&GroupHandle> {
        self.device(device)?.groups.get(group)
    }

    pub(crate) fn tag(&self, place: TagPlace) -> Option<&TagInfo> {
        self.group(place.device, place.group)?.tags().get(place.column)
    }

    /// The latest sample of a tag.
    pub(crate) fn sample(&self, place: TagPlace) -> Option<TagSample> {
        self.group(place.device, place.group)?.sample(place.column)
    }

    /// `<device>.<tag>`.
    pub(crate) fn tag_id(&self, place: TagPlace) -> Option<String> {
        Some(format!("{}.{}", self.device(place.device)?.name, self.tag(place)?.name))
    }

    pub(crate) fn find_device(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The tag that `<device>.<tag>` names.
    pub(crate) fn find_tag(&self, text: &str) -> Option<TagPlace> {
        let (device, tag) = text.split_once('.')?;
        let device = self.find_device(device)?;
        let groups = self.columns.get(device)?.iter().enumerate();
        let mut found = groups.filter_map(|(group, columns)| Some((group, *columns.get(tag)?)));
        found.next().map(|(group, column)| TagPlace { device, group, column })
    }

    /// The column of a group's tag.
    pub(crate) fn find_column(&self, device: usize, group: usize, tag: &str) -> Option<usize> {
        self.columns.get(device)?.get(group)?.get(tag).copied()
    }
}

/// Whether the nodes of two devices are the same, by their names.
pub(crate) fn same_nodes(one: &DeviceInfo, other: &DeviceInfo) -> bool {
    let names = |group: &GroupHandle| group.tags().iter().map(|tag| tag.name.clone()).collect::<Vec<_>>();
    let same = |(one, other): (&GroupHandle, &GroupHandle)| {
        Arc::ptr_eq(one.info(), other.info()) || (one.name() == other.name() && names(one) == names(other))
    };
    one.groups.len() == other.groups.len() && one.groups.iter().zip(&other.groups).all(same)
}

fn index(group: &GroupInfo) -> Columns {
    Arc::new(group.tags.iter().enumerate().map(|(column, tag)| (tag.name.clone(), column)).collect())
}
