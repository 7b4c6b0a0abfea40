//! A running bridge: it connects for ever.

use std::{sync::Arc, time::Duration};

use tidegate_broker::{Broker, Insider, Waiting};
use tidegate_config::{self as config, BridgeProtocol, BridgeRoute};
use tidegate_model::Name;
use tidegate_mqtt::{
    Backoff, ConnectOptions, Connector, Ended, Failure, Login, Protocol, Session, Tls, TlsError, Words,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    loops::{Echoes, Mark},
    pair::{End, Local, Pair, Side, Traffic},
    remote::{Door, Remote},
    route::{Keep, Routes},
    status::{BridgeState, BridgeStatus, Counter, Counters, Standing},
};

/// How the keys of a bridge are called in what is said about failures.
const WORDS: Words = Words {
    us: "the bridge",
    address: "`url`",
    ca: "`ca`",
    client_certificate: "`client_certificate`",
    client_id: "`client_id`",
};
/// How long a session of a bridge is kept while it is away.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A connection that lasted as long had worked.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long stopping may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a bridge cannot be started; the text completes "failed to …".
pub type BridgeError = TlsError;

/// A running bridge. It goes on when this is dropped; [`Bridge::stop`] ends it.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    traffic: Traffic,
    standing: Standing,
    insiders: Vec<Insider>,
}

struct Task {
    shared: Arc<Shared>,
    /// The session for durable routes and the one for the others, as far as there are such.
    local: Entrance,
    beside: Option<Entrance>,
    remote: Door,
    longest: Duration,
}

/// The way to one of the bridge's sessions on the local broker.
struct Entrance {
    keep: Keep,
    insider: Insider,
    connector: Connector,
}

impl Bridge {
    /// Tries whether the certificates of a bridge can be used; connects to nothing.
    ///
    /// # Errors
    ///
    /// When they cannot.
    pub fn check(options: &config::Bridge, gateway: &Name) -> Result<(), BridgeError> {
        Connector::new(remote(options, gateway)).map(drop)
    }

    /// Starts a bridge from the local broker.
    ///
    /// # Errors
    ///
    /// When its certificates cannot be used.
    pub fn start(options: &config::Bridge, gateway: &Name, broker: &Broker) -> Result<Bridge, BridgeError> {
        let name = options.name.as_str();
        let (goes_out, comes_in) =
            (options.routes.iter().any(BridgeRoute::goes_out), options.routes.iter().any(BridgeRoute::comes_in));
        let v4 = options.protocol == BridgeProtocol::V4;
        let retains = options.routes.iter().any(|route| route.comes_in() && route.retain);
        let remote = Door::new(remote(options, gateway), v4 && comes_in && (goes_out || retains), v4)?;
        let (own, second) = sessions(options);
        let entrance = |(keep, client): (Keep, String)| {
            let insider = broker.let_in(&client, options.max_queue.0);
            let connector = Connector::new(local(options, &insider, keep))?;
            Ok::<_, BridgeError>(Entrance { keep, insider, connector })
        };
        let (own, beside) = (entrance(own)?, second.map(entrance).transpose()?);
        let traffic = Traffic {
            name: name.to_owned(),
            routes: Routes::new(&options.routes),
            mark: Mark::new(gateway.as_str(), name),
            out: Counters::new(name),
            inward: Counters::new(name),
            received: Counter::default(),
            looped: Counter::default(),
        };
        let insiders = std::iter::once(&own).chain(&beside).map(|entrance| entrance.insider.clone()).collect();
        let shared = Arc::new(Shared { traffic, standing: Standing::new(), insiders });
        let stop = CancellationToken::new();
        let task = Task { shared: Arc::clone(&shared), local: own, beside, remote, longest: options.retry_longest };
        Ok(Bridge { shared, task: tokio::spawn(task.run(stop.clone())), stop })
    }

