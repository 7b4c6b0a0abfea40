//! What is known of nodes that have a value or can be called.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use opcua::types::{AttributeId, EUInformation, ExtensionObject, NodeId, Range, Variant, VariantScalarTypeId};
use tidegate_driver_api::{Cx, Node, NodeKind, config::Access};

use super::{AT_ONCE, Detail, Found, MOST_REFERENCES, properties};
use crate::{
    convert,
    fault::Fault,
    limit::in_parts,
    node::NodeName,
    service::attribute,
    session::ServerSession,
    types::{self, Leaf},
    writer::scalar,
};

/// Fields of one structure.
const MOST_FIELDS: usize = 500;
/// Data types that are remembered.
const MOST_TYPES: usize = 10_000;

impl ServerSession<'_> {
    /// Asks what is known of nodes that have a value or can be called.
    pub(super) async fn describe(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        let at_once = AT_ONCE.min(server.limits.browse.get()).min((server.limits.read.get() / ATTRIBUTES.len()).max(1));
        let count = self.browse.found.len().min(at_once);
        // They stay on the list until all is known, so that nothing is lost when this is dropped.
        let batch: Vec<Found> = self.browse.found.iter().take(count).cloned().collect();
        if batch.is_empty() {
            return Ok(());
        }
        let channel = Arc::clone(&self.channel);
        let read = |part| channel.read(part, cx.timeout());
        let browse = |part| channel.browse(part, MOST_REFERENCES, cx.timeout());
        let asked = batch.iter().flat_map(|found| ATTRIBUTES.map(|asked| attribute(&found.node, asked)));
        let asked: Vec<_> = asked.collect();
        let answers = self.within(cx, in_parts(&server.limits.read, &asked, read)).await?;
        let questions: Vec<_> = batch.iter().map(|found| properties(&found.node)).collect();
        let properties = self.within(cx, in_parts(&server.limits.browse, &questions, browse)).await?;
        let mut wanted: Vec<(usize, String, NodeId)> = Vec::new();
        for (place, result) in properties.into_iter().enumerate() {
            for property in result.references.unwrap_or_default() {
                let name = property.browse_name.name.as_ref().to_owned();
                if PROPERTIES.contains(&name.as_str()) {
                    wanted.push((place, name, property.node_id.node_id));
                }
            }
        }
        let mut known: Vec<HashMap<String, Variant>> = vec![HashMap::new(); batch.len()];
        let asked: Vec<_> = wanted.iter().map(|(_, _, node)| attribute(node, AttributeId::Value)).collect();
        let values = self.within(cx, in_parts(&server.limits.read, &asked, read)).await?;
        for ((place, name, _), value) in wanted.into_iter().zip(values) {
            if let (Some(known), Some(value)) = (known.get_mut(place), value.value) {
                known.insert(name, value);
            }
        }
        for ((one, attributes), known) in batch.iter().zip(answers.chunks(ATTRIBUTES.len())).zip(known) {
            let values: Vec<Option<&Variant>> = attributes.iter().map(|answer| answer.value.as_ref()).collect();
            self.described(cx, one, &values, &known, found).await?;
        }
        self.browse.found.drain(..count);
        Ok(())
    }

    async fn described(
        &mut self,
        cx: &Cx,
        one: &Found,
        attributes: &[Option<&Variant>],
        known: &HashMap<String, Variant>,
        found: &mut Vec<Node>,
    ) -> Result<(), Fault> {
        let id = NodeName::of(&one.node, &self.server.uris).to_string();
        let text = |place: usize| match attributes.get(place) {
            Some(Some(Variant::LocalizedText(text))) => Some(convert::localized(text)).filter(|text| !text.is_empty()),
            _ => None,
        };
        let data_type = match attributes.get(1) {
            Some(Some(Variant::NodeId(data_type))) => Some((**data_type).clone()),
            _ => None,
        };
        let scalar = match &data_type {
            Some(data_type) if one.kind == NodeKind::Tag => self.made_of(cx, data_type).await?,
            _ => None,
        };
        let rank = if let Some(Some(Variant::Int32(rank))) = attributes.get(2) { *rank } else { -1 };
        let dimension = match attributes.get(3) {
            Some(Some(Variant::Array(dimensions))) => match dimensions.values.first() {
                Some(Variant::UInt32(items)) if *items > 0 => Some(*items),
                _ => None,
            },
            _ => None,
        };
        let held = match attributes.get(5) {
            Some(Some(Variant::Array(array))) => u32::try_from(array.values.len()).ok().filter(|items| *items > 0),
            _ => None,
        };
        let items = if rank >= 0 || held.is_some() { dimension.or(held) } else { None };
        let access = match attributes.get(4) {
            Some(Some(Variant::Byte(level))) => access(*level),
            _ => None,
        };
        let fields = match &data_type {
            Some(data_type) if one.kind == NodeKind::Tag && scalar.is_none() && rank < 0 && held.is_none() => {
                let held = match attributes.get(5) {
                    Some(Some(Variant::ExtensionObject(object))) => Some(object),
                    _ => None,
                };
                self.fields(cx, data_type, held).await?
            }
            _ => None,
        };
        let detail = Detail {
            fields,
            scalar,
            items: items.filter(|_| one.kind == NodeKind::Tag),
            texts: texts(known),
            object: (one.kind == NodeKind::Method).then(|| NodeName::of(&one.above, &self.server.uris).to_string()),
        };
        let value_type = match (one.kind, scalar, &data_type) {
            (NodeKind::Method, ..) => Some(arguments(known)),
            (_, Some(scalar), _) => Some(match (items, rank >= 0) {
                (Some(items), _) => format!("{scalar}[{items}]"),
                (None, true) => format!("{scalar}[]"),
                (None, false) => scalar.to_string(),
            }),
            (_, None, Some(data_type)) => Some(NodeName::of(data_type, &self.server.uris).to_string()),
            (_, None, None) => None,
        };
        found.push(Node {
            id: id.clone(),
            path: one.path.clone(),
            kind: one.kind,
            value_type,
            unit: unit(known),
            range: range(known),
            description: text(0),
            access: if one.kind == NodeKind::Method { Some(Access::Write) } else { access },
        });
        self.browse.details.insert(id, detail);
        Ok(())
    }

    /// What is in a structure that is like that now; its type is asked for once.
    async fn fields(
        &mut self,
        cx: &Cx,
        data_type: &NodeId,
        held: Option<&ExtensionObject>,
    ) -> Result<Option<Arc<[Leaf]>>, Fault> {
        let known = self.browse.structures.get(data_type).cloned();
        let types = match known {
            Some(known) => known,
            None => {
                let (server, channel) = (Arc::clone(&self.server), Arc::clone(&self.channel));
                let wanted = VecDeque::from([data_type.clone()]);
                Arc::new(self.within(cx, types::learn_of(&server, &channel, wanted, cx.timeout())).await?)
            }
        };
        let fields = types.leaves(data_type, held, MOST_FIELDS).map(Arc::from);
        if self.browse.structures.len() < MOST_TYPES {
            self.browse.structures.insert(data_type.clone(), types);
        }
        Ok(fields)
    }

    /// What a data type is made of; asked for once.
    async fn made_of(&mut self, cx: &Cx, data_type: &NodeId) -> Result<Option<VariantScalarTypeId>, Fault> {
        if let Some(scalar) = scalar(data_type) {
            return Ok(Some(scalar));
        }
        if let Some(known) = self.browse.types.get(data_type) {
            return Ok(*known);
        }
        let made_of = self.built_in(cx, data_type).await?;
        if self.browse.types.len() < MOST_TYPES {
            self.browse.types.insert(data_type.clone(), made_of);
        }
        Ok(made_of)
    }
}

