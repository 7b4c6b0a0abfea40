//! The port that clients see: passes bytes on to the server and back, with the faults of the line.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::plan::Plan;
use crate::clock::Clock;

/// Bytes that are passed on at once.
const CHUNK: usize = 1 << 16;

/// What a line needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) clock: Clock,
    pub(crate) faults: watch::Receiver<Arc<Plan>>,
    /// Where the server itself listens.
    pub(crate) inner: SocketAddr,
    /// Connections so far.
    pub(crate) accepted: Arc<AtomicU64>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Front {
    /// Serves the port until it is dropped. A port that is closed by a fault is opened again at the same address.
    pub(crate) async fn run(mut self, listener: TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        let mut listener = Some(listener);
        let mut lines = JoinSet::new();
        loop {
            let plan = Arc::clone(&self.faults.borrow_and_update());
            let now = self.clock.now();
            if plan.refuses(now) {
                listener = None;
                lines.shutdown().await;
            } else if listener.is_none() {
                listener = Some(TcpListener::bind(address).await?);
            }
            let turn = plan.next_turn(now).map(|turn| self.clock.instant(turn));
            tokio::select! {
                accepted = accept(listener.as_ref()) => {
                    if let Ok(client) = accepted {
                        self.accepted.fetch_add(1, Ordering::Relaxed);
                        lines.spawn(self.clone().line(client));
                    }
                }
                () = wait(turn) => {}
                changed = self.faults.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                Some(_) = lines.join_next() => {}
            }
        }
    }

    /// One client, until either side closes.
    async fn line(self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.inner).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            done = self.clone().pass(Way::ToServer, from_client, to_server) => done,
            done = self.pass(Way::ToClient, from_server, to_client) => done,
        }
    }

    async fn pass(
        mut self,
        way: Way,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut bytes = vec![0; CHUNK];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            self.silence().await;
            let plan = Arc::clone(&self.faults.borrow());
            let now = self.clock.now();
            if way == Way::ToClient {
                if plan.closes(now) {
                    return Ok(());
                }
                let delay = plan.delay(now);
                if !delay.is_zero() {
                    sleep(delay).await;
                }
            }
            to.write_all(bytes.get(..count).unwrap_or_default()).await?;
        }
    }

    /// Waits until the line is not silent.
    async fn silence(&mut self) {
        loop {
            let plan = Arc::clone(&self.faults.borrow_and_update());
            let Some(end) = plan.silence(self.clock.now()) else { return };
            tokio::select! {
                () = wait(end.map(|end| self.clock.instant(end))) => {}
                changed = self.faults.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The next client; never one while the port is closed.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// Waits until then; for ever without a time.
async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
