//! Northbound targets: from the store's cursors to the cloud.
//!
//! Live rows and backlog take one road: a target reads its cursor in the store, sends, and moves the cursor when the other side has
//! acknowledged. Whatever happens to the connection, the store knows what comes next. Each kind of target has a module of its own.
//!
//! **Invariant:** nothing is kept here that is not in the store too; a target that is dropped loses nothing.

mod error;
mod mqtt;
mod sparkplug;
mod status;

pub use error::TargetError;
pub use mqtt::{Announcement, AnnouncementFeed, MqttTarget, RowTopics, SentSoFar};
pub use sparkplug::{CommandPath, EdgeGateway, SparkplugTarget};
pub use status::{Clock, TargetSnapshot, TargetState, TargetStatus};
