//! A bad link: a TCP proxy that refuses, falls silent, dribbles or cuts when it is told to.
//!
//! Bytes are held back, never thrown away or changed: what TCP has acknowledged to a sender arrives later or, when the
//! connection is gone, not at all, as on a real link.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime::{Builder, Runtime},
    sync::{broadcast, watch},
    time::timeout,
};

use crate::{PATIENCE, Port, wait_until};

/// Small, so that a slow link is felt soon: what the systems on both sides hold back counts as sent for the sender.
const BUFFER: u32 = 32 * 1024;
const PIECE: usize = 4 * 1024;
/// A slow link carries its bytes in portions, so many a second.
const PORTIONS: u32 = 20;

/// One of the two directions of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who has connected to the server.
    There,
    /// From the server to who has connected.
    Back,
}

/// What is wrong with the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections are reset, new ones are refused.
    Refused,
    /// Connections stay and new ones are accepted, but nothing gets through, not even an end.
    Silent,
    /// Nothing gets through in this direction, not even an end; the other one works.
    HalfOpen(Way),
    /// So many bytes a second get through in each direction of each connection.
    Slow(u32),
    /// Each connection is reset after a random number of bytes to the server, this many at most: as a rule in the middle
    /// of a message.
    Reset(u32),
}

impl Fault {
    /// One of the five, with a random measure.
    pub fn random(random: &mut impl Rng) -> Fault {
        match random.random_range(0..5) {
            0 => Fault::Refused,
            1 => Fault::Silent,
            2 => Fault::HalfOpen(if random.random() { Way::There } else { Way::Back }),
            3 => Fault::Slow(random.random_range(200..20_000)),
            _ => Fault::Reset(random.random_range(200..40_000)),
        }
    }
}

/// How open connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both sides see an orderly end.
    Closed,
    /// Both sides see a reset.
    Reset,
}

/// The link. Everything about it ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    fault: watch::Sender<Option<Fault>>,
    cuts: broadcast::Sender<Cut>,
    /// What the listener has made of the fault.
    listens: watch::Receiver<bool>,
    carried: Arc<Carried>,
    /// Dropped in the background: a test that ends need not wait for its connections.
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct Carried {
    there: AtomicU64,
    back: AtomicU64,
    open: AtomicU64,
}

