//! What a server offers, listed piece by piece: nodes level by level, then what is known of those with a value.

mod describe;
mod profile;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResult, ByteString, NodeClass, NodeClassMask, NodeId,
    ObjectId, ReferenceDescription, ReferenceTypeId, StatusCode, Variant, VariantScalarTypeId,
};
use tidegate_driver_api::{Browser, Cx, Listing, Lost, Node, NodeKind, async_trait};

use crate::{
    convert,
    fault::Fault,
    limit::in_parts,
    node::{Address, NodeName, Path},
    service::attribute,
    session::ServerSession,
    status,
    types::{Leaf, Types},
    writer::result_mask,
};

/// Nodes of one question, unless the server takes fewer.
const AT_ONCE: usize = 200;
/// References of one node in one answer; the rest is asked for.
const MOST_REFERENCES: u32 = 5000;
/// Nodes of one list: a server with more is listed in parts.
const MOST_NODES: usize = 500_000;
/// Levels below the start.
const DEEPEST: usize = 40;

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
    /// Of a structure: what is in it.
    fields: Option<Arc<[Leaf]>>,
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
    /// By data type that is made of nothing built in: what is known of it, should it be a structure.
    structures: HashMap<NodeId, Arc<Types>>,
    details: HashMap<String, Detail>,
}

#[async_trait]
impl Browser for ServerSession<'_> {
    fn begin(&mut self, start: Option<&str>) {
        let Browse { types, structures, .. } = std::mem::take(&mut self.browse);
        self.browse = Browse { start: Some(start.map(str::to_owned)), types, structures, ..Browse::default() };
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
        let server = Arc::clone(&self.server);
        let at_once = AT_ONCE.min(server.limits.browse.get());
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
            let questions: Vec<_> = open.iter().map(|open| below(&open.node)).collect();
            let channel = Arc::clone(&self.channel);
            let ask = |part| channel.browse(part, MOST_REFERENCES, cx.timeout());
            let results = self.within(cx, in_parts(&server.limits.browse, &questions, ask)).await?;
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
        let asked = open.len();
        for (open, result) in open.into_iter().zip(results) {
            if status::same(result.status_code, StatusCode::BadNoContinuationPoints) && asked > 1 {
                // The server keeps few of them; with fewer nodes at once each gets one.
                self.server.limits.browse.lower(asked);
                self.browse.open.push_back(open);
                continue;
            }
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
}

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