    /// What the sessions of such a bridge on the local broker are called; see [`Broker::let_out_all_but`]. Of one that does not run
    /// those of durable routes alone go on.
    pub fn sessions(options: &config::Bridge, runs: bool) -> Vec<String> {
        let (own, beside) = sessions(options);
        let go_on = std::iter::once(own).chain(beside).filter(|(keep, _)| runs || *keep == Keep::Durable);
        go_on.map(|(_, client)| client).collect()
    }

    /// Tells the status and what waits, from anywhere.
    pub fn probe(&self) -> impl Fn() -> (BridgeStatus, Waiting) + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || (shared.status(), shared.waiting())
    }

    /// Stops the bridge. What waits stays on the local broker.
    pub async fn stop(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!(bridge = self.shared.traffic.name, "the bridge does not stop by itself; it is ended");
            abort.abort();
        }
    }
}

impl Shared {
    fn waiting(&self) -> Waiting {
        self.insiders.iter().map(Insider::waiting).fold(Waiting::default(), |sum, it| Waiting {
            messages: sum.messages + it.messages,
            bytes: sum.bytes + it.bytes,
            bytes_high: sum.bytes_high + it.bytes_high,
            dropped: sum.dropped + it.dropped,
        })
    }

    fn status(&self) -> BridgeStatus {
        let traffic = &self.traffic;
        BridgeStatus {
            sent: traffic.out.sent.get(),
            acknowledged: traffic.out.acknowledged.get(),
            received: traffic.received.get(),
            dropped: traffic.out.dropped.get() + traffic.inward.dropped.get(),
            looped: traffic.looped.get(),
            ..self.standing.get()
        }
    }
}

/// Its sessions on the local broker. The one of durable routes has the bridge's name whatever stands beside it.
fn sessions(options: &config::Bridge) -> ((Keep, String), Option<(Keep, String)>) {
    let name = options.name.to_string();
    // What comes in needs a session too, but none of its own.
    let passes = options.routes.iter().any(|route| route.goes_out() && !route.durable);
    match options.is_durable() {
        true => ((Keep::Durable, name.clone()), passes.then(|| (Keep::Passing, format!("{name}/passing")))),
        false => ((Keep::Passing, name), None),
    }
}

fn remote(options: &config::Bridge, gateway: &Name) -> ConnectOptions {
    let own = || format!("{gateway}-{}", options.name);
    let client_id = options.client_id.clone().unwrap_or_else(own);
    let mut connect = ConnectOptions::new(options.host.clone(), options.port, client_id, WORDS);
    connect.tls = options.tls.as_ref().map(|tls| Tls { ca: tls.ca.clone(), client: tls.client.clone() });
    connect.protocol = match options.protocol {
        BridgeProtocol::V5 => Protocol::V5,
        BridgeProtocol::V4 => Protocol::V311,
    };
    connect.login = options
        .login
        .as_ref()
        .map(|(user, password)| Login { user: user.clone(), password: password.reveal().to_owned() });
    connect.keep_alive = options.keep_alive;
    connect.in_flight = options.in_flight;
    connect.receive_maximum = options.in_flight;
    if options.routes.iter().any(|route| route.comes_in() && route.qos > 0) {
        connect.session = Session::Kept(KEPT);
    }
    connect
}

