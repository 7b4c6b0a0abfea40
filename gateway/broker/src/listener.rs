//! A listener: one accept loop, and a task for each connection from its first byte to its last.
//!
//! TLS and WebSocket are begun in the task, under the same deadline as the CONNECT packet after them: whoever connects and
//! says nothing holds up nobody.

use std::{io, net::SocketAddr, sync::Arc};

use tidegate_config::{Broker, BrokerIdentity};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Duration, Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::BrokerError,
    farewell::farewell,
    handshake::{self, Arrival},
    hub::Hub,
    rate::Rate,
    status::{Counter, ListenerStatus},
    stream::Stream,
    tls::{Certificates, ShownCertificate},
    websocket::{Door, WebSocket},
};

/// How long the listener rests when the system has no socket for a client.
const REST: Duration = Duration::from_millis(100);

/// Where clients connect.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its section in the site.
    section: &'static str,
    address: SocketAddr,
    certificates: Option<Certificates>,
    door: Option<Door>,
    max_connections: usize,
    places: Arc<Semaphore>,
    refused: Counter,
    failed: Counter,
    most: Counter,
}

/// A listener that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: TcpListener,
    pub(crate) listener: Arc<Listener>,
}

impl Bound {
    /// Binds every listener of the site: nothing is served before all are there.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] for the first that cannot be.
    pub(crate) async fn all(options: &Broker) -> Result<Vec<Bound>, BrokerError> {
        let mut all = vec![Bound::new("broker", options.listen, options.max_connections, None, None).await?];
        if let Some(tls) = &options.tls {
            let identity = Some(&tls.identity);
            all.push(Bound::new("broker.tls", tls.listen, tls.max_connections, identity, None).await?);
        }
        if let Some(web) = &options.websocket {
            // The rights for everybody are no protection: a page could use them from any browser in the plant.
            let trusting = matches!(options.anonymous, tidegate_config::Anonymous::Refused);
            let door = Door { path: web.path.clone(), origins: web.origins.clone(), trusting };
            let identity = web.tls.as_ref();
            all.push(Bound::new("broker.websocket", web.listen, web.max_connections, identity, Some(door)).await?);
        }
        Ok(all)
    }

    async fn new(
        section: &'static str,
        listen: SocketAddr,
        max_connections: u32,
        identity: Option<&BrokerIdentity>,
        door: Option<Door>,
    ) -> Result<Bound, BrokerError> {
        let certificates = identity.map(Certificates::read).transpose()?;
        let cannot = |source| BrokerError::listen(section, listen, source);
        let socket = TcpListener::bind(listen).await.map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let max_connections = usize::try_from(max_connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let listener = Listener {
            section,
            address,
            certificates,
            door,
            max_connections,
            places: Arc::new(Semaphore::new(max_connections)),
            refused: Counter::default(),
            failed: Counter::default(),
            most: Counter::default(),
        };
        Ok(Bound { socket, listener: Arc::new(listener) })
    }

    /// Accepts clients until stopped, each in a task of its own. `places`: those of all listeners together.
    pub(crate) async fn serve(
        self,
        hub: Arc<Hub>,
        places: Arc<Semaphore>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let Bound { socket, listener } = self;
        let (mut failing, mut rate) = (false, Rate::new(hub.limits.connect_rate));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest(listener.section, &error, &mut failing).await;
                    continue;
                }
            };
            failing = false;
            hub.counters.sockets.increase();
            let own = Arc::clone(&listener.places).try_acquire_owned();
            let (Ok(own), Ok(place)) = (own, Arc::clone(&places).try_acquire_owned()) else {
                listener.refuse(&hub, peer);
                continue;
            };
            listener.most.at_least(listener.max_connections - listener.places.available_permits());
            let rest = rate.as_mut().and_then(|rate| rate.spend(1, Instant::now()));
            let (hub, stopped, listener) = (Arc::clone(&hub), stop.clone(), Arc::clone(&listener));
            tasks.spawn(async move {
                let left = tokio::select! {
                    () = stopped.cancelled() => None,
                    arrival = listener.open(&hub, stream, peer) => arrival,
                };
                let left = match left {
                    Some(arrival) => handshake::serve(hub, arrival, &stopped).await,
                    None => None,
                };
                // A delayed will or a session that is kept needs no place.
                drop((own, place));
                if let Some(left) = left {
                    farewell(left, stopped).await;
                }
            });
            if let Some(rest) = rest {
                // More of them wait in the system meanwhile.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(rest) => {}
                }
            }
        }
    }
}

