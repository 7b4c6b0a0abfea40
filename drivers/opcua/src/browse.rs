//! What a server offers, listed piece by piece: nodes level by level, then what is known of those with a value.

mod profile;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResult, ByteString, EUInformation, NodeClass, NodeClassMask,
    NodeId, ObjectId, Range, ReferenceDescription, ReferenceTypeId, Variant, VariantScalarTypeId,
};
use tidegate_driver_api::{Browser, Cx, Listing, Lost, Node, NodeKind, async_trait, config::Access};

use crate::{
    convert,
    fault::Fault,
    node::{Address, NodeName, Path},
    service::attribute,
    session::ServerSession,
    writer::{result_mask, scalar},
};

/// Nodes of one question, unless the server takes fewer.
const AT_ONCE: usize = 200;
/// References of one node in one answer; the rest is asked for.
const MOST_REFERENCES: u32 = 5000;
/// Nodes of one list: a server with more is listed in parts.
const MOST_NODES: usize = 500_000;
/// Levels below the start.
const DEEPEST: usize = 40;
/// Type of a data type that a node may have, asked for once.
const MOST_TYPES: usize = 10_000;

/// A node whose references have not been looked at.
#[derive(Debug, Clone)]
struct Open {
    node: NodeId,
    path: String,
    level: usize,
}

/// A node that has been found and of which more is asked.
#[derive(Debug, Clone)]
struct Found {
    node: NodeId,
    path: String,
    kind: NodeKind,
    /// The object that a method is called on.
    above: NodeId,
}

/// What a list keeps of a node for the profile.
#[derive(Debug, Clone)]
struct Detail {
    scalar: Option<VariantScalarTypeId>,
    items: Option<u32>,
    texts: Vec<(i64, String)>,
    /// The object that a method is called on.
    object: Option<String>,
}

/// A list that is being made.
#[derive(Default)]
pub(crate) struct Browse {
    start: Option<Option<String>>,
    open: VecDeque<Open>,
    points: VecDeque<(Open, ByteString)>,
    found: VecDeque<Found>,
    seen: HashSet<NodeId>,
    /// By data type: what it is made of.
    types: HashMap<NodeId, Option<VariantScalarTypeId>>,
    details: HashMap<String, Detail>,
}

#[async_trait]
impl Browser for ServerSession<'_> {
    fn begin(&mut self, start: Option<&str>) {
        let types = std::mem::take(&mut self.browse.types);
        self.browse = Browse { start: Some(start.map(str::to_owned)), types, ..Browse::default() };
    }

    async fn list(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Lost> {
        match self.piece(cx, found).await {
            Ok(listing) => Ok(listing),
            Err(Fault::Refused(status)) => Ok(Listing::Refused(format!("the server refused it ({status})"))),
            Err(fault) => Err(self.lose(fault, "a browse")),
        }
    }

    fn profile(&self, chosen: &[Node]) -> Result<String, String> {
        profile::text(chosen, &self.browse)
    }
}

