//! Files of blocks: blocks one after the other as in a message, and before them the schemas by which they are read.
//!
//! A schema document is framed as a block is, with a kind of its own. Messages have no schemas in them, so a file of messages is read
//! as well, and schemas then have to come from elsewhere.

use super::{
    BlockError, Frame, VERSION,
    frame::{self, Whole},
};

/// In the place of a codec: a schema document.
const SCHEMA: u8 = 14;
/// After damage, at most so many bytes are looked at for each byte of the file.
const SEARCH: usize = 16;

/// One part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The document of a [`BlockSchema`](super::BlockSchema).
    Schema(&'a [u8]),
    /// A block.
    Block(Frame<'a>),
}

/// Appends a schema document as a part of a file.
pub fn put_schema(document: &[u8], out: &mut Vec<u8>) {
    frame::put_whole(SCHEMA, document, out);
}

/// The parts of a file with the offset of each.
///
/// After bytes that are damaged, the next whole part is searched for; the error stands for everything between, and the search
/// ends after so many bytes that it takes little time on any file.
pub fn parts(file: &[u8]) -> Parts<'_> {
    Parts { file, at: 0, search: file.len().saturating_mul(SEARCH) }
}

/// What [`parts`] gives.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    file: &'a [u8],
    at: usize,
    /// Bytes that may still be looked at in searches.
    search: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (usize, Result<Part<'a>, BlockError>);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.at;
        let rest = self.file.get(offset..).filter(|rest| !rest.is_empty())?;
        match frame::whole(rest) {
            Ok(whole) => {
                self.at += whole.bytes.len();
                Some((offset, part(&whole)))
            }
            Err(error) => {
                self.at = self.next_whole(offset + 1);
                Some((offset, Err(error)))
            }
        }
    }
}

impl Parts<'_> {
    /// Where the next whole part begins, from `at` on; the end of the file if there is none.
    fn next_whole(&mut self, mut at: usize) -> usize {
        while let Some(rest) = self.file.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(length) = frame::promised(rest) {
                let Some(left) = self.search.checked_sub(length) else { break };
                self.search = left;
                if frame::whole(rest).is_ok() {
                    return at;
                }
            }
            at += 1;
        }
        self.file.len()
    }
}

fn part<'a>(whole: &Whole<'a>) -> Result<Part<'a>, BlockError> {
    match (whole.version, whole.codec) {
        (VERSION, SCHEMA) => Ok(Part::Schema(whole.contents)),
        _ => whole.read().map(Part::Block),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::StreamId;

    use super::*;
    use crate::block::{GapRecord, SchemaId};

    const GAP: GapRecord =
        GapRecord { stream: StreamId(1), schema: SchemaId(2), boot: 3, first_seq: 4, last_seq: 5, reason: 6 };

    /// A schema and two gap records, and where each begins.
    fn file() -> (Vec<u8>, [usize; 3]) {
        let mut out = Vec::new();
        put_schema(b"{}", &mut out);
        let first = out.len();
        GAP.encode(&mut out);
        let second = out.len();
        GAP.encode(&mut out);
        (out, [0, first, second])
    }

    #[test]
    fn schemas_and_blocks_come_back_with_their_places() {
        let (file, [schema, first, second]) = file();
        let gap = Ok(Part::Block(Frame::Gap(GAP)));
        let found: Vec<_> = parts(&file).collect();
        assert_eq!(found, [(schema, Ok(Part::Schema(b"{}"))), (first, gap.clone()), (second, gap)]);
        assert_eq!(parts(&[]).next(), None);
    }

    #[test]
    fn what_follows_a_damaged_part_is_found() {
        let (file, [_, first, second]) = file();
        for at in first..second {
            let mut file = file.clone();
            file[at] ^= 0x40;
            let found: Vec<_> = parts(&file).skip(1).collect();
            assert!(matches!(found[0], (place, Err(_)) if place == first), "{at}: {found:?}");
            assert_eq!(found[1..], [(second, Ok(Part::Block(Frame::Gap(GAP))))], "{at}");
        }
    }

    #[test]
    fn a_cut_and_rubbish_are_one_error_each() {
        let (file, [_, _, second]) = file();
        let found: Vec<_> = parts(&file[..file.len() - 1]).skip(2).collect();
        assert!(matches!(found[..], [(place, Err(BlockError::Cut { .. }))] if place == second), "{found:?}");
        let rubbish = [b"rubbish".as_slice(), &file].concat();
        assert_eq!(parts(&rubbish).next(), Some((0, Err(BlockError::NotABlock))));
        assert_eq!(parts(&rubbish).skip(1).count(), 3);
    }

    #[test]
    fn bytes_that_all_look_like_a_beginning_take_no_long_search() {
        // Each of them claims to be long, so that its checksum is computed over the rest.
        let file = [0xb7, 0x10, 0x80, 0x80, 0x04].repeat(100_000);
        assert!(parts(&file).all(|(_, part)| part.is_err()));
    }
}
