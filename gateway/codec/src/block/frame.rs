//! What is around the rows: a mark, the version, a length, whose rows they are, and a checksum.

use tidegate_model::{StreamId, Timestamp};

use super::{
    BlockError, Codec, GapRecord, MAX_ROWS, SchemaId, VERSION,
    convert::{count, place},
    error::malformed,
    input::Input,
};
use crate::record::bytes::{put_signed, put_varint};

/// First byte of every block.
const MARK: u8 = 0xb7;
/// In the place of a codec: the block is a gap record.
const GAP: u8 = 15;
/// Bytes of the checksum after the contents.
const CHECKSUM: usize = 4;

/// One block of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Rows of one stream.
    Data(Head<'a>),
    /// Rows of one stream that are missing on purpose.
    Gap(GapRecord),
}

/// Whose rows a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The store's number of the stream.
    pub stream: StreamId,
    /// The schema by which the rows are read.
    pub schema: SchemaId,
    /// In which start of the gateway the rows were numbered; a later start has a higher number.
    pub boot: u64,
}

/// What can be said of a block of rows without unpacking them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// How the rows are packed.
    pub codec: Codec,
    /// The store's number of the stream.
    pub stream: StreamId,
    /// The schema by which the rows are read.
    pub schema: SchemaId,
    /// In which start of the gateway the rows were numbered; a later start has a higher number.
    pub boot: u64,
    /// The number of the first row in its stream.
    pub first_seq: u64,
    /// How many rows there are, 1 to [`MAX_ROWS`]; their numbers follow one another.
    pub rows: u32,
    /// The time of the first row.
    pub first_time: Timestamp,
    /// The whole block.
    pub bytes: &'a [u8],
    body: &'a [u8],
}

impl<'a> Head<'a> {
    /// The number of the last row.
    pub fn last_seq(&self) -> u64 {
        // `contents` has made sure that there are rows and that their numbers end within 64 bits.
        self.first_seq.saturating_add(u64::from(self.rows).saturating_sub(1))
    }

    /// The packed rows.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The blocks of a message, one after the other, as far as their frames are whole. Nothing is unpacked.
///
/// A block of a later version or an unknown codec, and one whose contents make no sense, is an error and the next one follows; after
/// bytes that are damaged, cut or no block nothing follows.
pub fn split(message: &[u8]) -> Split<'_> {
    Split { rest: message }
}

/// What [`split`] gives.
#[derive(Debug, Clone)]
pub struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<Frame<'a>, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match whole(self.rest) {
            Ok(whole) => {
                self.rest = whole.after;
                Some(whole.read())
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// A frame with a right checksum. All versions have the mark, the byte of version and codec, the length and the checksum
/// in common.
pub(super) struct Whole<'a> {
    pub(super) version: u8,
    pub(super) codec: u8,
    pub(super) contents: &'a [u8],
    pub(super) bytes: &'a [u8],
    after: &'a [u8],
}

/// How long a frame of this version is that may begin here and end within the bytes; a quick look before a search goes into
/// the matter.
pub(super) fn promised(bytes: &[u8]) -> Option<usize> {
    let mut input = Input::new(bytes);
    let mark = input.byte("the mark").ok().filter(|mark| *mark == MARK);
    mark.and_then(|_| input.byte("the version").ok()).filter(|kind| kind >> 4 == VERSION)?;
    let length = place(input.varint("the length").ok()?);
    let head = bytes.len() - input.rest().len();
    Some(head.saturating_add(length).saturating_add(CHECKSUM)).filter(|promised| *promised <= bytes.len())
}

pub(super) fn whole(bytes: &[u8]) -> Result<Whole<'_>, BlockError> {
    let cut = |expected| BlockError::Cut { expected, found: bytes.len() };
    let mut input = Input::new(bytes);
    if input.byte("the mark") != Ok(MARK) {
        return Err(BlockError::NotABlock);
    }
    let kind = input.byte("the version").map_err(|_| cut(2))?;
    let length = match input.varint("the length") {
        Ok(length) => place(length),
        // Ten bytes are always enough for a length.
        Err(error) if bytes.len() >= 12 => return Err(error),
        Err(_) => return Err(cut(bytes.len().saturating_add(1))),
    };
    let head = bytes.len() - input.rest().len();
    let expected = head.saturating_add(length).saturating_add(CHECKSUM);
    let (whole, after) = bytes.split_at_checked(expected).ok_or(cut(expected))?;
    let contents = input.take(length, "the length")?;
    let (checked, stated) = whole.split_last_chunk::<CHECKSUM>().ok_or(cut(expected))?;
    let (stated, computed) = (u32::from_le_bytes(*stated), crc32c::crc32c(checked));
    if stated != computed {
        return Err(BlockError::Checksum { stated, computed });
    }
    Ok(Whole { version: kind >> 4, codec: kind & 15, contents, bytes: whole, after })
}

