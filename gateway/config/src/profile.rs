//! A checked profile: what its file says, typed, with the keys of drivers still in their tables.

use std::{fmt, time::Duration};

use tidegate_model::{Name, TagName, Value};

use crate::{At, Origin, Report, Table};

/// A device profile: what a model can be asked, with no site address in it.
#[derive(Debug)]
pub struct Profile {
    /// The path it is named by (`eastron/sdm630`).
    pub path: String,
    /// Where the profile begins.
    pub origin: Origin,
    /// Who makes the device.
    pub manufacturer: String,
    /// The maker's name for it.
    pub model: String,
    /// The protocol family (`modbus`); a driver says which family it speaks.
    pub driver: At<String>,
    /// Version of the profile.
    pub version: u32,
    /// What a person should know about the profile.
    pub description: Option<String>,
    /// Where the register map was published.
    pub source: Option<String>,
    /// `[defaults]`: keys for every tag that does not have them itself. They are already in the tags' tables;
    /// what no tag took is reported by [`Profile::finish`].
    pub defaults: Table,
    /// `[quirks]`: what this model cannot do. The driver takes its keys and then calls [`Table::finish`].
    pub quirks: Table,
    /// The groups with their tags.
    pub groups: Vec<Group>,
}

impl Profile {
    /// Reports the keys of `[defaults]` that no tag of the profile has a use for, and those of groups that nobody took. To be
    /// called after the drivers of all links have compiled, and only for a profile that one of them has: to any other, the keys
    /// of its driver look unknown.
    pub fn finish(&self, report: &mut Report) {
        for group in &self.groups {
            group.table.finish(report);
        }
        self.defaults.finish_defaults(report);
    }
}

/// `[[group]]` and its tags, in the order of the file. The index of a tag here is its column in the group's stream.
#[derive(Debug)]
pub struct Group {
    /// The group.
    pub name: Name,
    /// Where the group stands.
    pub origin: Origin,
    /// All keys of the group; the driver takes its own (`events`). What nobody took is reported by [`Profile::finish`].
    pub table: Table,
    /// Time between two polls.
    pub interval: Duration,
    /// When a row is made.
    pub report: ReportWhen,
    /// Column of the tag that holds the device's own time, and what it counts.
    pub device_time: Option<(usize, DeviceTimeUnit)>,
    /// The tags of the group.
    pub tags: Vec<Tag>,
}

/// `report`: when a poll becomes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportWhen {
    /// Every poll gives a row (tags within their deadband are left out of it).
    Always,
    /// Only what changed is reported; a poll without a change gives no row.
    OnChange,
}

/// `device_time_unit`: what the device's clock tag counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceTimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
}

/// `[[tag]]`.
#[derive(Debug)]
pub struct Tag {
    /// The tag.
    pub name: TagName,
    /// Where the tag stands.
    pub origin: Origin,
    /// What a person should know about it.
    pub description: Option<String>,
    /// The unit of the delivered value.
    pub unit: Option<String>,
    /// Where the value comes from.
    pub source: TagSource,
    /// `invalid`: the numbers by which the device says that it has no value; at most 16, none of them twice. A raw value that is
    /// one of them is bad, and so is an array with one of them.
    pub invalid: Vec<At<RawNumber>>,
    /// From the device's number to the delivered one.
    pub scaling: Option<At<Scaling>>,
    /// Texts of an enumeration by the device's number.
    pub texts: Option<At<Vec<(i64, String)>>>,
    /// Outside of this the quality is uncertain.
    pub range: Option<At<Range>>,
    /// How far a delivered value may be rounded.
    pub rounding: Option<At<Rounding>>,
    /// How far from a straight line a value may be that the store does not get; never together with `rounding` or `deadband`.
    pub swinging_door: Option<At<SwingingDoor>>,
    /// Smaller changes are not reported.
    pub deadband: Option<At<Deadband>>,
    /// Who may do what with it.
    pub access: Access,
    /// Smallest value that may be written.
    pub minimum: Option<At<f64>>,
    /// Largest value that may be written.
    pub maximum: Option<At<f64>>,
}

/// Where a tag's value comes from.
#[derive(Debug)]
pub enum TagSource {
    /// The device. All keys of the tag (with the profile's defaults); the driver takes its own and then calls [`Table::finish`].
    Device(Table),
    /// `value = …`: always this.
    Constant(Value),
    /// `expr = "…"`: calculated from other tags of the same group.
    Expression(At<String>),
}

/// A number as the device holds it, before `scale` and `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawNumber {
    /// A whole number that has room in 64 bits, with or without a sign.
    Integer(i128),
    /// A float; also NaN, which stands for each of its bit patterns, and the infinities.
    Float(f64),
}

/// The number as a person would write it.
impl fmt::Display for RawNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawNumber::Integer(number) => write!(f, "{number}"),
            RawNumber::Float(number) if number.is_infinite() && *number > 0.0 => f.write_str("Infinity"),
            RawNumber::Float(number) if number.is_infinite() => f.write_str("-Infinity"),
            RawNumber::Float(number) => write!(f, "{number:?}"),
        }
    }
}

/// `scale` and `offset`: delivered = raw * scale + offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Decimal text of the factor as it was written (`0.1`), so that a stage can work with exact decimals.
    pub scale: String,
    /// Decimal text of the summand as it was written.
    pub offset: String,
}

/// `range = { low = …, high = … }`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Lowest plausible value.
    pub low: f64,
    /// Highest plausible value.
    pub high: f64,
}

/// `rounding = { error = … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounding {
    /// The largest difference to the value before, in the unit of the tag: decimal text as it was written (`0.05`), 1e-15 to 1e15.
    pub error: String,
}

/// `swinging_door = { error = …, max_silence = … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwingingDoor {
    /// The largest distance of a value that is left out to the line, in the unit of the tag: decimal text as it was written
    /// (`0.05`), 1e-15 to 1e15.
    pub error: String,
    /// The longest time between two values that are kept.
    pub max_silence: Duration,
}

/// `deadband = { absolute = … }` or `{ percent = … }` (of the range's span), with `max_silence`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deadband {
    /// How far a value has to move from the last reported one to be reported.
    pub threshold: Threshold,
    /// Even an unmoved value is reported after this time.
    pub max_silence: Option<Duration>,
}

/// How a deadband is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// In the unit of the tag.
    Absolute(f64),
    /// In percent of `range.high - range.low`.
    PercentOfSpan(f64),
}

/// `access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Polled, never written.
    Read,
    /// Polled and written.
    ReadWrite,
    /// Written, never polled (a reset command).
    Write,
}

impl Access {
    /// The word in the file: `read`, `read_write` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
            Access::Write => "write",
        }
    }
}
