//! Events.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opcua::{
    client::EventCallback,
    types::{
        AttributeId, ContentFilter, EventFilter, ExtensionObject, ModelChangeStructureDataType,
        MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, NodeId, NumericRange, ObjectId, ObjectTypeId,
        QualifiedName, ReadValueId, SimpleAttributeOperand, StatusCode, TimestampsToReturn, Variant,
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
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let callback = EventCallback::new(move |fields, _| sink.lock().unwrap().extend(fields));
    let every = Duration::from_millis(100);
    let subscription = client.session.create_subscription(every, 1000, 100, 0, 0, true, callback).await.unwrap();
    let filter = EventFilter {
        select_clauses: Some(fields.iter().map(|name| field(name)).collect()),
        where_clause: ContentFilter { elements: None },
    };
    let request = MonitoredItemCreateRequest {
        item_to_monitor: ReadValueId {
            node_id: node,
            attribute_id: AttributeId::EventNotifier as u32,
            ..ReadValueId::default()
        },
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: 1,
            sampling_interval: 0.0,
            filter: ExtensionObject::from_message(filter),
            queue_size: 0,
            discard_oldest: true,
        },
    };
    let made = client.session.create_monitored_items(subscription, TimestampsToReturn::Both, vec![request]).await;
    let status = made.unwrap().remove(0).result.status_code;
    if status.is_good() { Ok(seen) } else { Err(status) }
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
