//! The facts of the database as a whole, and the count of the start that begins with it.

use sqlx::{Row, SqliteConnection};
use tidegate_codec::block::StoreId;

use crate::{
    lock::Here,
    numbers::{signed, unsigned},
    wire::new_store_id,
};

/// A store that was set back, or may have been, counts its starts on from the clock: so many numbers a second since 1970. No gateway
/// starts as often, so what counts on one by one stays behind the clock, and each start is a number that none before it was. Two
/// copies that start in the same second do so somewhere among them.
const A_SECOND: u64 = 1 << 10;
/// A clock beyond so many seconds, in the year 2106, is wrong. Up to there a number has six bytes in a block.
const MOST: u64 = 1 << 32;

/// The facts of the table `meta`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Meta {
    /// `None` in a database that has been written before stores had an identity.
    pub(crate) store: Option<StoreId>,
    pub(crate) boot: u64,
    /// Where the database was when it was written last; 0 when that is not known.
    pub(crate) place: u64,
    /// On which run of the machine it was written last; 0 when that is not known.
    pub(crate) machine: u64,
    /// 1 when the store has been closed and nothing written since.
    pub(crate) clean: u64,
    pub(crate) numbering_base: u64,
    pub(crate) targets_lost: u64,
    pub(crate) sequence_position: u64,
    pub(crate) start_position: u64,
}

impl Meta {
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Meta, sqlx::Error> {
        let mut meta = Meta::default();
        for row in sqlx::query("SELECT key, value FROM meta").fetch_all(connection).await? {
            let value: i64 = row.try_get("value")?;
            let (bits, value) = (value.cast_unsigned(), unsigned(value));
            match row.try_get("key")? {
                "store" => meta.store = Some(StoreId(bits)),
                "boot" => meta.boot = value,
                "place" => meta.place = value,
                "machine" => meta.machine = value,
                "clean" => meta.clean = value,
                "numbering_base" => meta.numbering_base = value,
                "targets_lost" => meta.targets_lost = value,
                "sequence_position" => meta.sequence_position = value,
                "start_position" => meta.start_position = value,
                _ => {}
            }
        }
        Ok(meta)
    }

    /// The count of the start that begins now, here. A copy does not count on as the original may have done: what both number
    /// from here on are different rows with the same numbers, which nothing else tells apart.
    pub(crate) fn next_boot(self, here: Here) -> u64 {
        let is_elsewhere = self.place != 0 && here.place != 0 && self.place != here.place;
        // Another database was here since, which this one has been put in the place of. A new one has numbers of its own.
        let is_older = self.store.is_some() && here.boot > self.boot;
        let is_set_back = is_elsewhere || is_older || (self.store.is_some() && here.is_rewritten);
        // A disk that was set back as a whole shows nothing of it, but the machine has started since.
        let is_restarted = self.machine != 0 && here.machine != 0 && self.machine != here.machine;
        if !is_set_back && !is_restarted {
            return self.boot + 1;
        }
        let (least, random) = (self.boot.max(here.boot) + 2, new_store_id().0 % A_SECOND);
        let by_clock =
            Some(here.now / 1_000).filter(|seconds| *seconds < MOST).map(|seconds| seconds * A_SECOND + random);
        // Else the clock is wrong, or has been.
        let boot = by_clock.filter(|boot| *boot >= least).unwrap_or(least + random);
        if is_set_back {
            tracing::info!(
                boot,
                "the store is a copy, was moved, was changed by somebody else or was set back: its starts are counted on \
                 from a number of its own"
            );
        }
        boot
    }

    pub(crate) async fn save(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if let Some(store) = self.store {
            save_store(connection, store).await?;
        }
        save_fact(connection, "boot", self.boot).await?;
        save_fact(connection, "place", self.place).await?;
        save_fact(connection, "machine", self.machine).await?;
        save_fact(connection, "clean", self.clean).await?;
        save_fact(connection, "numbering_base", self.numbering_base).await?;
        save_fact(connection, "targets_lost", self.targets_lost).await?;
        save_fact(connection, "sequence_position", self.sequence_position).await?;
        save_fact(connection, "start_position", self.start_position).await
    }
}

/// Writes the identity of the store.
pub(crate) async fn save_store(connection: &mut SqliteConnection, store: StoreId) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES ('store', ?)");
    query.bind(store.0.cast_signed()).execute(connection).await.map(drop)
}

