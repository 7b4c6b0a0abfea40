//! The task that owns the sink: takes batches, and tries each until it is written.

use std::{sync::Arc, time::Duration};

use tidegate_mqtt::{Backoff, Ended};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Counters,
    intake::Batch,
    piece::{Fault, Gap, Piece, Refused, Rows},
    sink::{Sink, SinkError, Trouble, Written},
};

/// How long the end of an ingest waits for its sink.
const LAST_WORK: Duration = Duration::from_secs(20);
/// How often a sink is given time for itself.
const TICK: Duration = Duration::from_secs(1);
/// Conflicts in a row that are nothing to talk about.
const CONFLICTS: u32 = 20;
/// The longest pause between two tries to write.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The two ends of the task that writes. One batch at a time is with it.
pub(crate) struct Writer {
    to: mpsc::Sender<Batch>,
    from: mpsc::Receiver<Batch>,
    busy: bool,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task. Once `cancel` is called, it gives up what the sink does not take.
    pub(crate) fn start(sink: Sink, counters: Arc<Counters>, cancel: CancellationToken) -> Writer {
        let (to, batches) = mpsc::channel(1);
        let (done, from) = mpsc::channel(1);
        let work = Work {
            sink,
            counters,
            cancel,
            backoff: Backoff::new(LONGEST_PAUSE),
            said: None,
            said_tick: false,
            said_again: false,
        };
        // A thread of its own: the sinks of files write while everything waits for the disk.
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || runtime.block_on(work.run(batches, done)));
        Writer { to, from, busy: false, task }
    }

    /// Whether a batch is with it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Hands a batch over. Only while it is not busy.
    pub(crate) fn hand_over(&mut self, batch: Batch) {
        // There is room for one batch, and none is there. Should the task have ended, `written` says so.
        let _ = self.to.try_send(batch);
        self.busy = true;
    }

    /// The batch that has been written; `None` when the task has ended. Nothing is lost when this is dropped.
    pub(crate) async fn written(&mut self) -> Option<Batch> {
        let batch = self.from.recv().await;
        self.busy = false;
        batch
    }

    /// Waits until the sink has been closed, but not for ever. The batch that was with it, when it has been written.
    pub(crate) async fn close(self) -> Option<Batch> {
        let Writer { to, mut from, task, .. } = self;
        drop(to);
        if timeout(LAST_WORK, task).await.is_err() {
            tracing::warn!("the sink does not come to an end; it is left, and what was not written comes again");
        }
        from.try_recv().ok()
    }
}

struct Work {
    sink: Sink,
    counters: Arc<Counters>,
    cancel: CancellationToken,
    backoff: Backoff,
    /// The trouble that has been told.
    said: Option<Trouble>,
    /// Whether it was told that what was written cannot be completed.
    said_tick: bool,
    /// Whether it was told that rows are numbered again.
    said_again: bool,
}

