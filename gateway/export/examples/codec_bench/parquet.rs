//! Parquet with the library's usual settings and zstd: a column of times and one nullable column per tag.

use std::sync::Arc;

use anyhow::{Context, bail};
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    column::reader::ColumnReader,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    file::{
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::types::{Type, TypePtr},
};
use tidegate_model::{Value, ValueKind};

use crate::{
    data::{Piece, Set},
    packing::Packing,
};

/// One file per piece.
pub(crate) struct Parquet {
    schema: TypePtr,
    properties: Arc<WriterProperties>,
    unpacked: Vec<(Vec<i16>, Words)>,
}

/// The values that are there, floats by their bits.
#[derive(PartialEq)]
enum Words {
    Wide(Vec<u64>),
    Flags(Vec<bool>),
    Texts(Vec<Vec<u8>>),
}

impl Parquet {
    pub(crate) fn new(set: &Set) -> anyhow::Result<Parquet> {
        let time = Some(LogicalType::timestamp(true, TimeUnit::MILLIS));
        let time = Type::primitive_type_builder("ts", Physical::INT64).with_logical_type(time);
        let mut fields = vec![Arc::new(time.with_repetition(Repetition::REQUIRED).build()?)];
        for column in set.columns.iter() {
            let physical = match column.value_type.kind {
                ValueKind::F64 => Physical::DOUBLE,
                ValueKind::Int => Physical::INT64,
                ValueKind::Bool => Physical::BOOLEAN,
                _ => Physical::BYTE_ARRAY,
            };
            let field = Type::primitive_type_builder(column.name.as_str(), physical);
            fields.push(Arc::new(field.with_repetition(Repetition::OPTIONAL).build()?));
        }
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
        let schema = Arc::new(Type::group_type_builder("row").with_fields(fields).build()?);
        Ok(Parquet { schema, properties: Arc::new(properties), unpacked: Vec::new() })
    }
}

/// Which rows of a column have a value.
fn defined(piece: &Piece<'_>, index: usize) -> Vec<i16> {
    piece.rows.iter().map(|(_, values)| i16::from(values.get(index).is_some_and(Option::is_some))).collect()
}

/// The values of a column that `wanted` takes.
fn values<T>(piece: &Piece<'_>, index: usize, wanted: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    piece.rows.iter().filter_map(|(_, values)| values.get(index)?.as_ref()).filter_map(wanted).collect()
}

fn int(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

fn bool(value: &Value) -> Option<bool> {
    if let Value::Bool(on) = value { Some(*on) } else { None }
}

fn text(value: &Value) -> Option<Vec<u8>> {
    if let Value::Text(text) = value { Some(text.as_bytes().to_vec()) } else { None }
}

impl Packing for Parquet {
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut file = SerializedFileWriter::new(out, Arc::clone(&self.schema), Arc::clone(&self.properties))?;
        let mut group = file.next_row_group()?;
        let mut next = 0_usize;
        while let Some(mut writer) = group.next_column()? {
            let index = next.checked_sub(1);
            let defined = index.map(|index| defined(piece, index));
            let defined = defined.as_deref();
            match (writer.untyped(), index) {
                (ColumnWriter::Int64ColumnWriter(to), None) => {
                    let times: Vec<i64> = piece.rows.iter().map(|(time, _)| *time).collect();
                    to.write_batch(&times, None, None)?
                }
                (ColumnWriter::Int64ColumnWriter(to), Some(index)) => {
                    to.write_batch(&values(piece, index, int), defined, None)?
                }
                (ColumnWriter::DoubleColumnWriter(to), Some(index)) => {
                    to.write_batch(&values(piece, index, Value::as_f64), defined, None)?
                }
                (ColumnWriter::BoolColumnWriter(to), Some(index)) => {
                    to.write_batch(&values(piece, index, bool), defined, None)?
                }
                (ColumnWriter::ByteArrayColumnWriter(to), Some(index)) => {
                    let texts: Vec<ByteArray> = values(piece, index, text).into_iter().map(ByteArray::from).collect();
                    to.write_batch(&texts, defined, None)?
                }
                _ => bail!("a column of an unexpected type"),
            };
            writer.close()?;
            next += 1;
        }
        group.close()?;
        file.close()?;
        Ok(())
    }

    fn unpack(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.unpacked.clear();
        let file = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes))?;
        let group = file.get_row_group(0)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
        for column in 0..group.num_columns() {
            let mut defined = Vec::new();
            let words = match group.get_column_reader(column)? {
                ColumnReader::Int64ColumnReader(mut reader) => {
                    let mut values = Vec::new();
                    reader.read_records(rows, Some(&mut defined), None, &mut values)?;
                    Words::Wide(values.into_iter().map(i64::cast_unsigned).collect())
                }
                ColumnReader::DoubleColumnReader(mut reader) => {
                    let mut values = Vec::new();
                    reader.read_records(rows, Some(&mut defined), None, &mut values)?;
                    Words::Wide(values.into_iter().map(f64::to_bits).collect())
                }
                ColumnReader::BoolColumnReader(mut reader) => {
                    let mut values = Vec::new();
                    reader.read_records(rows, Some(&mut defined), None, &mut values)?;
                    Words::Flags(values)
                }
                ColumnReader::ByteArrayColumnReader(mut reader) => {
                    let mut values: Vec<ByteArray> = Vec::new();
                    reader.read_records(rows, Some(&mut defined), None, &mut values)?;
                    Words::Texts(values.iter().map(|value| value.data().to_vec()).collect())
                }
                _ => bail!("a column of an unexpected type"),
            };
            self.unpacked.push((defined, words));
        }
        self.unpacked.first().context("no column").map(|_| ())
    }

    fn is(&self, piece: &Piece<'_>) -> bool {
        let Some(((_, times), tags)) = self.unpacked.split_first() else { return false };
        let expected = Words::Wide(piece.rows.iter().map(|(time, _)| time.cast_unsigned()).collect());
        let same = |(index, (found, words)): (usize, &(Vec<i16>, Words))| {
            let values = match piece.columns.get(index).map(|column| column.value_type.kind) {
                Some(ValueKind::F64) => Words::Wide(values(piece, index, |value| value.as_f64().map(f64::to_bits))),
                Some(ValueKind::Int) => Words::Wide(values(piece, index, |value| int(value).map(i64::cast_unsigned))),
                Some(ValueKind::Bool) => Words::Flags(values(piece, index, bool)),
                _ => Words::Texts(values(piece, index, text)),
            };
            *found == defined(piece, index) && *words == values
        };
        *times == expected && tags.len() == piece.columns.len() && tags.iter().enumerate().all(same)
    }
}
