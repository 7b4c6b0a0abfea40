//! Events.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opcua::{
    client::EventCallback,
    types::{
        AttributeId, ContentFilter, ContentFilterElement, EventFilter, ExtensionObject, FilterOperator, LiteralOperand,
        MethodId, ModelChangeStructureDataType, MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters,
        NodeId, NumericRange, ObjectId, ObjectTypeId, QualifiedName, ReadValueId, SimpleAttributeOperand, StatusCode,
        TimestampsToReturn, Variant,
    },
};
use tidegate_config::OpcUaServer;

use crate::{
    client::{Connected, anybody},
    rig::{Rig, presses, until},
};

type Seen = Arc<Mutex<Vec<Vec<Variant>>>>;

fn field(name: &str) -> SimpleAttributeOperand {
    SimpleAttributeOperand {
        type_definition_id: ObjectTypeId::BaseEventType.into(),
        browse_path: Some(name.split('/').map(|name| QualifiedName::new(0, name)).collect()),
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
    }
}

/// Asks for events of a node.
async fn listen(client: &Connected, node: NodeId, fields: &[&str]) -> Result<Seen, StatusCode> {
    listen_to(client, node, fields, ContentFilter { elements: None }).await.map(|(seen, ..)| seen)
}

/// Asks for those events of a node that pass a filter; what is seen, and the numbers of subscription and item.
async fn listen_to(
    client: &Connected,
    node: NodeId,
    fields: &[&str],
    where_clause: ContentFilter,
) -> Result<(Seen, u32, u32), StatusCode> {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let callback = EventCallback::new(move |fields, _| sink.lock().unwrap().extend(fields));
    let every = Duration::from_millis(100);
    let subscription = client.session.create_subscription(every, 1000, 100, 0, 0, true, callback).await.unwrap();
    let item = monitor(client, subscription, MonitoringMode::Reporting, (node, fields, where_clause)).await?;
    Ok((seen, subscription, item))
}

/// An item of a subscription: those events of a node that pass a filter.
async fn monitor(
    client: &Connected,
    subscription: u32,
    monitoring_mode: MonitoringMode,
    (node_id, fields, where_clause): (NodeId, &[&str], ContentFilter),
) -> Result<u32, StatusCode> {
    let filter = EventFilter { select_clauses: Some(fields.iter().map(|name| field(name)).collect()), where_clause };
    let attribute_id = AttributeId::EventNotifier as u32;
    let request = MonitoredItemCreateRequest {
        item_to_monitor: ReadValueId { node_id, attribute_id, ..ReadValueId::default() },
        monitoring_mode,
        requested_parameters: MonitoringParameters {
            client_handle: 1,
            sampling_interval: 0.0,
            filter: ExtensionObject::from_message(filter),
            queue_size: 0,
            discard_oldest: true,
        },
    };
    let made = client.session.create_monitored_items(subscription, TimestampsToReturn::Both, vec![request]).await;
    let made = made.unwrap().remove(0).result;
    if made.status_code.is_good() { Ok(made.monitored_item_id) } else { Err(made.status_code) }
}

#[tokio::test]
async fn other_devices_are_told_as_a_change_of_the_model() {
    let mut rig = Rig::start_with(&presses(&["press", "saw"]), OpcUaServer::on_loopback(0)).await;
    let client = anybody(&rig).await;
    let fields = ["EventType", "SourceNode", "Changes", "Time", "EventId", "Severity", "Message", "Nothing"];
    let seen = listen(&client, ObjectId::Server.into(), &fields).await.unwrap();
    // Twice, sooner than the client can fetch: neither is lost in its queue of one.
    rig.reload(&presses(&["saw", "drill"])).await;
    until("the first round", || rig.status().running.then_some(())).await;
    tokio::time::timeout(crate::rig::LONG, async {
        while client.value("drill.pressure").await.status == Some(StatusCode::BadNodeIdUnknown) {}
    })
    .await
    .unwrap();
    rig.reload(&presses(&["saw", "drill", "press"])).await;
    let told = until("both changes", || {
        let seen = seen.lock().unwrap();
        (seen.len() >= 2).then(|| seen.clone())
    })
    .await;
    let changes = |event: &[Variant]| -> Vec<(NodeId, u8)> {
        let Variant::Array(changes) = &event[2] else { panic!("{event:?}") };
        let change = |change: &Variant| match change {
            Variant::ExtensionObject(change) => {
                let change = change.inner_as::<ModelChangeStructureDataType>().unwrap();
                (change.affected.clone(), change.verb)
            }
            other => panic!("{other:?}"),
        };
        changes.values.iter().map(change).collect()
    };
    let kind = NodeId::from(ObjectTypeId::GeneralModelChangeEventType);
    assert_eq!(told[0][0], Variant::from(kind));
    assert_eq!(told[0][1], Variant::from(NodeId::from(ObjectId::Server)));
    let (press, drill) = (client.node("press").await, client.node("drill").await);
    assert_eq!(changes(&told[0]), [(press.clone(), 2), (drill, 1)]);
    assert_eq!(changes(&told[1]), [(press, 1)]);
    assert_ne!(told[0][4], told[1][4], "each event has an identifier of its own");
    assert!(matches!(told[0][3], Variant::DateTime(_)) && told[0][7] == Variant::Empty);
}

