//! The task that writes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tidegate_config::BrokerPersistence;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    DiskCounters,
    commit::{self, Books, Clock},
    database::{Database, explain, is_damage},
    load::{Away, Loaded, load},
};
use crate::{
    error::BrokerError,
    hub::{Changes, Hub},
};

/// The longest pause between two tries when nothing can be written.
const LONGEST: Duration = Duration::from_secs(10);

/// Writes what changes in a broker.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) hub: Arc<Hub>,
    pub(crate) folder: PathBuf,
    /// Absent while it cannot be opened.
    pub(crate) database: Option<Database>,
    pub(crate) books: Books,
    pub(crate) options: BrokerPersistence,
    pub(crate) counters: DiskCounters,
}

impl Writer {
    /// Opens the database in `folder` and puts back what is in it. Returns with the writer the sessions whose clients are away.
    ///
    /// # Errors
    ///
    /// [`BrokerError::NewerFormat`]; with any other trouble the writer tries again later.
    pub(crate) async fn open(
        folder: &Path,
        options: BrokerPersistence,
        hub: &Arc<Hub>,
    ) -> Result<(Writer, Vec<Away>), BrokerError> {
        let opened = Database::open(folder).await?;
        let mut writer = Writer {
            hub: Arc::clone(hub),
            folder: folder.to_owned(),
            database: opened.database,
            books: Books::default(),
            options,
            counters: DiskCounters::default(),
        };
        writer.counters.change(|status| status.set_aside = opened.set_aside);
        if let Some(why) = opened.failing {
            writer.report(why);
        }
        let mut loaded = Loaded::default();
        if let Some(database) = &mut writer.database {
            match load(&mut database.connection, hub, clock()).await {
                Ok(found) => loaded = found,
                Err(error) if is_damage(&error) => writer.begin_anew(explain(&error)).await,
                Err(error) => {
                    writer.database = None;
                    writer.report(explain(&error));
                }
            }
        }
        hub.note_unsaved();
        let stale = loaded.stale.into_iter().map(|topic| (topic, None)).collect();
        hub.still_unsaved(Changes { retained: stale, ..Changes::default() });
        writer.books = loaded.books;
        let (sessions, retained) = (loaded.away.len(), writer.books.retained.len());
        writer.tell();
        tracing::info!(
            sessions,
            retained,
            "the MQTT broker has put back the sessions and retained messages of clients"
        );
        Ok((writer, loaded.away))
    }

    /// Writes until `stop`, and then once more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.options.commit, self.options.commit);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pause, mut next_try) = (self.options.commit, Instant::now());
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            if last || next_try <= Instant::now() {
                match self.write().await {
                    Ok(()) => pause = self.options.commit,
                    Err(why) => {
                        self.report(why);
                        pause = (pause * 2).min(LONGEST);
                        next_try = Instant::now() + pause;
                    }
                }
            }
            if last {
                break;
            }
        }
        if let Some(database) = self.database
            && let Err(error) = database.close().await
        {
            tracing::warn!(
                error = explain(&error),
                "the database of the MQTT broker could not be closed; nothing is lost"
            );
        }
    }

    async fn write(&mut self) -> Result<(), String> {
        if self.database.is_none() {
            self.reopen().await?;
        }
        let Some(database) = &mut self.database else { return Ok(()) };
        let Some(changes) = self.hub.changes() else { return Ok(()) };
        let gone = self.books.sessions.keys().any(|number| changes.alive.binary_search(number).is_err());
        if changes.retained.is_empty() && changes.sessions.is_empty() && !gone {
            return Ok(());
        }
        let most = self.options.max_size.0;
        match commit::write(&mut database.connection, &self.books, &changes, most, clock()).await {
            Ok(written) => {
                let left_out = written.left_out;
                self.books.note(written);
                self.told(left_out);
                Ok(())
            }
            Err(error) => {
                self.hub.still_unsaved(changes);
                if is_damage(&error) {
                    self.begin_anew(explain(&error)).await;
                } else {
                    // A transaction that failed half-way is over with its connection.
                    self.database = None;
                }
                Err(explain(&error))
            }
        }
    }

    /// Opens the database again. What it has may differ from what was known: everything is written anew.
    async fn reopen(&mut self) -> Result<(), String> {
        let mut database = Database::again(&self.folder).await?;
        for sql in ["DELETE FROM message", "DELETE FROM subscription", "DELETE FROM session", "DELETE FROM retained"] {
            sqlx::query(sql).execute(&mut database.connection).await.map_err(|error| explain(&error))?;
        }
        self.books = Books::default();
        self.hub.everything_is_unsaved();
        self.database = Some(database);
        Ok(())
    }

    /// Sets a database aside that turned out to be damaged.
    async fn begin_anew(&mut self, why: String) {
        let Some(database) = self.database.take() else { return };
        match database.give_up().await {
            Ok(aside) => {
                tracing::error!(
                    now = %aside.display(), why,
                    "the database of the MQTT broker is damaged; it was set aside, and a new one is written from memory"
                );
                self.counters.change(|status| status.set_aside = Some(aside));
            }
            Err(error) => tracing::error!(%error, why, "the damaged database of the MQTT broker cannot be renamed"),
        }
    }

    /// Tells what is on the disk.
    fn tell(&self) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.counters.change(|status| {
            status.retained = number(self.books.retained.len());
            status.sessions = number(self.books.sessions.len());
            status.messages = number(self.books.messages());
            status.bytes = self.books.bytes;
        });
    }

    /// Tells about a commit.
    fn told(&self, left_out: u64) {
        self.tell();
        self.counters.change(|status| {
            if status.failing.take().is_some() {
                tracing::info!("the MQTT broker can write again; what had changed meanwhile is on the disk");
            }
            if left_out > 0 && status.left_out == 0 {
                tracing::warn!(
                    limit = self.options.max_size.0,
                    "the MQTT broker keeps more messages than `max_size` in [broker.persistence] has room for; those beyond it would be lost in a restart"
                );
            }
            status.left_out += left_out;
            status.commits += 1;
        });
    }

    fn report(&self, why: String) {
        self.counters.change(|status| {
            if status.failing.is_none() {
                tracing::error!(
                    why, folder = %self.folder.display(),
                    "the MQTT broker cannot write its sessions and retained messages; it goes on from memory and tries again; what changes meanwhile would be lost in a restart"
                );
            }
            status.failing = Some(why);
        });
    }
}

/// This moment on both clocks.
pub(crate) fn clock() -> Clock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock { now: Instant::now(), millis: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
}
