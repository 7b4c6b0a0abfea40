//! The structures of a server: what their fields are, so that values of them can be taken apart.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, DataTypeDefinition, EnumDefinition, NodeClassMask, NodeId,
    ReferenceTypeId, StructureDefinition, TypeLoader, Variant,
    custom::{DataTypeTree, DynamicTypeLoader, EncodingIds, ParentIds, TypeInfo},
};

use crate::{
    channel::Channel,
    fault::Fault,
    limit::in_parts,
    resolve::Server,
    service::attribute,
    writer::{result_mask, scalar},
};

/// Types that are looked at; with those of OPC UA itself no profile needs more.
const MOST_TYPES: usize = 2000;
/// Types that are asked about in one request.
const AT_ONCE: usize = 100;
/// References of one type.
const MOST_REFERENCES: u32 = 100;

/// What is known of one data type.
struct Known {
    id: NodeId,
    name: String,
    is_abstract: bool,
    definition: Option<DataTypeDefinition>,
    encodings: Option<EncodingIds>,
}

/// Finds out about the types of these nodes and of all their fields.
pub(crate) async fn learn(
    server: &Server,
    channel: &Channel,
    nodes: &[NodeId],
    timeout: Duration,
) -> Result<Arc<dyn TypeLoader>, Fault> {
    let mut waiting: VecDeque<NodeId> = VecDeque::new();
    let asked: Vec<_> = nodes.iter().map(|node| attribute(node, AttributeId::DataType)).collect();
    for answer in in_parts(&server.limits.read, &asked, |part| channel.read(part, timeout)).await? {
        if let Some(Variant::NodeId(data_type)) = answer.value {
            waiting.push_back(*data_type);
        }
    }
    let mut parents = ParentIds::new();
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut known: Vec<Known> = Vec::new();
    while !waiting.is_empty() && seen.len() < MOST_TYPES {
        let fresh = |id: &NodeId| scalar(id).is_none() && seen.insert(id.clone());
        let batch: Vec<NodeId> = std::mem::take(&mut waiting).into_iter().filter(fresh).collect();
        for chunk in batch.chunks(AT_ONCE) {
            for (found, above) in ask(server, channel, chunk, timeout).await? {
                if let Some(above) = above {
                    parents.add_type(found.id.clone(), above.clone());
                    waiting.push_back(above);
                }
                if let Some(DataTypeDefinition::Structure(structure)) = &found.definition {
                    waiting.extend(structure.fields.iter().flatten().map(|field| field.data_type.clone()));
                }
                known.push(found);
            }
        }
    }
    let mut tree = DataTypeTree::new(parents);
    for Known { id, name, is_abstract, definition, encodings } in known {
        let Some(definition) = definition else { continue };
        let info = TypeInfo::from_type_definition(definition, name, encodings, is_abstract, &id, tree.parent_ids());
        match info {
            Ok(info) => tree.add_type(id, info),
            Err(error) => tracing::debug!(%id, error, "a data type of the server cannot be used"),
        }
    }
    Ok(Arc::new(DynamicTypeLoader::new(Arc::new(tree))))
}

/// Asks about data types; each with the type above it.
async fn ask(
    server: &Server,
    channel: &Channel,
    types: &[NodeId],
    timeout: Duration,
) -> Result<Vec<(Known, Option<NodeId>)>, Fault> {
    let attributes = [AttributeId::DataTypeDefinition, AttributeId::IsAbstract, AttributeId::BrowseName];
    let asked: Vec<_> = types.iter().flat_map(|id| attributes.map(|asked| attribute(id, asked))).collect();
    let answers = in_parts(&server.limits.read, &asked, |part| channel.read(part, timeout)).await?;
    let mut answers = answers.into_iter();
    let references = |kind, direction| references(server, channel, types, (kind, direction), timeout);
    let above = references(ReferenceTypeId::HasSubtype, BrowseDirection::Inverse).await?;
    let encodings = references(ReferenceTypeId::HasEncoding, BrowseDirection::Forward).await?;
    let mut found = Vec::with_capacity(types.len());
    for ((id, above), encodings) in types.iter().zip(above).zip(encodings) {
        let mut next = || answers.next().and_then(|answer| answer.value);
        let definition = match next() {
            Some(Variant::ExtensionObject(object)) if object.inner_is::<StructureDefinition>() => {
                object.into_inner_as::<StructureDefinition>().map(|found| DataTypeDefinition::Structure(*found))
            }
            Some(Variant::ExtensionObject(object)) => {
                object.into_inner_as::<EnumDefinition>().map(|found| DataTypeDefinition::Enum(*found))
            }
            _ => None,
        };
        let is_abstract = next() == Some(Variant::Boolean(true));
        let name = match next() {
            Some(Variant::QualifiedName(name)) => name.name.as_ref().to_owned(),
            _ => String::new(),
        };
        let mut ids = EncodingIds::default();
        if let Some(DataTypeDefinition::Structure(structure)) = &definition {
            ids.binary_id = structure.default_encoding_id.clone();
        }
        for (name, node) in encodings {
            match name.as_str() {
                "Default Binary" => ids.binary_id = node,
                "Default XML" => ids.xml_id = node,
                "Default JSON" => ids.json_id = node,
                _ => {}
            }
        }
        let known = Known { id: id.clone(), name, is_abstract, definition, encodings: Some(ids) };
        found.push((known, above.into_iter().next().map(|(_, node)| node)));
    }
    Ok(found)
}

/// References of one kind, by node: browse name and node at the other end.
async fn references(
    server: &Server,
    channel: &Channel,
    nodes: &[NodeId],
    (kind, direction): (ReferenceTypeId, BrowseDirection),
    timeout: Duration,
) -> Result<Vec<Vec<(String, NodeId)>>, Fault> {
    let question = |node: &NodeId| BrowseDescription {
        node_id: node.clone(),
        browse_direction: direction,
        reference_type_id: kind.into(),
        include_subtypes: false,
        node_class_mask: NodeClassMask::empty().bits(),
        result_mask: result_mask(),
    };
    let questions: Vec<_> = nodes.iter().map(question).collect();
    let ask = |part| channel.browse(part, MOST_REFERENCES, timeout);
    let results = in_parts(&server.limits.browse, &questions, ask).await?;
    let references = |result: opcua::types::BrowseResult| {
        let references = result.references.unwrap_or_default().into_iter();
        references.map(|found| (found.browse_name.name.as_ref().to_owned(), found.node_id.node_id)).collect()
    };
    Ok(results.into_iter().map(references).collect())
}
