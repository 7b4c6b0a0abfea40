//! The socket that the interface listens on, taken before anything else is started.

use std::{io, net::SocketAddr};

use tidegate_config as config;
use tokio::net::TcpListener;

/// Why the interface cannot be listened for. Each text completes "failed to …" and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Another program listens there.
    #[error(
        "listen for the web interface on {0}: the port is in use; stop the other program (`ss -ltnp` names it), or give \
         `listen` in [web] another port"
    )]
    InUse(SocketAddr),
    /// The system does not let this user listen there.
    #[error(
        "listen for the web interface on {0}: the system does not permit it; ports below 1024 need the right to bind \
         them, so give `listen` in [web] a higher port"
    )]
    NotPermitted(SocketAddr),
    /// No network interface of this machine has the address.
    #[error(
        "listen for the web interface on {0}: this machine has no such address; give `listen` in [web] one that it has, \
         or 0.0.0.0 for all"
    )]
    NotHere(SocketAddr),
    /// The system refused for another reason.
    #[error("listen for the web interface on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl WebError {
    fn listen(address: SocketAddr, source: io::Error) -> WebError {
        match source.kind() {
            io::ErrorKind::AddrInUse => WebError::InUse(address),
            io::ErrorKind::PermissionDenied => WebError::NotPermitted(address),
            io::ErrorKind::AddrNotAvailable => WebError::NotHere(address),
            _ => WebError::Listen { address, source },
        }
    }
}

/// A socket that listens; nobody is answered until [`Server::start`](crate::Server::start).
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Starts to listen. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`WebError`] when the address cannot be used.
    pub async fn bind(options: &config::Web) -> Result<Listener, WebError> {
        let failed = |source| WebError::listen(options.listen, source);
        let socket = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, address })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn into_socket(self) -> TcpListener {
        self.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_said_with_the_key_to_change() {
        let first = Listener::bind(&config::Web { listen: ([127, 0, 0, 1], 0).into() }).await.unwrap();
        let error = Listener::bind(&config::Web { listen: first.address() }).await.unwrap_err();
        assert!(matches!(error, WebError::InUse(_)));
        let text = error.to_string();
        assert!(text.contains(&first.address().to_string()) && text.contains("`listen` in [web]"), "{text}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_said_so() {
        // 192.0.2.0/24 is for documentation alone (RFC 5737 §3).
        let error = Listener::bind(&config::Web { listen: ([192, 0, 2, 1], 0).into() }).await.unwrap_err();
        assert!(matches!(error, WebError::NotHere(_)), "{error}");
    }
}
