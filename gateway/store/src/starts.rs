//! Where the rows of each start of the gateway begin.
//!
//! **Invariant:** rows on both sides of such a place never get into one epoch, so also not into one block.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    numbers::{signed, unsigned},
    ranges::Range,
};

/// The boot counts of rows, by their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    /// By the position of its first row.
    boots: BTreeMap<u64, u64>,
}

impl Starts {
    /// Those of a new database, whose rows are all of this start.
    pub(crate) fn new(first_position: u64, boot: u64) -> Starts {
        Starts { boots: [(first_position, boot)].into() }
    }

    /// Those that a database knows.
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Starts, sqlx::Error> {
        let rows = sqlx::query("SELECT first_position, boot FROM start").fetch_all(connection).await?;
        starts(&rows)
    }

    /// Those of the positions in a range.
    pub(crate) async fn load_within(connection: &mut SqliteConnection, range: Range) -> Result<Starts, sqlx::Error> {
        let select = "SELECT first_position, boot FROM start WHERE first_position < ?2 AND first_position >= \
                      coalesce((SELECT max(first_position) FROM start WHERE first_position <= ?1), 0)";
        let query = sqlx::query(select).bind(signed(range.first)).bind(signed(range.end));
        starts(&query.fetch_all(connection).await?)
    }

    /// Rows from this position on are of this start. One before it that has no rows is forgotten.
    pub(crate) fn begin(&mut self, first_position: u64, boot: u64) {
        self.boots.insert(first_position, boot);
    }

    /// The start in which the row at this position was numbered; 0 when that is not known.
    pub(crate) fn boot_at(&self, position: u64) -> u64 {
        self.boots.range(..=position).next_back().map_or(0, |(_, boot)| *boot)
    }

    /// Where the rows of the next start begin, of that which this position belongs to.
    pub(crate) fn end_of(&self, position: u64) -> Option<u64> {
        self.boots.range(position.saturating_add(1)..).next().map(|(first, _)| *first)
    }

    /// Whether rows at both positions are of one start.
    pub(crate) fn is_one(&self, position: u64, later: u64) -> bool {
        self.end_of(position).is_none_or(|end| later < end)
    }

    /// Forgets those that have no rows from this position on. True when there were some.
    pub(crate) fn forget_before(&mut self, position: u64) -> bool {
        let Some(first) = self.first_kept(position) else { return false };
        let kept = self.boots.split_off(&first);
        !std::mem::replace(&mut self.boots, kept).is_empty()
    }

    /// Has the database forget the same.
    pub(crate) async fn remove_before(
        &self,
        connection: &mut SqliteConnection,
        position: u64,
    ) -> Result<(), sqlx::Error> {
        match self.first_kept(position).filter(|first| self.boots.range(..first).next().is_some()) {
            Some(first) => {
                let delete = "DELETE FROM start WHERE first_position < ?";
                sqlx::query(delete).bind(signed(first)).execute(connection).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Writes the newest.
    pub(crate) async fn save_newest(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let Some((first, boot)) = self.boots.last_key_value() else { return Ok(()) };
        let insert = "INSERT OR REPLACE INTO start (first_position, boot) VALUES (?, ?)";
        sqlx::query(insert).bind(signed(*first)).bind(signed(*boot)).execute(connection).await.map(drop)
    }

    /// The start that this position belongs to.
    fn first_kept(&self, position: u64) -> Option<u64> {
        self.boots.range(..=position).next_back().map(|(first, _)| *first)
    }
}

fn starts(rows: &[SqliteRow]) -> Result<Starts, sqlx::Error> {
    let start = |row: &SqliteRow| Ok((unsigned(row.try_get("first_position")?), unsigned(row.try_get("boot")?)));
    Ok(Starts { boots: rows.iter().map(start).collect::<Result<_, sqlx::Error>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Starts {
        let mut starts = Starts::new(10, 4);
        starts.begin(20, 5);
        starts.begin(30, 7);
        starts
    }

    #[test]
    fn a_row_is_of_the_start_that_began_last_before_it() {
        let starts = three();
        let boots: Vec<u64> = [9, 10, 19, 20, 29, 30, u64::MAX].map(|position| starts.boot_at(position)).into();
        assert_eq!(boots, [0, 4, 4, 5, 5, 7, 7]);
        assert_eq!([10, 19, 20, 30].map(|position| starts.end_of(position)), [Some(20), Some(20), Some(30), None]);
        assert!(starts.is_one(10, 19) && starts.is_one(30, u64::MAX) && !starts.is_one(19, 20));
    }

    #[test]
    fn a_start_without_rows_gives_its_place_to_the_next() {
        let mut starts = three();
        starts.begin(30, 8);
        assert_eq!((starts.boot_at(29), starts.boot_at(30)), (5, 8));
    }

    #[test]
    fn starts_are_forgotten_with_their_last_rows() {
        let mut starts = three();
        assert!(!starts.forget_before(9) && !starts.forget_before(19));
        assert!(starts.forget_before(25));
        assert_eq!((starts.boot_at(15), starts.boot_at(25), starts.boot_at(30)), (0, 5, 7));
    }
}