impl FaultProxy {
    /// Opens a link to `server`, without a fault. `seed` decides what is random about it.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn start(server: SocketAddr, seed: u64) -> anyhow::Result<FaultProxy> {
        let port = Port::reserve()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (fault, faults) = watch::channel(None);
        let (cuts, _) = broadcast::channel(16);
        let (listening, listens) = watch::channel(false);
        let carried = Arc::<Carried>::default();
        let link = Link { server, faults, cuts: cuts.clone(), carried: Arc::clone(&carried) };
        runtime.spawn(link.listen(port.address(), listening, StdRng::seed_from_u64(seed)));
        let proxy = FaultProxy { port, fault, cuts, listens, carried, runtime: Some(runtime) };
        proxy.settle(true)?;
        Ok(proxy)
    }

    /// Where it listens, also while it refuses.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// From now on this is wrong with the link, and nothing else.
    ///
    /// # Errors
    ///
    /// When the port cannot be closed or opened.
    pub fn fault(&self, fault: Fault) -> anyhow::Result<()> {
        self.fault.send_replace(Some(fault));
        self.settle(fault != Fault::Refused)
    }

    /// From now on nothing is wrong with the link; what it has held back goes on.
    ///
    /// # Errors
    ///
    /// When the port cannot be opened.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.fault.send_replace(None);
        self.settle(true)
    }

    /// Ends the connections that are open now, in the middle of whatever they carry.
    pub fn cut(&self, how: Cut) {
        // Nobody listens when nothing is open.
        let _ = self.cuts.send(how);
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.carried.open.load(Relaxed)
    }

    /// Bytes that were carried in this direction so far.
    pub fn carried(&self, way: Way) -> u64 {
        self.carried.of(way).load(Relaxed)
    }

    /// Waits until the port is open or closed, as it should be.
    fn settle(&self, open: bool) -> anyhow::Result<()> {
        wait_until(PATIENCE, "the port of the link", || (*self.listens.borrow() == open).then_some(()))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Carried {
    fn of(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::There => &self.there,
            Way::Back => &self.back,
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Link {
    server: SocketAddr,
    faults: watch::Receiver<Option<Fault>>,
    cuts: broadcast::Sender<Cut>,
    carried: Arc<Carried>,
}

impl Link {
    async fn listen(self, address: SocketAddr, listening: watch::Sender<bool>, mut random: StdRng) {
        let mut faults = self.faults.clone();
        loop {
            // A port whose connections were just closed may need a moment.
            let Ok(listener) = listener(address) else {
                tokio::task::yield_now().await;
                continue;
            };
            listening.send_replace(true);
            loop {
                tokio::select! {
                    refused = faults.wait_for(|fault| *fault == Some(Fault::Refused)) => {
                        if refused.is_err() {
                            return;
                        }
                        break;
                    }
                    Ok((client, _)) = listener.accept() => {
                        tokio::spawn(self.clone().connection(client, StdRng::from_rng(&mut random)));
                    }
                }
            }
            drop(listener);
            let _ = self.cuts.send(Cut::Reset);
            listening.send_replace(false);
            if faults.wait_for(|fault| *fault != Some(Fault::Refused)).await.is_err() {
                return;
            }
        }
    }

    async fn connection(self, mut client: TcpStream, random: StdRng) {
        let mut cuts = self.cuts.subscribe();
        let mut faults = self.faults.clone();
        self.carried.open.fetch_add(1, Relaxed);
        // Who comes while nothing gets through is let through later.
        let let_through = tokio::select! {
            through = faults.wait_for(|fault| carries(*fault, Way::There)) => through.is_ok(),
            _ = cuts.recv() => false,
        };
        // No cut comes in between: a connection that is still being made could not be reset.
        let mut server = match let_through {
            true => timeout(PATIENCE, TcpStream::connect(self.server)).await.ok().and_then(Result::ok),
            false => None,
        };
        let ended = match &mut server {
            None => Cut::Reset,
            Some(server) => tokio::select! {
                carried = self.carry(&mut client, server, random) => carried.map_or(Cut::Reset, |()| Cut::Closed),
                cut = cuts.recv() => cut.unwrap_or(Cut::Reset),
            },
        };
        self.carried.open.fetch_sub(1, Relaxed);
        if ended == Cut::Reset {
            for socket in [Some(client), server].into_iter().flatten() {
                // Fails on a socket that is gone already.
                let _ = socket.set_zero_linger();
            }
        }
    }

    /// Carries bytes until both sides have ended, or an error.
    async fn carry(&self, client: &mut TcpStream, server: &mut TcpStream, random: StdRng) -> Result<(), Broken> {
        for socket in [&*client, &*server] {
            socket.set_nodelay(true)?;
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (faults, carried) = (self.faults.clone(), &*self.carried);
        let there = Pump { way: Way::There, from: from_client, to: to_server, faults: faults.clone(), carried };
        let back = Pump { way: Way::Back, from: from_server, to: to_client, faults, carried };
        tokio::try_join!(there.run(random), back.run(StdRng::seed_from_u64(0)))?;
        Ok(())
    }
}

/// Why a connection did not come to an orderly end; nobody wants to know more.
struct Broken;

impl<E: std::error::Error> From<E> for Broken {
    fn from(_: E) -> Broken {
        Broken
    }
}

/// One direction of one connection.
struct Pump<'a> {
    way: Way,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    faults: watch::Receiver<Option<Fault>>,
    carried: &'a Carried,
}

impl Pump<'_> {
    async fn run(mut self, mut random: StdRng) -> Result<(), Broken> {
        let way = self.way;
        let mut piece = vec![0; PIECE];
        // Bytes until this connection is reset.
        let mut until_reset: Option<usize> = None;
        loop {
            let fault = *self.faults.wait_for(|fault| carries(*fault, way)).await?;
            let most = portion(fault);
            let read = tokio::select! {
                biased;
                changed = self.faults.changed() => { changed?; continue }
                read = self.from.read(piece.get_mut(..most).unwrap_or_default()) => read?,
            };
            let fault = *self.faults.wait_for(|fault| carries(*fault, way)).await?;
            if read == 0 {
                self.to.shutdown().await?;
                return Ok(());
            }
            let mut bytes = piece.get(..read).unwrap_or_default();
            let mut last = false;
            match fault {
                Some(Fault::Reset(most)) if way == Way::There => {
                    let left = until_reset.get_or_insert_with(|| random.random_range(0..to_usize(most).max(1)));
                    last = read > *left;
                    bytes = bytes.get(..*left).unwrap_or(bytes);
                    *left -= bytes.len();
                }
                _ => until_reset = None,
            }
            self.carried.of(way).fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Relaxed);
            self.to.write_all(bytes).await?;
            if last {
                return Err(Broken);
            }
            if let Some(Fault::Slow(_)) = fault {
                // Ends early when the link changes; a link that is dropped ends with the next read.
                let _ = timeout(Duration::from_secs(1) / PORTIONS, self.faults.changed()).await;
            }
        }
    }
}

/// How many bytes are carried at once.
fn portion(fault: Option<Fault>) -> usize {
    match fault {
        Some(Fault::Slow(rate)) => to_usize(rate / PORTIONS).clamp(1, PIECE),
        _ => PIECE,
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(address)?;
    socket.listen(64)
}

/// Whether anything gets through.
fn carries(fault: Option<Fault>, way: Way) -> bool {
    match fault {
        Some(Fault::Refused | Fault::Silent) => false,
        Some(Fault::HalfOpen(dead)) => dead != way,
        Some(Fault::Slow(_) | Fault::Reset(_)) | None => true,
    }
}

#[cfg(test)]
mod tests;
