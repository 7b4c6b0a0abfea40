//! Bytes on their way to a client, of which large payloads are shared with other clients and not copied.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Payloads from this size on are not copied. Below it a copy costs less than a piece of its own in a system call.
const LARGE: usize = 2 * 1024;
/// Bytes of a buffer that was emptied, above which it is given back.
const WORTH_KEEPING: usize = 128 * 1024;

/// Packets one after the other: written into [`Batch::small`], with large payloads between. Sent as a [`Buf`], in one
/// system call for many of its pieces.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    small: Vec<u8>,
    /// What has been sent of `small`.
    sent: usize,
    /// Payloads, each with the place in `small` that it stands before.
    large: VecDeque<(usize, Bytes)>,
    /// Bytes of these.
    large_bytes: usize,
}

impl Batch {
    /// Where everything but large payloads is written.
    pub(crate) fn small(&mut self) -> &mut Vec<u8> {
        &mut self.small
    }

    /// Adds a payload, without copying it if that is worth it.
    pub(crate) fn share(&mut self, payload: &Bytes) {
        if payload.len() < LARGE {
            return self.small.extend_from_slice(payload);
        }
        self.large_bytes += payload.len();
        self.large.push_back((self.small.len(), payload.clone()));
    }

    fn reset_if_empty(&mut self) {
        if self.has_remaining() {
            return;
        }
        self.sent = 0;
        if self.small.capacity() > WORTH_KEEPING {
            self.small = Vec::new();
        } else {
            self.small.clear();
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.small.len() - self.sent + self.large_bytes
    }

    fn chunk(&self) -> &[u8] {
        match self.large.front() {
            Some((at, payload)) if *at == self.sent => payload,
            Some((at, _)) => self.small.get(self.sent..*at).unwrap_or_default(),
            None => self.small.get(self.sent..).unwrap_or_default(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut sent = self.sent;
        let mut count = 0;
        let mut large = self.large.iter();
        let mut next = large.next();
        for slice in slices {
            let piece = match next {
                Some((at, payload)) if *at == sent => {
                    next = large.next();
                    payload
                }
                _ => {
                    let end = next.map_or(self.small.len(), |(at, _)| *at);
                    let piece = self.small.get(sent..end).unwrap_or_default();
                    sent = end;
                    piece
                }
            };
            if piece.is_empty() {
                break;
            }
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            match self.large.front_mut() {
                Some((at, payload)) if *at == self.sent => {
                    let step = count.min(payload.len());
                    payload.advance(step);
                    self.large_bytes -= step;
                    count -= step;
                    if payload.is_empty() {
                        self.large.pop_front();
                    }
                }
                found => {
                    let end = found.map_or(self.small.len(), |(at, _)| *at);
                    let step = count.min(end - self.sent);
                    // Nobody sends more than there is.
                    if step == 0 {
                        break;
                    }
                    self.sent += step;
                    count -= step;
                }
            }
        }
        self.reset_if_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small pieces and large payloads in turn, and what they are together.
    fn filled(pieces: &[(usize, usize)]) -> (Batch, Vec<u8>) {
        let (mut batch, mut whole) = (Batch::default(), Vec::new());
        for (number, (small, large)) in pieces.iter().enumerate() {
            let piece = vec![u8::try_from(number).unwrap(); *small];
            let payload = Bytes::from(vec![0x80 | u8::try_from(number).unwrap(); *large]);
            batch.small().extend_from_slice(&piece);
            batch.share(&payload);
            whole.extend_from_slice(&piece);
            whole.extend_from_slice(&payload);
        }
        (batch, whole)
    }

    const PIECES: [&[(usize, usize)]; 5] = [
        &[],
        &[(5, 10)],
        &[(0, 3_000), (0, 3_000), (7, 0)],
        &[(3, 2_048), (4, 2_047), (0, 5_000), (9, 100), (1, 2_500)],
        &[(10, 4_000); 100],
    ];

    #[test]
    fn what_is_written_comes_out_in_order_in_steps_of_any_size() {
        for pieces in PIECES {
            for step in [1, 2, 7, 2_047, 2_048, 2_051, 100_000] {
                let (mut batch, whole) = filled(pieces);
                assert_eq!(batch.remaining(), whole.len());
                let mut found = Vec::new();
                while batch.has_remaining() {
                    let chunk = batch.chunk();
                    let count = chunk.len().min(step);
                    assert!(count > 0);
                    found.extend_from_slice(&chunk[..count]);
                    batch.advance(count);
                }
                assert_eq!(found, whole);
                assert!(batch.small.is_empty() && batch.sent == 0 && batch.large.is_empty());
            }
        }
    }

    #[test]
    fn slices_are_what_is_left_from_its_beginning() {
        for pieces in PIECES {
            for room in [1, 3, 64, 300] {
                let (mut batch, whole) = filled(pieces);
                let mut found = Vec::new();
                while batch.has_remaining() {
                    let mut slices = vec![IoSlice::new(&[]); room];
                    let count = batch.chunks_vectored(&mut slices);
                    let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                    // The system may take less.
                    let taken = (bytes.len() * 2 / 3).max(1);
                    found.extend_from_slice(&bytes[..taken]);
                    batch.advance(taken);
                }
                assert_eq!(found, whole);
            }
        }
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let payload = Bytes::from(vec![1; 25_000]);
        let mut batch = Batch::default();
        batch.small().push(0);
        batch.share(&payload);
        batch.advance(1);
        assert_eq!(batch.chunk().as_ptr(), payload.as_ptr());
    }
}
