//! Sparkplug B: other edge nodes, and the devices behind them, as devices of this gateway.
//!
//! A link is one edge node on one broker. The driver is a host application there: it asks for births when it connects, takes what the node
//! publishes as rows, and writes with commands. What a node publishes as history becomes rows of the past. Nothing is polled; a
//! read proves that the broker is there (a ping) and tells what was published last.
//!
//! **Invariant:** a write is confirmed when the node has published the value, and not before.

mod browse;
mod config;
mod driver;
mod fault;
mod link;
mod plan;
mod rows;
mod session;

pub use driver::Sparkplug;
