//! A small plant in a server of the library, a way to it that can be cut or frozen, and a session of the driver.

#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod known;
pub(crate) mod meddler;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use known::{ALL, Known, about_a_second, begun, connected, listed, lost, moves, number, poll};
use opcua::{
    nodes::{BaseEventType, Event},
    server::{
        ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint, ServerHandle, ServerUserToken,
        address_space::VariableBuilder,
        diagnostics::NamespaceMetadata,
        node_manager::memory::{SimpleNodeManager, simple_node_manager},
    },
    types::{
        DataTypeId, DataValue, DateTime, NodeId, ObjectId, ObjectTypeId, QualifiedName, StatusCode, Variant, WriteMask,
    },
};
use tidegate_driver_api::{
    Compiled, Driver,
    config::{self, Profiles, load},
};
use tidegate_driver_opcua::OpcUa;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

/// The namespace of the plant.
pub(crate) const NAMESPACE: &str = "urn:plant";
/// From one value to the next, as OPC UA counts it: 30 ms, more than an item is sampled.
const APART: i64 = 300_000;
/// The time within which a server that works has done anything.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

/// A server with a plant.
pub(crate) struct Plant {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    manager: Arc<SimpleNodeManager>,
    namespace: u16,
}

impl Plant {
    /// A plant with so many numbers `T0`, `T1`, … and some other values.
    pub(crate) async fn start(numbers: usize) -> Plant {
        Plant::start_with(numbers, |builder| builder).await
    }

    /// The same with a server made to order.
    pub(crate) async fn start_with(numbers: usize, order: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Plant {
        Plant::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), numbers, order)
    }

    /// The same at an address that is taken for it.
    pub(crate) fn start_at(
        listener: TcpListener,
        numbers: usize,
        order: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Plant {
        let address = listener.local_addr().unwrap();
        let metadata = NamespaceMetadata { namespace_uri: NAMESPACE.to_owned(), ..NamespaceMetadata::default() };
        let user = ServerUserToken {
            user: "operator".to_owned(),
            pass: Some("secret".to_owned()),
            ..ServerUserToken::default()
        };
        let mut builder = ServerBuilder::new()
            .application_name("Plant")
            .application_uri("urn:plant:server")
            .host("127.0.0.1")
            .port(address.port())
            .discovery_urls(vec![format!("opc.tcp://{address}/")])
            .max_array_length(1_000_000)
            .max_chunk_count(0)
            .max_message_size(64 << 20)
            .add_user_token("operator", user)
            .add_endpoint(
                "none",
                ServerEndpoint::new_none("/", &[ANONYMOUS_USER_TOKEN_ID.to_owned(), "operator".to_owned()]),
            )
            .subscription_poll_interval_ms(20)
            .with_node_manager(simple_node_manager(metadata, "plant"));
        let limits = builder.limits_mut();
        limits.subscriptions.min_publishing_interval_ms = 20.0;
        limits.subscriptions.min_sampling_interval_ms = 10.0;
        let (server, handle) = order(builder).build().unwrap();
        let manager = handle.node_managers().get_of_type::<SimpleNodeManager>().unwrap();
        let namespace = handle.get_namespace_index(NAMESPACE).unwrap();
        let plant = Plant { address, handle, manager, namespace };
        plant.furnish(numbers);
        tokio::spawn(server.run_with(listener));
        plant
    }

    fn furnish(&self, numbers: usize) {
        let folder = NodeId::new(self.namespace, "Line");
        let name = QualifiedName::new(self.namespace, "Line");
        self.manager.address_space().write().add_folder(&folder, name, "Line", &ObjectId::ObjectsFolder.into());
        for number in 0..numbers {
            self.add(&format!("T{number}"), DataTypeId::Double, Variant::Double(0.0));
        }
        let long: Vec<f64> = (0..1500).map(f64::from).collect();
        self.add("Long", DataTypeId::Double, Variant::from(long));
        self.add("Count", DataTypeId::Int16, Variant::Int16(3));
        self.add("Label", DataTypeId::String, Variant::String("dock".into()));
    }

    /// Adds a node below `Line`.
    pub(crate) fn add(&self, name: &str, data_type: DataTypeId, value: Variant) {
        let is_array = matches!(value, Variant::Array(_));
        VariableBuilder::new(&self.node(name), QualifiedName::new(self.namespace, name), name)
            .data_type(data_type)
            .value_rank(if is_array { 1 } else { -1 })
            .value(value)
            .writable()
            .write_mask(WriteMask::empty())
            .organized_by(NodeId::new(self.namespace, "Line"))
            .insert(&mut *self.manager.address_space().write());
    }

    /// Raises an event of that type at the server's own object.
    pub(crate) fn event(&self, kind: ObjectTypeId, message: &str) {
        let id = opcua::types::ByteString::from(&b"event"[..]);
        let event =
            BaseEventType::new(NodeId::from(kind), id, message, DateTime::now()).set_source_name("plant".into());
        let server = NodeId::from(ObjectId::Server);
        let event: &dyn Event = &event;
        self.handle.subscriptions().notify_events([(event, &server)].into_iter());
    }

    /// The node with that name.
    pub(crate) fn node(&self, name: &str) -> NodeId {
        NodeId::new(self.namespace, name)
    }

    /// Gives a node a value.
    pub(crate) fn set(&self, name: &str, value: impl Into<Variant>) {
        self.set_value(name, DataValue { value: Some(value.into()), ..DataValue::new_now(0) });
    }

    /// Gives a node a value with everything around it.
    pub(crate) fn set_value(&self, name: &str, value: DataValue) {
        self.manager.set_value(self.handle.subscriptions(), &self.node(name), None, value).unwrap();
    }

    /// Gives a number five values, each of which the server sees: it leaves out those whose times are closer than an item is sampled.
    pub(crate) fn count_to_five(&self, name: &str) {
        let begin = DateTime::now().ticks();
        for value in 1..=5 {
            let time = Some(DateTime::from(begin + i64::from(value) * APART));
            let value = Some(Variant::Double(f64::from(value)));
            self.set_value(
                name,
                DataValue { value, source_timestamp: time, server_timestamp: time, ..DataValue::default() },
            );
        }
    }

    /// Gives a node a status and another value with it: this server looks at the value alone for a change.
    pub(crate) fn set_status(&self, name: &str, value: f64, status: StatusCode) {
        let now = Some(DateTime::now());
        let value = DataValue {
            value: Some(Variant::Double(value)),
            status: Some(status),
            source_timestamp: now,
            ..DataValue::default()
        };
        self.set_value(name, value);
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.handle.cancel();
    }
}

