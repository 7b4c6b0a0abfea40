//! From a checked site to links that are ready to run: everything that is planned once happens here, without I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tidegate_config::{self as config, Report, Site};
use tidegate_driver_api::{AlarmColumns, Compiled, Driver, GroupPlan, Link};
use tidegate_model::{Name, TagName};
use tidegate_pipeline::Stages;
use tidegate_topics::Layout;

use crate::{
    catalog::{GroupInfo, ProfileInfo},
    link::Times,
};

/// All links of a site, compiled.
pub struct Assembly {
    pub(crate) links: Vec<AssembledLink>,
    /// What the site says about topics.
    pub(crate) layout: Arc<Layout>,
}

/// One link, compiled.
pub(crate) struct AssembledLink {
    pub(crate) name: Name,
    pub(crate) driver: String,
    pub(crate) times: Times,
    pub(crate) link: Box<dyn Link>,
    pub(crate) devices: Vec<AssembledDevice>,
    /// The text that the link was made of; the same text gives the same link.
    pub(crate) fingerprint: String,
}

/// One device, compiled.
pub(crate) struct AssembledDevice {
    pub(crate) name: Name,
    pub(crate) profile: Arc<ProfileInfo>,
    pub(crate) groups: Vec<AssembledGroup>,
    pub(crate) tags: Arc<HashMap<TagName, (usize, usize)>>,
    plans: Arc<[GroupPlan]>,
}

/// One group of a device, compiled.
pub(crate) struct AssembledGroup {
    pub(crate) name: Name,
    pub(crate) interval: Duration,
    pub(crate) stages: Arc<Stages>,
    pub(crate) info: Arc<GroupInfo>,
    /// Whether the driver means to subscribe to the group.
    pub(crate) subscribed: bool,
    /// Where the fields of an alarm are, in a group of events.
    pub(crate) alarm: Option<AlarmColumns>,
}

/// What a link will have to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The link.
    pub link: String,
    /// Devices behind it.
    pub devices: usize,
    /// Tags read.
    pub tags: usize,
    /// Of these, tags that come by themselves when they have changed, as far as the device lets subscribe.
    pub subscribed: usize,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Bytes a second on the wire, both directions, without the transport's own.
    pub bytes_per_second: f64,
}

impl Forecast {
    /// How long one answer may take on average, in milliseconds, before the link cannot keep its intervals.
    pub fn longest_answer_millis(&self) -> f64 {
        1_000.0 / self.requests_per_second
    }
}

/// What the devices of one profile share.
struct Shared {
    profile: Arc<ProfileInfo>,
    groups: Vec<(Arc<Stages>, Arc<GroupInfo>)>,
    tags: Arc<HashMap<TagName, (usize, usize)>>,
}

