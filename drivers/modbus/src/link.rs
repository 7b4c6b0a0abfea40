//! One TCP endpoint and the devices behind it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tidegate_driver_api::{ConnectFault, Cx, Link, Session, async_trait, model::Name};
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

    async fn open(&self) -> Result<TcpStream, ConnectFault> {
        let name = (self.endpoint.host(), self.endpoint.port());
        let addresses: Vec<_> =
            lookup_host(name).await.map_err(|error| fault::unresolved(&self.endpoint, &error))?.collect();
        let opened = async {
            let stream = TcpStream::connect(addresses.as_slice()).await?;
            // A request is one small segment; waiting for more to send would cost every answer 40 ms.
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        opened.await.map_err(|error| fault::not_connected(&self.endpoint, &error))
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
        match cx.within(self.open()).await {
            Ok(Ok(stream)) => Ok(Box::new(TcpSession { link: self, connection: Connection::new(stream) })),
            Ok(Err(fault)) => Err(fault),
            Err(expired) => Err(fault::not_in_time(&self.endpoint, cx.timeout(), expired)),
        }
    }
}
