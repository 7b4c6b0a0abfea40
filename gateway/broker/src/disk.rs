//! What the broker keeps over a restart: `broker.db` in the gateway's data folder.
//!
//! Kept are retained messages of clients, and of sessions that outlive their connection the subscriptions, the messages with QoS 1
//! and 2 that wait or are not acknowledged, and the packet ids of both directions; and the wills of clients that are connected, or lost
//! and may come back in time. What the gateway itself publishes retained is
//! not kept: it publishes it again when it starts, and what it said before the start is not true any more.
//!
//! # How it is written
//!
//! The hot paths only mark what changes. Once in a commit interval the writer looks at what is marked, compares it with what the disk
//! has, and writes the difference in one transaction with one fsync. So a message that is delivered and acknowledged within the
//! interval never touches the disk, and after an error the next round writes what this one could not.
//!
//! **What is promised:** what a client was told is on the disk one commit interval later (250 ms unless the site says otherwise). A
//! publish is acknowledged before that, as other brokers do too: waiting would make each publisher wait for the disk.
//!
//! **Invariant:** what an earlier process has left is not written over before it has been read. A database that cannot be read when the
//! broker starts is read as soon as that goes; what has happened meanwhile wins.
//!
//! **Invariant:** whatever the disk does, the broker goes on from memory; what is not written is written when the disk is well again.

mod commit;
mod database;
mod load;
mod status;
mod writer;

pub use self::status::DiskStatus;
pub(crate) use self::{
    load::Away,
    status::DiskCounters,
    writer::{Keepers, Writer},
};
