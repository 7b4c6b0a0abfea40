//! The server as the gateway starts, watches and stops it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpListener as Socket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opcua::server::{
    ServerHandle,
    diagnostics::DiagnosticsNodeManagerBuilder,
    node_manager::{NodeManagers, memory::InMemoryNodeManagerBuilder},
};
use tidegate_config::OpcUaServer;
use tidegate_runtime::Handle;
use tidegate_trust::Trust;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    ServerError, ServerStatus,
    access::Users,
    door::{self, Manners},
    guests::{Guests, Tally},
    manager::{Builder, Manager, Plant, number},
    refresh::Refreshes,
    settings::{self, Identity},
    standard::StandardBuilder,
};

/// How often changes are looked for.
const ROUND: Duration = Duration::from_millis(50);
/// How often certificates that the library did not know are taken over.
const COLLECT: Duration = Duration::from_millis(250);
/// How long clients have to be told goodbye.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long until the next try when the library's server has ended.
const RETRY: Duration = Duration::from_secs(5);
/// Monitored items that are gone after which the library's server is built anew. It keeps some 100 bytes of each item of a
/// subscription that was deleted or has expired, for ever; clients that come and go would fill the memory. Clients connect again by
/// themselves.
const MOST_SPENT: u64 = 500_000;

/// The running server.
pub struct Server {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: String,
    options: OpcUaServer,
    trust: Trust,
    plant: Arc<Plant>,
    gateway: Handle,
    application_uri: String,
    /// Gone when the server is stopped: whoever still asks for its status must not keep the port.
    socket: Mutex<Option<Socket>>,
    cancel: CancellationToken,
    running: AtomicBool,
    current: Mutex<Option<Current>>,
    tally: Arc<Tally>,
    last_error: Mutex<Option<String>>,
}

/// What is asked of a server that runs.
#[derive(Clone)]
struct Current {
    manager: Arc<Manager>,
    guests: Arc<Guests>,
}

