//! The gateway's part of the address space, as the library asks for it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};
use std::time::Instant;

use async_trait::async_trait;
use opcua::{
    nodes::DefaultTypeTree,
    server::{
        CreateMonitoredItem, ServerHandle,
        diagnostics::NamespaceMetadata,
        node_manager::{
            BrowseNode, BrowsePathItem, DynNodeManager, ExternalReferenceRequest, HistoryNode, MonitoredItemRef,
            MonitoredItemUpdateRef, NodeManager, NodeManagerBuilder, ReadNode, RequestContext, ServerContext,
            WriteNode,
        },
    },
    types::{
        AttributeId, DateTime, MonitoringMode, NodeClass, NodeId, NumericRange, ObjectTypeId, ReadProcessedDetails,
        ReadRawModifiedDetails, StatusCode, TimestampsToReturn,
    },
};
use tidegate_config::OpcUaServer;
use tidegate_runtime::{AlarmFeed, Handle};

use crate::{
    access::Roles,
    archive::Archive,
    attributes::{Attributes, has_events},
    browse,
    events::{self, Events, Notice},
    guests::Guests,
    items::{self, Items},
    node::Node,
    refresh::Refreshes,
    sampling::Round,
    space::Space,
    values, write,
};

/// Items that all clients together may watch, at about 2 KiB each; those of subscriptions that nobody comes back for count, too.
const MOST_ITEMS: usize = 250_000;

/// What the gateway offers; lives on when the library's server is built anew.
pub(crate) struct Plant {
    handle: Handle,
    uri: String,
    /// Bytes of a message.
    longest_message: usize,
    roles: Roles,
    pub(crate) counts: Counts,
}

/// What is counted for as long as the gateway runs.
#[derive(Default)]
pub(crate) struct Counts {
    /// Values given to the library because they changed.
    pub(crate) values: AtomicU64,
    /// Values that took the place of one that was not fetched.
    pub(crate) overflows: AtomicU64,
    pub(crate) items_high: AtomicU32,
    pub(crate) subscriptions_high: AtomicU32,
}

/// A count as it is shown.
pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The library's view of it.
pub(crate) struct Manager {
    plant: Arc<Plant>,
    guests: Arc<Guests>,
    namespace: u16,
    space: RwLock<Arc<Space>>,
    items: Mutex<Items>,
    notices: Mutex<Notices>,
    refreshes: Arc<Refreshes>,
}

/// What is to be told as events.
struct Notices {
    alarms: AlarmFeed,
    events: Events,
    number: u64,
}

impl Plant {
    pub(crate) fn new(handle: Handle, options: &OpcUaServer) -> Plant {
        let uri = format!("urn:tidegate:{}", handle.id());
        let longest_message = usize::try_from(options.max_message_size.0).unwrap_or(usize::MAX);
        Plant { handle, uri, longest_message, roles: Roles::new(&options.users), counts: Counts::default() }
    }
}

/// Makes the manager when the library knows the index of its namespace.
pub(crate) struct Builder {
    pub(crate) plant: Arc<Plant>,
    pub(crate) guests: Arc<Guests>,
    pub(crate) refreshes: Arc<Refreshes>,
}

impl NodeManagerBuilder for Builder {
    fn build(self: Box<Self>, context: ServerContext) -> Arc<DynNodeManager> {
        let namespace = context.type_tree.write().namespaces_mut().add_namespace(&self.plant.uri);
        let space = RwLock::new(Arc::new(Space::now(&self.plant.handle, namespace)));
        let notices = Notices { alarms: self.plant.handle.alarms(), events: Events::default(), number: 0 };
        Arc::new(Manager {
            plant: self.plant,
            guests: self.guests,
            namespace,
            space,
            items: Mutex::default(),
            notices: Mutex::new(notices),
            refreshes: self.refreshes,
        })
    }
}

