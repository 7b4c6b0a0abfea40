//! Which node is which: the identifiers that clients keep.

use opcua::types::{Identifier, NodeId};

use crate::space::Space;

/// The number of the folder below which all devices are.
const ROOT: u32 = 1;

/// A tag: where its device, its group and its column are in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TagPlace {
    pub(crate) device: usize,
    pub(crate) group: usize,
    pub(crate) column: usize,
}

/// A node of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// The folder of all devices.
    Root,
    /// A device.
    Device(usize),
    /// A group of a device.
    Group(usize, usize),
    /// A tag.
    Tag(TagPlace),
    /// What a tag says about itself.
    Property(TagPlace, Property),
}

/// What a tag says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Property {
    EuRange,
    EngineeringUnits,
    EnumStrings,
    EnumValues,
    ValueAsText,
}

impl Property {
    pub(crate) const ALL: [Property; 5] = [
        Property::EuRange,
        Property::EngineeringUnits,
        Property::EnumStrings,
        Property::EnumValues,
        Property::ValueAsText,
    ];

    /// The browse name that the standard gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Property::EuRange => "EURange",
            Property::EngineeringUnits => "EngineeringUnits",
            Property::EnumStrings => "EnumStrings",
            Property::EnumValues => "EnumValues",
            Property::ValueAsText => "ValueAsText",
        }
    }
}

impl Node {
    /// The identifier of a node: `press` for a device, `press/fast` for a group, `press.pressure` for a tag,
    /// `press.pressure#EURange` for what a tag says about itself. It is made of names alone, so that it stays what it is
    /// however the site is ordered; a tag keeps it when it goes to another group.
    pub(crate) fn id(self, space: &Space) -> Option<NodeId> {
        let text = match self {
            Node::Root => return Some(NodeId::new(space.namespace(), ROOT)),
            Node::Device(device) => space.device(device)?.name.to_string(),
            Node::Group(device, group) => {
                let device = space.device(device)?;
                format!("{}/{}", device.name, device.groups.get(group)?.name())
            }
            Node::Tag(tag) => space.tag_id(tag)?,
            Node::Property(tag, property) => format!("{}#{}", space.tag_id(tag)?, property.name()),
        };
        Some(NodeId::new(space.namespace(), text))
    }

    /// The node with that identifier, if there is one now.
    pub(crate) fn find(id: &NodeId, space: &Space) -> Option<Node> {
        if id.namespace != space.namespace() {
            return None;
        }
        let text = match &id.identifier {
            Identifier::Numeric(ROOT) => return Some(Node::Root),
            Identifier::String(text) => text.as_ref(),
            _ => return None,
        };
        // No name of a device has a dot, and none of a tag has a hash.
        if let Some((tag, property)) = text.split_once('#') {
            let property = Property::ALL.into_iter().find(|known| known.name() == property)?;
            let place = space.find_tag(tag)?;
            let has = space.tag(place).is_some_and(|tag| crate::properties::has(tag, property));
            return has.then_some(Node::Property(place, property));
        }
        if text.contains('.') {
            return space.find_tag(text).map(Node::Tag);
        }
        match text.split_once('/') {
            Some((device, group)) => {
                let device = space.find_device(device)?;
                let groups = &space.device(device)?.groups;
                groups.iter().position(|known| known.name().as_str() == group).map(|group| Node::Group(device, group))
            }
            None => space.find_device(text).map(Node::Device),
        }
    }
}
