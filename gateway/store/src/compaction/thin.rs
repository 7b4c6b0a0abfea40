//! Takes rows out of an old epoch that say little: what stays are alarms, and the extremes and the end of each minute.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::Row;
use tidegate_codec::block::{Batch, BlockError, Origin};
use tidegate_model::{Column, Loss, Quality, Slot, Stream};

use super::{
    Begin, Change, Compactor, Stopped, Tools, at,
    building::Building,
    change::{Move, Removed, ranges},
    fresh::finish,
    limits,
};
use crate::{
    decode,
    epochs::{self, BlockHead, Epoch},
    numbering,
    numbers::{count, signed},
    ranges::Range,
    wire::WireSchemas,
};

const MINUTE: i64 = 60_000;

/// What stays of a block.
struct Thinned {
    /// The rows that stay, in order.
    kept: Vec<usize>,
    bytes: Vec<u8>,
}

impl Compactor {
    /// Prepares an epoch without the rows that say little.
    pub(super) async fn thin(&mut self, epoch: Epoch, begin: Begin) -> Result<Option<Change>, Stopped> {
        let blocks = epochs::blocks(&mut *self.reader().await?, epoch.range).await.map_err(at(epoch.range.first))?;
        let mut building = Building::new(epoch.range.first, begin);
        building.has_times(epoch.time_min, epoch.time_max);
        building.bytes = epoch.bytes;
        let (mut old, mut removed) = (Vec::new(), Vec::new());
        for block in blocks {
            let thinned = match self.stream(block.stream).await? {
                Some(stream) if block.body != 0 && block.seqs.is_none() => {
                    self.thin_block(&block, stream, building.boot()).await?
                }
                _ => None,
            };
            let Some((Thinned { kept, bytes }, before)) = thinned else {
                building.moves.push(Move { old: block.range, new: building.next_position() });
                building.put(block.stream, block.first_seq, block.range.len(), block.body, block.seqs);
                continue;
            };
            old.push(block.body);
            building.bytes = building.bytes.saturating_sub(before);
            note(&mut building, &mut removed, &block, &kept);
            if kept.is_empty() {
                continue;
            }
            let seqs: Vec<u64> = kept.iter().map(|row| block.first_seq.saturating_add(count(*row))).collect();
            let first = seqs.first().copied().unwrap_or(block.first_seq);
            building.push(block.stream, first, count(kept.len()), Some(numbering::encode(&seqs)), bytes, 1);
        }
        let mut change = finish(building, epoch.range, epoch.age, limits::THINNED, false);
        change.removed = removed;
        change.old_bodies = ranges(old);
        Ok(Some(change))
    }

    /// What stays of a block, and the bytes it takes now. `None` when all of it stays, or it cannot be read.
    async fn thin_block(
        &mut self,
        block: &BlockHead,
        stream: Arc<Stream>,
        boot: u64,
    ) -> Result<Option<(Thinned, u64)>, Stopped> {
        let mut reader = self.reader().await?;
        let query = sqlx::query("SELECT bytes FROM body WHERE id = ?").bind(signed(block.body));
        let body: Vec<u8> = match query.fetch_one(&mut *reader).await.and_then(|row| row.try_get("bytes")) {
            Ok(body) => body,
            Err(error) => match at(block.range.first)(error) {
                Stopped::Damaged { .. } => return Ok(None),
                stopped => return Err(stopped),
            },
        };
        drop(reader);
        let (rows, first) = (block.range.len(), block.first_seq);
        let (shared, before) = (Arc::clone(&self.shared), count(body.len()));
        let thinned = self.work(move |tools| {
            let Ok(unpacked) = decode::unpack(&mut tools.decoder, &body, rows, first, None, &stream) else {
                return Ok(None);
            };
            thin(tools, &shared.wire, boot, &unpacked.batch, &stream)
        });
        let thinned = thinned.await?.map_err(|error: BlockError| Stopped::Later(error.to_string()))?;
        Ok(thinned.map(|thinned| (thinned, before)))
    }
}

/// Notes where the rows that stay will be, and which ones go.
fn note(building: &mut Building, removed: &mut Vec<Removed>, block: &BlockHead, kept: &[usize]) {
    let mut new = building.next_position();
    let mut next = block.range.first;
    let mut goes = |to: u64, next: u64| {
        if next < to {
            let first_seq = block.first_seq.saturating_add(next - block.range.first);
            removed.push(Removed { old: Range::new(next, to), stream: block.stream, first_seq });
        }
    };
    for row in kept {
        let position = block.range.first + count(*row);
        goes(position, next);
        building.moves.push(Move { old: Range::new(position, position + 1), new });
        (new, next) = (new + 1, position + 1);
    }
    goes(block.range.end, next);
}

