//! What a client reads of a node.

use opcua::{
    nodes::AccessLevel,
    types::{
        AttributeId, DataEncoding, DataTypeId, DataValue, LocalizedText, NodeClass, NodeId, NumericRange,
        QualifiedName, StatusCode, Variant, WriteMask,
    },
};
use tidegate_config::Access;
use tidegate_runtime::TagInfo;

use crate::{
    node::{Node, TagPlace},
    properties,
    space::Space,
    values,
};

/// Reads attributes for one user.
pub(crate) struct Attributes<'a> {
    pub(crate) space: &'a Space,
    /// Whether the user may write.
    pub(crate) operator: bool,
}

impl Attributes<'_> {
    /// An attribute of a node: its value with status and the time of its source.
    pub(crate) fn read(
        &self,
        node: Node,
        attribute: AttributeId,
        range: &NumericRange,
        encoding: &DataEncoding,
    ) -> Result<DataValue, StatusCode> {
        if attribute != AttributeId::Value {
            if !matches!(range, NumericRange::None) {
                return Err(StatusCode::BadIndexRangeNoData);
            }
            return self.fixed(node, attribute).map(plain);
        }
        if !matches!(encoding, DataEncoding::Binary) {
            return Err(StatusCode::BadDataEncodingUnsupported);
        }
        let mut value = self.value(node)?;
        if let (false, Some(whole)) = (matches!(range, NumericRange::None), &value.value) {
            value.value = Some(whole.range_of(range)?);
        }
        Ok(value)
    }

    fn value(&self, node: Node) -> Result<DataValue, StatusCode> {
        match node {
            Node::Tag(place) => {
                let tag = self.tag(place)?;
                if tag.access == Access::Write {
                    return Err(StatusCode::BadNotReadable);
                }
                let sample = self.space.sample(place).ok_or(StatusCode::BadNodeIdUnknown)?;
                Ok(values::data_value(tag, &sample))
            }
            Node::Property(place, property) => {
                let tag = self.tag(place)?;
                let value = properties::value(tag, property, || self.space.sample(place));
                value.map(plain).ok_or(StatusCode::BadNodeIdUnknown)
            }
            Node::Root | Node::Device(_) | Node::Group(..) => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    /// All attributes but the value.
    fn fixed(&self, node: Node, attribute: AttributeId) -> Result<Variant, StatusCode> {
        let unknown = StatusCode::BadNodeIdUnknown;
        Ok(match attribute {
            AttributeId::NodeId => Variant::NodeId(Box::new(node.id(self.space).ok_or(unknown)?)),
            AttributeId::NodeClass => Variant::Int32(class(node).into_number()),
            AttributeId::BrowseName => Variant::QualifiedName(Box::new(browse_name(self.space, node).ok_or(unknown)?)),
            AttributeId::DisplayName => {
                let name = browse_name(self.space, node).ok_or(unknown)?;
                Variant::LocalizedText(Box::new(LocalizedText::new("", name.name.as_ref())))
            }
            AttributeId::Description => {
                let text =
                    self.description(node).map_or_else(LocalizedText::null, |text| LocalizedText::new("", &text));
                Variant::LocalizedText(Box::new(text))
            }
            AttributeId::WriteMask | AttributeId::UserWriteMask => Variant::UInt32(WriteMask::empty().bits()),
            AttributeId::EventNotifier if class(node) == NodeClass::Object => Variant::Byte(u8::from(has_events(node))),
            _ => match node {
                Node::Tag(place) => self.of_variable(self.tag(place)?, attribute)?,
                Node::Property(_, property) => of_property(properties::data_type(property), attribute)?,
                Node::Root | Node::Device(_) | Node::Group(..) => return Err(StatusCode::BadAttributeIdInvalid),
            },
        })
    }

    fn description(&self, node: Node) -> Option<String> {
        match node {
            Node::Root | Node::Group(..) | Node::Property(..) => None,
            Node::Device(device) => {
                let profile = &self.space.device(device)?.profile;
                let model = format!("{} {}", profile.manufacturer, profile.model);
                Some(profile.description.as_ref().map_or(model.clone(), |text| format!("{model}: {text}")))
            }
            Node::Tag(place) => self.space.tag(place)?.description.clone(),
        }
    }

    fn of_variable(&self, tag: &TagInfo, attribute: AttributeId) -> Result<Variant, StatusCode> {
        let level = access_level(tag);
        Ok(match attribute {
            AttributeId::DataType => Variant::NodeId(Box::new(NodeId::from(values::data_type(tag)))),
            AttributeId::ValueRank => Variant::Int32(if tag.value_type.items.is_some() { 1 } else { -1 }),
            AttributeId::ArrayDimensions => match tag.value_type.items {
                Some(items) => Variant::from(vec![items]),
                None => Variant::Empty,
            },
            AttributeId::AccessLevel => Variant::Byte(level.bits()),
            AttributeId::UserAccessLevel if self.operator => Variant::Byte(level.bits()),
            AttributeId::UserAccessLevel => Variant::Byte((level - AccessLevel::CURRENT_WRITE).bits()),
            AttributeId::MinimumSamplingInterval => Variant::Double(0.0),
            AttributeId::Historizing => Variant::Boolean(level.contains(AccessLevel::HISTORY_READ)),
            _ => return Err(StatusCode::BadAttributeIdInvalid),
        })
    }

    fn tag(&self, place: TagPlace) -> Result<&TagInfo, StatusCode> {
        self.space.tag(place).ok_or(StatusCode::BadNodeIdUnknown)
    }
}

fn of_property((kind, list): (DataTypeId, bool), attribute: AttributeId) -> Result<Variant, StatusCode> {
    Ok(match attribute {
        AttributeId::DataType => Variant::NodeId(Box::new(NodeId::from(kind))),
        AttributeId::ValueRank => Variant::Int32(if list { 1 } else { -1 }),
        AttributeId::ArrayDimensions => {
            if list {
                Variant::from(vec![0_u32])
            } else {
                Variant::Empty
            }
        }
        AttributeId::AccessLevel | AttributeId::UserAccessLevel => Variant::Byte(AccessLevel::CURRENT_READ.bits()),
        AttributeId::MinimumSamplingInterval => Variant::Double(0.0),
        AttributeId::Historizing => Variant::Boolean(false),
        _ => return Err(StatusCode::BadAttributeIdInvalid),
    })
}

/// Who may do what with a tag, as its profile says.
pub(crate) fn access_level(tag: &TagInfo) -> AccessLevel {
    let read = AccessLevel::CURRENT_READ | AccessLevel::HISTORY_READ;
    match tag.access {
        Access::Read => read,
        Access::ReadWrite => read | AccessLevel::CURRENT_WRITE,
        Access::Write => AccessLevel::CURRENT_WRITE,
    }
}

/// Whether a node has events: a device has its alarms.
pub(crate) fn has_events(node: Node) -> bool {
    matches!(node, Node::Device(_))
}

/// The class of a node.
pub(crate) fn class(node: Node) -> NodeClass {
    match node {
        Node::Root | Node::Device(_) | Node::Group(..) => NodeClass::Object,
        Node::Tag(_) | Node::Property(..) => NodeClass::Variable,
    }
}

/// The name of a node in a browse path: the gateway's, device's, group's or tag's, or the standard's for a property.
pub(crate) fn browse_name(space: &Space, node: Node) -> Option<QualifiedName> {
    let own = |name: &str| QualifiedName::new(space.namespace(), name);
    Some(match node {
        Node::Root => own(space.gateway().as_str()),
        Node::Device(device) => own(space.device(device)?.name.as_str()),
        Node::Group(device, group) => own(space.group(device, group)?.name().as_str()),
        Node::Tag(place) => own(space.tag(place)?.name.as_str()),
        Node::Property(_, property) => QualifiedName::new(0, property.name()),
    })
}

fn plain(value: Variant) -> DataValue {
    DataValue { value: Some(value), status: Some(StatusCode::Good), ..DataValue::default() }
}

/// The number of a node class on the wire.
trait ClassNumber {
    fn into_number(self) -> i32;
}

impl ClassNumber for NodeClass {
    fn into_number(self) -> i32 {
        match self {
            NodeClass::Object => 1,
            NodeClass::Variable => 2,
            _ => 0,
        }
    }
}
