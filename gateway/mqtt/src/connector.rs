//! Making connections.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    ConnectOptions, Connection, Failure, FailureKind, TlsError,
    failure::Peer,
    link::{Link, Socket},
    tls,
};

/// Name look-up, TCP, TLS and login have to be done within this time.
const WITHIN: Duration = Duration::from_secs(20);

/// Makes connections to one broker, one after the other.
#[derive(Debug)]
pub struct Connector {
    options: Arc<ConnectOptions>,
    peer: Arc<Peer>,
}

impl Connector {
    /// Reads the certificate files, so that a wrong path is found now and not at the first connection.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the certificates or the key cannot be used.
    pub fn new(options: ConnectOptions) -> Result<Connector, TlsError> {
        if let Some(tls) = &options.tls {
            tls::client_config(tls, options.words.ca)?;
        }
        let peer = Arc::new(Peer::new(&options));
        Ok(Connector { options: Arc::new(options), peer })
    }

    /// How connections are made.
    pub fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// The other side: `host:port`.
    pub fn address(&self) -> &str {
        &self.peer.address
    }

    /// Connects and logs in, within 20 seconds. May be dropped at any time; nothing is left open then.
    ///
    /// # Errors
    ///
    /// Why there is no connection, in words for a person; nothing is left open.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        match timeout(WITHIN, self.log_in()).await {
            Ok(result) => result,
            Err(_) => Err(self.peer.silent(false)),
        }
    }

    async fn log_in(&self) -> Result<Connection, Failure> {
        let socket = self.socket().await?;
        Connection::log_in(Link::new(socket), Arc::clone(&self.options), Arc::clone(&self.peer)).await
    }

    async fn socket(&self) -> Result<Box<dyn Socket>, Failure> {
        let failed = |error| self.peer.broken(&error, false);
        let socket = TcpStream::connect((self.peer.host.as_str(), self.options.port)).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        if self.options.tls.is_none() {
            return Ok(Box::new(socket));
        }
        let config = self.certificates().await?;
        let name = ServerName::try_from(self.peer.host.clone()).map_err(|_| self.peer.no_server_name())?;
        let encrypted = tokio_rustls::TlsConnector::from(config).connect(name, socket).await;
        Ok(Box::new(encrypted.map_err(failed)?))
    }

    /// Reads the certificates where blocking is allowed.
    async fn certificates(&self) -> Result<Arc<ClientConfig>, Failure> {
        let fail = |why: String| Failure::new(FailureKind::Certificate, format!("failed to {why}"));
        let options = Arc::clone(&self.options);
        let read = move || tls::client_config(options.tls.as_ref().unwrap_or(&tls::Tls::default()), options.words.ca);
        match tokio::task::spawn_blocking(read).await {
            Ok(config) => config.map_err(|error| fail(error.to_string())),
            Err(error) => Err(fail(format!("read the certificates: {error}"))),
        }
    }
}
