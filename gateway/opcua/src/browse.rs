//! The references of a node, one after the other, and paths of names.

use opcua::{
    nodes::TypeTree,
    server::node_manager::{BrowseNode, BrowsePathItem, NodeMetadata},
    types::{
        ExpandedNodeId, LocalizedText, NodeClass, NodeId, ObjectId, ObjectTypeId, QualifiedName, ReferenceDescription,
        ReferenceTypeId, RelativePathElement, StatusCode, VariableTypeId,
    },
};

use crate::{
    attributes::{browse_name, class},
    node::{Node, TagPlace},
    properties,
    space::Space,
};

/// Where the next answer goes on: the number of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(usize);

/// What a reference leads to.
enum End {
    /// A node of ours.
    Own(Node),
    /// The folder in which the gateway's folder is.
    Objects,
    /// The type of the node.
    Type,
}

/// One reference of a node.
struct Reference {
    kind: ReferenceTypeId,
    forward: bool,
    end: End,
}

/// Whether this is the standard folder in which ours is.
fn is_objects(id: &NodeId) -> bool {
    *id == ObjectId::ObjectsFolder
}

/// Answers a browse of one node, from where the last answer ended.
pub(crate) fn browse(space: &Space, types: &dyn TypeTree, request: &mut BrowseNode) {
    let mut at = request.take_continuation_point::<Position>().map_or(0, |position| position.0);
    if is_objects(request.node_id()) {
        // The rest of this node is the core's.
        let reference = Reference { kind: ReferenceTypeId::Organizes, forward: true, end: End::Own(Node::Root) };
        if at == 0
            && wanted(&reference, types, request)
            && let Some(described) = describe(space, Node::Root, &reference)
        {
            if request.remaining() == 0 {
                request.set_next_continuation_point(Box::new(Position(0)));
            } else {
                request.add(types, described);
            }
        }
        return;
    }
    if request.node_id().namespace != space.namespace() {
        return;
    }
    let Some(node) = Node::find(request.node_id(), space) else {
        request.set_status(StatusCode::BadNodeIdUnknown);
        return;
    };
    request.set_status(StatusCode::Good);
    let allowed = Allowed::new(types, request);
    while let Some(reference) = reference(space, node, at) {
        if allowed.allows(&reference) {
            let Some(described) = describe(space, node, &reference) else { break };
            if request.allows_node_class(described.node_class) && request.remaining() == 0 {
                request.set_next_continuation_point(Box::new(Position(at)));
                return;
            }
            request.add(types, described);
        }
        at += 1;
    }
}

/// Which kinds of reference a client wants to see: found out once, not for each of a hundred thousand.
struct Allowed {
    forward: bool,
    inverse: bool,
    organizes: bool,
    property: bool,
    definition: bool,
}

impl Allowed {
    fn new(types: &dyn TypeTree, request: &BrowseNode) -> Allowed {
        let kind = |kind: ReferenceTypeId| request.allows_reference_type(&kind.into(), types);
        Allowed {
            forward: request.allows_forward(),
            inverse: request.allows_inverse(),
            organizes: kind(ReferenceTypeId::Organizes),
            property: kind(ReferenceTypeId::HasProperty),
            definition: kind(ReferenceTypeId::HasTypeDefinition),
        }
    }

    fn allows(&self, reference: &Reference) -> bool {
        let direction = if reference.forward { self.forward } else { self.inverse };
        direction
            && match reference.kind {
                ReferenceTypeId::Organizes => self.organizes,
                ReferenceTypeId::HasProperty => self.property,
                _ => self.definition,
            }
    }
}

fn wanted(reference: &Reference, types: &dyn TypeTree, request: &BrowseNode) -> bool {
    Allowed::new(types, request).allows(reference)
}

/// The reference with that number: first where the node hangs, then its type, then what hangs on it.
fn reference(space: &Space, node: Node, at: usize) -> Option<Reference> {
    let (organizes, property) = (ReferenceTypeId::Organizes, ReferenceTypeId::HasProperty);
    let parent = |end| Some(Reference { kind: organizes, forward: false, end });
    let Some(child) = at.checked_sub(2) else {
        if at == 1 {
            return Some(Reference { kind: ReferenceTypeId::HasTypeDefinition, forward: true, end: End::Type });
        }
        return match node {
            Node::Root => parent(End::Objects),
            Node::Device(_) => parent(End::Own(Node::Root)),
            Node::Group(device, _) => parent(End::Own(Node::Device(device))),
            Node::Tag(TagPlace { device, group, .. }) => parent(End::Own(Node::Group(device, group))),
            Node::Property(place, _) => {
                Some(Reference { kind: property, forward: false, end: End::Own(Node::Tag(place)) })
            }
        };
    };
    let below = |node| Some(Reference { kind: organizes, forward: true, end: End::Own(node) });
    match node {
        Node::Root => space.device(child).and_then(|_| below(Node::Device(child))),
        Node::Device(device) => space.group(device, child).and_then(|_| below(Node::Group(device, child))),
        Node::Group(device, group) => {
            let place = TagPlace { device, group, column: child };
            space.tag(place).and_then(|_| below(Node::Tag(place)))
        }
        Node::Tag(place) => {
            let found = properties::of(space.tag(place)?).nth(child)?;
            Some(Reference { kind: property, forward: true, end: End::Own(Node::Property(place, found)) })
        }
        Node::Property(..) => None,
    }
}

