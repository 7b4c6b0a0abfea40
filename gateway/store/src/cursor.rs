//! The place of one target in the log, and its two lanes.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::mpsc;

use crate::{
    Delivery, Shape, StoreError, Ticket,
    reading::{Part, Reading},
    shared::{Command, Shared},
    target::Target,
};

/// The place of one target in the log. There is at most one per target; dropping it frees the target's name, its
/// place stays.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    target: Arc<Target>,
    live: Reading,
    backlog: Reading,
}

/// One of the two ways to a target; see [`Cursor::lanes`].
#[derive(Debug)]
pub struct Lane<'a> {
    reading: &'a mut Reading,
    part: Part,
    shape: Shape,
}

impl Cursor {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Sender<Command>, target: Arc<Target>) -> Cursor {
        let live = Reading::new(Arc::clone(&shared), commands.clone(), Arc::clone(&target));
        let backlog = Reading::new(Arc::clone(&shared), commands, Arc::clone(&target));
        Cursor { shared, target, live, backlog }
    }

    /// Begins a connection: a [`rewind`](Cursor::rewind), and from then on two lanes, live and backlog.
    ///
    /// What is committed from now on is live. Everything before that is not acknowledged is backlog, oldest first, and
    /// so are the gaps. A live lane that falls behind, by more than ten seconds or by more than what is kept in memory,
    /// goes on with the newest rows; what it has left out becomes backlog, too. Each row is given in one of them.
    ///
    /// Both can be waited for at the same time, and be acknowledged by one [`Acknowledger`]. [`Shape::Blocks`] concerns
    /// the backlog: rows that are still in memory are single ones.
    pub fn lanes(&mut self, shape: Shape) -> (Lane<'_>, Lane<'_>) {
        self.forget();
        {
            let mut place = self.target.place();
            let end = self.shared.tail().end();
            place.split(end);
        }
        let live = Lane { reading: &mut self.live, part: Part::Live, shape: Shape::Rows };
        (live, Lane { reading: &mut self.backlog, part: Part::Backlog, shape })
    }

    /// The next committed rows and gaps in one lane, oldest first; as [`Lane::next`].
    ///
    /// # Errors
    ///
    /// As [`Lane::next`].
    pub async fn next(&mut self, max_rows: usize, max_bytes: usize) -> Result<Vec<Delivery>, StoreError> {
        self.backlog.next(Part::All, Shape::Rows, max_rows, max_bytes).await
    }

    /// Says that the other side has it. In any order: what has been acknowledged is kept as a set, on the disk with
    /// the next commit.
    pub fn acknowledge(&self, ticket: Ticket) {
        acknowledge(&self.target, &self.shared, ticket);
    }

    /// A handle that acknowledges for this cursor while [`Cursor::next`] or a lane is waiting or reading.
    ///
    /// A target gets acknowledgements all the time; were it to drop `next` for each of them, a slow disk would never
    /// finish a read.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger { shared: Arc::clone(&self.shared), target: Arc::clone(&self.target) }
    }

    /// Goes back to the first row that has not been acknowledged, in one lane; what was acknowledged behind it is not
    /// delivered again.
    pub fn rewind(&mut self) {
        self.target.place().rewind();
        self.forget();
    }

    fn forget(&mut self) {
        self.live.forget();
        self.backlog.forget();
    }
}

impl Lane<'_> {
    /// The next committed rows of this lane, at least one and at most `max_rows` (a block counts as its rows); waits
    /// until there is something.
    ///
    /// Stops before the sum of the payloads (where a payload is not in memory, of the row's values) exceeds
    /// `max_bytes`, but never before the first. Waits, too, while 65,536 deliveries of the target are not acknowledged.
    /// A future that is dropped while it waits loses nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] once the store has been closed; [`StoreError::Database`] when the disk cannot be read
    /// now, in which case a later call goes on at the same place.
    pub async fn next(&mut self, max_rows: usize, max_bytes: usize) -> Result<Vec<Delivery>, StoreError> {
        self.reading.next(self.part, self.shape, max_rows, max_bytes).await
    }
}

/// Acknowledges for one cursor; see [`Cursor::acknowledger`].
#[derive(Debug, Clone)]
pub struct Acknowledger {
    shared: Arc<Shared>,
    target: Arc<Target>,
}

impl Acknowledger {
    /// As [`Cursor::acknowledge`].
    pub fn acknowledge(&self, ticket: Ticket) {
        acknowledge(&self.target, &self.shared, ticket);
    }
}

fn acknowledge(target: &Target, shared: &Shared, ticket: Ticket) {
    let (was_full, news) = {
        let mut place = target.place();
        let was_full = place.is_full() || place.is_scattered();
        (was_full, place.acknowledge(ticket))
    };
    if was_full {
        target.tell();
    }
    if news && !shared.armed.load(Ordering::Acquire) {
        shared.wake.notify_one();
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut place = self.target.place();
        place.rewind();
        place.open = false;
    }
}
