//! Loading a site: the files, the environment, the drivers.

use std::path::Path;

use anyhow::bail;
use tidegate_config::{Profiles, Report, Site};
use tidegate_runtime::{Assembly, assemble};

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

/// Reads the site's files alone, for commands that only want to know where the gateway is.
pub(crate) fn load(config: &Path) -> anyhow::Result<(Report, Site)> {
    let (site, report) = tidegate_config::load(config, tidegate_config::process_environment(), Profiles::Used);
    match site {
        Some(site) => Ok((report, site)),
        None => {
            eprint!("{}", report.render());
            bail!("the site {} has mistakes", config.display());
        }
    }
}
