//! A running broker: its listeners, its reload and its end.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_config as config;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Duration, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    apart,
    disk::{DiskCounters, DiskStatus, Keepers, Writer},
    error::BrokerError,
    hub::Hub,
    inbox::Inbox,
    inside::{Inside, Insider, MARK, reachable},
    limits::Limits,
    listener::{Bound, Listener},
    publisher::Publisher,
    status::{BrokerStatus, ListenerStatus},
    sys,
    tls::{Certificates, ShownCertificate, TlsError},
    users::Users,
};

/// How long clients may take for their last messages when the broker stops.
pub(crate) const STOP: Duration = Duration::from_secs(3);

/// A running MQTT broker. Cheap to clone; all clones are the same broker.
///
/// When the last clone is dropped without [`Broker::stop`], listener and clients end all the same, a little later.
#[derive(Clone)]
pub struct Broker {
    running: Arc<Running>,
}

struct Running {
    hub: Arc<Hub>,
    listeners: Vec<Arc<Listener>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    disk: Option<Disk>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.hub.close();
        if let Some(disk) = &self.disk {
            disk.stop.cancel();
        }
    }
}

/// The word to stop, and what works until it has.
pub(crate) struct Ending {
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// The task that writes, which has a stop of its own: it is the last.
struct Disk {
    counters: DiskCounters,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Tries whether the certificates that `options` name can be used; listens nowhere.
    ///
    /// # Errors
    ///
    /// When they cannot.
    pub fn check(options: &config::Broker) -> Result<(), TlsError> {
        options.tls.as_ref().map_or(Ok(()), |tls| Certificates::read(&tls.identity).map(drop))
    }

    /// Starts a broker that keeps nothing over a restart, with the limits of `options`. See [`Broker::start_with`].
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when it cannot listen where it should.
    pub async fn start(options: &config::Broker) -> Result<Broker, BrokerError> {
        Broker::start_with(options, Limits::from(options)).await
    }

    /// Starts a broker that keeps nothing over a restart: listens where `options` say (port 0 takes a free one, see
    /// [`Broker::address`]) for MQTT 3.1.1 and 5.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when it cannot listen there, or the certificates cannot be used.
    pub async fn start_with(options: &config::Broker, limits: Limits) -> Result<Broker, BrokerError> {
        Broker::start_on(options, limits, None, &Handle::current()).await
    }

    /// Starts a broker that keeps sessions and retained messages of clients in a database in `folder`, unless `options` say that
    /// nothing is kept. A damaged database is set aside; where the disk gives none, the broker goes on from memory and tries again.
    ///
    /// # Errors
    ///
    /// As [`Broker::start_with`], and [`BrokerError::NewerFormat`].
    pub async fn start_in(options: &config::Broker, folder: &Path) -> Result<Broker, BrokerError> {
        Broker::start_on(options, Limits::from(options), Some(folder), &Handle::current()).await
    }

    /// As [`Broker::start_in`] (without a folder as [`Broker::start`]) on a thread of its own, which serves clients in the order in
    /// which they are heard, whatever else the caller's runtime does. It ends with the broker.
    ///
    /// # Errors
    ///
    /// As [`Broker::start_in`], and [`BrokerError::Thread`].
    pub async fn start_apart(options: &config::Broker, folder: Option<PathBuf>) -> Result<Broker, BrokerError> {
        apart::start(options, folder).await
    }

    /// What its end can be waited for with.
    pub(crate) fn ending(&self) -> Ending {
        Ending { stop: self.running.stop.clone(), tasks: self.running.tasks.clone() }
    }

    /// Starts on this runtime; what writes the disk works on the runtime of `writers`.
    pub(crate) async fn start_on(
        options: &config::Broker,
        limits: Limits,
        folder: Option<&Path>,
        writers: &Handle,
    ) -> Result<Broker, BrokerError> {
        let bound = Bound::all(options).await?;
        let hub = Arc::new(Hub::new(limits, Users::new(options)));
        let listeners = bound.iter().map(|bound| Arc::clone(&bound.listener)).collect();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        // Before the first client is served.
        let disk = match folder.zip(options.persistence) {
            Some((folder, persistence)) => {
                let keepers = Keepers::here(tasks.clone(), stop.clone());
                Some(Disk::start(folder, persistence, &hub, keepers, writers).await?)
            }
            None => None,
        };
        let places = Arc::new(Semaphore::new(hub.limits.connections.min(Semaphore::MAX_PERMITS)));
        tasks.spawn(sys::keep(Arc::clone(&hub), stop.clone()));
        for bound in bound {
            let (section, address) = (bound.listener.section(), bound.listener.address());
            tracing::info!(section, %address, users = options.users.len(), "MQTT broker listens");
            tasks.spawn(bound.serve(Arc::clone(&hub), Arc::clone(&places), tasks.clone(), stop.clone()));
        }
        Ok(Broker { running: Arc::new(Running { hub, listeners, tasks, stop, disk }) })
    }