/// Writes one fact of the table `meta`.
pub(crate) async fn save_fact(
    connection: &mut SqliteConnection,
    key: &'static str,
    value: u64,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");
    query.bind(key).bind(signed(value)).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    /// A start among others, on a machine whose clock is right.
    const HERE: Here = Here { place: 7, boot: 3, is_rewritten: false, machine: 5, now: 20_000 * DAY };
    const META: Meta = Meta { store: Some(StoreId(9)), boot: 3, place: 7, machine: 5, ..NOTHING };
    const NOTHING: Meta = Meta {
        store: None,
        boot: 0,
        place: 0,
        machine: 0,
        clean: 0,
        numbering_base: 0,
        targets_lost: 0,
        sequence_position: 0,
        start_position: 0,
    };

    #[test]
    fn starts_are_counted_one_by_one_as_long_as_nothing_can_have_been_set_back() {
        assert_eq!(META.next_boot(HERE), 4);
        assert_eq!(NOTHING.next_boot(HERE), 1, "a new database has numbers of its own");
        // As an earlier gateway has written it, and where nothing says what is the same.
        assert_eq!(Meta { place: 0, machine: 0, ..META }.next_boot(HERE), 4);
        assert_eq!(META.next_boot(Here { place: 0, machine: 0, boot: 0, ..HERE }), 4);
    }

    /// The starts of a gateway that ends again and again, so many milliseconds apart, on another run of the machine.
    fn crash_loop(meta: Meta, begin: Here, apart: usize, millis: u64) -> Vec<u64> {
        let (mut meta, mut boots) = (meta, Vec::new());
        for at in (0..millis).step_by(apart) {
            let boot = meta.next_boot(Here { boot: meta.boot, now: begin.now + at, ..begin });
            meta = Meta { boot, place: begin.place, machine: begin.machine, ..meta };
            boots.push(boot);
        }
        boots
    }

    #[test]
    fn a_disk_that_was_set_back_with_its_machine_counts_on_as_what_it_has_forgotten_did_not() {
        let forgotten = META.next_boot(Here { machine: 6, ..HERE });
        assert!(forgotten > 1 << 35 && forgotten < 1 << 42, "{forgotten}: six bytes in a block");
        for seconds in [2, 60, 24 * 3_600] {
            let here = Here { machine: 8, now: HERE.now + seconds * 1_000, ..HERE };
            let set_back = META.next_boot(here);
            assert!(set_back > forgotten, "a later start counts more: {forgotten} {set_back}");
            let meta = Meta { boot: set_back, machine: 8, ..META };
            assert_eq!(meta.next_boot(Here { boot: set_back, ..here }), set_back + 1);
        }
    }

    #[test]
    fn starts_one_right_after_the_other_that_were_forgotten_are_behind_all_that_come_after_the_disk_was_set_back() {
        // A restart of the machine, and a database that was put back: both begin at the clock, and go on one by one.
        for begin in [Here { machine: 6, ..HERE }, Here { boot: 9, ..HERE }] {
            // Every 5 s as a service manager does it; and as fast as no gateway starts.
            for apart in [5_000, 2] {
                let forgotten = crash_loop(META, begin, apart, 60_000);
                assert!(forgotten.is_sorted_by(|a, b| a + 1 == *b), "{forgotten:?}");
                let here = Here { machine: 8, now: HERE.now + 61_000, ..HERE };
                let again = crash_loop(META, here, apart, 60_000);
                assert!(
                    forgotten.last() < again.first(),
                    "{begin:?} {apart}: {:?} {:?}",
                    forgotten.last(),
                    again.first()
                );
            }
        }
    }

    #[test]
    fn two_copies_that_start_in_the_same_second_are_told_apart_by_chance() {
        for here in [Here { place: 8, ..HERE }, Here { machine: 8, ..HERE }] {
            let boots: std::collections::BTreeSet<u64> = (0..20).map(|_| META.next_boot(here)).collect();
            assert!(boots.len() > 1, "{boots:?}");
        }
    }

    #[test]
    fn without_a_clock_that_is_right_starts_are_told_apart_by_chance() {
        for now in [0, 30 * DAY, u64::MAX] {
            let (meta, here) = (Meta { boot: 1 << 42, ..META }, Here { machine: 8, now, ..HERE });
            let boots: std::collections::BTreeSet<u64> = (0..20).map(|_| meta.next_boot(here)).collect();
            assert!(
                boots.len() > 1 && boots.iter().all(|boot| (2..2 + A_SECOND).contains(&(boot - meta.boot))),
                "{boots:?}"
            );
        }
    }

    #[test]
    fn copies_and_what_was_written_over_count_on_behind_all_that_is_known() {
        let set_back = [
            Here { place: 8, ..HERE },
            Here { boot: 5, ..HERE },
            Here { is_rewritten: true, ..HERE },
            Here { place: 8, boot: 1 << 42, machine: 6, now: 0, ..HERE },
        ];
        for here in set_back {
            let boot = META.next_boot(here);
            assert!(boot >= here.boot.max(here.now / 1_000 * A_SECOND) && boot > here.boot + 1, "{here:?}: {boot}");
        }
    }
}