impl<'a> Whole<'a> {
    pub(super) fn read(&self) -> Result<Frame<'a>, BlockError> {
        if self.version != VERSION {
            return Err(BlockError::NewerVersion { version: self.version });
        }
        let mut input = Input::new(self.contents);
        if self.codec == GAP {
            return self.gap(&mut input).map(Frame::Gap);
        }
        let codec = Codec::from_code(self.codec).ok_or(BlockError::UnknownCodec { codec: self.codec })?;
        let (origin, first_seq) = origin(&mut input)?;
        let rows = input.varint("the number of rows")?;
        if rows == 0 || first_seq.checked_add(rows - 1).is_none() {
            return Err(malformed("the number of rows"));
        }
        let too_many = BlockError::TooLarge { what: "the number of rows", limit: MAX_ROWS };
        let rows = u32::try_from(rows).ok().filter(|rows| u64::from(*rows) <= count(MAX_ROWS)).ok_or(too_many)?;
        let first_time = Timestamp::from_millis(input.signed("the time of the first row")?);
        let Origin { stream, schema, boot } = origin;
        let (bytes, body) = (self.bytes, input.rest());
        Ok(Frame::Data(Head { codec, stream, schema, boot, first_seq, rows, first_time, bytes, body }))
    }

    fn gap(&self, input: &mut Input) -> Result<GapRecord, BlockError> {
        let (Origin { stream, schema, boot }, first_seq) = origin(input)?;
        let more = input.varint("the rows of a gap")?;
        let last_seq = first_seq.checked_add(more).ok_or(malformed("the rows of a gap"))?;
        let reason = input.byte("the reason of a gap")?;
        if !input.rest().is_empty() {
            return Err(malformed("the end of a gap record"));
        }
        Ok(GapRecord { stream, schema, boot, first_seq, last_seq, reason })
    }
}

fn origin(input: &mut Input) -> Result<(Origin, u64), BlockError> {
    const WHAT: &str = "whose rows they are";
    let stream = u32::try_from(input.varint(WHAT)?).map_err(|_| malformed(WHAT))?;
    let schema = SchemaId(input.word(WHAT)?);
    let boot = input.varint(WHAT)?;
    let first_seq = input.varint("the number of the first row")?;
    Ok((Origin { stream: StreamId(stream), schema, boot }, first_seq))
}

fn put_origin(origin: &Origin, first_seq: u64, contents: &mut Vec<u8>) {
    put_varint(u64::from(origin.stream.0), contents);
    contents.extend_from_slice(&origin.schema.0.to_le_bytes());
    put_varint(origin.boot, contents);
    put_varint(first_seq, contents);
}

/// The contents of a block of rows up to its body, which the caller appends.
pub(super) fn put_head(origin: &Origin, first_seq: u64, rows: usize, first_time: Timestamp, contents: &mut Vec<u8>) {
    put_origin(origin, first_seq, contents);
    put_varint(count(rows), contents);
    put_signed(first_time.as_millis(), contents);
}

/// Appends a block with these contents.
pub(super) fn put_frame(codec: Codec, contents: &[u8], out: &mut Vec<u8>) {
    put_whole(codec.code(), contents, out);
}

/// Appends a gap record.
pub(super) fn put_gap(gap: &GapRecord, out: &mut Vec<u8>) {
    let mut contents = Vec::with_capacity(32);
    let origin = Origin { stream: gap.stream, schema: gap.schema, boot: gap.boot };
    put_origin(&origin, gap.first_seq, &mut contents);
    put_varint(gap.last_seq.saturating_sub(gap.first_seq), &mut contents);
    contents.push(gap.reason);
    put_whole(GAP, &contents, out);
}

