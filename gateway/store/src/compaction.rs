//! Turns fresh records into blocks, and short blocks into longer ones, beside the commits.
//!
//! A task of its own reads and encodes, with a connection that only reads and in turns with pauses; the writer applies
//! what it has prepared in short transactions between two commits. What a kill leaves of a step is found at the next
//! start and removed: until the one transaction that puts the new blocks in the place of the old rows nothing refers to
//! them.
//!
//! **Invariant:** rows get other positions only within the stretch that a step is about, and none of it is in flight.
//! **Invariant:** all rows of such a stretch were numbered in one start of the gateway.

mod apply;
mod building;
mod change;
mod fresh;
mod join;
pub(crate) mod limits;
pub(crate) mod sweep;
mod thin;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{Sqlite, pool::PoolConnection};
use tidegate_codec::block::{Codec, Decoder, Encoder};
use tidegate_model::{Stream, StreamId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

pub(crate) use change::{Body, Change, ranges};

use crate::{
    database::{Trouble, Unusable, trouble},
    epochs::Epoch,
    ranges::Range,
    shared::{Command, Shared},
    streams,
};

/// After work the task pauses so many times as long: a quarter of a core at most.
const PAUSE: u32 = 3;
/// Before something that failed or could not be done now is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How often a step is offered to the writer while something of it is in flight.
const OFFERS: u32 = 20;
const OFFER_PAUSE: Duration = Duration::from_millis(100);

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Nothing for now.
    Rest,
    /// The first records in a range become blocks: so many as lie so many milliseconds apart and have so many bytes.
    Fresh { range: Range, limits: (u64, u64), begin: Begin },
    /// Blocks of these epochs become longer ones.
    Join { epochs: Vec<Epoch>, begin: Begin },
    /// Some rows of this epoch go.
    Thin { epoch: Epoch, begin: Begin },
}

/// What new blocks begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    /// The number of the first body.
    pub(crate) body: u64,
    /// The start in which all of their rows were numbered.
    pub(crate) boot: u64,
}

/// What the writer says to a change.
#[derive(Debug)]
pub(crate) enum Applied {
    /// It is done.
    Done,
    /// Something of it is in flight.
    InFlight(Box<Change>),
    /// It could not be written.
    Failed,
}

/// Why a step has not come to its end.
#[derive(Debug)]
enum Stopped {
    /// The store is closing.
    Closed,
    /// It is worth to try again later.
    Later(String),
    /// Rows at this position cannot be read.
    Damaged { position: u64, why: String },
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Stopped {
        Stopped::Later(error.to_string())
    }
}

/// The task.
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    /// Does not keep the writer working.
    commands: mpsc::WeakSender<Command>,
    streams: HashMap<StreamId, Arc<Stream>>,
    tools: Option<Tools>,
}

