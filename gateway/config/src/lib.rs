//! From TOML text to a checked site.
//!
//! The text of every file becomes a tree of [`Table`]s whose nodes know their [`Origin`]; the environment is laid over it;
//! then each part of the product takes the keys it knows, and whatever is wrong is written into one [`Report`]. So all
//! mistakes of all files come out at once, each with file, line, column, caret and help.
//!
//! **Invariant:** this crate is the only place that prints `file:line:column`.

mod at;
mod from_node;
mod report;
mod site;
mod source;
mod table;

pub use at::{At, Origin};
pub use from_node::{ByteSize, FromNode, Secret};
pub use report::{Effective, Mistake, Report, Severity};
pub use site::{
    Access, Broker, BrokerUser, Deadband, Device, DeviceTimeUnit, Gateway, Group, Link, MqttTarget, Profile, Range,
    ReportWhen, Retry, Scaling, Site, StartAt, Store, Tag, TagSource, Target, TargetKind, Threshold, Tls, Web,
    WhenFull,
};
pub use source::{Place, Source};
pub use table::{Kind, Node, Table};