fn thin(
    tools: &mut Tools,
    wire: &WireSchemas,
    boot: u64,
    batch: &Batch,
    stream: &Stream,
) -> Result<Option<Thinned>, BlockError> {
    let kept: Vec<usize> = telling(batch, stream.columns()).into_iter().collect();
    if kept.len() == batch.len() {
        return Ok(None);
    }
    let rest = rest(batch, &kept, stream.columns())?;
    let mut bytes = Vec::new();
    if !rest.is_empty() {
        let origin = Origin { stream: stream.id(), schema: wire.of(stream).id, boot };
        tools.encoder.set_codec(limits::codec(count(rest.len()), rest.columns()));
        tools.encoder.encode(&origin, &rest, &mut bytes)?;
    }
    Ok(Some(Thinned { kept, bytes }))
}

/// The rows that stay. Where a sample says that nothing is new, and the one that it refers to goes, it says the value itself.
fn rest(batch: &Batch, kept: &[usize], columns: &[Column]) -> Result<Batch, BlockError> {
    let mut rest = Batch::new(columns);
    // What was said last of each column, and whether a row that stays has said it.
    let mut said: Vec<Option<(Slot, bool)>> = vec![None; batch.columns()];
    let mut next = kept.first().and_then(|row| batch.seq(*row)).unwrap_or(1);
    let mut kept = kept.iter().peekable();
    for row in 0..batch.len() {
        let stays = kept.next_if_eq(&&row).is_some();
        let mut slots = Vec::with_capacity(if stays { batch.columns() } else { 0 });
        for (column, said) in said.iter_mut().enumerate() {
            match batch.slot(row, column) {
                None | Some(Slot::Unchanged) => {}
                Some(slot) => *said = Some((slot, false)),
            }
            if stays {
                slots.push(match said {
                    Some((slot, told)) if !*told => {
                        *told = true;
                        slot.clone()
                    }
                    _ => Slot::Unchanged,
                });
            }
        }
        if let Some(time) = batch.time(row).filter(|_| stays) {
            rest.push(next, time, batch.device_time(row), &slots)?;
            next = next.saturating_add(1);
        }
    }
    Ok(rest)
}

/// The rows that say something: where a quality begins or ends to be other than good, the smallest and largest value of
/// each column in each minute, the last row of each minute, and the first, which may end what the block before says. Of a
/// column that goes along straight lines all points stay: without one, the rows between the others would be on another line.
fn telling(batch: &Batch, columns: &[Column]) -> BTreeSet<usize> {
    let minute = |row: usize| batch.time(row).map_or(0, |time| time.as_millis().div_euclid(MINUTE));
    let mut rows: BTreeSet<usize> = (0..batch.len().min(1)).collect();
    for row in 0..batch.len() {
        if row + 1 == batch.len() || minute(row + 1) != minute(row) {
            rows.insert(row);
        }
    }
    let lines = |column: &&(usize, &Column)| matches!(column.1.loss, Some(Loss::SwingingDoor { .. }));
    for (column, _) in columns.iter().enumerate().collect::<Vec<_>>().iter().filter(lines) {
        let points = batch.slots(*column).enumerate().filter(|(_, slot)| *slot != Slot::Unchanged);
        rows.extend(points.map(|(row, _)| row));
    }
    for column in 0..batch.columns() {
        let mut before = Quality::Good;
        for (row, slot) in batch.slots(column).enumerate() {
            let quality = slot.quality().unwrap_or(before);
            if quality != before {
                rows.insert(row);
            }
            before = quality;
        }
        extremes(batch, column, minute, &mut rows);
    }
    rows
}

/// The smallest and the largest value of a minute, and their rows.
struct Extremes {
    minute: i64,
    least: (usize, f64),
    most: (usize, f64),
}

/// The rows with the smallest and the largest value of a column in each minute.
fn extremes(batch: &Batch, column: usize, minute: impl Fn(usize) -> i64, rows: &mut BTreeSet<usize>) {
    let mut found: Option<Extremes> = None;
    for (row, number) in batch.numbers(column).enumerate() {
        let Some(number) = number.filter(|number| !number.is_nan()) else { continue };
        let this = minute(row);
        match &mut found {
            Some(Extremes { minute, least, most }) if *minute == this => {
                if number < least.1 {
                    *least = (row, number);
                }
                if number > most.1 {
                    *most = (row, number);
                }
            }
            _ => {
                rows.extend(found.into_iter().flat_map(|found| [found.least.0, found.most.0]));
                found = Some(Extremes { minute: this, least: (row, number), most: (row, number) });
            }
        }
    }
    rows.extend(found.into_iter().flat_map(|found| [found.least.0, found.most.0]));
}

#[cfg(test)]
mod tests;
