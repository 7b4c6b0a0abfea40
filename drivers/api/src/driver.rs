//! A driver: the code for one protocol.

use std::sync::Arc;

use tidegate_config::{self as config, Report};
use tidegate_model::ValueType;

use crate::Link;

/// What a driver can do; the testkit holds it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Reads tags when asked.
    pub poll: bool,
    /// Writes tags.
    pub write: bool,
    /// Gets values without asking.
    pub subscribe: bool,
    /// Lists what a device offers.
    pub browse: bool,
}

/// The code for one protocol.
pub trait Driver: Send + Sync {
    /// The name used in `driver = …` of a link (`modbus-tcp`).
    fn name(&self) -> &'static str;

    /// The protocol family that profiles name (`modbus`).
    fn family(&self) -> &'static str;

    /// One sentence for `tidegate drivers`.
    fn summary(&self) -> &'static str;

    /// What the driver can do.
    fn capabilities(&self) -> Capabilities;

    /// Checks a profile of the driver's family and plans it, whether or not a device uses it. Pure.
    ///
    /// Every mistake goes into `report` with its place; the answer is by group of the profile.
    fn plan(&self, profile: &Arc<config::Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>>;

    /// Checks one link with its devices and plans all its requests. Pure: no I/O, no clock.
    ///
    /// Every mistake goes into `report` with its place; the answer is `None` when the link cannot be built.
    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled>;
}

/// A link that is ready to connect, and what its tags are.
pub struct Compiled {
    /// The link.
    pub link: Box<dyn Link>,
    /// One entry per device of the link, in the same order.
    pub devices: Vec<CompiledDevice>,
}

/// What a driver found out about one device of a link.
pub struct CompiledDevice {
    /// By group of the profile; shared by all devices of the same profile.
    pub groups: Arc<[GroupPlan]>,
}

/// What a driver found out about one group.
#[derive(Debug)]
pub struct GroupPlan {
    /// By column: what the driver delivers before scale and offset; `None` where it reads nothing (constants, expressions).
    pub kinds: Box<[Option<ValueType>]>,
    /// Requests of one poll.
    pub requests: u32,
    /// Bytes on the wire of one poll, both directions, without the transport's own.
    pub bytes: u32,
}
