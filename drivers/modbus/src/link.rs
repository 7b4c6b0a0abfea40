//! One TCP endpoint and the devices behind it.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_driver_api::{ConnectFault, Cx, Expired, Link, Session, async_trait, model::Name};
use tokio::net::{TcpStream, lookup_host};

use crate::{
    Endpoint, UnitId,
    connection::Connection,
    fault,
    learned::{Course, Learned},
    plan::ProfilePlan,
    session::TcpSession,
    wire::TransactionId,
};

/// A name may have so many addresses; further ones are not tried.
const MOST_ADDRESSES: usize = 8;

/// One endpoint with the devices behind it, compiled.
pub(crate) struct TcpLink {
    endpoint: Endpoint,
    devices: Vec<Device>,
    /// Of the last request. It begins anywhere and goes on counting over reconnects, so that an answer to a request of an earlier
    /// connection, or of this gateway before its restart, is not taken for an answer of this connection: some gateways to
    /// serial lines send what comes late to whoever is connected now.
    transaction: TransactionId,
}

/// One device behind the endpoint.
pub(crate) struct Device {
    pub(crate) name: Name,
    pub(crate) unit: UnitId,
    pub(crate) plan: Arc<ProfilePlan>,
    /// By group: what the device has shown about addresses that do not exist.
    learned: Box<[Option<Box<Learned>>]>,
}

impl Device {
    /// A device of which nothing has been learned.
    pub(crate) fn new(name: Name, unit: UnitId, plan: Arc<ProfilePlan>) -> Device {
        let learned = std::iter::repeat_with(|| None).take(plan.group_count()).collect();
        Device { name, unit, plan, learned }
    }

    /// The requests of a poll of that group, as they are for this device.
    pub(crate) fn course(&mut self, group: usize) -> Option<Course<'_>> {
        let requests = self.plan.group(group)?;
        Some(Course { device: &self.name, requests, quirks: self.plan.quirks(), learned: self.learned.get_mut(group)? })
    }

    /// The device in a sentence.
    pub(crate) fn describe(&self) -> String {
        format!("{} (unit {})", self.name, self.unit)
    }
}

impl TcpLink {
    pub(crate) fn new(endpoint: Endpoint, devices: Vec<Device>) -> TcpLink {
        TcpLink { endpoint, devices, transaction: anywhere() }
    }

    /// The device with that index, and the identifier of the request that is now made to it.
    pub(crate) fn request_to(&mut self, device: usize) -> Option<(&mut Device, TransactionId)> {
        let device = self.devices.get_mut(device)?;
        self.transaction = self.transaction.next();
        Some((device, self.transaction))
    }

    /// Connects to the first address of the name that answers. Each gets its part of `timeout`: one that never answers must
    /// not keep the others from being tried.
    async fn open(&self, timeout: Duration) -> Result<TcpStream, ConnectFault> {
        let name = (self.endpoint.host(), self.endpoint.port());
        let found = lookup_host(name).await.map_err(|error| fault::unresolved(&self.endpoint, &error))?;
        let addresses: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
        let part = timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let refused = |error: io::Error| fault::not_connected(&self.endpoint, &error);
        let mut last = refused(io::ErrorKind::AddrNotAvailable.into());
        for address in addresses {
            match tokio::time::timeout(part, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A request is one small segment; waiting for more to send would cost every answer 40 ms.
                    stream.set_nodelay(true).map_err(refused)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = refused(error),
                Err(_) => last = fault::not_in_time(&self.endpoint, timeout, Expired::Deadline),
            }
        }
        Err(last)
    }
}

/// A transaction identifier that is another one each time.
fn anywhere() -> TransactionId {
    let [first, second, ..] = RandomState::new().hash_one(()).to_be_bytes();
    TransactionId::from(u16::from_be_bytes([first, second]))
}

#[async_trait]
impl Link for TcpLink {
    async fn connect<'link>(&'link mut self, cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        match cx.within(self.open(cx.timeout())).await {
            Ok(Ok(stream)) => Ok(Box::new(TcpSession { link: self, connection: Connection::new(stream) })),
            Ok(Err(fault)) => Err(fault),
            Err(expired) => Err(fault::not_in_time(&self.endpoint, cx.timeout(), expired)),
        }
    }
}
