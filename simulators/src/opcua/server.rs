//! The OPC UA server: its endpoints, its limits, and the node manager that answers for the plant.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use opcua::{
    crypto::SecurityPolicy,
    server::{
        ANONYMOUS_USER_TOKEN_ID, CreateMonitoredItem, Server, ServerBuilder, ServerEndpoint, ServerHandle,
        ServerUserToken, SubscriptionCache,
        address_space::AddressSpace,
        diagnostics::NamespaceMetadata,
        node_manager::{
            ParsedReadValueId, RequestContext, ServerContext, WriteNode,
            memory::{InMemoryNodeManager, InMemoryNodeManagerBuilder, InMemoryNodeManagerImpl},
        },
    },
    sync::RwLock,
    types::{
        AttributeId, DataValue, MessageSecurityMode, NodeClass, NodeId, NumericRange, StatusCode, TimestampsToReturn,
    },
};

use tidegate_driver_opcua::Namespace;

use super::{
    options::OpcuaOptions,
    place,
    plant::Plant,
    space::{self, OWN_NAMESPACE},
};

/// What answers for the nodes of the plant.
pub(crate) type PlantManager = InMemoryNodeManager<PlantNodes>;

/// The name of the only user in the library's own list.
const USER: &str = "user";

/// The nodes of the plant.
pub(crate) struct PlantNodes {
    plant: Arc<Plant>,
    nodes: HashMap<NodeId, usize>,
    namespaces: Vec<NamespaceMetadata>,
}

/// A server that is not running yet, and its handle. `host` and `port` are what it says of itself.
pub(crate) fn build(
    options: &OpcuaOptions,
    plant: &Arc<Plant>,
    host: &str,
    port: u16,
) -> Result<(Server, ServerHandle), String> {
    let mut builder = ServerBuilder::new()
        .application_name("Tidegate simulator")
        .application_uri("urn:tidegate:simulator:application")
        .product_uri("urn:tidegate:simulator:product")
        .host(host)
        .port(port)
        .discovery_urls(vec![format!("opc.tcp://{host}:{port}/")])
        .max_array_length(1_000_000)
        .max_sessions(100)
        .max_message_size(64 << 20)
        .max_chunk_count(0)
        .diagnostics_enabled(false)
        .with_node_manager(manager(options, plant));
    let limits = builder.limits_mut();
    limits.operational.max_monitored_items_per_call = 10_000;
    limits.subscriptions.max_monitored_items_per_sub = 0;
    limits.subscriptions.max_subscriptions_per_session = if options.no_subscriptions { 0 } else { 100 };
    limits.subscriptions.max_queued_notifications = 100;
    limits.subscriptions.max_publish_requests_per_subscription = 20;
    limits.subscriptions.max_pending_publish_requests = 200;
    limits.subscriptions.min_publishing_interval_ms = 50.0;
    limits.subscriptions.min_sampling_interval_ms = 10.0;
    builder = builder.subscription_poll_interval_ms(50);
    let users = match &options.user {
        None => vec![ANONYMOUS_USER_TOKEN_ID.to_owned()],
        Some((name, password)) => {
            let token =
                ServerUserToken { user: name.clone(), pass: Some(password.clone()), ..ServerUserToken::default() };
            builder = builder.add_user_token(USER, token);
            vec![USER.to_owned()]
        }
    };
    builder = builder.add_endpoint("none", ServerEndpoint::new_none("/", &users));
    if let Some(folder) = &options.security {
        builder = secure(builder, folder, &users);
    }
    builder.build()
}

/// All policies with both modes, for any client.
fn secure(builder: ServerBuilder, folder: &Path, users: &[String]) -> ServerBuilder {
    let policies = [
        ("basic256sha256", SecurityPolicy::Basic256Sha256),
        ("aes128", SecurityPolicy::Aes128Sha256RsaOaep),
        ("aes256", SecurityPolicy::Aes256Sha256RsaPss),
    ];
    let modes = [("sign", MessageSecurityMode::Sign), ("encrypt", MessageSecurityMode::SignAndEncrypt)];
    let mut builder = builder
        .pki_dir(folder)
        .certificate_path("own/cert.der")
        .private_key_path("private/private.pem")
        .create_sample_keypair(true)
        .trust_client_certs(true);
    for (name, policy) in policies {
        for (way, mode) in modes {
            builder = builder.add_endpoint(format!("{name}_{way}"), ServerEndpoint::new("/", policy, mode, users));
        }
    }
    builder
}

