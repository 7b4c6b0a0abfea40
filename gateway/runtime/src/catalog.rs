//! What there is to see: devices, groups, tags and their latest samples, for whoever shows them under names of its own.
//!
//! Everything that does not change while a link runs is shared: devices of one profile have one description of their tags.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tidegate_config::{self as config, Access};
use tidegate_model::{Name, Reason, TagName, ValueType};
use tidegate_pipeline::Stages;

use crate::{
    handle::Handle,
    health::{DeviceHealth, Shared},
    status::DeviceState,
    view::{GroupView, TagSample},
};

/// What a profile says about its devices.
#[derive(Debug)]
pub struct ProfileInfo {
    /// The path it is named by (`eastron/sdm630`).
    pub path: String,
    /// Who makes the device.
    pub manufacturer: String,
    /// The maker's name for it.
    pub model: String,
    /// What a person should know about it.
    pub description: Option<String>,
}

/// One tag of a group.
#[derive(Debug)]
pub struct TagInfo {
    /// The tag.
    pub name: TagName,
    /// The type of its delivered values.
    pub value_type: ValueType,
    /// The unit of its values.
    pub unit: Option<String>,
    /// What a person should know about it.
    pub description: Option<String>,
    /// The lowest and the highest plausible value.
    pub range: Option<(f64, f64)>,
    /// Who may do what with it.
    pub access: Access,
    /// The smallest value that may be written.
    pub minimum: Option<f64>,
    /// The largest value that may be written.
    pub maximum: Option<f64>,
    /// The texts of an enumeration, each with the device's number for it.
    pub texts: Option<Box<[(i64, String)]>>,
    /// Whether it is a command that takes a list of arguments.
    pub takes_arguments: bool,
}

/// One group; the same for all devices of a profile.
#[derive(Debug)]
pub struct GroupInfo {
    /// The group.
    pub name: Name,
    /// Its tags, by column of its stream.
    pub tags: Box<[TagInfo]>,
}

/// One group of one device, with its latest samples.
#[derive(Debug, Clone)]
pub struct GroupHandle {
    info: Arc<GroupInfo>,
    view: GroupView,
}

/// One device.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    /// The device.
    pub name: Name,
    /// The link that it is behind.
    pub link: Name,
    /// What it is.
    pub profile: Arc<ProfileInfo>,
    /// Its groups, in the order of the profile.
    pub groups: Vec<GroupHandle>,
    health: Arc<Shared<DeviceHealth>>,
}

/// The devices there are now.
#[derive(Default)]
pub(crate) struct Catalog {
    devices: RwLock<Arc<[DeviceInfo]>>,
    version: AtomicU64,
}

impl GroupInfo {
    /// What is to be known of a group of a profile, whose stages are these. `arguments`: columns that take a list of arguments.
    pub(crate) fn new(group: &config::Group, stages: &Stages, arguments: &[usize]) -> GroupInfo {
        let tags = group.tags.iter().zip(stages.columns()).enumerate().map(|(column, (tag, of_stream))| TagInfo {
            name: of_stream.name,
            value_type: of_stream.value_type,
            unit: of_stream.unit,
            description: tag.description.clone(),
            range: tag.range.as_ref().map(|range| (range.low, range.high)),
            access: tag.access,
            minimum: tag.minimum.as_ref().map(|minimum| minimum.value),
            maximum: tag.maximum.as_ref().map(|maximum| maximum.value),
            texts: tag.texts.as_ref().map(|texts| texts.value.clone().into()),
            takes_arguments: arguments.contains(&column),
        });
        GroupInfo { name: group.name.clone(), tags: tags.collect() }
    }
}

impl ProfileInfo {
    pub(crate) fn new(profile: &config::Profile) -> ProfileInfo {
        ProfileInfo {
            path: profile.path.clone(),
            manufacturer: profile.manufacturer.clone(),
            model: profile.model.clone(),
            description: profile.description.clone(),
        }
    }
}

impl GroupHandle {
    pub(crate) fn new(info: Arc<GroupInfo>, view: GroupView) -> GroupHandle {
        GroupHandle { info, view }
    }

    /// The group.
    pub fn name(&self) -> &Name {
        &self.info.name
    }

    /// What is to be known of the group, whatever its samples; shared by the devices of a profile.
    pub fn info(&self) -> &Arc<GroupInfo> {
        &self.info
    }

    /// Its tags, by column.
    pub fn tags(&self) -> &[TagInfo] {
        &self.info.tags
    }

    /// A number that is another one whenever the samples may be others. To look at it costs next to nothing.
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// Adds the latest sample of every tag, by column. All are of the same moment: no row is half in.
    pub fn latest_into(&self, out: &mut Vec<TagSample>) {
        self.view.samples(out);
    }

    /// The latest sample of one tag; `None` when there is no such column.
    pub fn sample(&self, column: usize) -> Option<TagSample> {
        self.view.sample(column)
    }
}

impl DeviceInfo {
    pub(crate) fn new(
        name: Name,
        link: Name,
        profile: Arc<ProfileInfo>,
        groups: Vec<GroupHandle>,
        health: Arc<Shared<DeviceHealth>>,
    ) -> DeviceInfo {
        DeviceInfo { name, link, profile, groups, health }
    }

    /// What the device is now, and why it is not online; `None` until it was heard of.
    pub fn state(&self) -> (Option<DeviceState>, Option<Reason>) {
        let health = self.health.get();
        (health.state, health.reason)
    }
}

impl Catalog {
    /// Goes over to other devices.
    pub(crate) fn replace(&self, devices: Vec<DeviceInfo>) {
        *self.devices.write().unwrap_or_else(PoisonError::into_inner) = devices.into();
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl Handle {
    /// The devices there are now, in the order of the site. Costs no more than to count a reference: what is in it stays as it is
    /// until the site is loaded anew, and its samples stay those of the device also while they change.
    pub fn catalog(&self) -> Arc<[DeviceInfo]> {
        Arc::clone(&self.shelf().devices.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number that is another one whenever [`Handle::catalog`] may give other devices, groups or tags. To look at it costs next
    /// to nothing.
    pub fn catalog_version(&self) -> u64 {
        self.shelf().version.load(Ordering::Acquire)
    }
}