fn describe(space: &Space, from: Node, reference: &Reference) -> Option<ReferenceDescription> {
    let metadata = match reference.end {
        End::Own(node) => metadata(space, node)?,
        End::Objects => NodeMetadata {
            node_id: ExpandedNodeId::from(ObjectId::ObjectsFolder),
            type_definition: ObjectTypeId::FolderType.into(),
            browse_name: QualifiedName::new(0, "Objects"),
            display_name: LocalizedText::new("", "Objects"),
            node_class: NodeClass::Object,
        },
        End::Type => {
            let (node_id, name, node_class) = type_of(space, from)?;
            NodeMetadata {
                node_id,
                type_definition: ExpandedNodeId::null(),
                display_name: LocalizedText::new("", &name),
                browse_name: QualifiedName::new(0, name),
                node_class,
            }
        }
    };
    Some(metadata.into_ref_desc(reference.forward, reference.kind))
}

/// What is shown of a node beside a reference to it.
pub(crate) fn metadata(space: &Space, node: Node) -> Option<NodeMetadata> {
    let browse_name = browse_name(space, node)?;
    Some(NodeMetadata {
        node_id: node.id(space)?.into(),
        type_definition: type_of(space, node)?.0,
        display_name: LocalizedText::new("", browse_name.name.as_ref()),
        browse_name,
        node_class: class(node),
    })
}

fn type_of(space: &Space, node: Node) -> Option<(ExpandedNodeId, String, NodeClass)> {
    Some(match node {
        Node::Root | Node::Device(_) | Node::Group(..) => {
            (properties::FOLDER.into(), format!("{:?}", properties::FOLDER), NodeClass::ObjectType)
        }
        Node::Tag(place) => {
            let kind = properties::type_of(space.tag(place)?);
            (kind.into(), format!("{kind:?}"), NodeClass::VariableType)
        }
        Node::Property(..) => {
            let kind = VariableTypeId::PropertyType;
            (kind.into(), format!("{kind:?}"), NodeClass::VariableType)
        }
    })
}

/// Follows a path of names from one node.
pub(crate) fn translate(space: &Space, types: &dyn TypeTree, own_index: usize, item: &mut BrowsePathItem<'_>) {
    if let (Some(name), Some(node)) = (item.unmatched_browse_name(), Node::find(item.node_id(), space)) {
        if browse_name(space, node).as_ref() != Some(name) {
            return;
        }
        item.set_browse_name_matched(own_index);
    }
    let path = item.path();
    let (mut node, mut depth) = match Node::find(item.node_id(), space) {
        Some(node) => (node, 0),
        None if is_objects(item.node_id()) => {
            let Some(first) = path.first() else { return };
            let root = browse_name(space, Node::Root);
            if !follows(first, ReferenceTypeId::Organizes, types) || Some(&first.target_name) != root.as_ref() {
                return;
            }
            (Node::Root, 1)
        }
        None => {
            if item.node_id().namespace == space.namespace() {
                item.set_status(StatusCode::BadNodeIdUnknown);
            }
            return;
        }
    };
    while let Some(element) = path.get(depth) {
        let Some(next) = step(space, types, node, element) else { return };
        node = next;
        depth += 1;
    }
    if let (true, Some(id)) = (depth > 0, node.id(space)) {
        item.add_element(id, depth, None);
    }
}

/// The node that one element of a path leads to, found by its name and not by looking through all.
fn step(space: &Space, types: &dyn TypeTree, node: Node, element: &RelativePathElement) -> Option<Node> {
    let name = &element.target_name;
    if element.is_inverse {
        let End::Own(parent) = reference(space, node, 0)?.end else { return None };
        return (browse_name(space, parent).as_ref() == Some(name)).then_some(parent);
    }
    let text = name.name.as_ref();
    let (kind, found) = match node {
        Node::Root => (ReferenceTypeId::Organizes, Node::Device(space.find_device(text)?)),
        Node::Device(device) => {
            let groups = &space.device(device)?.groups;
            let group = groups.iter().position(|group| group.name().as_str() == text)?;
            (ReferenceTypeId::Organizes, Node::Group(device, group))
        }
        Node::Group(device, group) => {
            let column = space.find_column(device, group, text)?;
            (ReferenceTypeId::Organizes, Node::Tag(TagPlace { device, group, column }))
        }
        Node::Tag(place) => {
            let property = properties::of(space.tag(place)?).find(|property| property.name() == text)?;
            (ReferenceTypeId::HasProperty, Node::Property(place, property))
        }
        Node::Property(..) => return None,
    };
    let same = browse_name(space, found).as_ref() == Some(name);
    (same && follows(element, kind, types)).then_some(found)
}

fn follows(element: &RelativePathElement, kind: ReferenceTypeId, types: &dyn TypeTree) -> bool {
    let wanted = &element.reference_type_id;
    let kind = NodeId::from(kind);
    wanted.is_null() || *wanted == kind || (element.include_subtypes && types.is_subtype_of(&kind, wanted))
}
