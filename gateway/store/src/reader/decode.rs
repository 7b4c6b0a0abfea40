//! From what a walk finds to the rows of a group.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_codec::{
    block::{Batch, BlockError, Decoder},
    record::Record,
};
use tidegate_model::{Slot, Stream, StreamId, Timestamp};

use super::walk::{Found, Window};
use crate::decode::{Unpacked, unpack};

/// Consecutive rows of one stream.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stream: Arc<Stream>,
    pub(crate) batch: Batch,
}

/// The streams of a group.
pub(crate) type Group = BTreeMap<StreamId, Arc<Stream>>;

/// The rows of a group in a unit that come after the number `done`, in the order of their numbers; or what is wrong with it.
pub(crate) fn runs(decoder: &mut Decoder, found: &Found, group: &Group, done: Option<u64>) -> Result<Vec<Run>, String> {
    let mut runs = Runs { runs: Vec::new(), done };
    match found {
        Found::Unreadable(why) => return Err(why.clone()),
        Found::Record(bytes) => {
            let mut rows = Record::decode(bytes).map_err(|error| error.to_string())?.into_rows();
            rows.retain(|row| group.contains_key(&row.stream));
            rows.sort_by_key(|row| row.seq);
            for row in rows {
                let Some(stream) = group.get(&row.stream) else { continue };
                runs.push(stream, row.seq, row.time, row.device_time, &row.slots)?;
            }
        }
        Found::Block { stream, rows, first, seqs, bytes } => {
            let stream = group.get(stream).ok_or("it is of a stream that is not known")?;
            let unpacked = unpack(decoder, bytes, *rows, *first, seqs.as_deref(), stream)?;
            runs.push_all(stream, unpacked)?;
        }
    }
    Ok(runs.runs)
}

struct Runs {
    runs: Vec<Run>,
    done: Option<u64>,
}

impl Runs {
    fn push_all(&mut self, stream: &Arc<Stream>, unpacked: Unpacked) -> Result<(), String> {
        let Unpacked { batch, seqs } = unpacked;
        if seqs.is_none() && batch.first_seq() > self.done {
            self.done = batch.last_seq();
            self.runs.push(Run { stream: Arc::clone(stream), batch });
            return Ok(());
        }
        for at in 0..batch.len() {
            let seq = match &seqs {
                Some(seqs) => seqs.get(at).copied(),
                None => batch.seq(at),
            };
            let slots: Vec<Slot> = (0..batch.columns()).filter_map(|column| batch.slot(at, column)).collect();
            let (Some(seq), Some(time)) = (seq, batch.time(at)) else { continue };
            self.push(stream, seq, time, batch.device_time(at), &slots)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        stream: &Arc<Stream>,
        seq: u64,
        time: Timestamp,
        device_time: Option<Timestamp>,
        slots: &[Slot],
    ) -> Result<(), String> {
        if Some(seq) <= self.done {
            return Ok(());
        }
        self.done = Some(seq);
        if let Some(run) = self.runs.last_mut().filter(|run| run.stream.id() == stream.id()) {
            match run.batch.push(seq, time, device_time, slots) {
                Ok(()) => return Ok(()),
                Err(BlockError::NotConsecutive { .. } | BlockError::TooLarge { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut batch = Batch::new(stream.columns());
        batch.push(seq, time, device_time, slots).map_err(|error| error.to_string())?;
        self.runs.push(Run { stream: Arc::clone(stream), batch });
        Ok(())
    }
}

impl Run {
    /// The parts of it that are in the window, in order.
    pub(crate) fn within(self, window: &Window) -> Vec<Run> {
        if self.batch.times().iter().all(|time| window.holds(*time)) {
            return vec![self];
        }
        let mut parts = Vec::new();
        let mut begins = None;
        for (at, time) in self.batch.times().iter().enumerate() {
            match (window.holds(*time), begins) {
                (true, None) => begins = Some(at),
                (false, Some(first)) => {
                    parts.push(first..at);
                    begins = None;
                }
                _ => {}
            }
        }
        parts.extend(begins.map(|first| first..self.batch.len()));
        let part = |rows| Run { stream: Arc::clone(&self.stream), batch: self.batch.slice(rows) };
        parts.into_iter().map(part).collect()
    }
}