/// What encodes and decodes, with its working memory.
struct Tools {
    encoder: Encoder,
    decoder: Decoder,
}

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::WeakSender<Command>) -> Compactor {
        Compactor { shared, commands, streams: HashMap::new(), tools: None }
    }

    /// Works until the store is closed.
    pub(crate) async fn run(mut self) {
        let mut reported = false;
        loop {
            let stopped = match self.step().await {
                Ok(true) => {
                    reported = false;
                    continue;
                }
                Ok(false) => {
                    self.tools = None;
                    self.streams.clear();
                    self.shared.compact.notified().await;
                    continue;
                }
                Err(stopped) => stopped,
            };
            match stopped {
                Stopped::Closed => return,
                Stopped::Later(why) => {
                    tracing::debug!(%why, "rows could not be moved into blocks now; trying again");
                    sleep(RETRY).await;
                }
                Stopped::Damaged { position, why } => {
                    if !std::mem::replace(&mut reported, true) {
                        tracing::error!(
                            position, %why,
                            "a part of the database cannot be read; its rows stay where they are and the rest is \
                             moved into blocks; check the disk"
                        );
                    }
                    if self.ask(|reply| Command::PassUnreadable { position, reply }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Does what is to be done next. False when there is nothing.
    async fn step(&mut self) -> Result<bool, Stopped> {
        let change = match self.ask(|reply| Command::Plan { reply }).await? {
            Plan::Rest => return Ok(false),
            Plan::Fresh { range, limits, begin } => self.fresh(range, limits, begin).await?,
            Plan::Join { epochs, begin } => self.join(&epochs, begin).await?,
            Plan::Thin { epoch, begin } => self.thin(epoch, begin).await?,
        };
        let Some(change) = change else {
            return Err(Stopped::Later("there is nothing to move".to_owned()));
        };
        self.apply(change).await?;
        Ok(true)
    }

    /// Has the writer make a change, in transactions of bounded size.
    async fn apply(&mut self, mut change: Change) -> Result<(), Stopped> {
        let ids = change.new_bodies;
        while change.bodies.iter().map(|body| body.bytes.len()).sum::<usize>() > limits::SLICE {
            let mut bytes = 0;
            let mut fits = |body: &Body| {
                bytes += body.bytes.len();
                bytes <= limits::SLICE
            };
            let slice = change.bodies.iter().take_while(|body| fits(body)).count().max(1);
            let bodies: Vec<Body> = change.bodies.drain(..slice).collect();
            if !self.ask(|reply| Command::Bodies { ids, bodies, reply }).await? {
                return Err(Stopped::Later("bodies of blocks could not be written".to_owned()));
            }
        }
        let mut change = Box::new(change);
        for _ in 0..OFFERS {
            change = match self.ask(|reply| Command::Change { change, reply }).await? {
                Applied::Done => return Ok(()),
                Applied::Failed => return Err(Stopped::Later("blocks could not be written".to_owned())),
                Applied::InFlight(change) => change,
            };
            sleep(OFFER_PAUSE).await;
        }
        let _ = self.ask(|reply| Command::GiveUp { reply }).await;
        Err(Stopped::Later("rows are in flight".to_owned()))
    }

    /// Runs something that takes the processor on a thread for such work, and pauses afterwards.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Tools) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut tools =
            self.tools.take().unwrap_or_else(|| Tools { encoder: Encoder::new(Codec::Range), decoder: Decoder::new() });
        let done = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let result = work(&mut tools);
            (tools, result, begun.elapsed())
        });
        let (tools, result, took) = done.await.map_err(|_| Stopped::Closed)?;
        self.tools = Some(tools);
        if !self.shared.hurry.load(Ordering::Relaxed) {
            sleep(took * PAUSE).await;
        }
        if self.shared.is_closed() { Err(Stopped::Closed) } else { Ok(result) }
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Stopped> {
        let reader = self.shared.readers().acquire().await;
        reader.map_err(|error| if self.shared.is_closed() { Stopped::Closed } else { error.into() })
    }

    /// A stream, with its columns. `None` when these cannot be read.
    async fn stream(&mut self, id: StreamId) -> Result<Option<Arc<Stream>>, Stopped> {
        if let Some(stream) = self.shared.streams().get(&id).or_else(|| self.streams.get(&id)) {
            return Ok(Some(Arc::clone(stream)));
        }
        let mut reader = self.reader().await?;
        match streams::load(&mut reader, id).await {
            Ok(stream) => {
                self.streams.insert(id, Arc::clone(&stream));
                Ok(Some(stream))
            }
            Err(Unusable::Damaged(_)) => Ok(None),
            Err(Unusable::Other(error)) => Err(Stopped::Later(error.to_string())),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let commands = self.commands.upgrade().ok_or(Stopped::Closed)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| Stopped::Closed)?;
        drop(commands);
        answer.await.map_err(|_| Stopped::Closed)
    }
}

/// What an error at this position means.
fn at(position: u64) -> impl Fn(sqlx::Error) -> Stopped {
    move |error| match trouble(&error) {
        Trouble::Damaged => Stopped::Damaged { position, why: error.to_string() },
        Trouble::Full | Trouble::Other => error.into(),
    }
}
