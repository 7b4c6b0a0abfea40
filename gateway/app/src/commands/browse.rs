//! `tidegate browse`: what a device offers, as a list or as a profile, over a connection of the command's own.

use std::{
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tidegate_config::{self as config, Profiles, Report};
use tidegate_driver_api::{Driver, Link};
use tidegate_runtime::{BrowseError, Browsed, Node, NodeKind, OwnBrowse};

use crate::{
    cli::SiteFile,
    console::{complain, print, say, warn},
};

/// What is to be listed.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: SiteFile,
    /// The link.
    link: String,
    /// Where to begin, as the list names it; everything the device offers unless given.
    node: Option<String>,
    /// Write a complete profile instead of a list.
    #[arg(long)]
    profile: bool,
    /// Only what has this text in its path, id or description; upper and lower case are the same.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Where to write; standard output unless given.
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn browse(options: &Options) -> anyhow::Result<ExitCode> {
    let link = load(options)?;
    let driver = driver(&link)?;
    let mut compiled = compile(driver, &link, &options.site.config)?;
    let name = link.name.as_str();
    if !driver.capabilities().browse {
        return Err(BrowseError::Unable(name.to_owned()).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bar = Bar::new();
    let own = OwnBrowse::of(&link, options.node.as_deref());
    let chosen = |node: &Node| options.filter.as_deref().is_none_or(|text| has(node, text));
    let work = own.run(&mut *compiled, chosen, options.profile, |found, left| bar.show(found, left));
    let result = runtime.block_on(work);
    bar.clear();
    match result {
        Ok(browsed) => write(browsed, options),
        Err(BrowseError::Unreachable(why)) => bail!(
            "{why}\nwhen the gateway runs with this link it may have the only connection that the device allows: stop it for as \
             long as this takes, or ask through it (POST /api/v1/links/{name}/browse)"
        ),
        Err(error) => Err(error.into()),
    }
}

/// The link as the site has it, but without its devices: their profiles may be what is wanted here, so that mistakes elsewhere
/// in the site do not matter.
fn load(options: &Options) -> anyhow::Result<config::Link> {
    let (site, report) = config::load(&options.site.config, config::process_environment(), Profiles::Used);
    let Some(site) = site else {
        warn(&report.render());
        bail!("the site {} cannot be read; name its file with -c", options.site.config.display());
    };
    let names: Vec<String> = site.links.iter().map(|link| format!("\"{}\"", link.name)).collect();
    let Some(mut link) = site.links.into_iter().find(|link| link.name.as_str() == options.link) else {
        warn(&report.render());
        let known =
            if names.is_empty() { "it has no links".to_owned() } else { format!("it has {}", names.join(", ")) };
        bail!("the site {} has no link \"{}\"; {known}", options.site.config.display(), options.link);
    };
    link.devices.clear();
    Ok(link)
}

fn driver(link: &config::Link) -> anyhow::Result<&'static dyn Driver> {
    let found = tidegate_drivers::all().iter().find(|driver| driver.name() == *link.driver);
    found.copied().with_context(|| format!("there is no driver \"{}\"; `tidegate drivers` lists them", *link.driver))
}

fn compile(driver: &dyn Driver, link: &config::Link, site: &Path) -> anyhow::Result<Box<dyn Link>> {
    let mut report = Report::of_site(site.parent().unwrap_or(Path::new("")), config::process_environment());
    let compiled = driver.compile(link, &mut report);
    match compiled {
        Some(compiled) if !report.has_errors() => Ok(compiled.link),
        _ => {
            warn(&report.render());
            bail!("link \"{}\" has mistakes", link.name)
        }
    }
}

fn has(node: &Node, text: &str) -> bool {
    let text = text.to_lowercase();
    let description = node.description.as_deref().unwrap_or_default();
    [node.path.as_str(), node.id.as_str(), description].iter().any(|field| field.to_lowercase().contains(&text))
}

fn write(browsed: Browsed, options: &Options) -> anyhow::Result<ExitCode> {
    let (listed, profile) = (browsed.listed, browsed.profile);
    let text = match profile {
        Some(profile) => profile.map_err(|why| anyhow::anyhow!("there is no profile of this: {why}"))?,
        None => listed.nodes.iter().map(line).collect(),
    };
    match &options.out {
        Some(file) => {
            std::fs::write(file, &text).with_context(|| format!("{} cannot be written", file.display()))?;
            let tags = listed.nodes.iter().filter(|node| node.kind != NodeKind::Folder).count();
            say(format_args!("{}: {tags} tags and methods", file.display()));
        }
        None => print(&text),
    }
    if !listed.complete {
        complain(format_args!(
            "the device offers more than {} nodes; name a NODE to begin with to see the rest",
            listed.nodes.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A node as a line: what it is, where, what its values are, how it is named.
fn line(node: &Node) -> String {
    let range = node.range.map(|(low, high)| format!("{low}…{high}"));
    let access = node.access.map(config::Access::as_str);
    let facts = [node.value_type.as_deref(), node.unit.as_deref(), range.as_deref(), access];
    let facts: Vec<&str> = facts.into_iter().flatten().collect();
    let description = node.description.as_deref().map(|text| format!("  # {}", text.replace('\n', " ")));
    let columns = format!("{:<6} {:<48} {:<32} {}", node.kind.as_str(), node.path, facts.join(" "), node.id);
    format!("{columns}{}\n", description.unwrap_or_default())
}

/// How far the list is, on a terminal.
struct Bar {
    is_shown: bool,
    last: String,
}

impl Bar {
    fn new() -> Bar {
        Bar { is_shown: stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, found: usize, left: usize) {
        if self.is_shown {
            let line = format!("{found} nodes found, {left} to look at");
            // A shorter line leaves nothing of the one before.
            let _ = write!(stderr(), "\r{line:<width$}", width = self.last.len()).and_then(|()| stderr().flush());
            self.last = line;
        }
    }

    fn clear(&mut self) {
        if !self.last.is_empty() {
            let _ = write!(stderr(), "\r{:1$}\r", "", self.last.len());
            self.last.clear();
        }
    }
}
