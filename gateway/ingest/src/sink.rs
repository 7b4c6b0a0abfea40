//! What rows are written to, and what the writer may expect of it.

pub(crate) mod disk;
mod json_lines;
mod parquet;
pub(crate) mod postgres;
mod taken;

#[cfg(test)]
pub(crate) use self::json_lines::JsonLines;
pub(crate) use self::taken::Extent;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidegate_codec::block::SchemaId;

use crate::{
    Destination, IngestError, Report, Rotation, StreamKey,
    ledger::Delivered,
    nodes::Nodes,
    piece::{Known, Piece},
    sparkplug::{Before, Marks},
};

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Rows that are new.
    pub(crate) rows: u64,
    /// Values in them.
    pub(crate) values: u64,
    /// Rows that had been written before.
    pub(crate) duplicates: u64,
    /// Rows with the numbers of other rows, from another start of their gateway.
    pub(crate) numbered_again: u64,
    /// Gap records that are new.
    pub(crate) gaps: u64,
    /// Blocks that were put aside.
    pub(crate) quarantined: u64,
    /// Blocks that could not be put aside, as the quarantine is full.
    pub(crate) lost: u64,
    /// Blocks that were put aside once and could be read now.
    pub(crate) released: u64,
}

impl Written {
    /// Adds what became of other pieces.
    pub(crate) fn add(&mut self, other: &Written) {
        let Written { rows, values, duplicates, numbered_again, gaps, quarantined, lost, released } = self;
        for (number, more) in [
            (rows, other.rows),
            (values, other.values),
            (duplicates, other.duplicates),
            (numbered_again, other.numbered_again),
            (gaps, other.gaps),
            (quarantined, other.quarantined),
            (lost, other.lost),
            (released, other.released),
        ] {
            *number = number.saturating_add(more);
        }
    }

    /// Counts rows that were taken. True when some of them have the numbers of others: their block is to be put aside too.
    pub(crate) fn deliver(&mut self, delivered: &Delivered) -> bool {
        self.rows = self.rows.saturating_add(delivered.new.count());
        self.duplicates = self.duplicates.saturating_add(delivered.duplicates);
        self.numbered_again = self.numbered_again.saturating_add(delivered.numbered_again);
        delivered.numbered_again > 0
    }
}

/// Why a batch was not written. Nothing of it was.
#[derive(Debug)]
pub(crate) struct SinkError {
    pub(crate) trouble: Trouble,
    /// What happened and what to look at.
    pub(crate) text: String,
}

/// What kind of thing kept a batch from being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Somebody else was at the same place: at once again.
    Conflict,
    /// The sink is away: again after a pause.
    Away,
    /// A person has to act before it can go on: again after a pause.
    Person,
    /// The values themselves are refused: never again.
    Values,
    /// Nobody takes anything any more: there is nothing left to do.
    Gone,
}

/// What rows are written to.
pub(crate) enum Sink {
    Postgres(Box<postgres::Postgres>),
    Parquet(Box<parquet::Parquet>),
    JsonLines(Box<json_lines::JsonLines>),
}

/// What a sink remembers from before.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The schemas that it has kept.
    pub(crate) schemas: Vec<Known>,
    /// The schemas for the lack of which blocks were put aside: gateway and schema.
    pub(crate) wanted: HashSet<(String, SchemaId)>,
    /// What has been written of streams whose rows an ingest has numbered.
    pub(crate) streams: HashMap<StreamKey, Before>,
    /// The streams of gaps that edge nodes have declared.
    pub(crate) gaps: HashSet<StreamKey>,
    /// What has been seen of edge nodes.
    pub(crate) nodes: Nodes,
    /// Values of edge nodes that have been written, where the sink cannot be asked for them.
    pub(crate) taken: Marks,
}

impl Sink {
    /// A sink for this destination, ready to be written to.
    pub(crate) async fn open(destination: &Destination, rotation: Rotation) -> Result<(Sink, Remembered), OpenError> {
        match destination {
            Destination::Postgres(url) => {
                let (sink, remembered) = postgres::Postgres::open(url).await?;
                Ok((Sink::Postgres(Box::new(sink)), remembered))
            }
            Destination::Parquet(folder) => {
                let (sink, remembered) = parquet::Parquet::open(folder, rotation)?;
                Ok((Sink::Parquet(Box::new(sink)), remembered))
            }
            Destination::JsonLines { ledger } => {
                let mut sink = json_lines::JsonLines::open(std::io::stdout(), ledger.clone())?;
                let remembered = sink.remembered();
                Ok((Sink::JsonLines(Box::new(sink)), remembered))
            }
        }
    }

    /// Writes a batch and makes it durable: all of it, or nothing. `arrived`: schemas that have come at last, for blocks that were
    /// put aside for the lack of them.
    pub(crate) async fn write(&mut self, pieces: &[Piece], arrived: &[Arc<Known>]) -> Result<Written, SinkError> {
        match self {
            Sink::Postgres(postgres) => postgres.write(pieces, arrived).await,
            Sink::Parquet(parquet) => parquet.write(pieces, arrived),
            Sink::JsonLines(lines) => lines.write(pieces),
        }
    }

    /// Gives the sink time for itself; about once a second. Adds what it has written to `written`.
    pub(crate) async fn tick(&mut self, written: &mut Written) -> Result<(), SinkError> {
        match self {
            Sink::Postgres(postgres) => postgres.tick(written).await,
            Sink::Parquet(parquet) => parquet.tick(),
            Sink::JsonLines(lines) => lines.save(),
        }
    }

    /// Completes what is begun.
    pub(crate) async fn close(&mut self, written: &mut Written) -> Result<(), SinkError> {
        match self {
            Sink::Postgres(postgres) => postgres.tick(written).await,
            Sink::Parquet(parquet) => parquet.rotate(),
            Sink::JsonLines(lines) => lines.save(),
        }
    }
}

/// Why a sink could not be opened.
#[derive(Debug)]
pub(crate) struct OpenError {
    pub(crate) error: IngestError,
    /// Whether it may pass by itself.
    pub(crate) passing: bool,
}

impl From<IngestError> for OpenError {
    fn from(error: IngestError) -> OpenError {
        OpenError { error, passing: false }
    }
}

/// What the ledger of a destination says.
pub(crate) async fn report(destination: &Destination) -> Result<Report, IngestError> {
    match destination {
        Destination::Postgres(url) => postgres::report(url).await,
        Destination::Parquet(folder) => parquet::report(folder),
        Destination::JsonLines { ledger } => json_lines::report(ledger.as_ref()),
    }
}
