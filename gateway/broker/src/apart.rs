//! A broker with a thread of its own.
//!
//! Its runtime serves what it hears in the order in which it heard it. On several threads a client that publishes can
//! overtake one that subscribed just before, and a client waits for whatever else the gateway does there.

use std::{io, path::PathBuf, thread};

use tidegate_config as config;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    time::timeout,
};

use crate::{
    broker::{Broker, Ending, STOP},
    error::BrokerError,
    limits::Limits,
};

/// Starts the broker on a new thread, which ends after it. What writes its disk works on the caller's runtime: clients do not
/// wait for it.
pub(crate) async fn start(options: &config::Broker, folder: Option<PathBuf>) -> Result<Broker, BrokerError> {
    let (options, writers, (started, broker)) = (options.clone(), Handle::current(), oneshot::channel());
    let work = move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(BrokerError::Thread(error)))),
        };
        runtime.block_on(async {
            let broker = Broker::start_on(&options, Limits::from(&options), folder.as_deref(), &writers).await;
            let ending = broker.as_ref().ok().map(Broker::ending);
            // Nobody waits for it any more: it ends as it is dropped.
            drop(started.send(broker));
            if let Some(ending) = ending {
                last(ending).await;
            }
        });
    };
    thread::Builder::new().name("mqtt-broker".to_owned()).spawn(work).map_err(BrokerError::Thread)?;
    broker.await.map_err(|_| BrokerError::Thread(io::Error::other("it has ended")))?
}

/// Waits until the broker has been stopped and its tasks have ended, or have had their time.
async fn last(Ending { stop, tasks }: Ending) {
    stop.cancelled().await;
    tasks.close();
    // Who stops the broker waits as long, and says so when it is too long.
    let _ = timeout(STOP, tasks.wait()).await;
}
