//! One Modbus device, read and written by the real driver and the real stages, without a runtime around them.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tidegate_config::{self as config, Profiles};
use tidegate_driver_api::{Cx, Driver, Link, Next, Poll, Readings, Step, Written, model::Timestamp};
use tidegate_driver_modbus::ModbusTcp;
use tidegate_model::{Slot, Value};
use tidegate_pipeline::{Stages, State};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

/// One device behind a link of its own. Every poll and every write is a connection of its own.
pub struct Device {
    runtime: Runtime,
    profile: std::sync::Arc<config::Profile>,
    link: Box<dyn Link>,
    /// By group of the profile.
    stages: Vec<Stages>,
}

impl Device {
    /// A device of the profile `path` (`eastron/sdm630`) in the folder `profiles`, listening on `address`.
    ///
    /// # Errors
    ///
    /// When anything is wrong with the profile, warnings too; the text is what `tidegate check` would print.
    pub fn open(profiles: &Path, path: &str, address: SocketAddr, unit: u8) -> anyhow::Result<Device> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("tidegate.toml");
        let text = format!(
            "[gateway]\nid = \"test\"\nprofiles = [{:?}]\n\n\
             [[link]]\nname = \"link\"\ndriver = \"modbus-tcp\"\naddress = \"{address}\"\n\n\
             [[device]]\nname = \"device\"\nlink = \"link\"\nprofile = \"{path}\"\nunit = {unit}\n",
            fs::canonicalize(profiles).with_context(|| format!("failed to find {}", profiles.display()))?,
        );
        fs::write(&file, text)?;
        let (site, mut report) = config::load(&file, [], Profiles::Used);
        let link = site.as_ref().and_then(|site| site.links.first());
        let compiled = link.and_then(|link| ModbusTcp::default().compile(link, &mut report));
        let profile = link.and_then(|link| link.devices.first()).map(|device| std::sync::Arc::clone(&device.profile));
        let mut stages = Vec::new();
        if let (Some(compiled), Some(profile)) = (&compiled, &profile) {
            profile.finish(&mut report);
            let kinds = compiled.devices.first().map(|device| std::sync::Arc::clone(&device.groups));
            for (group, plan) in profile.groups.iter().zip(kinds.iter().flat_map(|kinds| kinds.iter())) {
                stages.extend(Stages::compile(group, &plan.kinds, &mut report));
            }
        }
        if !report.mistakes().is_empty() {
            bail!("{}", report.render());
        }
        let link = compiled.with_context(|| format!("{path} does not compile, and nothing says why"))?.link;
        let profile = profile.with_context(|| format!("{path} is not in the site"))?;
        Ok(Device { runtime: Builder::new_current_thread().enable_all().build()?, profile, link, stages })
    }

    /// A device of a profile that is given as text.
    ///
    /// # Errors
    ///
    /// As [`Device::open`].
    pub fn of_text(profile: &str, address: SocketAddr, unit: u8) -> anyhow::Result<Device> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("text.toml"), profile)?;
        Device::open(folder.path(), "text", address, unit)
    }

    /// The profile.
    pub fn profile(&self) -> &config::Profile {
        &self.profile
    }

    /// Polls a group once and takes what came through all stages, as if it had never been polled before. By tag;
    /// tags that are only written are [`Slot::Unchanged`].
    ///
    /// # Errors
    ///
    /// When there is no such group, or the session is lost.
    pub fn poll(&mut self, group: &str) -> anyhow::Result<BTreeMap<String, Slot>> {
        let index = self.profile.groups.iter().position(|found| found.name.as_str() == group);
        let index = index.with_context(|| format!("the profile has no group {group}"))?;
        let stages = self.stages.get(index).context("a group without stages")?;
        let mut readings = Readings::new(stages.columns().len());
        let poll = Poll { device: 0, group: index };
        let link = &mut self.link;
        self.runtime.block_on(async {
            let mut session = link.connect(&context()).await?;
            let mut step = Step::FIRST;
            while let Next::Request(next) = session.read(&context(), poll, step, &mut readings).await? {
                step = next;
            }
            anyhow::Ok(())
        })?;
        let mut state = State::new(stages);
        let now = Timestamp::from_millis(1_795_000_000_000);
        let outcome = stages.run(&mut state, readings.items_mut(), Duration::ZERO, now);
        let outcome = outcome.context("the first poll gave no row")?;
        let columns = stages.columns();
        Ok(columns.iter().map(|column| column.name.to_string()).zip(outcome.slots).collect())
    }

    /// Writes a delivered value to a tag: all checks, the device's number for it, one request.
    ///
    /// # Errors
    ///
    /// When there is no such tag, it takes no such value, or the session is lost.
    pub fn write(&mut self, tag: &str, value: &Value) -> anyhow::Result<Written> {
        let groups = self.profile.groups.iter().enumerate();
        let (group, column) = groups
            .filter_map(|(group, found)| {
                let column = found.tags.iter().position(|found| found.name.as_str() == tag)?;
                Some((group, column))
            })
            .next()
            .with_context(|| format!("the profile has no tag {tag}"))?;
        let raw = self.stages.get(group).context("a group without stages")?.to_raw(column, value)?;
        let link = &mut self.link;
        self.runtime.block_on(async {
            let mut session = link.connect(&context()).await?;
            let writer = session.writer().context("the driver cannot write")?;
            Ok(writer.write(&context(), Poll { device: 0, group }, column, &raw).await?)
        })
    }
}

fn context() -> Cx {
    Cx::new(Instant::now(), PATIENCE, CancellationToken::new())
}
