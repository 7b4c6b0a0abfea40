//! The running gateway: a task per link, schedules, breakers, back-off, health, commands and the clock.
//!
//! A link task owns its connection. It takes polls from a [`schedule`](self), asks the driver's session for one request
//! after the other, runs the pipeline on what came back and hands the row to the local broker and to the store; no
//! channel lies between. Whatever is to be known or done from outside goes through a [`Handle`].
//!
//! **Invariant:** `Instant::now`, the system clock and sleeping are in `clock.rs` alone.
//! **Invariant:** nothing here ends in a terminal error: a link is connecting, online, backing off or idle.

mod alarm;
mod alarm_feed;
mod arrivals;
mod assembly;
mod backoff;
mod board;
mod breaker;
mod browse;
mod catalog;
mod clock;
mod command;
mod complaint;
mod counters;
mod device;
mod gateway;
mod group;
mod handle;
mod health;
mod history;
mod hold;
mod link;
mod outage;
mod outputs;
mod poll;
mod presence;
mod recorded;
mod running;
mod schedule;
mod set;
mod standing;
mod status;
mod supervise;
mod sys;
mod view;
mod write;

pub use alarm_feed::{AlarmFeed, AlarmNotice};
pub use assembly::{Assembly, Forecast, assemble};
pub use board::{Announcement, BoardFeed};
pub use browse::{BrowseError, Browsed, Listed, OwnBrowse};
pub use catalog::{DeviceInfo, GroupHandle, GroupInfo, ProfileInfo, TagInfo};
pub use clock::Clock;
pub use command::{CommandError, DEFAULT_TTL, WriteError};
pub use counters::{LATENCY_BOUNDS_MICROS, LatencySnapshot};
pub use gateway::{Gateway, Options, Reloaded};
pub use handle::{BridgeProbe, Handle, TargetProbe};
pub use history::HistoryError;
pub use status::{
    BridgeStatus, BrokerDisk, BrokerStatus, DeviceState, DeviceStatus, Dropped, LinkState, LinkStatus, ListenerStatus,
    Lost, ServerStatus, Status, StoreStatus, TargetStatus,
};

pub use view::{Latest, TagSample};

/// What [`Handle::browse`] gives.
pub use tidegate_driver_api::{Node, NodeKind};

/// What [`Handle::history`] takes and gives: whoever shows it need not know the store.
pub use tidegate_store::{Fill, History, HistoryQuery, Missing, Sample, Why};
