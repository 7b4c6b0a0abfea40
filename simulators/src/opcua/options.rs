//! What an OPC UA simulator is to be.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tidegate_config::Profile;

use super::faults::Fault;

/// What a simulator serves, where, and how it moves.
#[derive(Debug, Clone)]
pub struct OpcuaOptions {
    /// What the server has.
    pub profile: Arc<Profile>,
    /// Where it listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The same seed gives the same values at the same time after the start.
    pub seed: u64,
    /// Time between two changes of a value, at least 1 ms.
    pub step: Duration,
    /// No value moves by itself.
    pub still: bool,
    /// Each float differs from that of the step before, setpoints and counters too.
    pub all_change: bool,
    /// Where the server keeps a certificate of its own, made when it is not there: it then offers all security policies, to any
    /// client. Without it there is none.
    pub security: Option<PathBuf>,
    /// Name and password of the only user; anybody may come without it.
    pub user: Option<(String, String)>,
    /// Every subscription is refused, as by a server that has none.
    pub no_subscriptions: bool,
    /// Threads, at least 1.
    pub workers: usize,
    /// The faults from the start on.
    pub faults: Vec<Fault>,
}

impl OpcuaOptions {
    /// A server on a free port of the loopback interface, for everybody, without faults.
    pub fn new(profile: Arc<Profile>) -> OpcuaOptions {
        OpcuaOptions {
            profile,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            step: Duration::from_millis(200),
            still: false,
            all_change: false,
            security: None,
            user: None,
            no_subscriptions: false,
            workers: 1,
            faults: Vec::new(),
        }
    }
}