/// The node manager, made when the server is built.
fn manager(
    options: &OpcuaOptions,
    plant: &Arc<Plant>,
) -> InMemoryNodeManagerBuilder<impl FnOnce(ServerContext, &mut AddressSpace) -> PlantNodes + use<>> {
    let plant = Arc::clone(plant);
    let model = options.profile.model.clone();
    InMemoryNodeManagerBuilder::new(move |context: ServerContext, space: &mut AddressSpace| {
        let mut wanted: Vec<Namespace> =
            plant.points.iter().flat_map(|point| place::namespaces(&point.place)).cloned().collect();
        wanted.sort_by_key(ToString::to_string);
        wanted.dedup();
        let mut namespaces = vec![];
        let mut indexes = HashMap::new();
        let mut add = |uri: &str| {
            let index = context.type_tree.write().namespaces_mut().add_namespace(uri);
            space.add_namespace(uri, index);
            let namespace_uri = uri.to_owned();
            namespaces.push(NamespaceMetadata {
                namespace_uri,
                namespace_index: index,
                ..NamespaceMetadata::default()
            });
            index
        };
        // Namespaces that a profile names by their index have no name of their own: the first ones after the server's are theirs.
        let highest = wanted.iter().filter_map(|namespace| match namespace {
            Namespace::Index(index) => Some(*index),
            Namespace::Uri(_) => None,
        });
        for index in 2..=highest.max().unwrap_or(0).min(100) {
            let made = add(&format!("{OWN_NAMESPACE}:{index}"));
            indexes.insert(Namespace::Index(index), made);
        }
        for namespace in &wanted {
            if let Namespace::Uri(uri) = namespace {
                let made = add(uri);
                indexes.insert(namespace.clone(), made);
            }
        }
        let own = add(OWN_NAMESPACE);
        let nodes = space::build(&plant, &model, &indexes, own, space);
        PlantNodes { plant, nodes, namespaces }
    })
}

impl PlantNodes {
    /// Tells the clients that these points have another value.
    pub(crate) fn notify(&self, subscriptions: &SubscriptionCache, which: impl Fn(usize) -> bool) {
        let moment = self.plant.moment();
        let mut notifier = subscriptions.data_notifier();
        for (node, index) in &self.nodes {
            if which(*index)
                && let Some(mut items) = notifier.notify_for(node, AttributeId::Value)
            {
                items.data_value(self.plant.value(*index, moment));
            }
        }
    }
}

#[async_trait]
impl InMemoryNodeManagerImpl for PlantNodes {
    async fn init(&self, _space: &mut AddressSpace, _context: ServerContext) {}

    fn name(&self) -> &str {
        "plant"
    }

    fn namespaces(&self) -> Vec<NamespaceMetadata> {
        self.namespaces.clone()
    }

    async fn read_values(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        nodes: &[&ParsedReadValueId],
        max_age: f64,
        timestamps: TimestampsToReturn,
    ) -> Vec<DataValue> {
        let (space, moment) = (space.read(), self.plant.moment());
        let read = |node: &&ParsedReadValueId| {
            let Some(index) = self.nodes.get(&node.node_id) else {
                return space.read(context, node, max_age, timestamps);
            };
            match space.validate_node_read(context, node) {
                Ok(_) => in_range(self.plant.value(*index, moment), &node.index_range),
                Err(status) => DataValue { status: Some(status), ..DataValue::null() },
            }
        };
        nodes.iter().map(read).collect()
    }

    async fn create_value_monitored_items(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        items: &mut [&mut &mut CreateMonitoredItem],
    ) {
        let refused = self.plant.faults.borrow().no_items(self.plant.clock.now());
        let nodes: Vec<&ParsedReadValueId> = items.iter().map(|item| item.item_to_monitor()).collect();
        let values = self.read_values(context, space, &nodes, 0.0, TimestampsToReturn::Both).await;
        for (value, item) in values.into_iter().zip(items.iter_mut()) {
            if refused {
                item.set_status(StatusCode::BadTooManyMonitoredItems);
                continue;
            }
            item.set_initial_value(value);
            item.set_status(StatusCode::Good);
        }
    }

    async fn write(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        nodes: &mut [&mut WriteNode],
    ) -> Result<(), StatusCode> {
        let mut written = BTreeSet::new();
        {
            let mut space = space.write();
            let type_tree = context.type_tree.read();
            for node in nodes {
                let status = match space.validate_node_write(context, node.value(), &*type_tree) {
                    Err(status) => status,
                    Ok(found) if found.node_class() != NodeClass::Variable => StatusCode::BadNotWritable,
                    Ok(_) => self.take(node, &mut written),
                };
                node.set_status(status);
            }
        }
        self.notify(&context.subscriptions, |index| written.contains(&index));
        Ok(())
    }
}

impl PlantNodes {
    /// Takes what a client writes.
    fn take(&self, node: &WriteNode, written: &mut BTreeSet<usize>) -> StatusCode {
        let value = node.value();
        if value.attribute_id != AttributeId::Value || value.index_range != NumericRange::None {
            return StatusCode::BadWriteNotSupported;
        }
        match (self.nodes.get(&value.node_id), &value.value.value) {
            (Some(index), Some(new)) => {
                self.plant.hold(*index, new.clone());
                written.insert(*index);
                StatusCode::Good
            }
            (None, _) => StatusCode::BadNotWritable,
            (_, None) => StatusCode::BadNothingToDo,
        }
    }
}

/// The part of an array that was asked for.
fn in_range(value: DataValue, range: &NumericRange) -> DataValue {
    match (&value.value, range) {
        (_, NumericRange::None) | (None, _) => value,
        (Some(whole), range) => match whole.range_of(range) {
            Ok(part) => DataValue { value: Some(part), ..value },
            Err(status) => DataValue { value: None, status: Some(status), ..value },
        },
    }
}
