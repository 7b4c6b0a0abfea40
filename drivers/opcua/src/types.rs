//! The structures of a server: what their fields are, so that values of them can be taken apart.

mod leaves;

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use opcua::types::{
    AttributeId, BinaryDecodable, BinaryEncodable, BrowseDescription, BrowseDirection, ContextOwned,
    DataTypeDefinition, DataTypeId, EnumDefinition, ExtensionObject, NamespaceMap, NodeClassMask, NodeId,
    ReferenceTypeId, StructureDefinition, StructureType, TypeLoader, Variant,
    custom::{DataTypeTree, DynamicStructure, DynamicTypeLoader, EncodingIds, ParentIds, TypeInfo},
};

pub(crate) use leaves::Leaf;
use leaves::Leaves;

use crate::{
    channel::Channel,
    fault::Fault,
    limit::in_parts,
    resolve::Server,
    service::attribute,
    transport, well_known,
    writer::{result_mask, scalar},
};

/// The structures of a server that are known, and how values of them are taken apart.
#[derive(Default)]
pub(crate) struct Types {
    known: Option<(Arc<DataTypeTree>, ContextOwned)>,
}

impl Types {
    fn new(namespaces: NamespaceMap, tree: Arc<DataTypeTree>) -> Types {
        let mut context = ContextOwned::new_default(namespaces, transport::decoding());
        context.loaders_mut().add(Arc::new(DynamicTypeLoader::new(Arc::clone(&tree))));
        Types { known: Some((tree, context)) }
    }

    /// What decodes values of these types.
    pub(crate) fn loader(&self) -> Option<Arc<dyn TypeLoader>> {
        let (tree, _) = self.known.as_ref()?;
        Some(Arc::new(DynamicTypeLoader::new(Arc::clone(tree))))
    }

    /// A field of a structure; `None` when it has none of that name, or is a union that holds another one now.
    pub(crate) fn field<'v>(&self, object: &'v ExtensionObject, name: &str) -> Option<Cow<'v, Variant>> {
        let Some(structure) = object.inner_as::<DynamicStructure>() else {
            // The library makes a type of its own of it, which says nothing of its fields.
            let again = self.again(object)?;
            let found = again.inner_as::<DynamicStructure>()?.get_field_by_name(name)?.clone();
            return Some(Cow::Owned(found));
        };
        let (tree, context) = self.known.as_ref()?;
        let kind = object.data_type().and_then(|id| tree.get_struct_type(&id.node_id))?;
        if kind.structure_type != StructureType::Union {
            return structure.get_field_by_name(name).map(Cow::Borrowed);
        }
        let mut bytes = Vec::new();
        object.body.as_ref()?.encode_binary(&mut bytes, &context.context()).ok()?;
        let place = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).checked_sub(1)?;
        let held = kind.fields.get(usize::try_from(place).ok()?)?;
        (held.name == name).then(|| structure.values().first().map(Cow::Borrowed))?
    }

    /// A value of one of the library's own types as one that has fields.
    fn again(&self, object: &ExtensionObject) -> Option<ExtensionObject> {
        let (tree, context) = self.known.as_ref()?;
        let context = context.context();
        let id = object.data_type()?.node_id;
        let mut bytes = Vec::new();
        object.body.as_ref()?.encode_binary(&mut bytes, &context).ok()?;
        let loader = DynamicTypeLoader::new(Arc::clone(tree));
        let body = loader.load_from_binary(&id, &mut bytes.as_slice(), &context, None)?.ok()?;
        Some(ExtensionObject { body: Some(body) })
    }

    /// Everything at the ends of the ways into a structure, at most so many; `None` when the type is none that is known. An array is as
    /// long as it is in `held`, a value of the type, or as the type says; where neither does it is no tag.
    pub(crate) fn leaves(&self, data_type: &NodeId, held: Option<&ExtensionObject>, most: usize) -> Option<Vec<Leaf>> {
        let (tree, _) = self.known.as_ref()?;
        tree.get_struct_type(data_type)?;
        let held = held.and_then(|held| self.known_form(held));
        Some(Leaves::new(self, tree, most).of(data_type, held.as_ref()))
    }

    /// A value that came before its type was known, as one that has fields.
    fn known_form(&self, object: &ExtensionObject) -> Option<ExtensionObject> {
        let (_, context) = self.known.as_ref()?;
        let context = context.context();
        let bytes = object.encode_to_vec(&context);
        ExtensionObject::decode(&mut bytes.as_slice(), &context).ok()
    }
}

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
) -> Result<Types, Fault> {
    let mut waiting: VecDeque<NodeId> = VecDeque::new();
    let asked: Vec<_> = nodes.iter().map(|node| attribute(node, AttributeId::DataType)).collect();
    for answer in in_parts(&server.limits.read, &asked, |part| channel.read(part, timeout)).await? {
        if let Some(Variant::NodeId(data_type)) = answer.value {
            waiting.push_back(*data_type);
        }
    }
    learn_of(server, channel, waiting, timeout).await
}

