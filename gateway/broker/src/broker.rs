//! A running broker: its listener and its end.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tidegate_config as config;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Duration, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::BrokerError, farewell::farewell, handshake, hub::Hub, inbox::Inbox, limits::Limits, publisher::Publisher,
    rights::Users, status::BrokerStatus,
};

/// How long clients may take for their last messages when the broker stops.
const STOP: Duration = Duration::from_secs(3);
/// How long the listener rests when the system has no socket for a client.
const REST: Duration = Duration::from_millis(100);

/// A running MQTT broker. Cheap to clone; all clones are the same broker.
///
/// When the last clone is dropped without [`Broker::stop`], listener and clients end all the same, a little later.
#[derive(Clone)]
pub struct Broker {
    running: Arc<Running>,
}

struct Running {
    hub: Arc<Hub>,
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.hub.close();
    }
}

impl Broker {
    /// Starts a broker with the default limits. See [`Broker::start_with`].
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when it cannot listen where it should.
    pub async fn start(options: &config::Broker) -> Result<Broker, BrokerError> {
        Broker::start_with(options, Limits::default()).await
    }

    /// Starts a broker: listens at `options.listen` (port 0 takes a free one, see [`Broker::address`]) for MQTT 3.1.1
    /// and 5 and lets `options.users` in, or everybody when there are none.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when it cannot listen there.
    pub async fn start_with(options: &config::Broker, limits: Limits) -> Result<Broker, BrokerError> {
        let listen = |source| BrokerError::listen(options.listen, source);
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let hub = Arc::new(Hub::new(limits, Users::new(options)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(listener, Arc::clone(&hub), tasks.clone(), stop.clone()));
        tracing::info!(%address, users = options.users.len(), "MQTT broker listens");
        Ok(Broker { running: Arc::new(Running { hub, address, tasks, stop }) })
    }

    /// Where the broker listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// A way to publish from inside the gateway.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.running.hub))
    }

    /// Collects what is published from now on to the topics that `filter` selects. At most `capacity` messages wait;
    /// more are dropped and counted. Such messages are never retained. A filter that is not well formed selects
    /// nothing.
    pub fn subscribe(&self, filter: &str, capacity: usize) -> Inbox {
        self.running.hub.open_inbox(filter, capacity)
    }

    /// What the broker has done and holds now.
    pub fn status(&self) -> BrokerStatus {
        self.running.hub.status()
    }

    /// Stops the broker: no more clients, those connected get what waits for them (within a second) and a goodbye. The
    /// port is free afterwards.
    pub async fn stop(&self) {
        let Running { hub, tasks, stop, .. } = &*self.running;
        stop.cancel();
        tasks.close();
        if timeout(STOP, tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = tasks.len(),
                "MQTT clients did not end in time; the broker stops without waiting for them"
            );
        }
        hub.close();
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("address", &self.running.address).finish_non_exhaustive()
    }
}

/// Accepts clients until stopped, each in a task of its own.
async fn accept(listener: TcpListener, hub: Arc<Hub>, tasks: TaskTracker, stop: CancellationToken) {
    let places = Arc::new(tokio::sync::Semaphore::new(hub.limits.connections));
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest(&error, &mut failing).await;
                continue;
            }
        };
        failing = false;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            hub.counters.refused_connections.increase();
            if hub.lines.connections.is_due() {
                tracing::warn!(%peer, limit = hub.limits.connections, "too many MQTT connections; more are closed at once");
            }
            continue;
        };
        let _ = TcpStream::set_nodelay(&stream, true);
        let (hub, stop) = (Arc::clone(&hub), stop.clone());
        tasks.spawn(async move {
            let left = handshake::serve(hub, stream.into(), peer, &stop).await;
            // A delayed will or a session that is kept needs no place.
            drop(place);
            if let Some(left) = left {
                farewell(left, stop).await;
            }
        });
    }
}

/// Waits a little after a failed accept: a lack of sockets would come back at once.
async fn rest(error: &io::Error, failing: &mut bool) {
    if !std::mem::replace(failing, true) {
        tracing::error!(%error, "MQTT clients cannot be accepted; trying on; check the limit of open files");
    }
    sleep(REST).await;
}