impl Manager {
    fn space(&self) -> Arc<Space> {
        Arc::clone(&self.space.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Items that are monitored, and subscriptions that have some.
    pub(crate) fn count(&self) -> (usize, usize) {
        self.items().count()
    }

    /// Items that were ever made and are not there any more.
    pub(crate) fn spent(&self) -> u64 {
        self.items().spent()
    }

    /// One round: goes over to other devices when there are, and tells what has changed.
    pub(crate) fn round(&self, handle: &ServerHandle, now: Instant) {
        let subscriptions = handle.subscriptions();
        let mut items = self.items();
        let mut space = self.space();
        let (mut gone, mut before) = (Vec::new(), None);
        if space.version() != self.plant.handle.catalog_version() {
            let new = Arc::new(Space::now(&self.plant.handle, self.namespace));
            gone = items.move_to(&space, &new);
            *self.space.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
            before = Some(std::mem::replace(&mut space, new));
        }
        let round = Round { space: &space, subscriptions, guests: &self.guests, now };
        round.gone(&mut items, gone);
        let done = round.run(&mut items);
        let counts = &self.plant.counts;
        counts.values.fetch_add(done.values, Relaxed);
        counts.overflows.fetch_add(done.overflows, Relaxed);
        let (count, subscriptions) = items.count();
        drop(items);
        counts.items_high.fetch_max(number(count), Relaxed);
        counts.subscriptions_high.fetch_max(number(subscriptions), Relaxed);
        self.tell_events(handle, before.as_deref(), &space);
    }

    /// Tells alarms, and that there are other devices than `before`.
    fn tell_events(&self, handle: &ServerHandle, before: Option<&Space>, space: &Space) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let Notices { alarms: feed, events, number } = &mut *notices;
        let mut next = || {
            *number += 1;
            *number
        };
        let changed = before.and_then(|before| Notice::devices(next(), before, space));
        let alarms = feed.take();
        let alarms = alarms.iter().filter_map(|alarm| Notice::alarm(next(), space, alarm));
        let news: Vec<Arc<Notice>> = changed.into_iter().chain(alarms).map(Arc::new).collect();
        let begun = self.refreshes.begin();
        let mut standing = || Notice::refresh(&mut next, space, &feed.standing());
        let standing = if begun.is_empty() { Vec::new() } else { standing() };
        let round =
            events::Round { news: &news, begun: &begun, standing: &standing.into(), refreshes: &self.refreshes };
        let sessions = || self.guests.sessions();
        events.send(&round, handle.subscriptions(), sessions, &*handle.type_tree().read());
    }

    fn operator(&self, context: &RequestContext) -> bool {
        self.plant.roles.is_operator(context.user_token())
    }

    fn create(&self, context: &RequestContext, space: &Space, items: &mut Items, item: &mut CreateMonitoredItem) {
        let request = item.item_to_monitor();
        let Some(node) = Node::find(&request.node_id, space) else {
            item.set_status(StatusCode::BadNodeIdUnknown);
            return;
        };
        if request.attribute_id == AttributeId::EventNotifier {
            let is_fitting = has_events(node) && is_event_filter(item);
            item.set_status(if is_fitting { StatusCode::Good } else { StatusCode::BadEventFilterInvalid });
            return;
        }
        let attributes = Attributes { space, operator: self.operator(context) };
        let value = attributes.read(node, request.attribute_id, &request.index_range, &request.data_encoding);
        let value = match value {
            Ok(value) => value,
            Err(status) => {
                item.set_status(status);
                return;
            }
        };
        let changing = items::changing(node).filter(|_| request.attribute_id == AttributeId::Value);
        if changing.is_some() && items.len() >= MOST_ITEMS {
            item.set_status(StatusCode::BadTooManyMonitoredItems);
            return;
        }
        // The library takes the range out of the first value itself.
        let whole = attributes.read(node, request.attribute_id, &NumericRange::None, &request.data_encoding);
        item.set_status(StatusCode::Good);
        item.set_initial_value(values::known_at(whole.unwrap_or(value), DateTime::now()));
        if let Some((place, what)) = changing
            && let Some(sample) = space.sample(place)
        {
            items.add(place, what, context.session_id(), item, sample);
        }
    }
}

#[async_trait]
impl NodeManager for Manager {
    fn owns_node(&self, id: &NodeId) -> bool {
        id.namespace == self.namespace
    }

    fn name(&self) -> &str {
        "tidegate"
    }

    /// Asked once for each login, which is how logins are known.
    fn namespaces_for_user(&self, context: &RequestContext) -> Vec<NamespaceMetadata> {
        let session = Arc::downgrade(&context.session);
        let look = move || {
            session.upgrade().map(|session| {
                let session = session.read();
                (session.secure_channel_id(), session.is_activated())
            })
        };
        self.guests.welcome(context.session_id(), Box::new(look));
        vec![NamespaceMetadata {
            namespace_uri: self.plant.uri.clone(),
            namespace_index: self.namespace,
            is_namespace_subset: Some(false),
            ..NamespaceMetadata::default()
        }]
    }

    /// Conditions are told apart by their identifier, which has an empty path (OPC UA Part 9 §5.5.2). The library does not know it, and
    /// leaves out a field that it does not know, so that every field behind it would be taken for another.
    async fn init(&self, types: &mut DefaultTypeTree, _context: ServerContext) {
        use ObjectTypeId as Type;
        for kind in [Type::ConditionType, Type::AcknowledgeableConditionType, Type::AlarmConditionType] {
            types.add_type_property(&kind.into(), &kind.into(), &[], NodeClass::Object);
        }
    }

    async fn resolve_external_references(
        &self,
        _context: &RequestContext,
        items: &mut [&mut ExternalReferenceRequest],
    ) {
        let space = self.space();
        for item in items {
            if let Some(found) = Node::find(item.node_id(), &space).and_then(|node| browse::metadata(&space, node)) {
                item.set(found);
            }
        }
    }