/// Compiles every link of a site, and checks the profiles that no device uses. What is wrong goes into `report`; links
/// with mistakes are left out.
pub fn assemble(site: &Site, drivers: &[&'static dyn Driver], report: &mut Report) -> Assembly {
    check_profiles(site, drivers, report);
    let layout = Arc::new(Layout::new(site));
    let mut links = Vec::with_capacity(site.links.len());
    for link in &site.links {
        let Some(driver) = drivers.iter().find(|driver| driver.name() == *link.driver) else {
            let names: Vec<&str> = drivers.iter().map(|driver| driver.name()).collect();
            report.not_built_in(&link.driver.origin, "driver", &link.driver, &names);
            continue;
        };
        if !speaks_profiles(*driver, link, report) {
            continue;
        }
        if let Some(compiled) = driver.compile(link, report) {
            links.extend(assemble_link(link, compiled, &layout, report));
        }
    }
    Assembly { links, layout }
}

/// Checks every profile of the site with the driver of its family.
fn check_profiles(site: &Site, drivers: &[&'static dyn Driver], report: &mut Report) {
    for profile in &site.profiles {
        if profile.driver.is_empty() {
            // That it is missing has been reported.
            continue;
        }
        let Some(driver) = drivers.iter().find(|driver| driver.family() == *profile.driver) else {
            let mut families: Vec<&str> = drivers.iter().map(|driver| driver.family()).collect();
            families.dedup();
            report.not_built_in(&profile.driver.origin, "driver", &profile.driver, &families);
            continue;
        };
        if let Some(plans) = driver.plan(profile, report) {
            share(profile, &plans, report);
        }
        profile.finish(report);
    }
}

/// Whether all profiles of the link's devices are of the driver's protocol.
fn speaks_profiles(driver: &dyn Driver, link: &config::Link, report: &mut Report) -> bool {
    let mut all = true;
    for device in &link.devices {
        let family = &device.profile.driver;
        if **family != driver.family() {
            let message = format!(
                "the profile \"{}\" is for driver \"{}\", but link \"{}\" speaks \"{}\"",
                device.profile.path,
                family.value,
                link.name,
                driver.family()
            );
            let help = "give the device a profile of that protocol, or put it behind another link".to_owned();
            report.error(&device.origin, message, Some(help));
            all = false;
        }
    }
    all
}

fn assemble_link(
    link: &config::Link,
    compiled: Compiled,
    layout: &Layout,
    report: &mut Report,
) -> Option<AssembledLink> {
    let mut profiles: BTreeMap<*const config::Profile, Shared> = BTreeMap::new();
    let mut devices = Vec::with_capacity(link.devices.len());
    for (device, plan) in link.devices.iter().zip(compiled.devices) {
        let key = Arc::as_ptr(&device.profile);
        if let std::collections::btree_map::Entry::Vacant(entry) = profiles.entry(key) {
            entry.insert(share(&device.profile, &plan.groups, report)?);
        }
        let shared = profiles.get(&key)?;
        let groups = device.intervals.iter().zip(&shared.groups).zip(plan.groups.iter());
        devices.push(AssembledDevice {
            name: device.name.clone(),
            profile: Arc::clone(&shared.profile),
            groups: groups
                .map(|((interval, (stages, info)), plan)| AssembledGroup {
                    name: info.name.clone(),
                    interval: *interval,
                    stages: Arc::clone(stages),
                    info: Arc::clone(info),
                    subscribed: plan.subscribed,
                    alarm: plan.alarm,
                })
                .collect(),
            tags: Arc::clone(&shared.tags),
            plans: plan.groups,
        });
    }
    Some(AssembledLink {
        name: link.name.clone(),
        driver: link.driver.value.clone(),
        times: Times { timeout: link.timeout, connect_timeout: link.connect_timeout, retry: link.retry },
        link: compiled.link,
        devices,
        fingerprint: fingerprint(link, layout),
    })
}

/// Compiles what the devices of one profile share.
fn share(profile: &config::Profile, plans: &[GroupPlan], report: &mut Report) -> Option<Shared> {
    let mut groups = Vec::with_capacity(profile.groups.len());
    let mut tags = HashMap::new();
    for (index, (group, plan)) in profile.groups.iter().zip(plans).enumerate() {
        groups.push(Stages::compile(group, &plan.kinds, report).map(|stages| {
            let info = GroupInfo::new(group, &stages, &plan.arguments);
            (Arc::new(stages.with_arguments(&plan.arguments)), Arc::new(info))
        }));
        for (column, tag) in group.tags.iter().enumerate() {
            tags.insert(tag.name.clone(), (index, column));
        }
    }
    // Every group is compiled before giving up, so that all mistakes come out at once.
    let groups = groups.into_iter().collect::<Option<_>>()?;
    Some(Shared { profile: Arc::new(ProfileInfo::new(profile)), groups, tags: Arc::new(tags) })
}

/// The text that a link is made of: its own table, those of its devices, their profiles' files, and what is said of their topics.
fn fingerprint(link: &config::Link, layout: &Layout) -> String {
    let mut text =
        format!("{:?}", link.table.entries().map(|(key, _, node)| format!("{key}={node}")).collect::<Vec<_>>());
    for device in &link.devices {
        let keys: Vec<String> = device.table.entries().map(|(key, _, node)| format!("{key}={node}")).collect();
        let source = match &device.profile.origin {
            config::Origin::File(place) => place.source().text(),
            config::Origin::Environment(_) | config::Origin::Default => "",
        };
        let topics = layout.fingerprint(&device.name);
        text.push_str(&format!("{keys:?}{:?}{:x}{:x}", device.intervals, hash(source), hash(&topics)));
    }
    text
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Assembly {
    /// What each link will have to do.
    pub fn forecast(&self) -> Vec<Forecast> {
        self.links.iter().map(AssembledLink::forecast).collect()
    }
}

impl AssembledLink {
    fn forecast(&self) -> Forecast {
        let mut forecast = Forecast {
            link: self.name.to_string(),
            devices: self.devices.len(),
            tags: 0,
            subscribed: 0,
            requests_per_second: 0.0,
            bytes_per_second: 0.0,
        };
        for device in &self.devices {
            for (group, plan) in device.groups.iter().zip(device.plans.iter()) {
                let tags = plan.kinds.iter().filter(|kind| kind.is_some()).count();
                forecast.tags += tags;
                if plan.subscribed {
                    forecast.subscribed += tags;
                    continue;
                }
                let per_second = 1.0 / group.interval.as_secs_f64().max(0.001);
                forecast.requests_per_second += f64::from(plan.requests) * per_second;
                forecast.bytes_per_second += f64::from(plan.bytes) * per_second;
            }
        }
        forecast
    }
}
