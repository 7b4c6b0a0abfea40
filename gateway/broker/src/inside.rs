//! Parts of the gateway that are clients of its own broker: the bridges.
//!
//! They log in over a socket as others do, with a password that is made anew at each start and known to nobody else, and may do
//! everything. What waits for one has a limit of its own, and when it is reached messages are dropped and counted: the session
//! of a bridge is its queue, and does not end because the other side is away.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{hub::Hub, limits::Limits};

/// What names of such users begin with; no name in a site does.
pub(crate) const MARK: &str = "$bridge/";

/// What is special about a part of the gateway itself.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) password: String,
    /// The limits of its session.
    pub(crate) limits: Limits,
    dropped: AtomicU64,
    bytes_high: AtomicU64,
    /// What counts instead of this since a reload gave the part another limit. A session keeps what it was given first, and finds from
    /// there what counts now without a lock for each message; each change of the limit adds one until the gateway starts again.
    after: OnceLock<Arc<Inside>>,
}

impl Inside {
    pub(crate) fn new(limits: &Limits, max_queue: u64) -> Inside {
        let bytes = usize::try_from(max_queue).unwrap_or(usize::MAX);
        let limits =
            Limits { queue_bytes: bytes, queue_bytes_qos0: bytes, queue_bytes_offline: bytes, ..limits.clone() };
        let password = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        Inside { password, limits, dropped: AtomicU64::new(0), bytes_high: AtomicU64::new(0), after: OnceLock::new() }
    }

    /// What counts now.
    pub(crate) fn now(&self) -> &Inside {
        let mut now = self;
        while let Some(after) = now.after.get() {
            now = after;
        }
        now
    }

    /// From now on `after`, which is new, counts.
    pub(crate) fn give_way_to(&self, after: &Arc<Inside>) {
        let _ = self.now().after.set(Arc::clone(after));
    }

    /// Counts a message that found no room.
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Notes how much waits.
    pub(crate) fn note_waiting(&self, bytes: usize) {
        self.bytes_high.fetch_max(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }
}

/// The way into the local broker for a part of the gateway.
#[derive(Debug, Clone)]
pub struct Insider {
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) address: SocketAddr,
    pub(crate) inside: Arc<Inside>,
    pub(crate) hub: Arc<Hub>,
}

/// What waits for an [`Insider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Messages, those on their way to it too.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most bytes that have waited.
    pub bytes_high: u64,
    /// Messages dropped because more waited than may.
    pub dropped: u64,
}

impl Insider {
    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The user name to log in with.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The client id to connect with.
    pub fn client_id(&self) -> &str {
        &self.client
    }

    /// The password to log in with.
    pub fn password(&self) -> &str {
        &self.inside.password
    }

    /// Takes back the subscriptions that its session still has from before, but these: nothing waits for the others any more.
    pub fn narrow(&self, filters: &[&str]) {
        self.hub.narrow(&self.client, filters);
    }

    /// What waits for it now.
    pub fn waiting(&self) -> Waiting {
        let (messages, bytes) = self.hub.waiting(&self.client);
        Waiting {
            messages,
            bytes,
            bytes_high: self.inside.bytes_high.load(Relaxed).max(bytes),
            dropped: self.inside.dropped.load(Relaxed),
        }
    }
}

/// Where a listener is reached from this machine.
pub(crate) fn reachable(listener: SocketAddr) -> SocketAddr {
    let host = match listener.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, listener.port())
}
