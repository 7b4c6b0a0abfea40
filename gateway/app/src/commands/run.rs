//! `tidegate run`: runs a site until SIGTERM or Ctrl-C; SIGHUP reloads it.

use std::{path::Path, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};

use crate::{running::Running, site};
use tidegate_config::Profiles;

/// Threads that run tasks. The gateway shares its box with other programs; two keep a million values a second.
const WORKERS: usize = 2;

pub(crate) fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let (loaded, report) = site::check(config, Profiles::Used);
    eprint!("{}", report.render());
    let Some(loaded) = loaded else { return Ok(ExitCode::FAILURE) };
    runtime()?.block_on(async {
        let mut running = Running::start(loaded).await?;
        announce(&running);
        serve(&mut running, config).await?;
        tracing::info!("stopping");
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// The runtime that everything runs on.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?)
}

/// Says what has been started.
fn announce(running: &Running) {
    tracing::info!(
        gateway = %running.id(),
        mqtt = %running.broker_address(),
        web = %format_args!("http://{}", running.web_address()),
        "gateway is running"
    );
    if let Some(password) = &running.first_password {
        // On standard output, not in the log: logs are kept and shipped.
        println!("The first start has made the user \"admin\" with the password {password}");
        println!("It is not shown again.");
    }
}

/// Waits for a signal to stop; reloads on SIGHUP.
pub(crate) async fn serve(running: &mut Running, config: &Path) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => running.reload(config).await,
        }
    }
}