/// What is asked of every node, in this order.
const ATTRIBUTES: [AttributeId; 6] = [
    AttributeId::Description,
    AttributeId::DataType,
    AttributeId::ValueRank,
    AttributeId::ArrayDimensions,
    AttributeId::UserAccessLevel,
    AttributeId::Value,
];
/// Properties that say something for a profile.
const PROPERTIES: [&str; 5] = ["EngineeringUnits", "EURange", "EnumStrings", "EnumValues", "InputArguments"];

/// Who may do what, by the bits of the access level (Part 3 §8.57).
fn access(level: u8) -> Option<Access> {
    match level & 3 {
        1 => Some(Access::Read),
        2 => Some(Access::Write),
        3 => Some(Access::ReadWrite),
        _ => None,
    }
}

fn unit(known: &HashMap<String, Variant>) -> Option<String> {
    let Some(Variant::ExtensionObject(object)) = known.get("EngineeringUnits") else { return None };
    let unit = convert::localized(&object.inner_as::<EUInformation>()?.display_name);
    (!unit.is_empty()).then_some(unit)
}

fn range(known: &HashMap<String, Variant>) -> Option<(f64, f64)> {
    let Some(Variant::ExtensionObject(object)) = known.get("EURange") else { return None };
    let Range { low, high } = object.inner_as::<Range>()?;
    (low.is_finite() && high.is_finite() && low < high).then_some((*low, *high))
}

/// The texts of an enumeration.
fn texts(known: &HashMap<String, Variant>) -> Vec<(i64, String)> {
    if let Some(Variant::Array(strings)) = known.get("EnumStrings") {
        let text = |value: &Variant| match value {
            Variant::LocalizedText(text) => convert::localized(text),
            _ => String::new(),
        };
        return (0..).zip(strings.values.iter().map(text)).filter(|(_, text)| !text.is_empty()).collect();
    }
    let Some(Variant::Array(values)) = known.get("EnumValues") else { return Vec::new() };
    let value = |value: &Variant| {
        let Variant::ExtensionObject(object) = value else { return None };
        let value = object.inner_as::<opcua::types::EnumValueType>()?;
        Some((value.value, convert::localized(&value.display_name)))
    };
    values.values.iter().filter_map(value).collect()
}

/// The arguments of a method, for a person.
fn arguments(known: &HashMap<String, Variant>) -> String {
    let Some(Variant::Array(arguments)) = known.get("InputArguments") else { return "()".to_owned() };
    let argument = |value: &Variant| {
        let Variant::ExtensionObject(object) = value else { return None };
        let argument = object.inner_as::<opcua::types::Argument>()?;
        let kind = scalar(&argument.data_type).map_or_else(|| argument.data_type.to_string(), |kind| kind.to_string());
        Some(format!("{}: {kind}", argument.name.as_ref()))
    };
    let arguments: Vec<String> = arguments.values.iter().filter_map(argument).collect();
    format!("({})", arguments.join(", "))
}
