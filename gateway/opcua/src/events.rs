//! Events: alarms of the devices, and devices that come and go (OPC UA Part 9, Part 3 §9.32).
//!
//! The library (async-opcua 0.19) gives items of events a queue of one where the client does not ask for more, so that of two events
//! between two fetches the first would be lost. What finds no room there waits here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use opcua::{
    nodes::{Event, TypeProperty, TypeTree, TypeTreeNode},
    server::{EventField, MonitoredItemHandle, Subscription, SubscriptionCache},
    types::{
        AttributeId, ByteString, DateTime, ExtensionObject, LocalizedText, ModelChangeStructureDataType, NamespaceMap,
        NodeClass, NodeId, NumericRange, ObjectId, ObjectTypeId, QualifiedName, StatusCode, UAString, Variant,
        VariantScalarTypeId,
    },
};
use tidegate_runtime::AlarmNotice;

use crate::{
    node::Node,
    properties,
    refresh::Refreshes,
    space::{self, Space},
    values,
};

/// Events that wait for the next fetch of one item, at most; the oldest go.
const WAITING: usize = 1000;
/// Changes of devices that one event tells one by one, at most. Of more it says that the folder of all devices has changed.
const CHANGES: usize = 1000;
/// Severities of what says none itself (OPC UA Part 5 §6.4.2): an alarm, and what is only worth knowing.
const SEVERITIES: (u16, u16) = (500, 100);

/// What frames the alarms that are told once more is to reach everybody (OPC UA Part 9 §4.5); of the filters that the library knows
/// this passes those of a least severity.
const FRAME_SEVERITY: u16 = 1000;

/// One event.
#[derive(Debug)]
pub(crate) struct Notice {
    time: DateTime,
    kind: NodeId,
    source: NodeId,
    /// The condition, of an alarm.
    condition: NodeId,
    /// Whether it frames alarms that are told once more, and so reaches everybody who hears them.
    is_frame: bool,
    fields: HashMap<&'static str, Variant>,
}

impl Notice {
    fn new(number: u64, kind: ObjectTypeId, source: NodeId, name: &str, time: DateTime) -> Notice {
        let kind = NodeId::from(kind);
        let mut id = time.ticks().to_be_bytes().to_vec();
        id.extend_from_slice(&number.to_be_bytes());
        let fields = HashMap::from([
            ("EventId", Variant::ByteString(ByteString::from(id))),
            ("EventType", Variant::NodeId(Box::new(kind.clone()))),
            ("SourceNode", Variant::NodeId(Box::new(source.clone()))),
            ("SourceName", Variant::String(UAString::from(name))),
            ("Time", Variant::DateTime(Box::new(time))),
            ("ReceiveTime", Variant::DateTime(Box::new(DateTime::now()))),
        ]);
        Notice { time, kind, source, condition: NodeId::null(), is_frame: false, fields }
    }

    /// That alarms are told once more from here on, or up to here.
    fn frame(number: u64, kind: ObjectTypeId) -> Notice {
        let mut notice = Notice::new(number, kind, ObjectId::Server.into(), "Server", DateTime::now());
        notice.is_frame = true;
        notice.fields.extend([
            ("Message", Variant::from(LocalizedText::new("", "all alarms that stand"))),
            ("Severity", Variant::UInt16(FRAME_SEVERITY)),
        ]);
        notice
    }

    /// All alarms that stand, with what frames them.
    pub(crate) fn refresh(
        mut next: impl FnMut() -> u64,
        space: &Space,
        alarms: &[Arc<AlarmNotice>],
    ) -> Vec<Arc<Notice>> {
        let begin = Notice::frame(next(), ObjectTypeId::RefreshStartEventType);
        let told: Vec<Notice> = alarms.iter().filter_map(|alarm| Notice::alarm(next(), space, alarm)).collect();
        let end = Notice::frame(next(), ObjectTypeId::RefreshEndEventType);
        std::iter::once(begin).chain(told).chain([end]).map(Arc::new).collect()
    }

