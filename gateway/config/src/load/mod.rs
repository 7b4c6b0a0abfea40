//! From the path of a site file to a checked site.

mod alone;
mod bridge;
mod broker;
mod broker_limits;
mod broker_users;
mod device;
mod files;
mod gateway;
mod group;
mod invalid;
mod library;
mod link;
mod location;
mod lookup;
mod loss;
mod merge;
mod names;
mod opcua;
mod profile;
mod row_topics;
mod sparkplug;
mod stages;
mod store;
mod tag;
mod target;
mod topic;
mod topics;
mod url;
mod web;

use std::path::Path;

use crate::{Origin, Report, Site, Table, environment, load::files::Files};

pub use alone::{load_profile, parse_profile};

/// Which profiles are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profiles {
    /// Only those that a device names.
    Used,
    /// Every file in the profile folders, so that all of them are checked.
    All,
}

/// Reads and checks a site: the file at `path`, its includes, its profiles, and the `TIDEGATE__…` variables of
/// `environment`, which also holds the `env:` secrets. Relative paths begin at the file's folder.
///
/// All mistakes are in the report. The site is what could be made of the files, so that drivers can look for further
/// mistakes in it; **it must not be run when [`Report::has_errors`]**. It is `None` when the site file cannot be read.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    profiles: Profiles,
) -> (Option<Site>, Report) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut report = Report::of_site(folder, environment);
    let site = read(path, profiles, &mut report);
    (site, report)
}

fn read(path: &Path, profiles: Profiles, report: &mut Report) -> Option<Site> {
    let mut files = Files::default();
    let mut root = files.read_table(path, &Origin::Default, report)?.named("site", "");
    let (includes, others): (Vec<_>, Vec<_>) =
        environment::variables(report).into_iter().partition(|variable| variable.is(&["gateway", "include"]));
    for variable in &includes {
        environment::overlay(&mut root, variable, report);
    }
    for include in files.includes(&root, report) {
        merge::merge(&mut root, include, report);
    }
    for variable in &others {
        environment::overlay(&mut root, variable, report);
    }
    Some(site(&root, profiles, &mut files, report))
}

fn site(root: &Table, profiles: Profiles, files: &mut Files, report: &mut Report) -> Site {
    let (gateway, mut library) = gateway::gateway(root, report);
    let broker = broker::broker(root, report);
    let store = store::store(root, report);
    let web = web::web(root, &broker, report);
    let mut links = link::links(root, &gateway, report);
    device::devices(root, &mut links, &mut library, files, report);
    let own = broker.listeners().map(|(address, _)| (address, "the broker".to_owned()));
    let listeners = own.chain([(web.listen, "the web interface".to_owned())]).collect();
    let bridges = bridge::bridges(root, report);
    let links = links.into_links();
    let (topics, templates) = topics::topics(root, &gateway, &broker, &links, report);
    let targets = target::targets(root, listeners, &templates, report);
    if profiles == Profiles::All {
        library.read_all(files, report);
    }
    root.finish(report);
    Site {
        gateway,
        broker,
        store,
        web,
        links,
        topics,
        targets,
        bridges,
        profiles: library.into_profiles(),
        files: files.take_read(),
    }
}

/// A section of the site file (`[store]`); empty when it is missing, so that all its keys have their defaults.
fn section(root: &Table, key: &'static str, report: &mut Report) -> Table {
    root.table(key, key, report).unwrap_or_else(|| Table::empty(key, Origin::Default)).named(key, key)
}
