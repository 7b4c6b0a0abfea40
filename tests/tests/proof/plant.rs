//! The plant of the proof: ten simulated machines with a hundred tags each, and the gateway that reads them.

use std::{
    fmt::Write,
    net::SocketAddr,
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use tidegate_tests::{Child, Gateway, PATIENCE, Site, get, program, wait_until};

use crate::cloud::SETTLE;

/// Behind two connections, five machines each.
const LINKS: usize = 2;
const UNITS: usize = 5;
const TAGS: usize = 100;

/// A second of plant time: what is polled each second there is polled this often here.
pub(crate) const SECOND: Duration = Duration::from_millis(50);

/// How long it may take, after the time that was planned, until there are as many rows as were planned: a machine that is busy
/// polls less often.
const LATE: Duration = Duration::from_secs(120);

/// When no row has come for so long, none comes any more: far longer than a poll may take.
const REST: Duration = Duration::from_secs(3);
/// And it has said so as often in a row: one that is held up for so long itself has nothing new to say either.
const READINGS: u32 = 100;

/// The types of the tags, in turn; what a `u16` counts is tenths.
const TYPES: [(&str, usize); 4] = [("u16", 1), ("i32", 2), ("f32", 2), ("u32", 2)];

/// The machines, the site of the gateway that reads them, and the gateway.
pub(crate) struct Plant {
    simulator: Option<Child>,
    site: Site,
    gateway: Mutex<Option<Gateway>>,
}

/// The machines by name.
pub(crate) fn devices() -> Vec<String> {
    (0..LINKS).flat_map(|link| (1..=UNITS).map(move |unit| format!("machine-{link}-{unit}"))).collect()
}

/// The tags of each machine by name.
pub(crate) fn tags() -> Vec<String> {
    (0..TAGS).map(|tag| format!("tag-{tag:02}")).collect()
}

impl Plant {
    /// Starts the machines and writes a site whose target is at `cloud`. The gateway is not started.
    pub(crate) fn build(cloud: SocketAddr, seed: u64) -> anyhow::Result<Plant> {
        let site = Site::new()?;
        site.write_file("profiles/proof/machine.toml", &profile())?;
        let mut command = Command::new(program("tidegate-sim")?);
        command.args(["modbus", "--ports", &LINKS.to_string(), "--units", &format!("1-{UNITS}")]);
        command.args(["--seed", &seed.to_string(), "--step", &format!("{}ms", SECOND.as_millis())]);
        command.arg("--profile").arg(site.path().join("profiles/proof/machine.toml"));
        let simulator = Child::start("the simulator", &mut command)?;
        let links = simulator.wait_for(PATIENCE, "its ports", |lines| {
            let ports = lines.iter().filter_map(|line| line.text.strip_prefix("listening modbus-tcp "));
            let ports: Vec<String> = ports.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect();
            (ports.len() == LINKS).then_some(ports)
        })?;
        site.write("plant", &rest(&links, cloud)?)?;
        Ok(Plant { simulator: Some(simulator), site, gateway: Mutex::default() })
    }

    /// The site.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Starts the gateway, for the first time or after [`Plant::kill`].
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let gateway = Gateway::start(&self.site)?;
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateway);
        Ok(())
    }

    /// Kills the gateway (SIGKILL).
    pub(crate) fn kill(&self) {
        if let Some(gateway) = self.take() {
            gateway.kill();
        }
    }

    /// Stops the gateway in an orderly way.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let status = self.take().context("the gateway does not run")?.stop()?;
        anyhow::ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    fn take(&self) -> Option<Gateway> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Switches the machines off: each gives a last bad row, and then none.
    pub(crate) fn switch_off(&mut self) {
        self.simulator = None;
    }

    /// Waits until no row comes any more and the target has acknowledged all; gives how many there are.
    pub(crate) fn come_to_rest(&self, within: Duration) -> anyhow::Result<u64> {
        let (mut rows, mut since, mut quiet) = (0, Instant::now(), 0);
        wait_until(within, "everything to be acknowledged", || {
            let Ok((there, waiting)) = self.rows() else {
                quiet = 0;
                return None;
            };
            if there != rows || waiting > 0 {
                (rows, since, quiet) = (there, Instant::now(), 0);
                return None;
            }
            quiet += 1;
            (since.elapsed() > REST && quiet >= READINGS).then_some(rows)
        })
    }

    /// Rows that the gateway has, and how many of them wait to be committed or acknowledged.
    fn rows(&self) -> anyhow::Result<(u64, u64)> {
        let waiting = self.metric("tidegate_target_waiting_rows")? + self.metric("tidegate_store_pending_rows")?;
        Ok((self.metric("tidegate_store_rows")?, waiting))
    }

    /// Waits until the gateway has committed so many rows of each machine, about.
    pub(crate) fn wait_for_rows(&self, each: u64) -> anyhow::Result<()> {
        // Each machine has missed a few polls more or less than the others.
        let all = (each + 60) * u64::try_from(LINKS * UNITS)?;
        wait_until(LATE, "enough rows", || {
            let rows = self.metric("tidegate_store_rows").ok()?;
            (rows >= all).then_some(())
        })
    }

    /// A number that the gateway tells about itself.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = get(self.site.web_address(), "/metrics")?.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next());
        let line = line.with_context(|| format!("the gateway has no {name} in its metrics"))?;
        line.parse().with_context(|| format!("{name} is {line}"))
    }
}

fn profile() -> String {
    let mut text = format!(
        "[profile]\nmanufacturer = \"Proof\"\nmodel = \"Machine\"\ndriver = \"modbus\"\nversion = 1\n\n\
         [defaults]\ntable = \"holding\"\n\n\
         [[group]]\nname = \"all\"\ninterval = \"{}ms\"\n",
        SECOND.as_millis()
    );
    let mut address = 0;
    for (tag, (kind, registers)) in tags().iter().zip(TYPES.iter().cycle()) {
        let scale = if *kind == "u16" { "scale = 0.1\n" } else { "" };
        text +=
            &format!("\n[[tag]]\nname = \"{tag}\"\ngroup = \"all\"\naddress = {address}\ntype = \"{kind}\"\n{scale}");
        address += registers;
    }
    text
}

/// The links, the machines and the target, which is quick to notice that something is wrong.
fn rest(links: &[String], cloud: SocketAddr) -> anyhow::Result<String> {
    let mut text = format!(
        "[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{cloud}\"\nformat = \"block\"\nstart = \"oldest\"\n\
         keep_alive = \"2s\"\nack_timeout = \"2s\"\nsettle = \"{}s\"\nretry_longest = \"1s\"\n",
        SETTLE.as_secs()
    );
    for (index, address) in links.iter().enumerate() {
        write!(text, "\n[[link]]\nname = \"link-{index}\"\ndriver = \"modbus-tcp\"\naddress = \"{address}\"\n")?;
    }
    for (index, device) in devices().iter().enumerate() {
        let (link, unit) = (index / UNITS, 1 + index % UNITS);
        write!(
            text,
            "\n[[device]]\nname = \"{device}\"\nlink = \"link-{link}\"\nprofile = \"proof/machine\"\nunit = {unit}\n"
        )?;
    }
    Ok(text)
}
