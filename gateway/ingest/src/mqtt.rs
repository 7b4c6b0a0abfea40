//! The way to the broker: MQTT 5, a session that the broker keeps, acknowledgements by hand.
//!
//! Each connection ends with everything that it knew, its packet ids too; the broker sends again what was not acknowledged.

mod connector;
mod session;

pub(crate) use connector::{connector, host_connector};
pub(crate) use session::{Ended, Surroundings, run};