    /// What a device says about an alarm. `None` when there is no such device any more.
    pub(crate) fn alarm(number: u64, space: &Space, alarm: &AlarmNotice) -> Option<Notice> {
        let device = Node::Device(space.find_device(alarm.device.as_str())?).id(space)?;
        let time = alarm.time.map_or_else(DateTime::now, values::date_time);
        let source = alarm.source.as_deref().unwrap_or(alarm.device.as_str());
        let mut notice = Notice::new(number, ObjectTypeId::AlarmConditionType, device, source, time);
        notice.condition = NodeId::new(space.namespace(), format!("{}!{}", alarm.device, alarm.key));
        let text = |text: &str| Variant::from(LocalizedText::new("", text));
        let message = alarm.message.as_deref().unwrap_or(&alarm.name);
        let active = alarm.active.unwrap_or(alarm.is_of_interest);
        // What nobody has to acknowledge counts as acknowledged.
        let acked = alarm.acked.unwrap_or(true);
        let severity = alarm.severity.unwrap_or(SEVERITIES.0).clamp(1, 1000);
        notice.fields.extend([
            ("Message", text(message)),
            ("Severity", Variant::UInt16(severity)),
            ("ConditionName", Variant::from(alarm.condition.as_deref().unwrap_or(&alarm.name))),
            ("ConditionClassId", Variant::NodeId(Box::new(ObjectTypeId::BaseConditionClassType.into()))),
            ("ConditionClassName", text("BaseConditionClassType")),
            ("BranchId", Variant::NodeId(Box::new(NodeId::null()))),
            ("Quality", Variant::StatusCode(StatusCode::Good)),
            ("Comment", Variant::from(LocalizedText::null())),
            ("Retain", Variant::Boolean(alarm.is_of_interest)),
            ("EnabledState", text("Enabled")),
            ("EnabledState/Id", Variant::Boolean(true)),
            ("ActiveState", text(if active { "Active" } else { "Inactive" })),
            ("ActiveState/Id", Variant::Boolean(active)),
            ("AckedState", text(if acked { "Acknowledged" } else { "Unacknowledged" })),
            ("AckedState/Id", Variant::Boolean(acked)),
        ]);
        Some(notice)
    }

    /// That there are other devices. `None` when there are not.
    pub(crate) fn devices(number: u64, old: &Space, new: &Space) -> Option<Notice> {
        let mut changes = changes(old, new);
        if changes.is_empty() {
            return None;
        }
        if changes.len() > CHANGES {
            let id = Node::Root.id(new)?;
            changes = vec![change(id, REFERENCE_ADDED | REFERENCE_DELETED)];
        }
        let kind = ObjectTypeId::GeneralModelChangeEventType;
        let mut notice = Notice::new(number, kind, ObjectId::Server.into(), "Server", DateTime::now());
        let changes = changes.into_iter().map(ExtensionObject::from_message).map(Variant::ExtensionObject).collect();
        notice.fields.extend([
            ("Message", Variant::from(LocalizedText::new("", "other devices"))),
            ("Severity", Variant::UInt16(SEVERITIES.1)),
            ("Changes", properties::list(VariantScalarTypeId::ExtensionObject, changes)?),
        ]);
        Some(notice)
    }
}

/// Verbs of a change (OPC UA Part 5 §12.16).
const NODE_ADDED: u8 = 1;
const NODE_DELETED: u8 = 2;
const REFERENCE_ADDED: u8 = 4;
const REFERENCE_DELETED: u8 = 8;

fn change(affected: NodeId, verb: u8) -> ModelChangeStructureDataType {
    ModelChangeStructureDataType { affected, affected_type: properties::FOLDER.into(), verb }
}

