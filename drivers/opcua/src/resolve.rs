//! What a session finds out before it begins: the server's namespaces and limits, and where the tags are.

use std::time::Duration;

use opcua::types::{
    AttributeId, BrowsePath, DataValue, NamespaceMap, NodeId, ObjectId, QualifiedName, ReadValueId, ReferenceTypeId,
    RelativePath, RelativePathElement, VariableId, Variant,
};

use crate::{
    channel::Channel,
    fault::Fault,
    limit::{Limit, in_parts},
    node::{Address, Path, Step},
    plan::Place,
    service::attribute,
};

/// Entries of one request, unless the server takes fewer.
const AT_ONCE: usize = 1000;
/// No server has more namespaces; their number has 16 bits.
const MOST_NAMESPACES: usize = 65_536;

/// How much the server takes in one request (Part 5 §6.3.11).
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) read: Limit,
    pub(crate) browse: Limit,
    pub(crate) translate: Limit,
    pub(crate) monitor: Limit,
    pub(crate) history: Limit,
}

/// What is known of the server.
#[derive(Debug)]
pub(crate) struct Server {
    /// The URIs of its namespaces, by their numbers.
    pub(crate) uris: Vec<String>,
    /// When it began to run, as it counts time: after that its numbers of subscriptions are others'.
    pub(crate) started: Option<i64>,
    /// What time it was there when it was asked.
    pub(crate) now: Option<i64>,
    pub(crate) limits: Limits,
}

const ASKED: [VariableId; 8] = [
    VariableId::Server_NamespaceArray,
    VariableId::Server_ServerStatus_StartTime,
    VariableId::Server_ServerStatus_CurrentTime,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
];

impl Server {
    /// Asks the server for what it is.
    pub(crate) async fn ask(channel: &Channel, timeout: Duration) -> Result<Server, Fault> {
        let nodes: Vec<ReadValueId> =
            ASKED.into_iter().map(|id| attribute(&NodeId::from(id), AttributeId::Value)).collect();
        let answers = channel.read(nodes, timeout).await?;
        let [uris, started, now, read, browse, translate, monitor, history] = answers.as_slice() else {
            return Err(Fault::Malformed("a read of eight values brought another number".to_owned()));
        };
        let limits = Limits {
            read: limit(read),
            browse: limit(browse),
            translate: limit(translate),
            monitor: limit(monitor),
            history: limit(history),
        };
        Ok(Server { uris: texts(uris), started: ticks(started), now: ticks(now), limits })
    }

    /// Whether it is the same run of the same server, so that its numbers mean what they did.
    pub(crate) fn is_still(&self, later: &Server) -> bool {
        self.uris == later.uris && self.started == later.started
    }

    /// The namespaces as the library wants them.
    pub(crate) fn namespaces(&self) -> NamespaceMap {
        let numbered = self.uris.iter().zip(0_u16..).map(|(uri, index)| (uri.clone(), index));
        NamespaceMap::new_full(numbered.collect())
    }

    /// Finds nodes; of relative ways from where their device begins.
    pub(crate) async fn find(
        &self,
        channel: &Channel,
        wanted: &[(&Address, Option<&Address>)],
        timeout: Duration,
    ) -> Result<Vec<Place>, Fault> {
        let mut places: Vec<Place> = vec![None; wanted.len()];
        let mut ways: Vec<(usize, BrowsePath)> = Vec::new();
        for (index, ((address, root), place)) in wanted.iter().zip(&mut places).enumerate() {
            match address {
                Address::Node(node) => *place = node.resolve(&self.uris),
                Address::Path(path) => ways.extend(self.way(path, *root).map(|way| (index, way))),
            }
        }
        let (indices, ways): (Vec<usize>, Vec<BrowsePath>) = ways.into_iter().unzip();
        let ask = |part| channel.translate(part, timeout);
        let answers = in_parts(&self.limits.translate, &ways, ask).await?;
        for (index, answer) in indices.into_iter().zip(answers) {
            let found = answer.targets.unwrap_or_default().into_iter();
            // What remains of a way leads to another server.
            let mut here = found.filter(|target| target.remaining_path_index == u32::MAX);
            if let Some(place) = places.get_mut(index) {
                *place = here.next().map(|target| target.target_id.node_id);
            }
        }
        Ok(places)
    }

    /// The same as [`Server::find`], of what was not found before. A server whose namespaces are others by now is another one: all
    /// that is known of it has to be found out again.
    pub(crate) async fn find_again(
        &self,
        channel: &Channel,
        wanted: &[(&Address, Option<&Address>)],
        timeout: Duration,
    ) -> Result<Vec<Place>, Fault> {
        let asked = vec![attribute(&NodeId::from(VariableId::Server_NamespaceArray), AttributeId::Value)];
        let answers = channel.read(asked, timeout).await?;
        if answers.first().is_some_and(|uris| uris.value.is_some() && texts(uris) != self.uris) {
            return Err(Fault::Closed("the server has other namespaces than before".to_owned()));
        }
        self.find(channel, wanted, timeout).await
    }

    /// The question for a way; `None` when a namespace of it is not there.
    fn way(&self, path: &Path, root: Option<&Address>) -> Option<BrowsePath> {
        let (start, before): (NodeId, &[Step]) = match (path.absolute, root) {
            (true, _) => (NodeId::from(ObjectId::RootFolder), &[]),
            (false, Some(Address::Path(root))) => (NodeId::from(ObjectId::RootFolder), &root.steps),
            (false, Some(Address::Node(root))) => (root.resolve(&self.uris)?, &[]),
            (false, None) => (NodeId::from(ObjectId::ObjectsFolder), &[]),
        };
        let element = |step: &Step| {
            Some(RelativePathElement {
                reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
                is_inverse: false,
                include_subtypes: true,
                target_name: QualifiedName::new(step.namespace.place(&self.uris)?, step.name.as_str()),
            })
        };
        let elements: Option<Vec<_>> = before.iter().chain(&path.steps).map(element).collect();
        Some(BrowsePath { starting_node: start, relative_path: RelativePath { elements: Some(elements?) } })
    }
}

/// A limit that the server states; 0 and nothing mean that there is none.
fn limit(value: &DataValue) -> Limit {
    let stated = match value.value {
        Some(Variant::UInt32(limit)) => usize::try_from(limit).unwrap_or(AT_ONCE),
        _ => 0,
    };
    Limit::new(if stated == 0 { AT_ONCE } else { stated.min(AT_ONCE) })
}

fn ticks(value: &DataValue) -> Option<i64> {
    if let Some(Variant::DateTime(time)) = &value.value { Some(time.ticks()) } else { None }
}

fn texts(value: &DataValue) -> Vec<String> {
    let Some(Variant::Array(array)) = &value.value else { return Vec::new() };
    let text = |value: &Variant| match value {
        Variant::String(text) => text.as_ref().to_owned(),
        _ => String::new(),
    };
    array.values.iter().take(MOST_NAMESPACES).map(text).collect()
}