fn local(options: &config::Bridge, insider: &Insider, keep: Keep) -> ConnectOptions {
    let address = insider.address();
    let mut connect = ConnectOptions::new(address.ip().to_string(), address.port(), insider.client_id(), WORDS);
    connect.protocol = Protocol::V5;
    connect.login = Some(Login { user: insider.user().to_owned(), password: insider.password().to_owned() });
    connect.in_flight = options.in_flight;
    // Two sessions share the way to the other broker: what waits in the one does not hold up the other.
    let share = if sessions(options).1.is_some() { options.in_flight / 2 } else { options.in_flight };
    connect.receive_maximum = share.max(1);
    if keep == Keep::Durable {
        connect.session = Session::Kept(KEPT);
    }
    connect
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.longest);
        let (mut told, mut echoes) = (None, Echoes::default());
        if self.local.keep == Keep::Durable {
            self.begin_to_wait().await;
        }
        let mut before = false;
        while !stop.is_cancelled() {
            self.shared.standing.enter(BridgeState::Connecting);
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                connected = self.connect() => connected,
            };
            let (ended, side, failure) = match connected {
                Err((side, failure)) => {
                    self.shared.standing.change(|status| status.connect_failures += 1);
                    (ended_badly(&failure), side, failure)
                }
                Ok((remote, local, beside)) => {
                    let pair = Pair::new(&self.shared.traffic, &self.shared.standing, remote, local, beside);
                    let since = Instant::now();
                    tracing::info!(bridge = self.name(), broker = self.remote.address(), "bridge connected");
                    let again = u64::from(std::mem::replace(&mut before, true));
                    self.shared.standing.change(|status| status.reconnects += again);
                    match pair.run(&mut echoes, &stop).await {
                        End::Stopped => break,
                        End::Lost(side, failure) => {
                            told = None;
                            let ended = if since.elapsed() >= HEALTHY { Ended::Healthy } else { Ended::Short };
                            (ended, side, failure)
                        }
                    }
                }
            };
            self.report(side, &failure, &mut told);
            let pause = backoff.pause(ended, rand::random());
            self.shared.standing.enter(BridgeState::BackingOff(pause));
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        self.shared.standing.enter(BridgeState::Stopped);
    }

    fn name(&self) -> &str {
        &self.shared.traffic.name
    }

    /// Makes the session on the local broker in which messages wait until the other broker is there for the first time.
    async fn begin_to_wait(&self) {
        let filters = self.shared.traffic.routes.outward_filters(Keep::Durable);
        // Routes that there are no more, or that are not durable any more, would fill the session.
        self.local.insider.narrow(&filters.iter().map(|filter| filter.topic.as_str()).collect::<Vec<_>>());
        let Ok(mut local) = self.local.connector.connect().await else { return };
        // Nothing is acknowledged here: what comes at once comes again.
        if local.subscribe(&filters).is_ok() {
            while let Ok(event) = local.next().await {
                if matches!(event, tidegate_mqtt::Event::Subscribed(..)) {
                    break;
                }
            }
        }
        local.disconnect(FAREWELL).await;
    }

    /// Connects to the other broker, and then to the local one: what waits there is not for nobody.
    async fn connect(&mut self) -> Result<(Remote, Local, Option<Local>), (Side, Failure)> {
        let remote = self.remote.connect().await.map_err(|failure| (Side::Remote, failure))?;
        let local = self.local.connect().await?;
        let beside = match &self.beside {
            Some(beside) => Some(beside.connect().await?),
            None => None,
        };
        Ok((remote, local, beside))
    }

    /// Says each new trouble once.
    fn report(&self, side: Side, failure: &Failure, told: &mut Option<String>) {
        self.shared.standing.change(|status| status.last_error = Some(failure.text.clone()));
        if told.as_ref() == Some(&failure.text) {
            return;
        }
        *told = Some(failure.text.clone());
        let (bridge, error) = (self.name(), &failure.text);
        let broker = if side == Side::Local { self.local.connector.address() } else { self.remote.address() };
        if failure.kind.needs_a_person() {
            tracing::error!(bridge, broker, error, "the bridge is down until somebody mends this; trying on");
        } else {
            tracing::warn!(bridge, broker, error, "the bridge is down; trying on");
        }
    }
}

impl Entrance {
    async fn connect(&self) -> Result<Local, (Side, Failure)> {
        let connection = self.connector.connect().await.map_err(|failure| (Side::Local, failure))?;
        Ok(Local::new(self.keep, connection))
    }
}

fn ended_badly(failure: &Failure) -> Ended {
    if failure.kind.needs_a_person() { Ended::Refused } else { Ended::Useless }
}