/// Devices that are gone, new, or made of other groups than before.
fn changes(old: &Space, new: &Space) -> Vec<ModelChangeStructureDataType> {
    let mut changes = Vec::new();
    let id = |space: &Space, device| Node::Device(device).id(space);
    for (at, device) in old.devices() {
        if new.find_device(device.name.as_str()).is_none() {
            changes.extend(id(old, at).map(|id| change(id, NODE_DELETED)));
        }
    }
    for (at, device) in new.devices() {
        let before = old.find_device(device.name.as_str()).and_then(|at| old.device(at));
        let verb = match before {
            None => NODE_ADDED,
            Some(before) if !space::same_nodes(before, device) => REFERENCE_ADDED | REFERENCE_DELETED,
            Some(_) => continue,
        };
        changes.extend(id(new, at).map(|id| change(id, verb)));
    }
    changes
}

impl EventField for Notice {
    fn get_value(&self, attribute: AttributeId, _range: &NumericRange, path: &[QualifiedName]) -> Variant {
        if attribute == AttributeId::NodeId && path.is_empty() {
            return Variant::NodeId(Box::new(self.condition.clone()));
        }
        if attribute != AttributeId::Value || path.iter().any(|name| name.namespace_index != 0) {
            return Variant::Empty;
        }
        let names: Vec<&str> = path.iter().map(|name| name.name.as_ref()).collect();
        self.fields.get(names.join("/").as_str()).cloned().unwrap_or_default()
    }
}

impl Event for Notice {
    fn get_field(
        &self,
        _type: &NodeId,
        attribute: AttributeId,
        range: &NumericRange,
        path: &[QualifiedName],
    ) -> Variant {
        self.get_value(attribute, range, path)
    }

    fn time(&self) -> &DateTime {
        &self.time
    }

    fn event_type_id(&self) -> &NodeId {
        &self.kind
    }
}

/// Events on their way.
#[derive(Default)]
pub(crate) struct Events {
    waiting: HashMap<MonitoredItemHandle, VecDeque<Waiting>>,
}

/// What waits for an item to be fetched.
#[derive(Debug, Clone)]
enum Waiting {
    News(Arc<Notice>),
    /// All alarms that stand, from that place on.
    Refresh(Arc<[Arc<Notice>]>, usize),
}

/// What is new in a round.
pub(crate) struct Round<'a> {
    pub(crate) news: &'a [Arc<Notice>],
    /// The subscriptions that are to be told all alarms that stand, each with its item if it is about one.
    pub(crate) begun: &'a HashMap<u32, Option<u32>>,
    /// Those alarms.
    pub(crate) standing: &'a Arc<[Arc<Notice>]>,
    /// Where it is noted who has been told them.
    pub(crate) refreshes: &'a Refreshes,
}

impl Events {
    /// Gives events to everybody who asks for those of the server or of their source. `sessions`: all there are.
    pub(crate) fn send(
        &mut self,
        round: &Round<'_>,
        subscriptions: &SubscriptionCache,
        sessions: impl FnOnce() -> Vec<u32>,
        types: &dyn TypeTree,
    ) {
        if round.news.is_empty() && round.begun.is_empty() && self.waiting.is_empty() {
            return;
        }
        let mut telling = HashSet::new();
        let mut there = HashMap::with_capacity(self.waiting.len());
        for session in sessions() {
            let Some(own) = subscriptions.get_session_subscriptions(session) else { continue };
            let mut own = own.lock();
            for id in own.subscription_ids() {
                let Some(subscription) = own.get_mut(id) else { continue };
                for item in listeners(subscription) {
                    let handle = MonitoredItemHandle { subscription_id: id, monitored_item_id: item };
                    let mut waiting = self.waiting.remove(&handle).unwrap_or_default();
                    waiting.extend(round.news.iter().cloned().map(Waiting::News));
                    if round.begun.get(&id).is_some_and(|about| about.is_none_or(|about| about == item)) {
                        waiting.push_back(Waiting::Refresh(Arc::clone(round.standing), 0));
                    }
                    tell(subscription, item, &mut waiting, types);
                    if waiting.iter().any(|waiting| matches!(waiting, Waiting::Refresh(..))) {
                        telling.insert(id);
                    }
                    if !waiting.is_empty() {
                        there.insert(handle, waiting);
                    }
                }
                // Before the client can have fetched the end: it may ask again at once.
                if !telling.contains(&id) {
                    round.refreshes.is_told(id);
                }
            }
        }
        // What waited for an item that is gone goes with it.
        self.waiting = there;
        round.refreshes.go_on(&telling);
    }
}

