//! From short blocks to longer ones.

use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tidegate_model::Stream;

use super::{
    Begin, Change, Compactor, Stopped, at,
    building::{Building, Series},
    change::{Move, ranges},
    fresh::finish,
    limits,
};
use crate::{
    decode,
    epochs::{self, BlockHead, Epoch},
    numbers::{count, signed},
    ranges::Range,
};

impl Compactor {
    /// Prepares the rows of neighbouring epochs, which are of one start, as one.
    pub(super) async fn join(&mut self, epochs: &[Epoch], begin: Begin) -> Result<Option<Change>, Stopped> {
        let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else { return Ok(None) };
        let range = Range::new(first.range.first, last.range.end);
        let mut blocks = epochs::blocks(&mut *self.reader().await?, range).await.map_err(at(range.first))?;
        blocks.sort_by_key(|block| (block.stream, block.first_seq));
        let mut building = Building::new(range.first, begin);
        for epoch in epochs {
            building.has_times(epoch.time_min, epoch.time_max);
        }
        building.bytes = epochs.iter().map(|epoch| epoch.bytes).sum();
        let mut old = Vec::new();
        let mut rest = blocks.as_slice();
        while let Some(block) = rest.first() {
            let of_stream = rest.partition_point(|other| other.stream <= block.stream);
            let (of_stream, others) = rest.split_at(of_stream);
            rest = others;
            building = self.join_stream(building, of_stream, &mut old).await?;
        }
        let age = last.age;
        let mut change = finish(building, range, age, first.level + 1, false);
        change.old_bodies = ranges(old);
        Ok(Some(change))
    }

    /// The blocks of one stream.
    async fn join_stream(
        &mut self,
        mut building: Building,
        blocks: &[BlockHead],
        old: &mut Vec<u64>,
    ) -> Result<Building, Stopped> {
        let stream = match blocks.first() {
            Some(block) if blocks.len() > 1 => self.stream(block.stream).await?,
            _ => None,
        };
        let mut rest = blocks;
        while let Some(block) = rest.first() {
            let run = stream.as_ref().map_or(1, |stream| run(rest, stream.columns().len()));
            let (some, others) = rest.split_at(run.clamp(1, rest.len()));
            rest = others;
            let joined = match &stream {
                Some(stream) if some.len() > 1 => self.unpack(stream, some).await?,
                _ => None,
            };
            let Some((series, bytes)) = joined else {
                for block in some {
                    keep(&mut building, block, stream.as_ref());
                }
                continue;
            };
            debug_assert_eq!(block.stream, series.stream.id(), "blocks of one stream");
            let shared = Arc::clone(&self.shared);
            let added = self.work(move |tools| {
                building.add(&mut tools.encoder, &shared.wire, &series)?;
                Ok(building)
            });
            building =
                added.await?.map_err(|error: tidegate_codec::block::BlockError| Stopped::Later(error.to_string()))?;
            building.bytes = building.bytes.saturating_sub(bytes);
            old.extend(some.iter().map(|block| block.body));
        }
        Ok(building)
    }

    /// The rows of blocks, and the bytes they take. `None` when one of them cannot be read, or they do not fit together.
    async fn unpack(&mut self, stream: &Arc<Stream>, blocks: &[BlockHead]) -> Result<Option<(Series, u64)>, Stopped> {
        let mut bodies = Vec::with_capacity(blocks.len());
        let mut reader = self.reader().await?;
        for block in blocks {
            match body(&mut reader, block.body).await.map_err(at(block.range.first)) {
                Ok(body) => bodies.push((block.clone(), body)),
                Err(Stopped::Damaged { .. }) => return Ok(None),
                Err(stopped) => return Err(stopped),
            }
        }
        drop(reader);
        let stream = Arc::clone(stream);
        self.work(move |tools| {
            let (mut series, mut bytes) = (Series::new(Arc::clone(&stream)), 0);
            for (block, body) in bodies {
                let (rows, first) = (block.range.len(), block.first_seq);
                let unpacked = decode::unpack(&mut tools.decoder, &body, rows, first, None, &stream).ok()?;
                if series.batch.is_empty() {
                    series.batch = unpacked.batch;
                } else {
                    series.batch.append(&unpacked.batch).ok()?;
                }
                series.came_from(block.range);
                bytes += count(body.len());
            }
            Some((series, bytes))
        })
        .await
    }
}

/// How many of these blocks of one stream, from the first on, become one run of rows; 1 when the first stays as it is.
fn run(blocks: &[BlockHead], columns: usize) -> usize {
    let joins =
        |block: &BlockHead| block.body != 0 && block.seqs.is_none() && limits::is_short(block.range.len(), columns);
    let Some(first) = blocks.first().filter(|block| joins(block)) else { return 1 };
    let mut next = first.first_seq;
    let follows = |block: &&BlockHead| {
        let follows = joins(block) && block.first_seq == next;
        next = block.first_seq.saturating_add(block.range.len());
        follows
    };
    blocks.iter().take_while(follows).count().max(1)
}

/// A block stays as it is, but for its positions.
fn keep(building: &mut Building, block: &BlockHead, stream: Option<&Arc<Stream>>) {
    let rows = block.range.len();
    let columns = stream.map_or(1, |stream| stream.columns().len());
    // One that cannot be joined is as good as a long one.
    let short = block.body != 0 && block.seqs.is_none() && limits::is_short(rows, columns);
    building.short_blocks += u64::from(short);
    building.moves.push(Move { old: block.range, new: building.next_position() });
    building.put(block.stream, block.first_seq, rows, block.body, block.seqs.clone());
}

async fn body(connection: &mut SqliteConnection, id: u64) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query("SELECT bytes FROM body WHERE id = ?").bind(signed(id)).fetch_one(connection).await?.try_get("bytes")
}
