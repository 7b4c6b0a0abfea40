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
    /// Whether what an earlier process left in the database has been read; before that it is not written over.
    read: bool,
    /// Whether everything is to be written in place of what the database has.
    anew: bool,
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
            read: false,
            anew: false,
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
                Ok(found) => {
                    loaded = found;
                    writer.read = true;
                }
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
        if changes.retained.is_empty() && changes.sessions.is_empty() && !gone && !self.anew {
            return Ok(());
        }
        let most = self.options.max_size.0;
        match commit::write(&mut database.connection, &self.books, &changes, most, clock(), self.anew).await {
            Ok(written) => {
                self.anew = false;
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
        if !self.read {
            match database.is_empty().await {
                Ok(true) => {}
                Err(error) if !is_damage(&error) => return Err(explain(&error)),
                Ok(false) | Err(_) => {
                    self.set_aside_unread(database).await?;
                    database = Database::again(&self.folder).await?;
                }
            }
            self.read = true;
        }
        self.anew = true;
        self.books = Books::default();
        self.hub.everything_is_unsaved();
        self.database = Some(database);
        Ok(())
    }

    /// Sets a database aside that could not be read when the broker started: clients have come since then, and what it has is
    /// neither theirs any more nor to be lost.
    async fn set_aside_unread(&mut self, database: Database) -> Result<(), String> {
        let aside = database.give_up().await.map_err(|error| {
            format!("the database could not be read when the broker started, and cannot be renamed: {error}")
        })?;
        self.read = true;
        tracing::error!(
            now = %aside.display(),
            "the database of the MQTT broker could not be read when the broker started; it was set aside with the sessions and retained messages of before, and a new one is written from memory; stop the gateway and give it its name back to have those again"
        );
        self.counters.change(|status| status.set_aside = Some(aside));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tidegate_config::Broker;

    use super::*;
    use crate::{limits::Limits, message::Published, users::Users};

    async fn writer(folder: &Path) -> Writer {
        let options = Broker::on_loopback();
        let hub = Arc::new(Hub::new(Limits::from(&options), Users::new(&options)));
        Writer::open(folder, BrokerPersistence::default(), &hub).await.unwrap().0
    }

    fn retain(writer: &Writer, topic: &'static str) {
        let message = Published::by_gateway(topic.into(), "x".into(), true);
        writer.hub.publish(Published { from: 1, ..message });
    }

    async fn kept(folder: &Path) -> Vec<String> {
        let mut database = Database::again(folder).await.unwrap();
        let topics = "SELECT CAST(topic AS TEXT) FROM retained ORDER BY topic";
        let found = sqlx::query_scalar(topics).fetch_all(&mut database.connection).await.unwrap();
        database.close().await.unwrap();
        found
    }

    async fn sql(folder: &Path, sql: &'static str) {
        let mut database = Database::again(folder).await.unwrap();
        sqlx::query(sql).execute(&mut database.connection).await.unwrap();
        database.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_the_disk_has_stays_there_until_everything_has_been_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path()).await;
        retain(&writer, "first");
        writer.write().await.unwrap();
        // As on a full disk: what makes room goes through, what needs some does not.
        sql(folder.path(), "CREATE TRIGGER full BEFORE INSERT ON retained BEGIN SELECT RAISE(ABORT, 'full'); END")
            .await;
        retain(&writer, "second");
        for _ in 0..3 {
            assert!(writer.write().await.is_err());
            assert_eq!(kept(folder.path()).await, ["first"]);
        }
        sql(folder.path(), "DROP TRIGGER full").await;
        writer.write().await.unwrap();
        assert_eq!(kept(folder.path()).await, ["first", "second"]);
        assert_eq!(writer.books.retained.len(), 2);
    }

    #[tokio::test]
    async fn what_could_not_be_read_at_the_start_is_set_aside_and_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        fs::create_dir(&data).unwrap();
        let mut before = writer(&data).await;
        retain(&before, "before");
        before.write().await.unwrap();
        before.database.take().unwrap().close().await.unwrap();
        fs::rename(&data, &elsewhere).unwrap();
        fs::write(&data, "in the way").unwrap();
        let mut after = writer(&data).await;
        retain(&after, "after");
        assert!(after.write().await.is_err());
        fs::remove_file(&data).unwrap();
        fs::rename(&elsewhere, &data).unwrap();
        after.write().await.unwrap();
        assert_eq!(kept(&data).await, ["after"]);
        let aside = after.counters.get().set_aside.expect("it has a new name");
        after.database.take().unwrap().close().await.unwrap();
        fs::rename(aside, data.join("broker.db")).unwrap();
        assert_eq!(kept(&data).await, ["before"]);
    }

    #[tokio::test]
    async fn after_an_error_half_way_nothing_of_the_database_is_in_the_broker() {
        let folder = tempfile::tempdir().unwrap();
        drop(writer(folder.path()).await);
        sql(folder.path(), "INSERT INTO session VALUES (7, 'client', NULL, 100, NULL, 0, x'', x'')").await;
        sql(folder.path(), "INSERT INTO subscription VALUES (7, 'a', 1, 0, 0, NULL)").await;
        assert_eq!(writer(folder.path()).await.hub.status().sessions_offline, 1);
        sql(folder.path(), "DROP TABLE retained").await;
        let status = writer(folder.path()).await.hub.status();
        assert_eq!((status.sessions_offline, status.subscriptions), (0, 0));
    }

    #[tokio::test]
    async fn numbers_that_the_disk_knows_are_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(writer(folder.path()).await);
        // One whose user is gone, and one whose time is over.
        sql(folder.path(), "INSERT INTO session VALUES (900, 'client', 'gone', 100, NULL, 0, x'', x'')").await;
        sql(folder.path(), "INSERT INTO session VALUES (901, 'other', NULL, 100, 0, 0, x'', x'')").await;
        let writer = writer(folder.path()).await;
        assert_eq!(writer.hub.status().sessions_offline, 0);
        assert_eq!(writer.hub.number(), 902);
    }
}