/// A server of the library that is ready to run.
struct Built {
    server: opcua::server::Server,
    handle: ServerHandle,
    manager: Arc<Manager>,
    guests: Arc<Guests>,
    cancel: CancellationToken,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`] when the port is taken; [`ServerError::Trust`] and [`ServerError::Library`].
    pub async fn start(
        target: &str,
        options: &OpcUaServer,
        trust: Trust,
        gateway: Handle,
    ) -> Result<Server, ServerError> {
        let refused = |source| ServerError::Listen { target: target.to_owned(), address: options.listen, source };
        let socket = TcpListener::bind(options.listen).await.and_then(TcpListener::into_std).map_err(refused)?;
        let mut options = options.clone();
        options.listen = socket.local_addr().map_err(refused)?;
        let now = gateway.clock().timestamp(gateway.clock().now());
        // The first time a key is made, which takes a while.
        let certificates = trust.clone();
        let own = tokio::task::spawn_blocking(move || certificates.own(now)).await;
        own.map_err(|error| ServerError::Library(error.to_string()))??;
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            application_uri: trust.application_uri(),
            plant: Arc::new(Plant::new(gateway.clone(), &options)),
            options,
            trust,
            gateway,
            socket: Mutex::new(Some(socket)),
            cancel: CancellationToken::new(),
            running: AtomicBool::new(true),
            current: Mutex::new(None),
            tally: Arc::default(),
            last_error: Mutex::new(None),
        });
        let first = Arc::clone(&shared).build().await?;
        let task = tokio::spawn(Arc::clone(&shared).run(first));
        Ok(Server { shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.shared.options.listen
    }

    /// Tells what the server is doing, from anywhere, also when it has been stopped.
    pub fn probe(&self) -> impl Fn() -> ServerStatus + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.status()
    }

    /// Stops it: clients are told, and cut off when they do not go.
    pub async fn stop(mut self) {
        self.shared.cancel.cancel();
        if timeout(2 * FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
        self.shared.running.store(false, Relaxed);
        *self.shared.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Shared {
    fn status(&self) -> ServerStatus {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = &self.plant.counts;
        let sessions = current.as_ref().map_or(0, |current| current.guests.live());
        let (items, subscriptions) = current.map_or((0, 0), |current| current.manager.count());
        ServerStatus {
            running: self.running.load(Relaxed),
            sessions: number(sessions),
            subscriptions: number(subscriptions),
            monitored_items: number(items),
            values: counts.values.load(Relaxed),
            overflows: counts.overflows.load(Relaxed),
            monitored_items_high: counts.items_high.load(Relaxed),
            subscriptions_high: counts.subscriptions_high.load(Relaxed),
            connections: self.tally.connections.load(Relaxed),
            refused: self.tally.refused.load(Relaxed),
            connections_high: self.tally.connections_high.load(Relaxed),
            sessions_high: self.tally.sessions_high.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Builds a server of the library. It reads the standard's thousands of nodes, which takes a while.
    async fn build(self: Arc<Self>) -> Result<Built, ServerError> {
        let build = move || {
            let identity = Identity {
                gateway: self.gateway.id().as_str(),
                version: env!("CARGO_PKG_VERSION"),
                host: &self.host(),
                trust: &self.trust,
                application_uri: &self.application_uri,
            };
            let most = usize::try_from(self.options.max_sessions).unwrap_or(usize::MAX);
            let guests = Guests::new(most, Arc::clone(&self.tally));
            let users = Users::new(&self.target, &self.options, Arc::clone(&guests));
            let cancel = self.cancel.child_token();
            let refreshes: Arc<Refreshes> = Arc::default();
            let plant = Builder {
                plant: Arc::clone(&self.plant),
                guests: Arc::clone(&guests),
                refreshes: Arc::clone(&refreshes),
            };
            let builder = settings::builder(&self.options, &identity)
                .with_authenticator(Arc::new(users))
                .without_node_managers()
                .with_node_manager(InMemoryNodeManagerBuilder::new(StandardBuilder(refreshes)))
                .with_node_manager(DiagnosticsNodeManagerBuilder)
                .with_node_manager(plant)
                .token(cancel.clone());
            let (server, handle) = builder.build().map_err(ServerError::Library)?;
            let manager = manager(handle.node_managers());
            let manager = manager.ok_or_else(|| ServerError::Library("its node manager is missing".to_owned()))?;
            Ok(Built { server, handle, manager, guests, cancel })
        };
        tokio::task::spawn_blocking(build).await.map_err(|error| ServerError::Library(error.to_string()))?
    }

    /// The name in the endpoint's address.
    fn host(&self) -> String {
        match (&self.options.host, self.options.listen.ip()) {
            (Some(host), _) if host.contains(':') => format!("[{host}]"),
            (Some(host), _) => host.clone(),
            (None, ip) if ip.is_unspecified() => {
                opcua::crypto::hostname().ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
            }
            (None, IpAddr::V4(ip)) => ip.to_string(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
        }
    }

    /// Runs one server of the library after the other, until told to stop.
    async fn run(self: Arc<Self>, first: Built) {
        let mut next = Some(first);
        while !self.cancel.is_cancelled() {
            let built = match next.take() {
                Some(built) => Ok(built),
                None => Arc::clone(&self).build().await,
            };
            let ended = match built {
                Ok(built) => self.serve(built).await,
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = ended {
                error!(target_name = %self.target, error = why, retry_s = RETRY.as_secs(), "the OPC UA server has ended; it is started again");
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                let _ = timeout(RETRY, self.cancel.cancelled()).await;
            }
        }
    }

    /// The port, for one server of the library.
    fn listener(&self) -> io::Result<TcpListener> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        TcpListener::from_std(socket.try_clone()?)
    }

    /// Runs one server of the library until it is to be built anew, or the end.
    async fn serve(&self, built: Built) -> Result<(), String> {
        let Built { server, handle, manager, guests, cancel } = built;
        let listener = self.listener().map_err(|error| error.to_string())?;
        let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let behind = inner.local_addr().map_err(|error| error.to_string())?;
        let mut running = tokio::spawn(server.run_with(inner));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Current { manager: Arc::clone(&manager), guests: Arc::clone(&guests) });
        let open = async {
            self.show_own_port(&handle).await;
            self.running.store(true, Relaxed);
            door::keep(listener, behind, guests, handle.clone(), Manners::USUAL).await;
        };
        tokio::pin!(open);
        let mut shut = false;
        let result = tokio::select! {
            ended = &mut running => Err(match ended {
                Ok(Ok(())) => "it ended by itself".to_owned(),
                Ok(Err(error)) => error,
                Err(error) => error.to_string(),
            }),
            () = &mut open => {
                shut = true;
                Ok(())
            }
            () = self.rounds(&handle, &manager) => Ok(()),
            () = self.collect() => Ok(()),
            () = self.cancel.cancelled() => Ok(()),
        };
        self.running.store(false, Relaxed);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        cancel.cancel();
        // The door stays open for what the library tells its clients.
        let farewell = async {
            let _ = (&mut running).await;
            if !shut {
                open.await;
            }
        };
        if result.is_ok() && timeout(FAREWELL, farewell).await.is_err() {
            running.abort();
        }
        result
    }

    /// Lets the library tell clients the port that they come to, not the one behind it, which it notes when it begins to run.
    async fn show_own_port(&self, handle: &ServerHandle) {
        while handle.info().port.load(Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        handle.info().port.store(self.options.listen.port(), Relaxed);
    }

    /// Tells clients what has changed, until so many items were made that the library has to be built anew.
    async fn rounds(&self, handle: &ServerHandle, manager: &Manager) {
        let mut ticks = interval(ROUND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = self.gateway.clock().clone();
        while manager.spent() < MOST_SPENT {
            ticks.tick().await;
            let now: Instant = clock.now();
            manager.round(handle, now);
        }
        info!(target_name = %self.target, items = MOST_SPENT,
            "the OPC UA server is started anew to give back the memory of items that are gone; clients connect again");
    }

    /// Takes over the certificates that the library did not know.
    async fn collect(&self) {
        let mut ticks = interval(COLLECT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let now = self.gateway.clock().timestamp(self.gateway.clock().now());
            let (trust, place) = (self.trust.clone(), format!("a client of target {}", self.target));
            let collected = tokio::task::spawn_blocking(move || trust.collect(&place, now)).await;
            let Ok(collected) = collected else { continue };
            match collected {
                Ok(new) => {
                    failing = false;
                    for certificate in new {
                        warn!(
                            target_name = %self.target, subject = certificate.subject(), uri = certificate.uri(),
                            fingerprint = %certificate.fingerprint(),
                            "an OPC UA client with a certificate that nobody has judged was refused; \
                             `tidegate trust accept` lets it in, `tidegate trust refuse` keeps it out"
                        );
                    }
                }
                Err(error) if !failing => {
                    failing = true;
                    error!(target_name = %self.target, %error, "certificates of OPC UA clients cannot be filed; look at the data folder");
                }
                Err(_) => {}
            }
        }
    }
}

/// The gateway's manager among the library's.
fn manager(managers: &NodeManagers) -> Option<Arc<Manager>> {
    managers.get_by_name("tidegate")
}