    /// Where the broker listens for plain MQTT, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address_of("broker").unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Where the listener of a section of the site listens (`broker.tls`), with the port that it got.
    pub fn address_of(&self, section: &str) -> Option<SocketAddr> {
        self.running.listeners.iter().find(|listener| listener.section() == section).map(|listener| listener.address())
    }

    /// What each listener has done and serves now.
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        self.running.listeners.iter().map(|listener| listener.status()).collect()
    }

    /// The certificates that clients are shown. One that several listeners show is told once.
    pub fn certificates(&self) -> Vec<ShownCertificate> {
        let listeners = self.running.listeners.iter();
        let mut shown: Vec<ShownCertificate> = listeners.filter_map(|listener| listener.certificate()).collect();
        shown.dedup_by(|one, before| one.path == before.path);
        shown
    }

    /// Goes over to other users and rights, and reads the certificates again. Clients that are connected get the rights of now and
    /// lose the subscriptions that these do not cover; those whose user is gone, or whose password is another one, are
    /// disconnected. Everything else of `options` takes a restart.
    pub fn reload(&self, options: &config::Broker) {
        for listener in &self.running.listeners {
            listener.read_certificates_again();
        }
        self.running.hub.replace_users(options);
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

    /// Lets a bridge in as a client that may do everything. What waits for it has at most `max_queue` bytes; more is dropped and
    /// counted. A session that it had before a restart is its own again, with the limit of now.
    pub fn let_in(&self, name: &str, max_queue: u64) -> Insider {
        let hub = &self.running.hub;
        let user = format!("{MARK}{name}");
        let inside = hub.let_in(user.clone(), Inside::new(&hub.limits, max_queue));
        Insider { client: user.clone(), user, address: reachable(self.address()), inside, hub: Arc::clone(hub) }
    }

    /// Forgets what waits for bridges with other names than these, which would wait for nobody.
    pub fn let_out_all_but(&self, names: &[&str]) {
        self.running.hub.let_out_all_but(names);
    }

    /// What the broker has done and holds now.
    pub fn status(&self) -> BrokerStatus {
        self.running.hub.status()
    }

    /// What is kept on the disk; `None` when nothing is.
    pub fn disk(&self) -> Option<DiskStatus> {
        self.running.disk.as_ref().map(|disk| disk.counters.get())
    }

    /// Stops the broker: no more clients, those connected get what waits for them (within a second) and a goodbye, and what is to
    /// be kept goes to the disk. The port is free afterwards.
    pub async fn stop(&self) {
        let Running { hub, tasks, stop, disk, .. } = &*self.running;
        stop.cancel();
        tasks.close();
        if timeout(STOP, tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = tasks.len(),
                "MQTT clients did not end in time; the broker stops without waiting for them"
            );
        }
        if let Some(disk) = disk {
            disk.end().await;
        }
        hub.close();
    }
}

impl Disk {
    async fn start(
        folder: &Path,
        options: config::BrokerPersistence,
        hub: &Arc<Hub>,
        keepers: Keepers,
        writers: &Handle,
    ) -> Result<Disk, BrokerError> {
        let writer = Writer::open(folder, options, hub, keepers).await?;
        let counters = writer.counters.clone();
        let (own_tasks, own_stop) = (TaskTracker::new(), CancellationToken::new());
        own_tasks.spawn_on(writer.run(own_stop.clone()), writers);
        Ok(Disk { counters, stop: own_stop, tasks: own_tasks })
    }

    /// Writes a last time.
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(STOP, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "the disk does not take the sessions of MQTT clients in time; those changed last may be lost"
            );
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("address", &self.address()).finish_non_exhaustive()
    }
}
