//! `tidegate run`: runs a site until SIGTERM or Ctrl-C; SIGHUP reloads it.

use std::{path::Path, process::ExitCode, time::Duration};

use tidegate_config::Profiles;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    console::{say, warn},
    running::Running,
    site,
};

/// Threads that run tasks. The gateway shares its box with other programs; two keep a million values a second.
const WORKERS: usize = 2;
/// How long stopping may take. What is committed is safe however it ends.
const STOP_TIME: Duration = Duration::from_secs(30);
/// How long the process waits, at its very end, for a thread that hangs in the disk.
const LAST_WAIT: Duration = Duration::from_secs(1);

pub(crate) fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let (loaded, report) = site::check(config, Profiles::Used);
    warn(&report.render());
    let Some(loaded) = loaded else { return Ok(ExitCode::FAILURE) };
    with_runtime(async {
        let mut signals = Signals::new()?;
        let mut running = Running::start(loaded).await?;
        announce(&running);
        signals.serve(&mut running, config).await;
        tracing::info!("stopping");
        Ok(signals.stop(running).await)
    })
}

/// Runs the work on the runtime that everything runs on.
pub(crate) fn with_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WAIT);
    result
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
        say(format_args!("The first start has made the user \"admin\" with the password {password}"));
        say(
            "It is not shown again. When it is lost: stop the gateway, remove users.json in its data folder, start it.",
        );
    }
}

/// The signals that a gateway listens to. They are taken before anything is started, so that none of them ends the process
/// half-way.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the word to stop; reloads on SIGHUP.
    pub(crate) async fn serve(&mut self, running: &mut Running, config: &Path) {
        loop {
            tokio::select! {
                () = Signals::stopped(&mut self.terminate, &mut self.interrupt) => return,
                _ = self.hangup.recv() => running.reload(config).await,
            }
        }
    }

    /// Stops cleanly; a second word to stop, or too much time, ends it as it is.
    pub(crate) async fn stop(mut self, running: Running) -> ExitCode {
        tokio::select! {
            () = running.stop() => ExitCode::SUCCESS,
            () = Signals::stopped(&mut self.terminate, &mut self.interrupt) => {
                tracing::warn!("told to stop a second time; ending at once, rows that were not committed are lost");
                ExitCode::FAILURE
            }
            () = tokio::time::sleep(STOP_TIME) => {
                tracing::error!("stopping takes too long; ending at once, rows that were not committed are lost; look at the disk");
                ExitCode::FAILURE
            }
        }
    }

    async fn stopped(terminate: &mut Signal, interrupt: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
