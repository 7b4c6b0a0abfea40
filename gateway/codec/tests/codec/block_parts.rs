//! What becomes of a golden block of which some is missing, or another, or not wanted.

use tidegate_codec::block::{Batch, BlockError, Codec, Decoder, Frame, SchemaId, file::parts, split};

use crate::block_golden::{FILES, frames, golden, golden_blocks};

#[test]
fn a_golden_block_cut_anywhere_is_refused() {
    for (_, name) in FILES {
        let file = golden(name);
        for frame in frames(&file) {
            for length in 1..frame.len() {
                let found: Vec<_> = parts(&frame[..length]).map(|(_, part)| part).take(1).collect();
                let cut = matches!(found[..], [Err(BlockError::Cut { found, expected })] if found == length && expected > length);
                assert!(cut, "{name} cut at {length}: {found:?}");
            }
        }
    }
}

#[test]
fn a_golden_block_with_any_bit_flipped_is_refused() {
    for (_, name) in FILES {
        let file = golden(name);
        for frame in frames(&file) {
            let mut damaged = frame.to_vec();
            for (at, bit) in (0..frame.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                damaged[at] ^= 1 << bit;
                let error = split(&damaged).next().unwrap().unwrap_err();
                let named = match at {
                    0 => error == BlockError::NotABlock,
                    // Another length: more bytes than there are, or fewer with another checksum.
                    2..=4 => matches!(
                        error,
                        BlockError::Cut { .. } | BlockError::Checksum { .. } | BlockError::Malformed { .. }
                    ),
                    _ => matches!(error, BlockError::Checksum { .. }),
                };
                assert!(named, "{name}, bit {bit} of byte {at}: {error:?}");
                damaged[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn the_first_columns_of_a_golden_block_are_those_of_the_whole() {
    for (bytes, schema) in golden_blocks() {
        let Some(Ok(Frame::Data(head))) = split(&bytes).next() else { panic!("no block") };
        let whole = Decoder::new().decode(&head, head.schema, &schema.columns).unwrap();
        for columns in 0..=schema.columns.len() {
            let mut first = Batch::new(&schema.columns[..columns]);
            // A NaN is the same as itself in this form.
            let shown = |batch: &Batch, column| batch.slots(column).map(|slot| format!("{slot:?}")).collect::<Vec<_>>();
            Decoder::new().decode_first_into(&head, head.schema, &mut first).unwrap();
            assert_eq!((first.len(), first.times()), (whole.len(), whole.times()));
            for column in 0..columns {
                assert_eq!(shown(&first, column), shown(&whole, column), "column {column} of {columns}");
            }
            Decoder::new().decode_last_into(&head, head.schema, &mut first).unwrap();
            assert_eq!((first.len(), first.times()), (whole.len(), whole.times()));
            if let Some(last) = columns.checked_sub(1) {
                assert_eq!(shown(&first, last), shown(&whole, last), "column {last} alone");
                let is_there =
                    |column| head.codec != Codec::Parts || column / Codec::PART_COLUMNS == last / Codec::PART_COLUMNS;
                for column in 0..columns {
                    assert_eq!(first.slot(0, column).is_some(), is_there(column), "column {column} beside {last}");
                }
            }
        }
        let mut none = Batch::new(&schema.columns);
        let other = SchemaId(head.schema.0 ^ 1);
        assert!(Decoder::new().decode_first_into(&head, other, &mut none).is_err() && none.is_empty());
    }
}
