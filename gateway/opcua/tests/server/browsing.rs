//! The address space.

use opcua::types::{
    AttributeId, BrowsePath, DataTypeId, EUInformation, EnumValueType, LocalizedText, NodeClass, NodeId, ObjectId,
    QualifiedName, Range, ReferenceTypeId, RelativePath, RelativePathElement, StatusCode, UAString, VariableTypeId,
    Variant,
};

use crate::{
    client::anybody,
    rig::{Rig, presses},
};
use tidegate_config::OpcUaServer;

/// A text in no language, as it comes from the wire.
fn text(text: &str) -> LocalizedText {
    LocalizedText { locale: UAString::null(), text: UAString::from(text) }
}

#[tokio::test]
async fn devices_groups_and_tags_are_found_below_the_gateway() {
    let rig = Rig::start_with(&presses(&["press", "saw"]), OpcUaServer::on_loopback(0)).await;
    let client = anybody(&rig).await;
    let objects = client.browse(&ObjectId::ObjectsFolder.into(), ReferenceTypeId::Organizes, 0).await;
    let root = objects.iter().find(|found| found.browse_name.name.as_ref() == "line3").expect("the gateway's folder");
    let devices = client.browse(&root.node_id.node_id, ReferenceTypeId::HierarchicalReferences, 1).await;
    let names: Vec<&str> = devices.iter().map(|found| found.browse_name.name.as_ref()).collect();
    assert_eq!(names, ["press", "saw"]);
    assert_eq!(devices[0].node_id.node_id, client.node("press").await);
    let groups = client.browse(&devices[0].node_id.node_id, ReferenceTypeId::Organizes, 0).await;
    let slow = &groups.iter().find(|found| found.browse_name.name.as_ref() == "slow").unwrap().node_id.node_id;
    for at_once in [0, 1, 2, 3, 4, 5] {
        let tags = client.browse(slow, ReferenceTypeId::HierarchicalReferences, at_once).await;
        let names: Vec<&str> = tags.iter().map(|found| found.browse_name.name.as_ref()).collect();
        assert_eq!(names, ["mode", "program", "setpoint", "reset"], "{at_once} at once");
        assert!(tags.iter().all(|tag| tag.node_class == NodeClass::Variable));
    }
    let unknown = client.attribute(&client.node("press.none").await, AttributeId::Value).await;
    assert_eq!(unknown.status, Some(StatusCode::BadNodeIdUnknown));
}

#[tokio::test]
async fn a_variable_says_its_type_its_unit_and_its_range() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let pressure = client.node("press.pressure").await;
    let all = client.browse(&pressure, ReferenceTypeId::References, 0).await;
    let kind = all.iter().find(|found| found.reference_type_id == ReferenceTypeId::HasTypeDefinition).unwrap();
    assert_eq!(kind.node_id.node_id, VariableTypeId::AnalogItemType);
    let description = client.attribute(&pressure, AttributeId::Description).await;
    assert_eq!(description.value, Some(Variant::from(text("of the main cylinder"))));
    let device = client.attribute(&client.node("press").await, AttributeId::Description).await;
    assert_eq!(device.value, Some(Variant::from(text("Acme Press 7: bends sheets"))));
    let data_type = client.attribute(&pressure, AttributeId::DataType).await;
    assert_eq!(data_type.value, Some(Variant::from(NodeId::from(DataTypeId::Double))));

    let unit = client.value("press.pressure#EngineeringUnits").await;
    let Some(Variant::ExtensionObject(unit)) = unit.value else { panic!("{unit:?}") };
    assert_eq!(unit.inner_as::<EUInformation>().unwrap().unit_id, 4_342_098);
    let range = client.value("press.pressure#EURange").await;
    let Some(Variant::ExtensionObject(range)) = range.value else { panic!("{range:?}") };
    assert_eq!(*range.inner_as::<Range>().unwrap(), Range { low: 0.0, high: 200.0 });
    // Without a range, and with a unit that has no code.
    let axis = client.browse(&client.node("press.axis.x").await, ReferenceTypeId::HasTypeDefinition, 0).await;
    assert_eq!(axis[0].node_id.node_id, VariableTypeId::BaseAnalogType);
    let unit = client.value("press.axis.x#EngineeringUnits").await;
    let Some(Variant::ExtensionObject(unit)) = unit.value else { panic!("{unit:?}") };
    let unit = unit.inner_as::<EUInformation>().unwrap();
    assert_eq!((unit.unit_id, unit.display_name.text.as_ref()), (-1, "furlong"));
    let none = client.value("press.axis.x#EURange").await;
    assert_eq!(none.status, Some(StatusCode::BadNodeIdUnknown));
}

#[tokio::test]
async fn an_enumeration_is_a_number_with_texts() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    assert_eq!(client.value("press.mode").await.value, Some(Variant::UInt32(0)));
    let strings = client.value("press.mode#EnumStrings").await;
    let Some(Variant::Array(strings)) = strings.value else { panic!("{strings:?}") };
    assert_eq!(strings.values[1], Variant::from(text("setting up")));
    // Numbers that do not count from 0.
    assert_eq!(client.value("press.program").await.value, Some(Variant::Int64(20)));
    let shown = client.value("press.program#ValueAsText").await;
    assert_eq!(shown.value, Some(Variant::from(text("large"))));
    let values = client.value("press.program#EnumValues").await;
    let Some(Variant::Array(values)) = values.value else { panic!("{values:?}") };
    let Variant::ExtensionObject(first) = &values.values[0] else { panic!("{values:?}") };
    assert_eq!(first.inner_as::<EnumValueType>().unwrap().value, 10);
}

#[tokio::test]
async fn a_path_of_names_leads_to_the_node() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let own = client.namespace().await;
    let path = |names: &[(u16, &str)]| BrowsePath {
        starting_node: ObjectId::ObjectsFolder.into(),
        relative_path: RelativePath {
            elements: Some(
                names
                    .iter()
                    .map(|(namespace, name)| RelativePathElement {
                        reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
                        is_inverse: false,
                        include_subtypes: true,
                        target_name: QualifiedName::new(*namespace, *name),
                    })
                    .collect(),
            ),
        },
    };
    let press = [(own, "line3"), (own, "press"), (own, "fast"), (own, "pressure")];
    let range: Vec<_> = press.iter().copied().chain([(0, "EURange")]).collect();
    let paths =
        [path(&press), path(&range), path(&press[..1]), path(&[(own, "line3"), (own, "none")]), path(&[(0, "Server")])];
    let found = client.session.translate_browse_paths_to_node_ids(&paths).await.unwrap();
    let target = |at: usize| found[at].targets.as_ref().unwrap()[0].target_id.node_id.clone();
    assert_eq!(target(0), client.node("press.pressure").await);
    assert_eq!(target(1), client.node("press.pressure#EURange").await);
    assert_eq!(target(2), NodeId::new(own, 1));
    assert_eq!(found[3].status_code, StatusCode::BadNoMatch);
    assert_eq!(target(4), ObjectId::Server);
}
