//! The handle through which everything else uses the store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_codec::block::StoreId;
use tidegate_config::StartAt;
use tidegate_model::{Column, Name, Row, Stream};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Cursor, StoreError, StoreStatus, WireSchema,
    books::Books,
    compaction::Compactor,
    damage,
    database::{Database, FILE, Unusable, readers},
    lock::{self, Here},
    pending::Pending,
    shared::{Command, Shared},
    streams::Wanted,
    tail::Tail,
    writer::Writer,
};

/// Memory for rows that wait for their commit, about: a quarter of an hour of 1,000 tags a second when nothing can be
/// written, a good second of a million.
const PENDING_BYTES: usize = 64 << 20;
/// Memory for committed rows that some live target has not read yet, about.
const TAIL_BYTES: usize = 8 << 20;
/// Requests of handles and cursors that wait for the writer.
const COMMANDS: usize = 64;

/// An open store. Clones are handles of the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What [`Store::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The database that was found damaged and replaced by a new one; an ERROR has been logged.
    pub set_aside: Option<SetAside>,
}

/// A damaged database that has been renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

impl Store {
    /// Opens the store in `dir`, the gateway's data directory; makes both when they are not there yet.
    ///
    /// Must be called on a tokio runtime, on which the writer task then runs until [`Store::close`], or until every
    /// handle and cursor is gone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Directory`], [`StoreError::InUse`], [`StoreError::NewerFormat`] or [`StoreError::Database`].
    pub async fn open(dir: &Path, options: &tidegate_config::Store) -> Result<Opened, StoreError> {
        let directory = lock::take(dir)?;
        let here = directory.here();
        let (database, books, set_aside) = match open_database(dir, options, here).await {
            Ok((database, books)) => (database, books, None),
            Err(Unusable::Damaged(why)) => {
                let (database, books, aside) = damage::replace(dir, &why, options.max_age, here).await?;
                directory.note(books.boot);
                (database, books, Some(aside))
            }
            Err(Unusable::Other(error)) => return Err(error),
        };
        let tail = Tail::new(TAIL_BYTES, books.end);
        let wire = books.streams.wire_schemas(books.store);
        let shared = Arc::new(Shared::new(Pending::new(PENDING_BYTES), tail, wire, readers(&database.path)));
        shared.targets().clone_from(&books.targets);
        shared.numbers().boot = books.boot;
        shared.has_starts(&books.starts);
        let (commands, requests) = mpsc::channel(COMMANDS);
        let mut writer = Writer::new(Arc::clone(&shared), dir.to_owned(), directory, database, books, options.clone());
        writer.measure().await;
        writer.count_epochs();
        tokio::spawn(writer.run(requests));
        tokio::spawn(Compactor::new(Arc::clone(&shared), commands.downgrade()).run());
        Ok(Opened { store: Store { shared, commands }, set_aside })
    }

    /// The stream of a group with these columns, and the `seq` of its last row (0 when there was none).
    ///
    /// The same columns give the same stream again, other columns a new one; the numbering goes on in both cases. It
    /// goes on at milliseconds since 1970 when the last number has been lost to damage.
    ///
    /// # Errors
    ///
    /// [`StoreError::Columns`], [`StoreError::Database`] or [`StoreError::Closed`].
    pub async fn stream(
        &self,
        device: &Name,
        group: &Name,
        columns: impl Into<Arc<[Column]>>,
    ) -> Result<(Arc<Stream>, u64), StoreError> {
        let (reply, answer) = oneshot::channel();
        let wanted = Wanted { device: device.clone(), group: group.clone(), columns: columns.into(), reply };
        self.ask(Command::Stream(Box::new(wanted))).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Takes a row of a stream that [`Store::stream`] gave, with the payload that the local broker got for it.
    ///
    /// Never blocks. While nothing can be written, rows wait in memory; when that is full (64 MiB) the row is
    /// dropped, counted, and becomes a gap for every target.
    pub fn append(&self, row: Arc<Row>, payload: Bytes) {
        if self.shared.pending.push(row, payload) {
            self.shared.wake.notify_one();
        }
    }

    /// The same with a row of the past: its time is the one that the device states, before those of rows that the stream has
    /// already. What is late, and what is old, is never told from it.
    pub fn append_past(&self, row: Arc<Row>, payload: Bytes) {
        if self.shared.pending.push_past(row, payload) {
            self.shared.wake.notify_one();
        }
    }

    /// The cursor of `target`, where it was; `start` is for a target without one.
    ///
    /// # Errors
    ///
    /// [`StoreError::CursorTaken`], [`StoreError::Database`] or [`StoreError::Closed`].
    pub async fn cursor(&self, target: &Name, start: StartAt) -> Result<Cursor, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Cursor { target: target.clone(), start, reply }).await?;
        let target = answer.await.map_err(|_| StoreError::Closed)??;
        Ok(Cursor::new(Arc::clone(&self.shared), self.commands.clone(), target))
    }

    /// Gives the place of a target, with its gaps, to another name: a target has been renamed. False when the new name
    /// has a place already or the old one has none, so that it does no harm to ask at every start.
    ///
    /// # Errors
    ///
    /// [`StoreError::CursorTaken`] while a cursor of the old name is open, [`StoreError::Database`] or
    /// [`StoreError::Closed`].
    pub async fn move_cursor(&self, from: &Name, to: &Name) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Move { from: from.clone(), to: to.clone(), reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The identity of the numbering of this store's rows: gateway, store, device and group together name a stream for
    /// ever. It stays when a damaged database is replaced, unless the last numbers have been lost with it.
    pub fn id(&self) -> StoreId {
        self.shared.wire.store()
    }

    /// The number of this start on this database: higher than that of each start before, mostly by one.
    pub fn boot(&self) -> u64 {
        self.shared.numbers().boot
    }

    /// The schema by which blocks of this stream are read. The same stream always has the same.
    pub fn block_schema(&self, stream: &Stream) -> Arc<WireSchema> {
        self.shared.wire.of(stream)
    }

    /// How the store does; cheap, does not touch the disk.
    pub fn status(&self) -> StoreStatus {
        self.shared.status()
    }

    /// Commits what is pending without waiting for its time, so that a reader sees it. While nothing can be written it stays pending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`].
    pub async fn commit(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Commit { reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    /// Commits what is pending and closes the database. Rows appended afterwards through another handle are dropped.
    pub async fn close(self) {
        let (reply, answer) = oneshot::channel();
        if self.ask(Command::Close { reply }).await.is_ok() {
            // The writer may have ended by itself just now.
            let _ = answer.await;
        }
    }

    async fn ask(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).await.map_err(|_| StoreError::Closed)
    }
}

async fn open_database(
    dir: &Path,
    options: &tidegate_config::Store,
    here: Here,
) -> Result<(Database, Books), Unusable> {
    let mut database = Database::open(dir.join(FILE)).await?;
    match Books::open(&mut database, options.max_age, here).await {
        Ok(books) => Ok((database, books)),
        Err(unusable) => {
            // Nobody may have it open when it is renamed; what its end says is of no use.
            let _ = database.close().await;
            Err(unusable)
        }
    }
}
