//! The task that writes.

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tidegate_config::BrokerPersistence;
use tokio::{
    runtime::Handle,
    time::{Duration, Instant, MissedTickBehavior, interval_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    DiskCounters,
    commit::{self, Books, Clock},
    database::{Database, Opened, explain, is_damage},
    load::{Loaded, load},
};
use crate::{
    error::BrokerError,
    farewell,
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
    /// Whether clients may have come.
    running: bool,
    /// Whether everything is to be written in place of what the database has.
    anew: bool,
    pub(crate) options: BrokerPersistence,
    pub(crate) counters: DiskCounters,
    keepers: Keepers,
}

/// Where tasks run that keep sessions of clients that are away.
#[derive(Debug, Clone)]
pub(crate) struct Keepers {
    tasks: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
}

impl Keepers {
    /// Tasks of this runtime.
    pub(crate) fn here(tasks: TaskTracker, stop: CancellationToken) -> Keepers {
        Keepers { tasks, stop, runtime: Handle::current() }
    }
}

impl Writer {
    /// Opens the database in `folder` and puts back what is in it.
    ///
    /// # Errors
    ///
    /// [`BrokerError::NewerFormat`]; with any other trouble the writer tries again later.
    pub(crate) async fn open(
        folder: &Path,
        options: BrokerPersistence,
        hub: &Arc<Hub>,
        keepers: Keepers,
    ) -> Result<Writer, BrokerError> {
        let mut writer = Writer {
            hub: Arc::clone(hub),
            folder: folder.to_owned(),
            database: None,
            books: Books::default(),
            read: false,
            running: false,
            anew: false,
            options,
            counters: DiskCounters::default(),
            keepers,
        };
        if let Err(why) = writer.open_database().await? {
            writer.report(why);
            hub.note_unsaved();
            hub.note_arrivals();
        }
        writer.running = true;
        writer.tell();
        Ok(writer)
    }

    /// Opens the database, and puts back what is in it unless that has been done. Returns why that cannot be done now.
    async fn open_database(&mut self) -> Result<Result<(), String>, BrokerError> {
        let mut opened = Database::open(&self.folder).await?;
        let mut database = match self.opened(opened) {
            Ok(database) => database,
            Err(why) => return Ok(Err(why)),
        };
        if !self.read {
            let mut loaded = load(&mut database.connection, &self.hub, clock(), self.running).await;
            if let Some(error) = loaded.as_ref().err().filter(|error| is_damage(error)) {
                self.set_aside(database, explain(error)).await;
                opened = Database::open(&self.folder).await?;
                database = match self.opened(opened) {
                    Ok(database) => database,
                    Err(why) => return Ok(Err(why)),
                };
                loaded = load(&mut database.connection, &self.hub, clock(), self.running).await;
            }
            match loaded {
                Ok(loaded) => self.put_back(loaded),
                Err(error) => return Ok(Err(explain(&error))),
            }
            self.read = true;
        }
        if self.running {
            // What it has may differ from what is known.
            self.anew = true;
            self.books = Books::default();
            self.hub.everything_is_unsaved();
        }
        self.database = Some(database);
        Ok(Ok(()))
    }

    fn opened(&self, opened: Opened) -> Result<Database, String> {
        if let Some(aside) = opened.set_aside {
            self.counters.change(|status| status.set_aside = Some(aside));
        }
        opened.database
    }

    /// Lets what was found take up its work.
    fn put_back(&mut self, loaded: Loaded) {
        let Loaded { books, away, stale, wills, superseded } = loaded;
        let (sessions, retained, wills_due) = (away.len(), books.retained.len() - stale.len(), wills.len());
        self.hub.note_unsaved();
        self.hub.forget_arrivals();
        // What is not there any more is taken off the disk.
        let retained_stale = stale.into_iter().map(|topic| (topic, None)).collect();
        let wills_stale = (!books.wills.is_empty()).then(Vec::new);
        self.hub.still_unsaved(Changes { retained: retained_stale, wills: wills_stale, ..Changes::default() });
        self.books = books;
        for away in away {
            if let Some((_, will)) = &away.will {
                self.hub.put_back_will(will);
            }
            let Keepers { tasks, stop, runtime } = &self.keepers;
            tasks.spawn_on(farewell::keep(Arc::clone(&self.hub), away, stop.clone()), runtime);
        }
        for will in wills {
            self.hub.publish_will(&will);
        }
        tracing::info!(
            sessions,
            retained,
            wills_due,
            "the MQTT broker has put back the sessions and retained messages of clients"
        );
        let (superseded, messages) = superseded;
        if superseded > 0 {
            tracing::warn!(
                sessions = superseded,
                messages,
                "these sessions could not be read when the MQTT broker started, and their clients have begun new ones since then; the old ones and what waited there are gone"
            );
        }
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
            self.open_database().await.map_err(|error| error.to_string())??;
        }
        let Some(database) = &mut self.database else { return Ok(()) };
        let Some(changes) = self.hub.changes() else { return Ok(()) };
        let gone = self.books.sessions.keys().any(|number| changes.alive.binary_search(number).is_err());
        if changes.is_empty() && !gone && !self.anew {
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
                // A transaction that failed half-way is over with its connection.
                let database = self.database.take();
                if let Some(database) = database.filter(|_| is_damage(&error)) {
                    self.set_aside(database, explain(&error)).await;
                }
                Err(explain(&error))
            }
        }
    }

    /// Sets a database aside that turned out to be damaged.
    async fn set_aside(&self, database: Database, why: String) {
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
            status.wills = number(self.books.wills.len());
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
                let folder = self.folder.display();
                if self.read {
                    tracing::error!(
                        why, %folder,
                        "the MQTT broker cannot write its sessions and retained messages; it goes on from memory and tries again; what changes meanwhile would be lost in a restart"
                    );
                } else {
                    tracing::error!(
                        why, %folder,
                        "the MQTT broker cannot read the sessions and retained messages of before; it begins without them and tries again: they come back as soon as that goes, but for those of clients that have come without them; what changes meanwhile would be lost in a restart"
                    );
                }
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
