//! Blocks that leave the quarantine because their schema has come at last.

use std::sync::Arc;

use sqlx::{Connection, PgConnection};

use super::{Postgres, Task, quarantine};
use crate::{
    piece::{self, Known, Piece, Refused},
    sink::{SinkError, Trouble, Written},
};

/// Transactions at a time; those that come are written between.
const TRANSACTIONS: usize = 16;
/// Blocks that leave the quarantine in one transaction.
const BLOCKS: i64 = 64;

/// A schema that has come, and how far its blocks have left the quarantine.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) known: Arc<Known>,
    /// What lies before it in the quarantine is done, or cannot be written.
    after: i64,
    /// The database refuses one of the next blocks: one by one, so that it is alone.
    one_by_one: bool,
    /// The block at which it is, one by one.
    at: i64,
    /// Whether all is done.
    done: bool,
}

impl Release {
    pub(super) fn new(known: Arc<Known>) -> Release {
        Release { known, after: 0, one_by_one: false, at: 0, done: false }
    }
}

impl Postgres {
    /// Writes blocks whose schema has come. What cannot be written stays in the quarantine.
    pub(crate) async fn tick(&mut self, written: &mut Written) -> Result<(), SinkError> {
        for _ in 0..TRANSACTIONS {
            let Some(mut release) = self.releases.pop_front() else { return Ok(()) };
            match self.run(Task::Release(&mut release)).await {
                Ok(released) => written.add(&released),
                Err(error) if error.trouble == Trouble::Values && !release.one_by_one => release.one_by_one = true,
                Err(error) if error.trouble == Trouble::Values => {
                    let (stream, schema) = (&release.known.key, release.known.id);
                    tracing::error!(
                        %stream, %schema, id = release.at, %error.text,
                        "the sink refuses a block whose schema has come; it stays in the quarantine"
                    );
                    // Nothing but the schema itself can be refused where no block is begun.
                    release.done = release.at <= release.after;
                    release.after = release.at;
                }
                Err(error) => {
                    self.releases.push_front(release);
                    // Somebody else is at the same place: it is free again the next time.
                    return if error.trouble == Trouble::Conflict { Ok(()) } else { Err(error) };
                }
            }
            if !release.done {
                self.releases.push_front(release);
            }
        }
        Ok(())
    }

    pub(super) async fn release(
        &mut self,
        connection: &mut PgConnection,
        release: &mut Release,
    ) -> Result<Written, sqlx::Error> {
        let known = Arc::clone(&release.known);
        self.identities.learn(connection, std::iter::once(&known), &self.progress).await?;
        let most = if release.one_by_one { 1 } else { BLOCKS };
        let ids = quarantine::waiting(connection, &known, release.after, most).await?;
        let Some(last) = ids.last().copied() else {
            release.done = true;
            return Ok(Written::default());
        };
        release.at = last;
        let mut transaction = connection.begin().await?;
        let mut written = Written::default();
        for frame in quarantine::take(&mut transaction, &ids).await? {
            // One after the other: what is small in the quarantine may be large when it is unpacked.
            for (schema, whole) in piece::blocks(&frame).0 {
                let piece = whole.unpack(&known, &mut self.decoder).unwrap_or_else(|error| {
                    Piece::Refused(Refused::new(known.key.gateway.as_str(), &error, schema, frame.clone()))
                });
                written.add(&self.enter(&mut transaction, &[piece]).await?);
                written.released += 1;
            }
        }
        transaction.commit().await?;
        release.after = last;
        Ok(written)
    }
}
