//! What there is in a structure: the ends of all ways into it, arrays with their length.

use std::sync::Arc;

use opcua::types::{ExtensionObject, NodeId, Variant, VariantScalarTypeId, custom::DataTypeTree};

use super::Types;

/// Levels of structures in structures.
const DEEPEST: usize = 8;

/// Something at the end of a way into a structure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leaf {
    /// The way, as a profile writes it: `position.x`.
    pub(crate) path: String,
    /// What it is, or each of its items; `None` when no tag can hold it.
    pub(crate) scalar: Option<VariantScalarTypeId>,
    /// How many items it has, where it is an array.
    pub(crate) items: Option<u32>,
}

/// The ends of the ways into a structure that have been found.
pub(super) struct Leaves<'a> {
    types: &'a Types,
    tree: &'a DataTypeTree,
    most: usize,
    found: Vec<Leaf>,
}

impl<'a> Leaves<'a> {
    pub(super) fn new(types: &'a Types, tree: &'a DataTypeTree, most: usize) -> Leaves<'a> {
        Leaves { types, tree, most, found: Vec::new() }
    }

    /// All of them.
    pub(super) fn of(mut self, data_type: &NodeId, held: Option<&ExtensionObject>) -> Vec<Leaf> {
        self.below("", data_type, held, 0);
        self.found
    }

    fn below(&mut self, above: &str, data_type: &NodeId, held: Option<&ExtensionObject>, depth: usize) {
        let Some(kind) = self.tree.get_struct_type(data_type) else { return };
        let kind = Arc::clone(kind);
        for field in &kind.fields {
            if self.found.len() >= self.most {
                return;
            }
            let path = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
            let value = held.and_then(|held| self.types.field(held, &field.name));
            let is_structure = field.scalar_type == VariantScalarTypeId::ExtensionObject;
            let goes_on = is_structure && depth < DEEPEST && kind.is_supported();
            let scalar = Some(field.scalar_type).filter(|_| !is_structure && kind.is_supported());
            let items = match value.as_deref() {
                Some(Variant::Array(array)) => array.values.as_slice(),
                _ => &[],
            };
            let said = field.array_dimensions.as_deref().unwrap_or_default().first().copied();
            // Some servers state a length that is none; what is there counts.
            let count = if value.is_some() { u32::try_from(items.len()).ok() } else { said };
            let count = count.filter(|count| *count > 0);
            match (field.value_rank, count) {
                (rank, _) if rank < 0 && goes_on => {
                    self.below(&path, &field.type_id, object(value.as_deref()), depth + 1)
                }
                (rank, _) if rank < 0 => self.found.push(Leaf { path, scalar, items: None }),
                (ONE_DIMENSION, Some(count)) if goes_on => {
                    for item in (0..count).take(self.most) {
                        let held = usize::try_from(item).ok().and_then(|item| items.get(item));
                        self.below(&format!("{path}[{item}]"), &field.type_id, object(held), depth + 1);
                    }
                }
                (ONE_DIMENSION, Some(count)) => self.found.push(Leaf { path, scalar, items: Some(count) }),
                _ => self.found.push(Leaf { path, scalar: None, items: None }),
            }
        }
    }
}

/// The value rank of an array of one dimension.
const ONE_DIMENSION: i32 = 1;

/// A structure in a value.
fn object(value: Option<&Variant>) -> Option<&ExtensionObject> {
    match value? {
        Variant::ExtensionObject(object) => Some(object),
        Variant::Variant(inner) => object(Some(inner)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::{
        DataTypeDefinition, DataTypeId, NamespaceMap, StructureDefinition, StructureField,
        custom::{EncodingIds, ParentIds, TypeInfo},
    };

    use super::*;

    #[test]
    fn an_array_in_a_structure_is_as_long_as_its_type_says_where_no_value_does() {
        let (inner, outer) = (NodeId::new(2, "Inner"), NodeId::new(2, "Outer"));
        let field = |name: &str, data_type: &NodeId, items: Option<u32>, value_rank| StructureField {
            name: name.into(),
            data_type: data_type.clone(),
            value_rank,
            array_dimensions: items.map(|items| vec![items]),
            ..StructureField::default()
        };
        let double = NodeId::from(DataTypeId::Double);
        let types = [
            (inner.clone(), vec![field("x", &double, None, -1), field("row", &double, Some(4), 1)]),
            (
                outer.clone(),
                vec![
                    field("both", &inner, Some(2), 1),
                    field("open", &double, None, 1),
                    field("none", &double, Some(0), 1),
                    field("plane", &double, Some(3), 2),
                ],
            ),
        ];
        let mut parents = ParentIds::new();
        types.iter().for_each(|(id, _)| parents.add_type(id.clone(), NodeId::from(DataTypeId::Structure)));
        let mut tree = DataTypeTree::new(parents);
        for (id, fields) in types {
            let definition = StructureDefinition { fields: Some(fields), ..StructureDefinition::default() };
            let definition = DataTypeDefinition::Structure(definition);
            let ids = Some(EncodingIds::default());
            let info = TypeInfo::from_type_definition(definition, id.to_string(), ids, false, &id, tree.parent_ids());
            tree.add_type(id, info.unwrap());
        }
        let types = Types::new(NamespaceMap::new(), Arc::new(tree));
        let leaves = types.leaves(&outer, None, 100).unwrap();
        let found: Vec<_> = leaves.iter().map(|leaf| (leaf.path.as_str(), leaf.scalar.is_some(), leaf.items)).collect();
        let expected = [
            ("both[0].x", true, None),
            ("both[0].row", true, Some(4)),
            ("both[1].x", true, None),
            ("both[1].row", true, Some(4)),
            ("open", false, None),
            ("none", false, None),
            ("plane", false, None),
        ];
        assert_eq!(found, expected);
    }
}