/// A port that is taken, as long as it is kept, and that nobody listens on.
pub(crate) fn deaf_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

/// A way to the server that can be cut and frozen.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    frozen: Arc<AtomicBool>,
    cut: watch::Sender<u32>,
    pub(crate) open: Arc<AtomicUsize>,
}

impl Way {
    /// A way to that address.
    pub(crate) async fn to(server: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (cut, cuts) = watch::channel(0);
        let way = Way { address, frozen: Arc::clone(&frozen), cut, open: Arc::clone(&open) };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (frozen, open, mut cuts) = (Arc::clone(&frozen), Arc::clone(&open), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    open.fetch_add(1, Ordering::SeqCst);
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    tokio::select! {
                        () = pass(near_read, far_write, &frozen) => {}
                        () = pass(far_read, near_write, &frozen) => {}
                        _ = cuts.changed() => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        way
    }

    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    /// All connections end.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, frozen: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        while frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// A tag of the profile: name, keys.
pub(crate) fn tag(name: &str, node: &str, keys: &str) -> String {
    format!(
        "\n[[tag]]\nname = \"{name}\"\ngroup = \"all\"\nnode = \"nsu={NAMESPACE};s={node}\"\nsampling = \"10ms\"\n{keys}\n"
    )
}

/// So many tags, each of one of the plant's numbers.
pub(crate) fn numbers(count: usize) -> String {
    (0..count).map(|n| tag(&format!("t{n}"), &format!("T{n}"), "type = \"f64\"")).collect()
}

/// A link to a server there, with a device whose group `all` has these tags.
pub(crate) fn link(address: SocketAddr, keys: &str, group: &str, tags: &str) -> config::Link {
    link_of(&["line"], address, keys, group, tags)
}

/// The same with these devices, all of one profile.
pub(crate) fn link_of(devices: &[&str], address: SocketAddr, keys: &str, group: &str, tags: &str) -> config::Link {
    let device = |name: &&str| format!("[[device]]\nname = \"{name}\"\nlink = \"line\"\nprofile = \"a/b\"\n\n");
    let devices: String = devices.iter().map(device).collect();
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "site.toml",
        &format!(
            "[gateway]\nid = \"g\"\nprofiles = [\"profiles\"]\n\n[[link]]\nname = \"line\"\ndriver = \"opcua\"\n\
         endpoint = \"opc.tcp://{address}\"\nsecurity = \"none\"\n{keys}\n\n{devices}"
        ),
    );
    write(
        folder.path(),
        "profiles/a/b.toml",
        &format!(
            "[profile]\nmanufacturer = \"A\"\nmodel = \"B\"\ndriver = \"opcua\"\nversion = 1\n\n\
         [[group]]\nname = \"all\"\ninterval = \"50ms\"\n{group}\n{tags}"
        ),
    );
    let (site, report) = load(&folder.path().join("site.toml"), [], Profiles::Used);
    assert!(!report.has_errors(), "{}", report.render());
    let mut link = site.unwrap().links.remove(0);
    // The folder goes with this function; certificates get one that stays as long as the test.
    link.data_dir = std::env::temp_dir().join(format!("tidegate-opcua-{}-{}", std::process::id(), address.port()));
    link
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Compiles a link without a mistake.
pub(crate) fn compile(link: &config::Link) -> Compiled {
    let mut report = config::Report::new();
    let compiled = OpcUa::new().compile(link, &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    let _ = std::fs::remove_dir_all(link.data_dir.join("opcua"));
    compiled.unwrap()
}

/// The keys of a link that logs in with this password, and the file that holds it.
pub(crate) fn login(password: &str) -> (String, tempfile::NamedTempFile) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), password).unwrap();
    (format!("username = \"operator\"\npassword = \"file:{}\"", secret.path().display()), secret)
}
