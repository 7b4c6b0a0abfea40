//! `[web]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::section;
use crate::{Broker, Report, Table, Web};

/// Reads `[web]`.
pub(super) fn web(root: &Table, broker: &Broker, report: &mut Report) -> Web {
    let table = section(root, "web", report);
    let listen = table.take_or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), report);
    if listen.value == broker.listen && listen.port() != 0 {
        let message = format!("the broker listens on {} already", listen.value);
        report.error(&listen.origin, message, Some("give one of the two another port".to_owned()));
    }
    table.finish(report);
    Web { listen: listen.value }
}