impl ServerSession<'_> {
    async fn piece(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Fault> {
        if let Some(start) = self.browse.start.take() {
            let Some((node, path)) = self.first(cx, start.as_deref()).await? else {
                return Ok(Listing::Refused(format!("the server has no node {}", start.unwrap_or_default())));
            };
            self.browse.seen.insert(node.clone());
            self.browse.open.push_back(Open { node, path, level: 0 });
            return Ok(Listing::More(1));
        }
        let at_once = AT_ONCE.min(self.server.limits.browse);
        if !self.browse.points.is_empty() {
            let count = self.browse.points.len().min(at_once);
            let (open, points): (Vec<Open>, Vec<ByteString>) = self.browse.points.drain(..count).unzip();
            let channel = Arc::clone(&self.channel);
            let results = self.within(cx, channel.browse_next(points, false, cx.timeout())).await?;
            self.referred(open, results, found);
        } else if self.browse.found.len() >= at_once || self.browse.open.is_empty() {
            self.describe(cx, found).await?;
        } else {
            let count = self.browse.open.len().min(at_once);
            let open: Vec<Open> = self.browse.open.drain(..count).collect();
            let questions = open.iter().map(|open| below(&open.node)).collect();
            let channel = Arc::clone(&self.channel);
            let results = self.within(cx, channel.browse(questions, MOST_REFERENCES, cx.timeout())).await?;
            self.referred(open, results, found);
        }
        let Browse { open, points, found: waiting, .. } = &self.browse;
        let left = open.len() + points.len() + waiting.len();
        Ok(if left == 0 { Listing::Complete } else { Listing::More(left) })
    }

    /// Where the list begins.
    async fn first(&mut self, cx: &Cx, start: Option<&str>) -> Result<Option<(NodeId, String)>, Fault> {
        let Some(start) = start else {
            return Ok(Some((NodeId::from(ObjectId::ObjectsFolder), "Objects".to_owned())));
        };
        let address = match start.starts_with('/') {
            true => Path::parse(start).map(Address::Path),
            false => NodeName::parse(start).map(Address::Node),
        };
        let Ok(address) = address else { return Ok(None) };
        let (server, channel) = (Arc::clone(&self.server), Arc::clone(&self.channel));
        let places = self.within(cx, server.find(&channel, &[(&address, None)], cx.timeout())).await?;
        let Some(node) = places.into_iter().next().flatten() else { return Ok(None) };
        let asked = vec![attribute(&node, AttributeId::DisplayName)];
        let answers = self.within(cx, channel.read(asked, cx.timeout())).await?;
        Ok(match answers.into_iter().next().and_then(|answer| answer.value) {
            Some(Variant::LocalizedText(name)) => Some((node, convert::localized(&name))),
            _ => None,
        })
    }

    /// Takes what nodes refer to.
    fn referred(&mut self, open: Vec<Open>, results: Vec<BrowseResult>, found: &mut Vec<Node>) {
        for (open, result) in open.into_iter().zip(results) {
            for reference in result.references.unwrap_or_default() {
                self.refer(&open, reference, found);
            }
            if !result.continuation_point.is_null_or_empty() {
                self.browse.points.push_back((open, result.continuation_point));
            }
        }
    }

    fn refer(&mut self, above: &Open, reference: ReferenceDescription, found: &mut Vec<Node>) {
        let node = reference.node_id.node_id;
        let is_property = reference.reference_type_id == ReferenceTypeId::HasProperty;
        let elsewhere = reference.node_id.server_index != 0;
        // What OPC UA says of every server is not what this one is for.
        let own = node == ObjectId::Server;
        if elsewhere || own || is_property || self.browse.seen.len() >= MOST_NODES {
            return;
        }
        if !self.browse.seen.insert(node.clone()) {
            return;
        }
        let name = convert::localized(&reference.display_name);
        let name = if name.is_empty() { reference.browse_name.name.as_ref().to_owned() } else { name };
        let path = format!("{}/{}", above.path, name.replace('/', "_"));
        let kind = match reference.node_class {
            NodeClass::Variable => NodeKind::Tag,
            NodeClass::Method => NodeKind::Method,
            _ => NodeKind::Folder,
        };
        if kind != NodeKind::Method && above.level < DEEPEST {
            self.browse.open.push_back(Open { node: node.clone(), path: path.clone(), level: above.level + 1 });
        }
        match kind {
            NodeKind::Folder => found.push(Node {
                id: NodeName::of(&node, &self.server.uris).to_string(),
                path,
                kind,
                value_type: None,
                unit: None,
                range: None,
                description: None,
                access: None,
            }),
            kind => self.browse.found.push_back(Found { node, path, kind, above: above.node.clone() }),
        }
    }

    /// Asks what is known of nodes that have a value or can be called.
    async fn describe(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<(), Fault> {
        let at_once = AT_ONCE.min(self.server.limits.browse).min((self.server.limits.read / ATTRIBUTES.len()).max(1));
        let count = self.browse.found.len().min(at_once);
        // They stay on the list until all is known, so that nothing is lost when this is dropped.
        let batch: Vec<Found> = self.browse.found.iter().take(count).cloned().collect();
        if batch.is_empty() {
            return Ok(());
        }
        let channel = Arc::clone(&self.channel);
        let asked = batch.iter().flat_map(|found| ATTRIBUTES.map(|asked| attribute(&found.node, asked))).collect();
        let answers = self.within(cx, channel.read(asked, cx.timeout())).await?;
        let questions = batch.iter().map(|found| properties(&found.node)).collect();
        let properties = self.within(cx, channel.browse(questions, MOST_REFERENCES, cx.timeout())).await?;
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
        for chunk in wanted.chunks(self.server.limits.read) {
            let asked = chunk.iter().map(|(_, _, node)| attribute(node, AttributeId::Value)).collect();
            let values = self.within(cx, channel.read(asked, cx.timeout())).await?;
            for ((place, name, _), value) in chunk.iter().zip(values) {
                if let (Some(known), Some(value)) = (known.get_mut(*place), value.value) {
                    known.insert(name.clone(), value);
                }
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
        let detail = Detail {
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

/// The question for everything below a node.
fn below(node: &NodeId) -> BrowseDescription {
    question(node, ReferenceTypeId::HierarchicalReferences)
}

fn properties(node: &NodeId) -> BrowseDescription {
    question(node, ReferenceTypeId::HasProperty)
}

fn question(node: &NodeId, kind: ReferenceTypeId) -> BrowseDescription {
    let classes = NodeClassMask::OBJECT | NodeClassMask::VARIABLE | NodeClassMask::METHOD;
    BrowseDescription {
        node_id: node.clone(),
        browse_direction: BrowseDirection::Forward,
        reference_type_id: kind.into(),
        include_subtypes: true,
        node_class_mask: classes.bits(),
        result_mask: result_mask(),
    }
}

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
