//! What is no longer in memory: blocks to be given as they are, and rows unpacked from blocks and records.

use std::{collections::VecDeque, sync::Arc};

use tidegate_model::{Row, Stream, StreamId};
use tokio::sync::oneshot;

use super::{Piece, Reading};
use crate::{
    Shape, StoreError,
    database::{Trouble, Unusable, failed, trouble},
    decode,
    disk::{self, Form, Stored},
    numbers::length,
    ranges::Range,
    shared::{Command, Unreadable},
    streams,
};

impl Reading {
    /// Brings what is at `position` from the disk into `ahead`.
    pub(super) async fn read(&mut self, position: u64, shape: Shape) -> Result<(), StoreError> {
        while self.stored.pop_front_if(|stored| stored.range.end <= position).is_some() {}
        if self.stored.front().is_none_or(|stored| stored.range.first > position) {
            match disk::stored(&self.shared.readers(), position).await {
                Ok(stored) => self.stored = stored,
                Err(_) if self.shared.is_closed() => return Err(StoreError::Closed),
                Err(error) if trouble(&error) == Trouble::Damaged => {
                    return self.damaged(Unreadable { position, range: None, why: error.to_string() }).await;
                }
                Err(error) => return Err(failed("read rows")(error)),
            }
        }
        // It stays where it is until its rows are there: this call may be given up at every await.
        let Some(stored) = self.stored.front().filter(|stored| stored.range.first <= position).cloned() else {
            return self.pass_hole(position).await;
        };
        let whole = shape == Shape::Blocks && stored.range.first == position && self.single_before <= position;
        let pieces = if whole { self.whole(&stored).await? } else { None };
        let pieces = match pieces {
            Some(piece) => Ok([piece].into()),
            None => self.decode(&stored, position).await?,
        };
        match pieces {
            Ok(pieces) => self.ahead = pieces,
            Err(why) => self.damaged(Unreadable { position, range: Some(stored.range), why }).await?,
        }
        Ok(())
    }

    /// The block to give as it is, if it is one that can be.
    async fn whole(&mut self, stored: &Stored) -> Result<Option<Piece>, StoreError> {
        let Form::Block { stream, first_seq, seqs: None } = stored.form else { return Ok(None) };
        let head = match decode::head(&stored.body) {
            Ok(head) if head.stream == stream && head.first_seq == first_seq => head,
            _ => return Ok(None),
        };
        let (rows, time, bytes) = (head.rows, head.first_time, stored.body.clone());
        if u64::from(rows) != stored.range.len() {
            return Ok(None);
        }
        match self.find_stream(stream).await {
            Ok(stream) => Ok(Some(Piece::Block { range: stored.range, bytes, stream, first_seq, rows, time })),
            Err(Unusable::Damaged(_)) => Ok(None),
            Err(Unusable::Other(error)) => Err(error),
        }
    }

    /// The rows from `position` on, or what is wrong with them.
    async fn decode(&mut self, stored: &Stored, position: u64) -> Result<Result<VecDeque<Piece>, String>, StoreError> {
        let rows = match &stored.form {
            Form::Record => match decode::record(stored) {
                Ok(rows) => rows,
                Err(why) => return Ok(Err(why)),
            },
            Form::Block { stream, .. } => {
                let stream = match self.find_stream(*stream).await {
                    Ok(stream) => stream,
                    Err(Unusable::Damaged(why)) => return Ok(Err(why)),
                    Err(Unusable::Other(error)) => return Err(error),
                };
                return Ok(decode::block(stored, &stream).map(|rows| numbered(stored.range, rows, position)));
            }
        };
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let stream = match self.find_stream(row.stream).await {
                Ok(stream) => stream,
                Err(Unusable::Damaged(why)) => return Ok(Err(why)),
                Err(Unusable::Other(error)) => return Err(error),
            };
            match decode::row(row, &stream) {
                Ok(row) => found.push(row),
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(numbered(stored.range, found, position)))
    }

    pub(super) async fn find_stream(&mut self, id: StreamId) -> Result<Arc<Stream>, Unusable> {
        if let Some(stream) = self.shared.streams().get(&id).or_else(|| self.old_streams.get(&id)) {
            return Ok(Arc::clone(stream));
        }
        let mut connection = self.shared.readers().acquire().await?;
        let stream = streams::load(&mut connection, id).await?;
        self.old_streams.insert(id, Arc::clone(&stream));
        Ok(stream)
    }

    /// There is no row at this position. Mostly the writer has just dropped or moved it: once it has finished that, the
    /// target has been moved on and told. Otherwise the row has vanished.
    async fn pass_hole(&mut self, position: u64) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Finish { reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)?;
        let stands = {
            let mut place = self.target.place();
            place.next() == position && place.generation == self.generation
        };
        if stands {
            let why = "rows are missing".to_owned();
            self.damaged(Unreadable { position, range: None, why }).await?;
        }
        Ok(())
    }

    async fn damaged(&self, place: Unreadable) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let target = Arc::clone(&self.target);
        let generation = self.generation;
        self.ask(Command::Damaged { target, generation, place, reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

/// Rows with their positions, from `position` on.
fn numbered(range: Range, rows: Vec<Arc<Row>>, position: u64) -> VecDeque<Piece> {
    let numbered = (range.first..).zip(rows).skip(length(position.saturating_sub(range.first)));
    numbered.map(|(position, row)| Piece::Row { position, row }).collect()
}
