//! Codec 2: the columns in parts, each a body of codec 1 of its own, so that one is read without those before it.

use super::{BlockError, Codec, convert::place, error::malformed, input::Input};
use crate::record::bytes::put_varint;

const WHAT: &str = "the parts of the body";

/// The parts of a body that have not been read yet.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Columns of each; the last may have fewer.
    pub(super) columns: usize,
    left: usize,
    lengths: Input<'a>,
    bodies: Input<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Parts<'a>, BlockError> {
        let mut input = Input::new(body);
        let columns = place(input.varint(WHAT)?);
        let left = place(input.varint(WHAT)?);
        if columns == 0 || left == 0 {
            return Err(malformed(WHAT));
        }
        let lengths = input;
        // Each takes a byte at least, so this ends with the body.
        for _ in 1..left {
            input.varint(WHAT)?;
        }
        Ok(Parts { columns, left, lengths, bodies: input })
    }

    /// Whether there are as many as so many columns need.
    pub(super) fn fit(&self, columns: usize) -> bool {
        self.left == columns.div_ceil(self.columns).max(1)
    }

    /// The next part.
    pub(super) fn next(&mut self) -> Result<&'a [u8], BlockError> {
        self.left = self.left.checked_sub(1).ok_or(malformed(WHAT))?;
        if self.left == 0 {
            return Ok(std::mem::replace(&mut self.bodies, Input::new(&[])).rest());
        }
        let length = place(self.lengths.varint(WHAT)?);
        self.bodies.take(length, WHAT)
    }
}

/// Bodies of parts that are being written.
#[derive(Debug, Default)]
pub(super) struct PartWriter {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl PartWriter {
    /// Begins another body; memory is kept.
    pub(super) fn begin(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Takes what `write` appends as the next part.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Appends the body.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let varint = |number: usize, out: &mut Vec<u8>| put_varint(super::convert::count(number), out);
        varint(Codec::PART_COLUMNS, out);
        varint(self.ends.len(), out);
        let mut begin = 0;
        for end in self.ends.iter().take(self.ends.len().saturating_sub(1)) {
            varint(end.saturating_sub(begin), out);
            begin = *end;
        }
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bodies: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut out) = (PartWriter::default(), Vec::new());
        writer.begin();
        bodies.iter().for_each(|body| writer.add(|out| out.extend_from_slice(body)));
        writer.finish(&mut out);
        out
    }

    #[test]
    fn parts_come_back_in_their_order_and_no_more_of_them() {
        let body = written(&[b"first", b"", b"third"]);
        assert_eq!(body, b"\x04\x03\x05\x00firstthird");
        let mut parts = Parts::read(&body).unwrap();
        assert_eq!((parts.columns, [8, 9, 12, 13].map(|columns| parts.fit(columns))), (4, [false, true, true, false]));
        assert_eq!([parts.next(), parts.next(), parts.next()], [Ok(&b"first"[..]), Ok(b""), Ok(b"third")]);
        assert!(parts.next().is_err() && Parts::read(&written(&[b"one"])).unwrap().fit(0));
    }

    #[test]
    fn heads_that_promise_what_is_not_there_are_refused() {
        for body in [&b""[..], b"\x04", b"\x00\x01body", b"\x04\x00body", b"\x04\xff\xff\xff\xff\x7f\x01\x01"] {
            assert_eq!(Parts::read(body).err(), Some(malformed(WHAT)), "{body:?}");
        }
        let mut cut = Parts::read(b"\x04\x02\x05four").unwrap();
        assert_eq!(cut.next(), Err(malformed(WHAT)));
    }
}