    async fn read(
        &self,
        context: &RequestContext,
        _max_age: f64,
        times: TimestampsToReturn,
        nodes: &mut [&mut ReadNode],
    ) -> Result<(), StatusCode> {
        let space = self.space();
        let attributes = Attributes { space: &space, operator: self.operator(context) };
        let now = DateTime::now();
        for request in nodes {
            let wanted = request.node();
            let read = Node::find(&wanted.node_id, &space).ok_or(StatusCode::BadNodeIdUnknown);
            let read = read.and_then(|node| {
                attributes.read(node, wanted.attribute_id, &wanted.index_range, &wanted.data_encoding)
            });
            match read {
                Ok(value) if wanted.attribute_id == AttributeId::Value => {
                    request.set_result(values::with_times(values::known_at(value, now), times));
                }
                Ok(value) => request.set_result(value),
                Err(status) => request.set_error(status),
            }
        }
        Ok(())
    }

    async fn write(&self, context: &RequestContext, nodes: &mut [&mut WriteNode]) -> Result<(), StatusCode> {
        let space = self.space();
        let user = context.user_token().0.clone();
        write::write(&self.plant.handle, &space, &user, self.operator(context), nodes).await;
        Ok(())
    }

    async fn browse(&self, context: &RequestContext, nodes: &mut [BrowseNode]) -> Result<(), StatusCode> {
        let space = self.space();
        let types = context.get_type_tree_for_user();
        for node in nodes {
            browse::browse(&space, types.get(), node);
        }
        Ok(())
    }

    async fn translate_browse_paths_to_node_ids(
        &self,
        context: &RequestContext,
        nodes: &mut [&mut BrowsePathItem],
    ) -> Result<(), StatusCode> {
        let space = self.space();
        let types = context.get_type_tree_for_user();
        for node in nodes {
            browse::translate(&space, types.get(), context.current_node_manager_index, node);
        }
        Ok(())
    }

    async fn create_monitored_items(
        &self,
        context: &RequestContext,
        items: &mut [&mut CreateMonitoredItem],
    ) -> Result<(), StatusCode> {
        // The devices do not become others meanwhile.
        let mut known = self.items();
        let space = self.space();
        for item in items {
            self.create(context, &space, &mut known, item);
        }
        Ok(())
    }

    async fn modify_monitored_items(&self, _context: &RequestContext, changes: &[&MonitoredItemUpdateRef]) {
        let mut items = self.items();
        for change in changes.iter().filter(|change| change.status_code().is_good()) {
            if let Some(item) = items.find(change.handle()) {
                item.library_ms = change.update().revised_sampling_interval;
                item.queue = change.update().revised_queue_size;
                item.interval = items::interval(item.library_ms);
                item.due = None;
            }
        }
    }

    async fn set_monitoring_mode(
        &self,
        _context: &RequestContext,
        mode: MonitoringMode,
        changed: &[&MonitoredItemRef],
    ) {
        let mut items = self.items();
        for change in changed {
            if let Some(item) = items.find(change.handle()) {
                let disabled = mode == MonitoringMode::Disabled;
                if item.disabled != disabled {
                    item.told = None;
                }
                item.disabled = disabled;
            }
        }
    }

    async fn delete_monitored_items(&self, _context: &RequestContext, gone: &[&MonitoredItemRef]) {
        let mut items = self.items();
        gone.iter().for_each(|gone| items.remove(gone.handle()));
    }

    async fn history_read_raw_modified(
        &self,
        context: &RequestContext,
        details: &ReadRawModifiedDetails,
        nodes: &mut [&mut HistoryNode],
        times: TimestampsToReturn,
    ) -> Result<(), StatusCode> {
        if details.is_read_modified {
            return Err(StatusCode::BadHistoryOperationUnsupported);
        }
        let (space, question) = (self.space(), (context, nodes.len(), self.plant.longest_message));
        Archive::new(&self.plant.handle, &space, times, question)?.raw(details, nodes).await;
        Ok(())
    }

    async fn history_read_processed(
        &self,
        context: &RequestContext,
        details: &ReadProcessedDetails,
        nodes: &mut [&mut HistoryNode],
        times: TimestampsToReturn,
    ) -> Result<(), StatusCode> {
        let (space, question) = (self.space(), (context, nodes.len(), self.plant.longest_message));
        Archive::new(&self.plant.handle, &space, times, question)?.processed(details, nodes).await;
        Ok(())
    }
}

/// Whether a client asks for events. The library shows its filter without a name for its type: what it writes about it is all there is.
fn is_event_filter(item: &CreateMonitoredItem) -> bool {
    format!("{:?}", item.filter()).starts_with("EventFilter")
}
