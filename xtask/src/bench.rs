//! `cargo xtask bench`: measures, and prints tables as they are quoted in the README. Each measurement is a file.

mod broker;
mod codec;
mod commands;
mod drain;
mod load;
mod opcua;
mod process;
mod road;
mod site;
mod store;
mod subscriber;
mod table;
mod usage;

use crate::tally::Outcome;

/// What to measure: the whole road under load, unless something else is named.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    road: road::Options,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// What the local broker costs, beside mosquitto under the same load, and what slow subscribers cost it.
    Broker(broker::Options),
    /// How many bytes blocks take and how fast they are, beside JSON, gzip, zstd, pco and Parquet.
    Codec(codec::Options),
    /// What 72 hours of 10,000 tags take on the disk, and what writing them costs.
    Store(store::Options),
    /// How fast the backlog of an outage gets to a broker while live rows go on.
    Drain(drain::Options),
    /// What the values of an OPC UA server cost on their way to a subscriber, beside clients that others wrote.
    Opcua(opcua::Options),
}

/// Measures and prints.
///
/// # Errors
///
/// When something cannot be built or started.
pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    match &options.what {
        None => road::run(&options.road),
        Some(What::Broker(options)) => broker::run(options),
        Some(What::Codec(options)) => codec::run(options),
        Some(What::Store(options)) => store::run(options),
        Some(What::Drain(options)) => drain::run(options),
        Some(What::Opcua(options)) => opcua::run(options),
    }
}
