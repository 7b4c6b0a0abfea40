//! The columns of a table as Parquet types.

use std::sync::Arc;

use ::parquet::{
    basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical},
    errors::ParquetError,
    schema::types::{Type, TypePtr},
};
use tidegate_codec::schema;
use tidegate_model::{Column, ValueKind};

use crate::{
    Table,
    state::{DEVICE_TIME, SEQ, TIME, quality_column, value_column},
};

/// The type of the whole file.
pub(super) fn of(table: &Table) -> Result<Type, ParquetError> {
    let time = Some(LogicalType::timestamp(true, TimeUnit::MILLIS));
    let mut fields = vec![
        leaf(TIME, Repetition::REQUIRED, Physical::INT64, time.clone())?,
        leaf(DEVICE_TIME, Repetition::OPTIONAL, Physical::INT64, time)?,
        leaf(SEQ, Repetition::REQUIRED, Physical::INT64, unsigned())?,
    ];
    for column in table.columns() {
        fields.push(value(column)?);
    }
    for column in table.columns() {
        let name = quality_column(column.name.as_str());
        fields.push(leaf(&name, Repetition::OPTIONAL, Physical::BYTE_ARRAY, Some(LogicalType::String))?);
    }
    Type::group_type_builder("row").with_fields(fields).build()
}

/// The column of a tag's values: nullable, and for arrays a list in the three levels that the format's specification asks for.
fn value(column: &Column) -> Result<TypePtr, ParquetError> {
    let name = value_column(column.name.as_str());
    let (physical, logical) = match column.value_type.kind {
        ValueKind::Bool => (Physical::BOOLEAN, None),
        ValueKind::Int => (Physical::INT64, None),
        ValueKind::Uint => (Physical::INT64, unsigned()),
        ValueKind::F32 => (Physical::FLOAT, None),
        ValueKind::F64 => (Physical::DOUBLE, None),
        ValueKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ValueKind::Bytes => (Physical::BYTE_ARRAY, None),
    };
    if column.value_type.items.is_none() {
        return leaf(&name, Repetition::OPTIONAL, physical, logical);
    }
    let element = leaf("element", Repetition::OPTIONAL, physical, logical)?;
    let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]);
    let outer = Type::group_type_builder(&name)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(ConvertedType::LIST)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list.build()?)]);
    Ok(Arc::new(outer.build()?))
}

fn unsigned() -> Option<LogicalType> {
    Some(LogicalType::integer(64, false))
}

fn leaf(
    name: &str,
    repetition: Repetition,
    physical: Physical,
    logical: Option<LogicalType>,
) -> Result<TypePtr, ParquetError> {
    let leaf = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
    Ok(Arc::new(leaf.build()?))
}

/// What the file says about itself: who the rows are from, and units, scales and losses of the tags.
pub(super) fn notes(table: &Table) -> Vec<(String, String)> {
    let mut notes = vec![
        ("tidegate.device".to_owned(), table.device().to_string()),
        ("tidegate.group".to_owned(), table.group().to_string()),
    ];
    if let Some(gateway) = table.gateway() {
        notes.push(("tidegate.gateway".to_owned(), gateway.to_string()));
    }
    let columns = schema::encode(table.columns()).ok().and_then(|columns| String::from_utf8(columns).ok());
    notes.extend(columns.map(|columns| ("tidegate.columns".to_owned(), columns)));
    notes
}
