//! `tidegate demo`: a simulated plant, a gateway over it and a second broker as "the cloud", all on loopback.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tidegate_broker::Broker;
use tidegate_config::{self as config, Profiles};
use tidegate_runtime::{DeviceState, Handle};

use crate::{
    commands::run::{Signals, with_runtime},
    console::{say, warn},
    demo::{plant::Plant, site as demo_site},
    running::Running,
    site,
};

const TELL_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn demo(dir: &Path) -> anyhow::Result<ExitCode> {
    with_runtime(async {
        let mut signals = Signals::new()?;
        demo_site::write_profiles(dir)?;
        let plant = Plant::start(&dir.join("profiles"))?;
        let cloud = cloud().await.context("failed to start the broker that plays the cloud")?;
        let file = demo_site::write(dir, &plant, cloud.address())?;
        let (loaded, report) = site::check(&file, Profiles::Used);
        warn(&report.render());
        let Some(loaded) = loaded else {
            bail!("{} has mistakes; mend them, or remove it and start again", file.display());
        };
        let mut running = Running::start(loaded).await?;
        say(welcome(&running, &plant, &cloud, &file));
        let teller = tokio::spawn(tell(running.handle()));
        signals.serve(&mut running, &file).await;
        teller.abort();
        say("stopping");
        let code = signals.stop(running).await;
        cloud.stop().await;
        drop(plant);
        Ok(code)
    })
}

/// A broker that is not the gateway's.
async fn cloud() -> anyhow::Result<Broker> {
    Ok(Broker::start(&config::Broker::on_loopback()).await?)
}

/// What a person needs to look around.
fn welcome(running: &Running, plant: &Plant, cloud: &Broker, file: &Path) -> String {
    let (local, web) = (running.broker_address(), running.web_address());
    let password = match &running.first_password {
        Some(password) => format!("user admin, password {password} (shown this once)"),
        None => "user admin, the password of the first start".to_owned(),
    };
    let file = file.display();
    // As it was called, so that the line can be copied.
    let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
    format!(
        "\nTidegate is running over {machines} simulated machines.\n\n\
         the site      {file}\n\
         interface     http://{web}/api/v1/status   {password}\n\
         metrics       http://{web}/metrics\n\
         live data     mosquitto_sub -p {local_port} -v -t 'tidegate/#'\n\
         the cloud     mosquitto_sub -p {cloud_port} -v -t 'tidegate/#'\n\
         a value       {program} read -c {file} {device}\n\
         the queue     {program} queue -c {file}\n\n\
         Ctrl-C stops it.\n",
        machines = plant.machines().len(),
        local_port = local.port(),
        cloud_port = cloud.address().port(),
        device = plant.machines().first().map_or("", |machine| machine.device),
    )
}

/// Says from time to time how it goes.
async fn tell(handle: Handle) {
    let mut rows_before = 0;
    loop {
        handle.clock().sleep(TELL_EVERY).await;
        let status = handle.status();
        let devices = || status.links.iter().flat_map(|link| &link.devices);
        let online = devices().filter(|device| device.state == Some(DeviceState::Online)).count();
        let rows: u64 = status.links.iter().map(|link| link.rows).sum();
        let waiting: u64 = status.targets.iter().map(|target| target.waiting_rows).sum();
        say(format_args!(
            "{online} of {} machines online, {} rows in the last {} s, {waiting} rows wait for the cloud",
            devices().count(),
            rows.saturating_sub(rows_before),
            TELL_EVERY.as_secs()
        ));
        rows_before = rows;
    }
}
