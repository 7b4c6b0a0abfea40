//! A broker with a thread of its own.
//!
//! Its runtime serves what it hears in the order in which it heard it. On several threads a client that publishes can
//! overtake one that subscribed just before, and a client waits for whatever else the gateway does there.

use std::{path::PathBuf, thread};

use tidegate_config as config;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    broker::{Broker, Ending, STOP},
    error::BrokerError,
};

/// Starts the broker on a new thread, which ends after it.
pub(crate) async fn start(options: &config::Broker, folder: Option<PathBuf>) -> Result<Broker, BrokerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BrokerError::Thread)?;
    let (options, (started, broker)) = (options.clone(), oneshot::channel());
    let work = async move {
        let broker = match folder {
            Some(folder) => Broker::start_in(&options, &folder).await,
            None => Broker::start(&options).await,
        };
        let ending = broker.as_ref().ok().map(Broker::ending);
        // Nobody waits for it any more: it ends as it is dropped.
        drop(started.send(broker));
        if let Some(ending) = ending {
            last(ending).await;
        }
    };
    thread::Builder::new()
        .name("mqtt-broker".to_owned())
        .spawn(move || runtime.block_on(work))
        .map_err(BrokerError::Thread)?;
    broker.await.map_err(|_| BrokerError::Thread(std::io::Error::other("it has ended")))?
}

/// Waits until the broker has been stopped and everything of it has ended, or has had its time.
async fn last(Ending { stop, tasks, disk }: Ending) {
    stop.cancelled().await;
    for tasks in [Some(tasks), disk].into_iter().flatten() {
        tasks.close();
        // Who stops the broker waits as long, and says so when it is too long.
        let _ = timeout(STOP, tasks.wait()).await;
    }
}
