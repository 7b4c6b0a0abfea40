//! One listening port with the devices behind it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidegate_driver_modbus::UnitId;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{connection::Connection, device::Device, options::UnknownUnit, plan::Plan};
use crate::clock::Clock;

/// Open connections of a port, at most; more are closed at once.
const MOST_CONNECTIONS: usize = 1_024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Time until the next try when the system gives no socket.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a port share.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) index: usize,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) unknown_unit: UnknownUnit,
    /// By unit, 0 to 255.
    devices: Box<[Option<Device>]>,
    accepted: AtomicU64,
}

impl Port {
    /// A port with these devices.
    pub(crate) fn new(
        index: usize,
        address: SocketAddr,
        clock: Clock,
        unknown_unit: UnknownUnit,
        devices: impl IntoIterator<Item = (UnitId, Device)>,
    ) -> Port {
        let mut by_unit: Vec<Option<Device>> = (0..=u8::MAX).map(|_| None).collect();
        for (unit, device) in devices {
            if let Some(place) = by_unit.get_mut(usize::from(unit.get())) {
                *place = Some(device);
            }
        }
        Port { index, address, clock, unknown_unit, devices: by_unit.into(), accepted: AtomicU64::new(0) }
    }

    /// The device of this unit.
    pub(crate) fn device(&self, unit: UnitId) -> Option<&Device> {
        self.devices.get(usize::from(unit.get())).and_then(Option::as_ref)
    }

    /// The lowest unit that is there.
    pub(crate) fn first_unit(&self) -> UnitId {
        let mut units = (0..=u8::MAX).map(UnitId::from);
        units.find(|unit| self.device(*unit).is_some()).unwrap_or(UnitId::from(1))
    }

    /// Connections that were accepted since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Accepts connections for ever; dropping the future closes the port and all of them.
    pub(crate) async fn listen(self: Arc<Port>, listener: TcpListener, mut faults: watch::Receiver<Arc<Plan>>) {
        let mut door = Door::Open(listener);
        let mut connections = JoinSet::new();
        loop {
            let plan = Arc::clone(&faults.borrow_and_update());
            let now = self.clock.now();
            let refuses = plan.refuses(now, self.index);
            if refuses {
                connections.abort_all();
            }
            door = self.turn(door, refuses).await;
            let turn = plan.next_turn(now, self.index);
            tokio::select! {
                stream = accept(&door) => {
                    let open = connections.len();
                    if let Some(stream) = stream.filter(|_| open < MOST_CONNECTIONS) {
                        self.accepted.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(Connection::new(stream, Arc::clone(&self), faults.clone()).run());
                    }
                }
                Some(_) = connections.join_next() => {}
                changed = faults.changed() => if changed.is_err() { return },
                () = async { sleep_until(self.clock.instant(turn.unwrap_or_default())).await }, if turn.is_some() => {}
            }
        }
    }

    /// Opens or shuts the door; one that cannot be opened is lost, and is tried again.
    async fn turn(&self, door: Door, refuses: bool) -> Door {
        let known = matches!(door, Door::Lost);
        let turned = match (door, refuses) {
            (Door::Open(listener), true) => {
                drop(listener);
                self.bind().map(Door::Shut)
            }
            (Door::Shut(socket), false) => socket.listen(BACKLOG).map(Door::Open),
            (Door::Lost, true) => self.bind().map(Door::Shut),
            (Door::Lost, false) => self.bind().and_then(|socket| socket.listen(BACKLOG)).map(Door::Open),
            (door, _) => Ok(door),
        };
        match turned {
            Ok(door) => door,
            Err(error) => {
                if !known {
                    tracing::warn!(address = %self.address, %error, "the port is taken, trying until it is free");
                }
                sleep(PAUSE).await;
                Door::Lost
            }
        }
    }

    fn bind(&self) -> io::Result<TcpSocket> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // The connections that were dropped may still linger in the system.
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        Ok(socket)
    }
}

/// Whether anybody can come in.
enum Door {
    Open(TcpListener),
    /// Nobody listens, but the port stays ours: no other program gets it from the system meanwhile.
    Shut(TcpSocket),
    /// Another program has got the port.
    Lost,
}

/// The next connection; waits for ever when the door is shut.
async fn accept(door: &Door) -> Option<TcpStream> {
    let listener = match door {
        Door::Open(listener) => listener,
        Door::Shut(_) => return std::future::pending().await,
        Door::Lost => return None,
    };
    match listener.accept().await {
        Ok((stream, _)) => {
            // An answer is one write: there is nothing to collect.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(_) => {
            // Out of file handles, mostly: some may be free again soon.
            sleep(PAUSE).await;
            None
        }
    }
}
