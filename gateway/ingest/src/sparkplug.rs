//! The ingest as a host application of Sparkplug B: what edge nodes publish becomes rows for the same sinks.
//!
//! Sparkplug publishes data at QoS 0 to hosts whose session the broker does not keep: nothing that has come is sent again. So what
//! has come and is not written waits in memory, across connections, and what keeps it little is the word of the primary host: when
//! the sink does not take what comes, the host says that it is offline ([`presence`]), and edge nodes keep their data until it is
//! back.
//!
//! Rows have no number of their own. The ingest numbers those of a device as it takes them, which lets the ledger hold that each is
//! written once however often a write is tried again; whether two values are the same is told from what they say ([`print`], [`seen`]).

mod again;
mod columns;
mod host;
mod marks;
mod names;
mod presence;
mod print;
mod run;
mod seen;
mod session;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use marks::{MOST_LISTED, Marks};
pub(crate) use print::{Mark, Print, marks};
pub(crate) use run::run;
pub(crate) use streams::{Before, NUMBERED_HERE, NUMBERED_THERE};

/// Whether a stream is of a device of this edge node.
pub(crate) fn is_of(stream: &crate::StreamKey, node: &crate::NodeKey) -> bool {
    let own = stream.store == NUMBERED_HERE;
    own && stream.gateway == names::name(&node.node) && stream.group == names::name(&node.group)
}
