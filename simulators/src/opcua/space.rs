//! The address space of the server: a folder for the device, one for each group, and a variable for each point.

use std::collections::HashMap;

use opcua::{
    nodes::AccessLevel,
    server::address_space::{AddressSpace, VariableBuilder},
    types::{
        DataTypeId, EUInformation, ExtensionObject, Identifier, LocalizedText, NodeId, ObjectId, QualifiedName, Range,
        VariableTypeId,
    },
};
use tidegate_config::Access;
use tidegate_driver_opcua::{Address, Namespace, Step};

use super::plant::{Plant, Point};

/// The namespace of what has no place of its own.
pub(crate) const OWN_NAMESPACE: &str = "urn:tidegate:simulator";

/// The name space of unit identifiers (Part 8 §5.6.3).
const UNITS: &str = "http://www.opcfoundation.org/UA/units/un/cefact";

/// Builds the nodes, and says which node is which point.
pub(crate) fn build(
    plant: &Plant,
    model: &str,
    indexes: &HashMap<Namespace, u16>,
    own: u16,
    space: &mut AddressSpace,
) -> HashMap<NodeId, usize> {
    let objects = NodeId::from(ObjectId::ObjectsFolder);
    let device = NodeId::new(own, "device");
    space.add_folder(&device, QualifiedName::new(own, model), LocalizedText::from(model), &objects);
    let mut nodes = HashMap::new();
    for (index, point) in plant.points.iter().enumerate() {
        let of = |namespace: &Namespace| indexes.get(namespace).copied().unwrap_or(own);
        let (id, name, parent) = match &point.place {
            Address::Node(node) => {
                let id = NodeId { namespace: of(&node.namespace), identifier: node.identifier.clone() };
                let folder = NodeId::new(own, format!("group {}", point.group));
                if !space.node_exists(&folder) {
                    let name = QualifiedName::new(own, point.group.as_str());
                    space.add_folder(&folder, name, LocalizedText::from(point.group.as_str()), &device);
                }
                (id, QualifiedName::new(own, browse_name(&node.identifier, point)), folder)
            }
            Address::Path(path) => {
                let Some((Step { namespace, name }, folders)) = path.steps.split_last() else { continue };
                let folders = folders.iter().map(|step| (of(&step.namespace), step.name.as_str()));
                let (parent, path) = folder(space, own, &objects, folders);
                let id = NodeId::new(own, format!("{path}/{name}"));
                (id, QualifiedName::new(of(namespace), name.as_str()), parent)
            }
        };
        variable(space, plant, index, &id, name, &parent, own);
        nodes.insert(id, index);
    }
    nodes
}

/// The text of an identifier, else the tag's name.
fn browse_name<'a>(identifier: &'a Identifier, point: &'a Point) -> &'a str {
    match identifier {
        Identifier::String(text) => text.as_ref(),
        _ => point.cell.name.as_str(),
    }
}

/// The folder at the end of a path, made where it is not there, and its path.
fn folder<'a>(
    space: &mut AddressSpace,
    own: u16,
    objects: &NodeId,
    names: impl Iterator<Item = (u16, &'a str)>,
) -> (NodeId, String) {
    let mut parent = objects.clone();
    let mut path = String::new();
    for (namespace, name) in names {
        path = format!("{path}/{name}");
        let id = NodeId::new(own, path.as_str());
        if !space.node_exists(&id) {
            space.add_folder(&id, QualifiedName::new(namespace, name), LocalizedText::from(name), &parent);
        }
        parent = id;
    }
    (parent, path)
}

/// The variable of a point, with the properties that an analog item has.
fn variable(
    space: &mut AddressSpace,
    plant: &Plant,
    index: usize,
    id: &NodeId,
    name: QualifiedName,
    parent: &NodeId,
    own: u16,
) {
    let Some(point) = plant.points.get(index) else { return };
    let access = match point.access {
        Access::Read => AccessLevel::CURRENT_READ,
        Access::ReadWrite => AccessLevel::CURRENT_READ | AccessLevel::CURRENT_WRITE,
        Access::Write => AccessLevel::CURRENT_WRITE,
    };
    let analog = point.unit.is_some();
    let shown = LocalizedText::from(point.cell.name.as_str());
    let mut builder = VariableBuilder::new(id, name, shown)
        .data_type(point.cell.kind.data_type())
        .value(point.cell.value(plant.moment()))
        .value_rank(if point.cell.items.is_some() { 1 } else { -1 })
        .access_level(access)
        .user_access_level(access)
        .has_type_definition(if analog { VariableTypeId::AnalogItemType } else { VariableTypeId::BaseDataVariableType })
        .component_of(parent.clone());
    if let Some(items) = point.cell.items {
        builder = builder.array_dimensions(&[items]);
    }
    if let Some(description) = &point.description {
        builder = builder.description(LocalizedText::from(description.as_str()));
    }
    builder.insert(space);
    if let Some(unit) = &point.unit {
        let unit = EUInformation {
            namespace_uri: UNITS.into(),
            unit_id: -1,
            display_name: LocalizedText::from(unit.as_str()),
            description: LocalizedText::from(unit.as_str()),
        };
        property(space, id, own, "EngineeringUnits", DataTypeId::EUInformation, ExtensionObject::from_message(unit));
        let holds = point.cell.kind.holds();
        let range = Range { low: holds.low.max(-1e9), high: holds.high.min(1e9) };
        property(space, id, own, "EURange", DataTypeId::Range, ExtensionObject::from_message(range));
    }
}

fn property(space: &mut AddressSpace, of: &NodeId, own: u16, name: &str, kind: DataTypeId, value: ExtensionObject) {
    let id = NodeId::new(own, format!("{of}.{name}"));
    VariableBuilder::new(&id, QualifiedName::new(0, name), LocalizedText::from(name))
        .data_type(kind)
        .value(value)
        .has_type_definition(VariableTypeId::PropertyType)
        .property_of(of.clone())
        .insert(space);
}