#[tokio::test]
async fn events_are_to_be_had_of_devices_and_of_nothing_else() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    for (name, notifier) in [("press", 1), ("press/fast", 0)] {
        let node = client.node(name).await;
        let found = client.attribute(&node, AttributeId::EventNotifier).await;
        assert_eq!(found.value, Some(Variant::Byte(notifier)), "{name}");
        assert_eq!(listen(&client, node, &["Message"]).await.is_ok(), notifier == 1, "{name}");
    }
}

/// A filter of one condition.
fn only(operator: FilterOperator, operands: Vec<ExtensionObject>) -> ContentFilter {
    let element = ContentFilterElement { filter_operator: operator, filter_operands: Some(operands) };
    ContentFilter { elements: Some(vec![element]) }
}

async fn refresh(client: &Connected, method: MethodId, arguments: &[u32]) -> StatusCode {
    let arguments = arguments.iter().map(|number| Variant::UInt32(*number)).collect();
    let call = (NodeId::from(ObjectTypeId::ConditionType), NodeId::from(method), Some(arguments));
    client.session.call_one(call).await.unwrap().status_code
}

#[tokio::test]
async fn all_alarms_that_stand_are_framed_whatever_the_filter_and_only_for_the_subscriptions_own_client() {
    let rig = Rig::start().await;
    let (client, other) = (anybody(&rig).await, anybody(&rig).await);
    let literal = |value: Variant| ExtensionObject::from_message(LiteralOperand { value });
    let severe = vec![ExtensionObject::from_message(field("Severity")), literal(Variant::UInt16(900))];
    let alarm = NodeId::from(ObjectTypeId::AlarmConditionType);
    let filters = [
        only(FilterOperator::OfType, vec![literal(Variant::from(alarm))]),
        only(FilterOperator::GreaterThanOrEqual, severe),
        ContentFilter { elements: None },
    ];
    let (all, one) = (MethodId::ConditionType_ConditionRefresh, MethodId::ConditionType_ConditionRefresh2);
    for filter in filters {
        let (seen, subscription, item) =
            listen_to(&client, ObjectId::Server.into(), &["EventType"], filter).await.unwrap();
        assert_eq!(refresh(&other, all, &[subscription]).await, StatusCode::BadSubscriptionIdInvalid);
        assert_eq!(refresh(&client, one, &[subscription, item + 1]).await, StatusCode::BadMonitoredItemIdInvalid);
        assert_eq!(refresh(&client, all, &[subscription]).await, StatusCode::Good);
        let frames = [ObjectTypeId::RefreshStartEventType, ObjectTypeId::RefreshEndEventType];
        let frames = frames.map(|kind| vec![Variant::from(NodeId::from(kind))]);
        until("both frames", || (seen.lock().unwrap().len() >= 2).then_some(())).await;
        assert_eq!(*seen.lock().unwrap(), frames);
        assert_eq!(refresh(&client, one, &[subscription, item]).await, StatusCode::Good);
        until("both frames again", || (seen.lock().unwrap().len() >= 4).then_some(())).await;
        assert_eq!(seen.lock().unwrap()[2..], frames);
    }
}

#[tokio::test]
async fn an_item_that_nobody_fetches_does_not_keep_its_subscription_from_being_told_all_alarms_again() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let everything = ContentFilter { elements: None };
    let (server, fields) = (NodeId::from(ObjectId::Server), ["EventType"]);
    let (seen, subscription, _) = listen_to(&client, server.clone(), &fields, everything.clone()).await.unwrap();
    monitor(&client, subscription, MonitoringMode::Sampling, (server, &fields, everything)).await.unwrap();
    for times in 1..=2 {
        let status = refresh(&client, MethodId::ConditionType_ConditionRefresh, &[subscription]).await;
        assert_eq!(status, StatusCode::Good, "{times}");
        until("both frames", || (seen.lock().unwrap().len() >= 2 * times).then_some(())).await;
    }
}
