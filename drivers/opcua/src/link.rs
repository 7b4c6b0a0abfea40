//! One server and the devices behind it: what survives a connection, and how the next one is made.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use opcua::types::{DateTime, EndpointDescription, NodeId};
use tidegate_driver_api::{ConnectFault, Cx, Link, Recorded, Session, async_trait, config, model::Name};
use tidegate_trust::Trust;

use crate::{
    config::LinkKeys,
    fault::{Fault, hopeless},
    feed::{Feed, FeedPlan, Kept, Left},
    node::Address,
    open::{Held, Opened, Opening},
    plan::{Place, Slot},
    point::Part,
    resolve::Server,
    rows::Items,
    session::ServerSession,
    told::Told,
    types::{self, Types},
};

/// One server with the devices behind it, compiled.
pub(crate) struct ServerLink {
    pub(crate) keys: LinkKeys,
    pub(crate) name: Name,
    pub(crate) timeout: Duration,
    /// Whether the site says how often a server is tried that is away.
    has_retry: bool,
    data_dir: PathBuf,
    gateway: String,
    devices: Vec<ServerDevice>,
    pub(crate) slots: Vec<Slot>,
    /// By number of an item: its slot.
    pub(crate) slot_of: Vec<u32>,
    pub(crate) memory: Memory,
}

/// One device behind the server.
pub(crate) struct ServerDevice {
    pub(crate) name: Name,
    /// Where the ways of its tags begin.
    pub(crate) root: Option<Address>,
}

/// What survives a connection.
#[derive(Default)]
pub(crate) struct Memory {
    /// The endpoint that was used, as long as it works.
    endpoint: Option<EndpointDescription>,
    /// The session, with its subscriptions, as long as the server may still have it.
    pub(crate) session: Option<(Held, Kept)>,
    server: Option<Arc<Server>>,
    /// The structures of the server that tags want fields of.
    pub(crate) types: Types,
    /// What had come and was not delivered.
    pub(crate) left: Left,
    /// What has been told; what is missing after an outage is newer.
    pub(crate) told: Told,
}

impl ServerLink {
    pub(crate) fn new(keys: LinkKeys, link: &config::Link, devices: Vec<ServerDevice>, slots: Vec<Slot>) -> ServerLink {
        let of = |(index, slot): (u32, &Slot)| {
            std::iter::repeat_n(index, slot.tags().map_or(0, |tags| tags.items.len())).collect::<Vec<u32>>()
        };
        let slot_of: Vec<u32> = (0..).zip(&slots).flat_map(of).collect();
        let told = if keys.backfill { Told::of(slot_of.len()) } else { Told::default() };
        ServerLink {
            keys,
            name: link.name.clone(),
            timeout: link.timeout,
            has_retry: link.table.has("retry"),
            data_dir: link.data_dir.join("opcua"),
            gateway: link.gateway.to_string(),
            slot_of,
            memory: Memory { told, ..Memory::default() },
            devices,
            slots,
        }
    }

    /// The items of all slots.
    pub(crate) fn items(&self) -> Items<'_> {
        Items { slots: &self.slots, slot_of: &self.slot_of, types: &self.memory.types }
    }

    /// Where the ways of a device's tags begin.
    pub(crate) fn root(&self, device: usize) -> Option<&Address> {
        self.devices.get(device)?.root.as_ref()
    }

    /// The device in a sentence.
    pub(crate) fn device(&self, device: usize) -> String {
        self.devices.get(device).map_or_else(|| "the device".to_owned(), |device| device.name.to_string())
    }

    async fn trust(&self) -> Result<Trust, ConnectFault> {
        let (root, gateway) = (self.data_dir.clone(), self.gateway.clone());
        let opened = tokio::task::spawn_blocking(move || Trust::open(&root, &gateway)).await;
        let opened = opened.map_err(|error| hopeless(format!("the folder of certificates cannot be read: {error}")))?;
        opened.map_err(|error| hopeless(format!("the folder of certificates cannot be used: {error}")))
    }

    /// Finds the endpoint and opens the session.
    async fn open(&mut self) -> Result<(Opened, Option<Kept>), ConnectFault> {
        let trust = self.trust().await?;
        let slowest = self.slots.iter().map(|slot| slot.interval).max().unwrap_or_default();
        let opening = Opening {
            keys: &self.keys,
            trust: &trust,
            link: self.name.as_str(),
            timeout: self.timeout.max(ANSWER),
            idle: slowest.saturating_mul(3).clamp(IDLE, LONGEST_IDLE),
        };
        // What goes wrong may be because of what is remembered; the next try begins from nothing.
        let endpoint = match self.memory.endpoint.take() {
            Some(endpoint) => endpoint,
            None => opening.discover().await?,
        };
        let (held, kept) = self.memory.session.take().unzip();
        let opened = opening.session(&endpoint, held).await?;
        self.memory.endpoint = Some(endpoint);
        Ok((opened, kept))
    }

    /// Opens a session and finds out what has to be known of the server.
    async fn begin<'link>(&'link mut self, cx: &Cx) -> Result<ServerSession<'link>, ConnectFault> {
        let (opened, kept) = self.open().await?;
        let Opened { channel, held, resumed } = opened;
        let timeout = self.timeout.max(ANSWER);
        let name = self.keys.endpoint.to_string();
        let failed = |fault: Fault| fault.not_connected(&name, "the questions about namespaces and nodes");
        let server = Arc::new(Server::ask(&channel, timeout).await.map_err(failed)?);
        channel.teach(server.namespaces(), None);
        let wanted: Vec<(&Address, Option<&Address>)> = self.addresses().collect();
        let places = server.find(&channel, &wanted, timeout).await.map_err(failed)?;
        let structures = self.structures(&places);
        if !structures.is_empty() {
            let types = types::learn(&server, &channel, &structures, timeout).await.map_err(failed)?;
            channel.teach(server.namespaces(), types.loader());
            self.memory.types = types;
        }
        let moved = self.memory.server.as_ref().is_some_and(|before| !before.is_still(&server));
        let kept = match kept {
            Some(kept) if resumed && !moved => kept,
            Some(kept) if !moved => transferred(&channel, kept, timeout).await.map_err(failed)?,
            _ => Kept::default(),
        };
        self.memory.server = Some(Arc::clone(&server));
        let channel = Arc::new(channel);
        let plan = FeedPlan {
            channel: Arc::clone(&channel),
            server: Arc::clone(&server),
            slots: &self.slots,
            timeout,
            resumed: kept,
        };
        let mut feed = Feed::new(plan, cx.now());
        feed.park_unfound(&places, cx.now());
        feed.take_up(std::mem::take(&mut self.memory.left));
        // What happened while nobody listened.
        feed.fill(self.memory.told.hole(|_| true));
        Ok(ServerSession::new(self, channel, server, held, places, feed))
    }

    /// Where all items are to be looked for.
    fn addresses(&self) -> impl Iterator<Item = (&Address, Option<&Address>)> {
        self.slots.iter().flat_map(|slot| {
            let items = slot.tags().map(|tags| tags.items.iter()).into_iter().flatten();
            items.map(|item| (&item.address, self.root(slot.poll.device)))
        })
    }

    /// The nodes of which tags want a field.
    fn structures(&self, places: &[Place]) -> Vec<NodeId> {
        let wants = |number: &usize| {
            let Some((tags, item)) = self.items().item(*number) else { return false };
            let mut points = item.points.iter().filter_map(|point| tags.points.get(*point));
            points.any(|point| point.parts.iter().any(|part| matches!(part, Part::Field(_))))
        };
        (0..places.len()).filter(wants).filter_map(|number| places.get(number)?.clone()).collect()
    }
}