/// The items of events.
fn listeners(subscription: &Subscription) -> Vec<u32> {
    let items = subscription.items().filter(|item| item.item_to_monitor().attribute_id == AttributeId::EventNotifier);
    items.map(opcua::server::MonitoredItem::id).collect()
}

/// Gives an item what it is to get now; the rest waits. What is told once more is given in parts as large as its queue, so that nothing
/// of it is lost there.
fn tell(subscription: &mut Subscription, id: u32, waiting: &mut VecDeque<Waiting>, types: &dyn TypeTree) {
    let Some(item) = subscription.get(&id) else { return };
    let node = item.item_to_monitor().node_id.clone();
    let is_of = |notice: &Notice| notice.is_frame || node == ObjectId::Server || node == notice.source;
    let one_at_a_time = item.queue_size() <= 1;
    // What nobody fetches makes no room: such an item is not told everything, or its subscription could not be asked for it again.
    let is_told_all = item.is_reporting();
    let mut room = if item.has_notifications() { 0 } else { item.queue_size().max(1) };
    waiting.retain(|waiting| if let Waiting::News(notice) = waiting { is_of(notice) } else { is_told_all });
    while waiting.len() > WAITING
        && let Some(oldest) = waiting.iter().position(|waiting| matches!(waiting, Waiting::News(_)))
    {
        waiting.remove(oldest);
    }
    while let Some(first) = waiting.front_mut() {
        let notice = match first {
            Waiting::News(_) if one_at_a_time && room == 0 => return,
            Waiting::News(notice) => Arc::clone(notice),
            Waiting::Refresh(alarms, at) => {
                while alarms.get(*at).is_some_and(|notice| !is_of(notice)) {
                    *at += 1;
                }
                let Some(notice) = alarms.get(*at) else {
                    waiting.pop_front();
                    continue;
                };
                if room == 0 {
                    return;
                }
                *at += 1;
                Arc::clone(notice)
            }
        };
        if matches!(first, Waiting::News(_)) {
            waiting.pop_front();
        }
        room = room.saturating_sub(1);
        match notice.is_frame {
            true => subscription.notify_event(&id, &*notice, &Everything(types)),
            false => subscription.notify_event(&id, &*notice, types),
        }
    }
}

/// Types of which each is one of every other: what frames a refresh passes a filter for types of alarms.
struct Everything<'a>(&'a dyn TypeTree);

impl TypeTree for Everything<'_> {
    fn is_subtype_of(&self, _child: &NodeId, _ancestor: &NodeId) -> bool {
        true
    }

    fn get_node<'n>(&'n self, node: &NodeId) -> Option<TypeTreeNode<'n>> {
        self.0.get_node(node)
    }

    fn get(&self, node: &NodeId) -> Option<NodeClass> {
        self.0.get(node)
    }

    fn find_type_prop_by_browse_path(&self, type_id: &NodeId, path: &[QualifiedName]) -> Option<&TypeProperty> {
        self.0.find_type_prop_by_browse_path(type_id, path)
    }

    fn get_supertype<'n>(&'n self, node: &NodeId) -> Option<&'n NodeId> {
        self.0.get_supertype(node)
    }

    fn namespaces(&self) -> &NamespaceMap {
        self.0.namespaces()
    }
}
