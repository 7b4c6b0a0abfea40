//! Values that came again from edge nodes after a start of the ingest.
//!
//! A birth tells metrics that changed now beside others that have not changed for months. So the database is asked by tag and time, as its index
//! has them, and never for all that a device has said between the earliest and the latest of them.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};
use tidegate_model::Slot;

use super::{
    number::{Moment, signed, unsigned},
    patience::Progress,
};
use crate::piece::Rows;

/// Of the values that were just written, those that an earlier row has to the last bit. As texts, 0 and -0 are two.
const REPEATS: &str = "DELETE FROM tidegate.sample AS again
USING unnest($1::int4[], $2::timestamptz[]) AS doubt(tag_id, time), tidegate.sample AS before
WHERE again.tag_id = doubt.tag_id AND again.time = doubt.time AND again.seq BETWEEN $3 AND $4
    AND before.tag_id = doubt.tag_id AND before.time = doubt.time AND before.seq < $3
    AND before.quality = again.quality AND before.value::text IS NOT DISTINCT FROM again.value::text
    AND before.text IS NOT DISTINCT FROM again.text AND before.reason IS NOT DISTINCT FROM again.reason
RETURNING again.seq";
/// Values that one statement asks for.
const MOST: usize = 5000;

/// Removes values that were just written and had been written before; how many they were, and how many rows have none left.
pub(super) async fn remove(
    connection: &mut PgConnection,
    rows: &Rows,
    tags: &[i32],
    progress: &Progress,
) -> Result<(u64, u64), sqlx::Error> {
    let mut gone: BTreeMap<u64, usize> = BTreeMap::new();
    for some in doubts(rows, tags).chunks(MOST) {
        let (tags, times): (Vec<i32>, Vec<Moment>) = some.iter().copied().unzip();
        let query = sqlx::query(REPEATS).bind(tags).bind(times);
        let query = query.bind(signed(rows.arrival.first_seq)).bind(signed(rows.arrival.last_seq));
        for row in query.fetch_all(&mut *connection).await? {
            *gone.entry(unsigned(row.try_get(0)?)).or_default() += 1;
        }
        progress.made();
    }
    let values = u64::try_from(gone.values().sum::<usize>()).unwrap_or(u64::MAX);
    Ok((values, emptied(rows, &gone)))
}

/// The values that may have been written before, as tag and time, each once.
fn doubts(rows: &Rows, tags: &[i32]) -> Vec<(i32, Moment)> {
    let Some(until) = rows.repeats else { return Vec::new() };
    let batch = &rows.batch;
    let mut doubts = Vec::new();
    for (row, time) in batch.times().iter().enumerate().filter(|(_, time)| **time <= until) {
        let told = tags.iter().enumerate().filter(|(column, _)| is_told(batch.slot(row, *column)));
        doubts.extend(told.map(|(_, tag)| (*tag, Moment::of(time.as_millis()))));
    }
    doubts.sort_unstable();
    doubts.dedup();
    doubts
}

/// How many rows have no value left, when so many are gone of each.
fn emptied(rows: &Rows, gone: &BTreeMap<u64, usize>) -> u64 {
    let batch = &rows.batch;
    let columns = rows.known.schema.columns.len();
    let values = |row| (0..columns).filter(|column| is_told(batch.slot(row, *column))).count();
    let is_empty = |row: &usize| {
        let gone = batch.seq(*row).and_then(|seq| gone.get(&seq));
        gone.is_some_and(|gone| *gone >= values(*row))
    };
    u64::try_from((0..batch.len()).filter(is_empty).count()).unwrap_or(u64::MAX)
}

fn is_told(slot: Option<Slot>) -> bool {
    slot.is_some_and(|slot| slot != Slot::Unchanged)
}

#[cfg(test)]
mod tests {
    use tidegate_codec::block::Batch;
    use tidegate_model::{Timestamp, Value};

    use super::*;
    use crate::{piece::arrival, scene};

    #[test]
    fn what_a_birth_tells_is_asked_for_by_tag_and_time_and_nothing_between() {
        let known = scene::known(&scene::schema("pump", 3));
        let good = |number| Slot::Good(Value::Int(number));
        let mut batch = Batch::new(&known.schema.columns);
        let old = [good(1), Slot::Unchanged, Slot::Unchanged];
        let present = [Slot::Unchanged, good(2), good(3)];
        for (seq, time, slots) in
            [(4, 0, &old), (5, 9_000_000_000, &present), (6, 9_000_000_000, &present), (7, i64::MAX, &old)]
        {
            batch.push(seq, Timestamp::from_millis(time), None, slots).unwrap();
        }
        let repeats = Some(Timestamp::from_millis(9_000_000_000));
        let rows = Rows { known, arrival: arrival(4, 7, 1).unwrap(), batch, frame: Default::default(), repeats };
        let (then, now) = (Moment::of(0), Moment::of(9_000_000_000));
        assert_eq!(doubts(&rows, &[11, 12, 13]), [(11, then), (12, now), (13, now)]);
        assert_eq!(emptied(&rows, &[(4, 1), (5, 1), (6, 2)].into()), 2);
        assert_eq!(doubts(&Rows { repeats: None, ..rows }, &[11, 12, 13]), []);
    }
}