pub(super) fn put_whole(kind: u8, contents: &[u8], out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(12);
    head.extend_from_slice(&[MARK, VERSION << 4 | kind]);
    put_varint(count(contents.len()), &mut head);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), contents);
    out.reserve(head.len() + contents.len() + CHECKSUM);
    out.extend_from_slice(&head);
    out.extend_from_slice(contents);
    out.extend_from_slice(&checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP_RECORD: GapRecord = GapRecord {
        stream: StreamId(300),
        schema: SchemaId(0x0102_0304),
        boot: 5,
        first_seq: 1000,
        last_seq: 1299,
        reason: 2,
    };

    fn gap() -> Vec<u8> {
        let mut out = Vec::new();
        GAP_RECORD.encode(&mut out);
        out
    }

    /// A frame with a right checksum around anything.
    fn framed(kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut head = vec![MARK, kind];
        put_varint(count(contents.len()), &mut head);
        head.extend_from_slice(contents);
        let checksum = crc32c::crc32c(&head);
        [head, checksum.to_le_bytes().to_vec()].concat()
    }

    fn all(message: &[u8]) -> Vec<Result<Frame<'_>, BlockError>> {
        split(message).collect()
    }

    #[test]
    fn a_gap_record_comes_back() {
        let bytes = gap();
        assert_eq!(bytes, framed(0x1f, &[0xac, 2, 4, 3, 2, 1, 5, 0xe8, 7, 0xab, 2, 2]));
        assert_eq!(all(&bytes), [Ok(Frame::Gap(GAP_RECORD))]);
    }

    #[test]
    fn a_cut_anywhere_is_refused() {
        let bytes = gap();
        for length in 1..bytes.len() {
            assert!(matches!(all(&bytes[..length])[..], [Err(BlockError::Cut { .. })]), "cut at {length}");
        }
        assert_eq!(all(&[]), []);
    }

    #[test]
    fn what_cannot_be_read_is_skipped_and_the_next_block_is_read() {
        let later = framed(0x2f, b"who knows");
        let unknown = framed(0x17, b"who knows");
        let message = [later, unknown, framed(0x1f, &[]), gap()].concat();
        assert_eq!(
            all(&message),
            [
                Err(BlockError::NewerVersion { version: 2 }),
                Err(BlockError::UnknownCodec { codec: 7 }),
                Err(malformed("whose rows they are")),
                Ok(Frame::Gap(GAP_RECORD)),
            ]
        );
    }

    #[test]
    fn after_damage_nothing_is_believed() {
        let mut damaged = gap();
        damaged[8] ^= 1;
        assert!(matches!(all(&[damaged, gap()].concat())[..], [Err(BlockError::Checksum { .. })]));
        assert_eq!(all(&[gap(), b"{}".to_vec()].concat()).last(), Some(&Err(BlockError::NotABlock)));
    }

    #[test]
    fn the_last_row_may_have_the_last_number_there_is() {
        let mut contents = vec![1, 4, 3, 2, 1, 5];
        put_varint(u64::MAX - 2, &mut contents);
        contents.extend_from_slice(&[3, 0]);
        let message = framed(0x10, &contents);
        let [Ok(Frame::Data(head))] = all(&message)[..] else { panic!("no block") };
        assert_eq!(head.last_seq(), u64::MAX);
    }

    #[test]
    fn heads_that_make_no_sense_are_refused() {
        let refused = |kind, contents: &[u8]| all(&framed(kind, contents)).remove(0).unwrap_err();
        let origin = [1, 4, 3, 2, 1, 5];
        let with = |more: &[u8]| [&origin[..], more].concat();
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(refused(0x10, &with(&[1, 0, 0])), malformed("the number of rows"));
        assert_eq!(refused(0x10, &with(&[&most[..], &[2, 0]].concat())), malformed("the number of rows"));
        assert!(matches!(refused(0x10, &with(&[1, 0x81, 0x80, 4, 0])), BlockError::TooLarge { limit: MAX_ROWS, .. }));
        assert_eq!(refused(0x10, &with(&[1, 1])), malformed("the time of the first row"));
        assert_eq!(refused(0x1f, &with(&[&most[..], &[1, 0]].concat())), malformed("the rows of a gap"));
        assert_eq!(refused(0x1f, &with(&[1, 1, 0, 0])), malformed("the end of a gap record"));
        assert_eq!(refused(0x1f, &[0xff, 0xff, 0xff, 0xff, 0x7f]), malformed("whose rows they are"));
    }
}
