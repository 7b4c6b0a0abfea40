//! What the handles, the cursors and the writer of one store share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::SqlitePool;
use tidegate_model::{Name, Stream, StreamId, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::{
    CommitTimes, Dropped, StoreError, StoreStatus, Ticket,
    compaction::{Applied, Body, Change, Plan},
    gaps::Gap,
    numbers::count,
    pending::Pending,
    ranges::Range,
    starts::Starts,
    tail::Tail,
    target::Target,
    wire::WireSchemas,
};

/// Gaps that have been given to a target.
pub(crate) type GapsAnswer = Result<Vec<(Ticket, Gap)>, StoreError>;

/// What the writer is asked to do, between two commits.
#[derive(Debug)]
pub(crate) enum Command {
    /// A stream with these columns.
    Stream(Box<crate::streams::Wanted>),
    /// The target of that name, marked open.
    Cursor { target: Name, start: tidegate_config::StartAt, reply: oneshot::Sender<Result<Arc<Target>, StoreError>> },
    /// The next gaps of a target, marked as given.
    Gaps { target: Arc<Target>, reply: oneshot::Sender<GapsAnswer> },
    /// What compaction is to do next.
    Plan { reply: oneshot::Sender<Plan> },
    /// Bodies of the blocks that it prepares; false when they cannot be written.
    Bodies { ids: Range, bodies: Vec<Body>, reply: oneshot::Sender<bool> },
    /// Blocks in the place of what they were made of.
    Change { change: Box<Change>, reply: oneshot::Sender<Applied> },
    /// What compaction has prepared is of no use.
    GiveUp { reply: oneshot::Sender<()> },
    /// Compaction cannot read the fresh records at this position.
    PassUnreadable { position: u64, reply: oneshot::Sender<()> },
    /// A commit that does not wait for its time.
    Commit { reply: oneshot::Sender<()> },
    /// Nothing: the answer says that what was under way is finished.
    Finish { reply: oneshot::Sender<()> },
    /// A target has come to something that cannot be read.
    Damaged { target: Arc<Target>, generation: u64, place: Unreadable, reply: oneshot::Sender<()> },
    /// Gives the place of a target to another name.
    Move { from: Name, to: Name, reply: oneshot::Sender<Result<bool, StoreError>> },
    /// A last commit, then the end.
    Close { reply: oneshot::Sender<()> },
}

/// What a cursor cannot read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The position it wanted to read.
    pub(crate) position: u64,
    /// The positions of the record or block, when only its rows cannot be decoded.
    pub(crate) range: Option<Range>,
    /// What is wrong.
    pub(crate) why: String,
}

/// What the handles, the cursors and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Rows that wait for their commit.
    pub(crate) pending: Pending,
    /// Wakes the writer: a first row, a row too many, an acknowledgement.
    pub(crate) wake: Notify,
    /// Whether the writer has set the time of the next commit, so that it need not be woken.
    pub(crate) armed: AtomicBool,
    /// Tells compaction that there may be something to do.
    pub(crate) compact: Notify,
    /// Whether compaction falls behind.
    pub(crate) hurry: AtomicBool,
    /// Set once the store is closed.
    pub(crate) closed: AtomicBool,
    tail: Mutex<Tail>,
    targets: Mutex<BTreeMap<Name, Arc<Target>>>,
    streams: Mutex<HashMap<StreamId, Arc<Stream>>>,
    numbers: Mutex<Numbers>,
    starts: Mutex<Starts>,
    /// The schemas of the streams' blocks.
    pub(crate) wire: WireSchemas,
    readers: Mutex<SqlitePool>,
}

