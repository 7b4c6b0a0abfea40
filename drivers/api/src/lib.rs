//! What a southbound driver is: the traits it implements and the words it answers with.
//!
//! A [`Driver`] turns one `[[link]]` and its devices into a [`Link`] without any I/O. The link opens [`Session`]s; a session
//! is one connection with one owner. Schedules, back-off, breakers, deadlines and counters are not here: they live
//! once, in the runtime.
//!
//! **Invariant:** a driver knows no other driver, no store and no broker, and never decides when something is read.

mod browser;
mod cx;
mod driver;
mod fault;
mod readings;
mod session;
mod subscriber;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use browser::{Browser, Listing, Node, NodeKind};
pub use cx::{Cx, Expired};
pub use driver::{AlarmColumns, Capabilities, Compiled, CompiledDevice, Driver, GroupPlan};
pub use fault::{Cause, ConnectFault, Lost};
pub use readings::Readings;
pub use session::{Link, Next, Poll, Recorded, Session, Step, Writer, Written};
pub use subscriber::{Arrival, Subscriber};

pub use async_trait::async_trait;
pub use tidegate_config as config;
pub use tidegate_model as model;
