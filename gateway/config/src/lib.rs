//! From TOML text to a checked site.
//!
//! [`load`] reads the site file, its includes, the `TIDEGATE__…` variables and the profiles. The text of every file becomes a
//! tree of [`Table`]s whose nodes know their [`Origin`]; the environment is laid over it; then each part of the product takes
//! the keys it knows, and whatever is wrong is written into one [`Report`]. So all mistakes of all files come out at once,
//! each with file, line, column, caret and help. Keys that belong to drivers stay in their tables: the driver takes them
//! and then calls [`Table::finish`], which reports what nobody took.
//!
//! ```no_run
//! use tidegate_config::{Profiles, load, process_environment};
//!
//! let (site, report) = load("tidegate.toml".as_ref(), process_environment(), Profiles::Used);
//! print!("{}", report.render());
//! match site {
//!     Some(site) if !report.has_errors() => println!("{} links", site.links.len()),
//!     _ => println!("the site cannot run like this"),
//! }
//! ```
//!
//! **Invariant:** this crate is the only place that prints `file:line:column`.
//!
//! **Invariant:** the text of a secret is in no message and in no listing of the keys in force.
//!
//! **Invariant:** nothing in a file makes the loader panic, and every file, list and report has a limit.

mod at;
mod bridge;
mod broker;
mod environment;
mod from_node;
mod load;
mod node;
mod opcua;
mod pattern;
mod profile;
mod quantity;
mod render;
mod report;
mod secret;
mod site;
mod source;
mod sparkplug;
mod syntax;
mod table;
mod topics;
mod words;

pub use at::{At, Origin};
pub use bridge::{Bridge, BridgeDirection, BridgeProtocol, BridgeRoute};
pub use broker::{
    Anonymous, Broker, BrokerIdentity, BrokerLimits, BrokerLogin, BrokerPersistence, BrokerTls, BrokerUser,
    BrokerWebSocket, CertificateName, ClientCertificates, TopicRights,
};
pub use environment::process_environment;
pub use from_node::FromNode;
pub use load::{Profiles, load, load_profile, parse_profile};
pub use node::{Kind, Node};
pub use opcua::{OpcUaRole, OpcUaServer, OpcUaUser, SecurityPolicy};
pub use pattern::{Filling, NamePattern, Placeholder, TopicPattern};
pub use profile::{
    Access, Deadband, DeviceTimeUnit, Group, Profile, Range, RawNumber, ReportWhen, Rounding, Scaling, SwingingDoor,
    Tag, TagSource, Threshold,
};
pub use quantity::{ByteRate, ByteSize, parse_duration};
pub use report::{Effective, Mistake, Report, Severity};
pub use secret::Secret;
pub use site::{
    Backfill, Device, Format, Gateway, Link, MqttTarget, MqttVersion, Retry, RowTopics, Site, StartAt, Store, Target,
    TargetKind, Tls, Web, WhenFull,
};
pub use source::{Place, Source};
pub use sparkplug::{SparkplugIds, SparkplugTarget};
pub use table::Table;
pub use topics::{HomeAssistant, Location, PayloadForm, TopicTemplate, Topics};
pub use words::nearest;