impl Work {
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>, done: mpsc::Sender<Batch>) {
        let mut ticked = Instant::now();
        loop {
            match timeout(TICK, batches.recv()).await {
                Ok(Some(mut batch)) => {
                    if !self.write(&mut batch).await || done.send(batch).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick().await;
            }
        }
        let mut written = Written::default();
        let closed = self.sink.close(&mut written).await;
        self.counters.written(&written);
        if let Err(error) = closed {
            tracing::error!(%error.text, "what was written last could not be completed; it is completed at the next start");
        }
    }

    /// Lets the sink do what it has to do by itself.
    async fn tick(&mut self) {
        let mut written = Written::default();
        let ticked = self.sink.tick(&mut written).await;
        self.counters.written(&written);
        self.complain(&written);
        match ticked {
            Ok(()) if std::mem::take(&mut self.said_tick) => tracing::info!("what was held up is completed"),
            Ok(()) => {}
            Err(error) if std::mem::replace(&mut self.said_tick, true) => {
                tracing::debug!(%error.text, "cannot complete what was written; trying again");
            }
            Err(SinkError { trouble: Trouble::Person, text }) => {
                tracing::error!(%text, "cannot complete what was written; it is kept, and tried again for ever");
            }
            Err(SinkError { text, .. }) => {
                tracing::warn!(%text, "cannot complete what was written; it is kept, and tried again for ever");
            }
        }
    }

    /// Writes a batch, however long it takes. False when it was given up: nothing follows.
    async fn write(&mut self, batch: &mut Batch) -> bool {
        let started = Instant::now();
        let mut conflicts = 0;
        loop {
            let error = match self.sink.write(&batch.pieces, &batch.arrived).await {
                Ok(written) => {
                    self.recovered(started.elapsed());
                    self.counters.written(&written);
                    self.complain(&written);
                    return true;
                }
                Err(error) => error,
            };
            match error.trouble {
                Trouble::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    self.counters.conflict();
                    continue;
                }
                Trouble::Values => {
                    self.write_apart(batch).await;
                    if batch.pieces.is_empty() {
                        return true;
                    }
                    continue;
                }
                Trouble::Gone => {
                    tracing::error!(%error.text, "nothing can be written any more");
                    return false;
                }
                Trouble::Conflict | Trouble::Away | Trouble::Person => self.report(&error),
            }
            self.counters.sink_down(true);
            let pause = self.backoff.pause(Ended::Useless, rand::random());
            tokio::select! {
                () = self.cancel.cancelled() => return false,
                () = sleep(pause) => {}
            }
        }
    }

    /// Writes piece after piece, so that only those that the sink refuses are put aside. What could not be written for another
    /// reason stays in the batch.
    async fn write_apart(&mut self, batch: &mut Batch) {
        let mut left = Vec::new();
        for piece in std::mem::take(&mut batch.pieces) {
            match self.sink.write(std::slice::from_ref(&piece), &[]).await {
                Ok(written) => self.counters.written(&written),
                Err(error) if error.trouble == Trouble::Values => match refuse(&piece, &error) {
                    Some(refused) => left.push(Piece::Refused(refused)),
                    None => {
                        self.counters.written(&Written { lost: 1, ..Written::default() });
                        tracing::error!(%error.text, "a block that cannot be read cannot be put aside either; it is dropped");
                    }
                },
                Err(_) => left.push(piece),
            }
        }
        batch.pieces = left;
    }

    /// One line per kind of trouble, not one per try.
    fn report(&mut self, error: &SinkError) {
        if self.said == Some(error.trouble) {
            tracing::debug!(%error.text, "cannot write; trying again");
            return;
        }
        self.said = Some(error.trouble);
        match error.trouble {
            Trouble::Person => tracing::error!(
                %error.text, "cannot write; nothing is acknowledged, the broker keeps what comes; trying again for ever"
            ),
            _ => tracing::warn!(
                %error.text, "cannot write; nothing is acknowledged, the broker keeps what comes; trying again for ever"
            ),
        }
    }

    fn recovered(&mut self, after: Duration) {
        self.backoff.succeeded();
        self.counters.sink_down(false);
        if self.said.take().is_some() {
            tracing::info!(seconds = after.as_secs(), "writing again");
        }
    }

    fn complain(&mut self, written: &Written) {
        if written.numbered_again > 0 && !std::mem::replace(&mut self.said_again, true) {
            tracing::error!(
                rows = written.numbered_again,
                "rows have the numbers of other rows: the store of a gateway was set back, by a copy or a power failure; their \
                 blocks are put aside; `tidegate ingest --verify` tells the streams; give that gateway a new store"
            );
        }
        if written.lost > 0 {
            tracing::error!(
                blocks = written.lost,
                "the quarantine is full: blocks that cannot be read were dropped; look into it and empty it"
            );
        }
    }
}

/// What is put aside in the place of a piece that the sink refuses.
fn refuse(piece: &Piece, error: &SinkError) -> Option<Refused> {
    let (known, frame) = match piece {
        Piece::Rows(Rows { known, frame, .. }) | Piece::Gap(Gap { known, frame, .. }) => (known, frame.clone()),
        Piece::Refused(_) | Piece::Nodes(_) => return None,
    };
    let gateway = known.key.gateway.to_string();
    tracing::error!(%gateway, stream = %known.key, %error.text, "the sink refuses a block; it was put aside");
    Some(Refused { gateway, fault: Fault::Sink, detail: error.text.clone(), schema: Some(known.id), frame })
}
