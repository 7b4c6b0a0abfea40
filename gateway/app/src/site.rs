//! Loading a site: the files, the environment, the drivers.

use std::path::{Path, PathBuf};

use anyhow::bail;
use tidegate_config::{Profiles, Report, Site};
use tidegate_runtime::{Assembly, assemble};

use crate::console;

/// A site without mistakes, and its links ready to run.
pub(crate) struct Loaded {
    pub(crate) site: Site,
    pub(crate) assembly: Assembly,
}

/// Reads and checks everything; the report has every mistake of all files.
pub(crate) fn check(config: &Path, profiles: Profiles) -> (Option<Loaded>, Report) {
    let (site, mut report) = tidegate_config::load(config, tidegate_config::process_environment(), profiles);
    let Some(site) = site else { return (None, report) };
    let assembly = assemble(&site, tidegate_drivers::all(), &mut report);
    if report.has_errors() {
        return (None, report);
    }
    (Some(Loaded { site, assembly }), report)
}

/// Where a site keeps its data, for commands that only want to know where the gateway is. Mistakes elsewhere in the site do
/// not matter here: the gateway that runs has been started before they were made.
pub(crate) fn data_dir(config: &Path) -> anyhow::Result<PathBuf> {
    let (site, report) = tidegate_config::load(config, tidegate_config::process_environment(), Profiles::Used);
    match site {
        Some(site) => Ok(site.gateway.data_dir),
        None => {
            console::warn(&report.render());
            bail!("the site {} cannot be read; name its file with -c", config.display());
        }
    }
}