/// Finds out about these types and those of all their fields.
pub(crate) async fn learn_of(
    server: &Server,
    channel: &Channel,
    mut waiting: VecDeque<NodeId>,
    timeout: Duration,
) -> Result<Types, Fault> {
    let mut parents = ParentIds::new();
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut known: Vec<Known> = Vec::new();
    while !waiting.is_empty() && seen.len() < MOST_TYPES {
        let fresh = |id: &NodeId| scalar(id).is_none() && seen.insert(id.clone());
        let batch: Vec<NodeId> = std::mem::take(&mut waiting).into_iter().filter(fresh).collect();
        for chunk in batch.chunks(AT_ONCE) {
            for (found, above) in ask(server, channel, chunk, timeout).await? {
                let is_structure = matches!(found.definition, Some(DataTypeDefinition::Structure(_)));
                if let Some(above) = above {
                    parents.add_type(found.id.clone(), above.clone());
                    waiting.push_back(above);
                } else if is_structure {
                    parents.add_type(found.id.clone(), NodeId::from(DataTypeId::Structure));
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
    Ok(Types::new(server.namespaces(), Arc::new(tree)))
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
        let definition = definition.or_else(|| well_known::definition(id).map(DataTypeDefinition::Structure));
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

#[cfg(test)]
mod tests {
    use opcua::types::{EUInformation, LocalizedText, Range, StructureField};

    use super::*;

    fn structure(kind: StructureType, fields: &[(&str, NodeId)]) -> StructureDefinition {
        let field = |(name, data_type): &(&str, NodeId)| StructureField {
            name: (*name).into(),
            data_type: data_type.clone(),
            value_rank: -1,
            ..StructureField::default()
        };
        let fields = Some(fields.iter().map(field).collect());
        StructureDefinition { structure_type: kind, fields, ..StructureDefinition::default() }
    }

    /// A tree of the structures of OPC UA itself that are asked for here, a union, and a structure that has both in it.
    fn tree() -> Arc<DataTypeTree> {
        let (double, text) = (NodeId::from(DataTypeId::Double), NodeId::from(DataTypeId::String));
        let (range, unit) = (NodeId::from(DataTypeId::Range), NodeId::from(DataTypeId::EUInformation));
        let (either, whole) = (NodeId::new(2, "Either"), NodeId::new(2, "Whole"));
        let union = structure(StructureType::Union, &[("number", double), ("text", text)]);
        let both = [("either", either.clone()), ("limits", range.clone()), ("speed", NodeId::from(DataTypeId::Float))];
        let types = [
            (range.clone(), well_known::definition(&range).unwrap()),
            (unit.clone(), well_known::definition(&unit).unwrap()),
            (either, union),
            (whole, structure(StructureType::Structure, &both)),
        ];
        let mut parents = ParentIds::new();
        types.iter().for_each(|(id, _)| parents.add_type(id.clone(), NodeId::from(DataTypeId::Structure)));
        let mut tree = DataTypeTree::new(parents);
        for (id, definition) in types {
            let definition = DataTypeDefinition::Structure(definition);
            let ids = Some(EncodingIds::default());
            let info = TypeInfo::from_type_definition(definition, id.to_string(), ids, false, &id, tree.parent_ids());
            tree.add_type(id, info.unwrap());
        }
        Arc::new(tree)
    }

    fn types() -> Types {
        Types::new(NamespaceMap::new(), tree())
    }

    #[test]
    fn structures_of_opc_ua_itself_are_taken_apart() {
        let types = types();
        let range = ExtensionObject::from_message(Range { low: -50.0, high: 150.0 });
        assert_eq!(types.field(&range, "High").as_deref(), Some(&Variant::Double(150.0)));
        assert_eq!(types.field(&range, "Middle"), None);
        let unit =
            EUInformation { unit_id: 7, display_name: LocalizedText::new("en", "°C"), ..EUInformation::default() };
        let unit = ExtensionObject::from_message(unit);
        let shown = Variant::from(LocalizedText::new("en", "°C"));
        assert_eq!(types.field(&unit, "DisplayName").as_deref(), Some(&shown));
        assert_eq!(Types::default().field(&unit, "DisplayName"), None);
    }

    #[test]
    fn a_union_has_the_field_that_it_holds_and_no_other() {
        let (types, tree) = (types(), tree());
        let kind = Arc::clone(tree.get_struct_type(&NodeId::new(2, "Either")).unwrap());
        let union = |value: Variant, place| {
            let union = DynamicStructure::new_union(Arc::clone(&kind), Arc::clone(&tree), value, place);
            ExtensionObject { body: Some(Box::new(union.unwrap())) }
        };
        let text = union(Variant::from("tide"), 2);
        assert_eq!(types.field(&text, "text").as_deref(), Some(&Variant::from("tide")));
        assert_eq!(types.field(&text, "number"), None, "it would be the text");
        let number = union(Variant::Double(1.5), 1);
        assert_eq!(types.field(&number, "number").as_deref(), Some(&Variant::Double(1.5)));
        assert_eq!(types.field(&number, "text"), None);
    }

    #[test]
    fn the_ends_of_all_ways_into_a_structure_are_found() {
        let leaves = types().leaves(&NodeId::new(2, "Whole"), None, 100).unwrap();
        let mut paths: Vec<&str> = leaves.iter().map(|leaf| leaf.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["either.number", "either.text", "limits.High", "limits.Low", "speed"]);
        assert!(leaves.iter().all(|leaf| leaf.scalar.is_some()));
        assert_eq!(types().leaves(&NodeId::new(2, "Whole"), None, 2).unwrap().len(), 2);
        assert_eq!(types().leaves(&NodeId::from(DataTypeId::Double), None, 2), None);
    }
}
