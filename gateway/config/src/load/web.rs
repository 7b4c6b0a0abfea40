//! `[web]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::section;
use crate::{Broker, Report, Table, Web};

/// Reads `[web]`.
pub(super) fn web(root: &Table, broker: &Broker, report: &mut Report) -> Web {
    let table = section(root, "web", report);
    let listen = table.take_or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), report);
    if let Some((taken, _)) = broker.listeners().find(|(taken, _)| collide(listen.value, *taken)) {
        let message = format!("the broker listens on {taken} already");
        report.error(&listen.origin, message, Some("give one of the two another port".to_owned()));
    }
    table.finish(report);
    Web { listen: listen.value }
}

/// Whether only one of the two can be listened on. Port 0 is any that is free.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_host
}
