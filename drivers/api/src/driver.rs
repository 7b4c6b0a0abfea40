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
#[derive(Debug, Default)]
pub struct GroupPlan {
    /// By column: what the driver delivers before scale and offset; `None` where it reads nothing (constants, expressions).
    pub kinds: Box<[Option<ValueType>]>,
    /// Requests of one poll.
    pub requests: u32,
    /// Bytes on the wire of one poll, both directions, without the transport's own.
    pub bytes: u32,
    /// Whether the group is to be subscribed to, so that its rows hold what has changed. Whether a session does, only
    /// [`Session::delivers`](crate::Session::delivers) can say; where it does not, the group is polled as planned above.
    pub subscribed: bool,
    /// Columns that are only written and take a list of arguments: a JSON array of values of any kinds goes to the driver as
    /// [`Value::Array`](tidegate_model::Value), one value as an array of one, unchecked. Their kind is text.
    pub arguments: Box<[usize]>,
    /// Where the fields of an alarm are, in a group whose rows are events.
    pub alarm: Option<AlarmColumns>,
}

/// The columns of a group of events that say what an alarm is, and what state it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlarmColumns {
    /// Text: what tells this alarm from the device's others, as long as the device lives.
    pub name: usize,
    /// Bool: whether what it warns of is so.
    pub active: Option<usize>,
    /// Bool: whether somebody has acknowledged it.
    pub acked: Option<usize>,
    /// Number: how bad it is.
    pub severity: Option<usize>,
    /// Text: for a person.
    pub message: Option<usize>,
    /// Text: what it is about.
    pub source: Option<usize>,
    /// Text: the kind of condition.
    pub condition: Option<usize>,
    /// Bool: whether it is still of interest. Without it, an alarm is as long as it is active or not acknowledged.
    pub retain: Option<usize>,
}