/// What the writer counts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Numbers {
    pub(crate) boot: u64,
    pub(crate) first_position: u64,
    pub(crate) bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) rows_committed: u64,
    pub(crate) bytes_committed: u64,
    pub(crate) commits: u64,
    pub(crate) fsyncs: u64,
    pub(crate) commit_times: CommitTimes,
    pub(crate) dropped: Dropped,
    pub(crate) failing: Option<String>,
    pub(crate) epochs: u64,
    pub(crate) blocks: u64,
    pub(crate) block_rows: u64,
    /// Positions in epochs that have no row any more.
    pub(crate) missing_rows: u64,
    pub(crate) fresh_bytes: u64,
    pub(crate) fresh_rows: u64,
    pub(crate) fresh_millis: u64,
}

/// The contents, also when a thread has panicked while it held them: every change here is complete at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(pending: Pending, tail: Tail, wire: WireSchemas, readers: SqlitePool) -> Shared {
        Shared {
            pending,
            wake: Notify::new(),
            armed: AtomicBool::new(false),
            compact: Notify::new(),
            hurry: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            tail: Mutex::new(tail),
            targets: Mutex::default(),
            streams: Mutex::default(),
            numbers: Mutex::default(),
            starts: Mutex::default(),
            wire,
            readers: Mutex::new(readers),
        }
    }

    pub(crate) fn tail(&self) -> MutexGuard<'_, Tail> {
        lock(&self.tail)
    }

    pub(crate) fn targets(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Target>>> {
        lock(&self.targets)
    }

    /// The streams whose rows have been seen since the start, so that a row read back shares its stream with the
    /// others.
    pub(crate) fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Stream>>> {
        lock(&self.streams)
    }

    pub(crate) fn numbers(&self) -> MutexGuard<'_, Numbers> {
        lock(&self.numbers)
    }

    /// The start in which the row at this position was numbered.
    pub(crate) fn boot_at(&self, position: u64) -> u64 {
        lock(&self.starts).boot_at(position)
    }

    /// Notes where the rows of each start begin.
    pub(crate) fn has_starts(&self, starts: &Starts) {
        lock(&self.starts).clone_from(starts);
    }

    /// Connections for reading.
    pub(crate) fn readers(&self) -> SqlitePool {
        lock(&self.readers).clone()
    }

    /// Reads from another database from now on; the one before is given back.
    pub(crate) fn replace_readers(&self, readers: SqlitePool) -> SqlitePool {
        std::mem::replace(&mut lock(&self.readers), readers)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Tells every cursor that there is something new.
    pub(crate) fn tell_all(&self) {
        for target in self.targets().values() {
            target.tell();
        }
    }

    pub(crate) fn status(&self) -> StoreStatus {
        // Each lock alone.
        let targets: Vec<Arc<Target>> = self.targets().values().cloned().collect();
        let (end, tail_bytes) = {
            let tail = self.tail();
            (tail.end(), count(tail.bytes()))
        };
        let targets = targets.iter().map(|target| target.status(&self.tail)).collect();
        let waiting = self.pending.waiting();
        let numbers = self.numbers().clone();
        StoreStatus {
            boot: numbers.boot,
            rows: end.saturating_sub(numbers.first_position).saturating_sub(numbers.missing_rows),
            bytes: numbers.bytes,
            file_bytes: numbers.file_bytes,
            oldest: numbers.oldest,
            rows_committed: numbers.rows_committed,
            bytes_committed: numbers.bytes_committed,
            epochs: numbers.epochs,
            blocks: numbers.blocks,
            block_rows: numbers.block_rows,
            fresh_rows: numbers.fresh_rows,
            fresh_bytes: numbers.fresh_bytes,
            fresh_span: Duration::from_millis(numbers.fresh_millis),
            commits: numbers.commits,
            fsyncs: numbers.fsyncs,
            commit_times: numbers.commit_times,
            pending_rows: count(waiting.rows),
            pending_bytes: count(waiting.bytes),
            pending_bytes_high: count(waiting.high),
            tail_bytes,
            dropped: Dropped {
                disk_failing: waiting.dropped,
                store_full: numbers.dropped.store_full + waiting.refused,
                ..numbers.dropped
            },
            failing: numbers.failing,
            targets,
        }
    }
}
