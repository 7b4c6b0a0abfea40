//! Takes rows out of an old epoch that say little: what stays are alarms, and the extremes and the end of each minute.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::Row;
use tidegate_codec::block::{Batch, BlockError, Origin};
use tidegate_model::{Quality, Slot, Stream};

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
    let kept: Vec<usize> = telling(batch).into_iter().collect();
    if kept.len() == batch.len() {
        return Ok(None);
    }
    let mut rest = Batch::new(stream.columns());
    let mut next = kept.first().and_then(|row| batch.seq(*row)).unwrap_or(1);
    for row in &kept {
        let slots: Vec<Slot> = (0..batch.columns()).filter_map(|column| batch.slot(*row, column)).collect();
        let Some(time) = batch.time(*row) else { continue };
        rest.push(next, time, batch.device_time(*row), &slots)?;
        next = next.saturating_add(1);
    }
    let mut bytes = Vec::new();
    if !rest.is_empty() {
        let origin = Origin { stream: stream.id(), schema: wire.of(stream).id, boot };
        tools.encoder.encode(&origin, &rest, &mut bytes)?;
    }
    Ok(Some(Thinned { kept, bytes }))
}

/// The rows that say something: where a quality begins or ends to be other than good, the smallest and largest value of
/// each column in each minute, and the last row of each minute.
fn telling(batch: &Batch) -> BTreeSet<usize> {
    let minute = |row: usize| batch.time(row).map_or(0, |time| time.as_millis().div_euclid(MINUTE));
    let mut rows = BTreeSet::new();
    for row in 0..batch.len() {
        if row + 1 == batch.len() || minute(row + 1) != minute(row) {
            rows.insert(row);
        }
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
mod tests {
    use tidegate_model::{Column, Reason, Timestamp, Value, ValueKind, ValueType};

    use super::*;

    #[test]
    fn alarms_extremes_and_the_end_of_each_minute_stay() {
        let columns = [Column::new("a".parse().unwrap(), ValueType::single(ValueKind::Int))];
        let mut batch = Batch::new(&columns);
        for row in 0..120_u64 {
            let number = match row {
                7 => -5,
                33 => 900,
                70 => -9,
                _ => 20,
            };
            let slot = match row {
                90..95 => Slot::Bad(Reason::Timeout),
                100 => Slot::Uncertain(Value::Int(20), Reason::OutOfRange),
                _ => Slot::Good(Value::Int(number)),
            };
            let time = Timestamp::from_millis(i64::try_from(1_000 * row).unwrap());
            batch.push(row + 1, time, None, &[slot]).unwrap();
        }
        let rows: Vec<usize> = telling(&batch).into_iter().collect();
        assert_eq!(rows, [7, 33, 59, 60, 70, 90, 95, 100, 101, 119]);
    }
}