impl Listener {
    /// Where it listens, with the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its section in the site.
    pub(crate) fn section(&self) -> &'static str {
        self.section
    }

    /// What it has done and serves now.
    pub(crate) fn status(&self) -> ListenerStatus {
        let now = self.max_connections - self.places.available_permits();
        ListenerStatus {
            section: self.section,
            address: self.address,
            connections: u64::try_from(now).unwrap_or(u64::MAX),
            most_connections: self.most.get(),
            refused: self.refused.get(),
            failed: self.failed.get(),
        }
    }

    /// The certificate that clients are shown, of a listener with TLS.
    pub(crate) fn certificate(&self) -> Option<ShownCertificate> {
        self.certificates.as_ref()?.shown(self.section)
    }

    /// Reads the certificates again. With an error the old ones stay in use.
    pub(crate) fn read_certificates_again(&self) {
        let Some(Err(error)) = self.certificates.as_ref().map(Certificates::read_again) else { return };
        tracing::error!(
            section = self.section, %error,
            "renewed certificates of the MQTT broker cannot be used; the old ones stay in use; mend the files and reload again"
        );
    }

    fn refuse(&self, hub: &Hub, peer: SocketAddr) {
        self.refused.increase();
        hub.counters.refused_connections.increase();
        if hub.lines.connections.is_due() {
            tracing::warn!(
                %peer, section = self.section, limit = self.max_connections, limit_of_all = hub.limits.connections,
                "too many MQTT connections; more are closed at once; raise `max_connections` there, or `connections` in [broker.limits]"
            );
        }
    }

    /// Begins what lies between the socket and MQTT. `None` when that failed, or took too long.
    async fn open(&self, hub: &Hub, socket: TcpStream, peer: SocketAddr) -> Option<Arrival> {
        let deadline = Instant::now() + hub.limits.connect_timeout;
        let _ = socket.set_nodelay(true);
        match timeout_at(deadline, self.open_stream(hub, socket)).await {
            Ok(Ok((stream, certificate))) => Some(Arrival { stream, peer, certificate, deadline }),
            Ok(Err(error)) => {
                self.failed.increase();
                if hub.lines.handshakes.is_due() {
                    let section = self.section;
                    tracing::info!(%peer, section, error, "MQTT client did not get as far as MQTT; a counter tells about more");
                }
                None
            }
            Err(_) => {
                self.failed.increase();
                tracing::debug!(%peer, section = self.section, "a connection began neither TLS nor WebSocket in time");
                None
            }
        }
    }

    async fn open_stream(&self, hub: &Hub, socket: TcpStream) -> Result<(Stream, Option<String>), String> {
        let packet_bytes = hub.limits.packet_bytes;
        let Some(certificates) = &self.certificates else {
            return match &self.door {
                None => Ok((socket.into(), None)),
                Some(door) => match WebSocket::accept(socket, door, packet_bytes).await {
                    Ok(stream) => Ok((stream.into(), None)),
                    Err(error) => Err(error.to_string()),
                },
            };
        };
        let (stream, name) = certificates.accept(socket).await.map_err(|error| format!("TLS: {error}"))?;
        match &self.door {
            None => Ok((stream.into(), name)),
            Some(door) => match WebSocket::accept(stream, door, packet_bytes).await {
                Ok(stream) => Ok((stream.into(), name)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// Waits a little after a failed accept: a lack of sockets would come back at once.
async fn rest(section: &'static str, error: &io::Error, failing: &mut bool) {
    if !std::mem::replace(failing, true) {
        tracing::error!(section, %error, "MQTT clients cannot be accepted; trying on; check the limit of open files");
    }
    sleep(REST).await;
}