/// A server is no bus: one that is away is tried so often that its values are back within seconds of its return.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long one answer may take while the session is opened, where the link's `timeout` is shorter.
const ANSWER: Duration = Duration::from_secs(3);

/// A session that nobody uses stays with the server for so long: enough to be taken up again after an outage, not too much for
/// servers with few sessions.
const IDLE: Duration = Duration::from_secs(60);
/// The same at most, for links that are polled seldom.
const LONGEST_IDLE: Duration = Duration::from_secs(3600);

/// Takes over the subscriptions of a session that is over. Those that the server does not give are made anew.
async fn transferred(channel: &crate::channel::Channel, mut kept: Kept, timeout: Duration) -> Result<Kept, Fault> {
    let ids: Vec<u32> = kept.subscriptions.iter().filter_map(|subscription| subscription.id).collect();
    if ids.is_empty() {
        return Ok(kept);
    }
    let results = match channel.transfer(ids, timeout).await {
        Ok(results) => results,
        Err(Fault::Refused(_)) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    let mut results = results.into_iter();
    for subscription in kept.subscriptions.iter_mut().filter(|subscription| subscription.id.is_some()) {
        if !results.next().is_some_and(|result| result.status_code.is_good()) {
            subscription.begin_anew();
        }
    }
    Ok(kept)
}

#[async_trait]
impl Link for ServerLink {
    async fn connect<'link>(&'link mut self, cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        let name = self.keys.endpoint.to_string();
        match cx.within(self.begin(cx)).await {
            Ok(Ok(session)) => Ok(Box::new(session)),
            Ok(Err(fault)) => Err(fault),
            Err(expired) => Err(Fault::from(expired).not_connected(&name, "the connection")),
        }
    }

    fn longest_pause(&self) -> Option<Duration> {
        (!self.has_retry).then_some(LONGEST_PAUSE)
    }

    fn wants_recorded(&self) -> bool {
        self.keys.backfill
    }

    fn recorded(&mut self, groups: &[Recorded]) {
        for group in groups {
            let Some(slot) = self.slots.iter().find(|slot| slot.poll == group.poll) else { continue };
            let Some(tags) = slot.tags() else { continue };
            for (number, item) in (slot.first_item..).zip(&tags.items) {
                let columns = item.points.iter().filter_map(|point| tags.points.get(*point)).map(|point| point.column);
                let newest = columns.filter_map(|column| *group.newest.get(column)?).max();
                match newest {
                    Some(time) => self.memory.told.recorded(number, time, group.stored),
                    None => self.memory.told.recorded_nothing_since(number, group.since, group.stored),
                }
            }
        }
    }
}

impl Drop for ServerLink {
    /// The next link of that name begins behind the newest row that is stored, and that is after an outage whose history was still
    /// being read.
    fn drop(&mut self) {
        let Some((numbers, since)) = self.memory.left.unfilled() else { return };
        let items = self.items();
        let slots = numbers.iter().filter_map(|number| items.slot(*number));
        let devices: BTreeSet<usize> = slots.map(|(_, slot)| slot.poll.device).collect();
        let devices: Vec<String> = devices.into_iter().map(|device| self.device(device)).collect();
        tracing::warn!(
            link = %self.name,
            devices = devices.join(", "),
            items = numbers.len(),
            since = %DateTime::from(since),
            "the link ends before the server's history has told everything of an outage; what it has not told is not asked for again: \
             where it is needed, take it from the server"
        );
    }
}

/// Where the items are, as a session knows it.
pub(crate) type Places = Vec<Place>;
