//! How long a tag with a swinging door may be silent: no line between two of its samples is longer.

use tidegate_model::{Column, Loss, Stream, TagName};

/// In milliseconds, in the rows of this stream; `None` when the tag has no swinging door there.
pub(crate) fn of_tag(stream: &Stream, tag: &TagName) -> Option<i64> {
    stream.columns().iter().find(|column| column.name == *tag).and_then(of_column)
}

/// The longest of all tags of a stream; `None` when none of them has a swinging door.
pub(crate) fn longest(stream: &Stream) -> Option<i64> {
    stream.columns().iter().filter_map(of_column).max()
}

fn of_column(column: &Column) -> Option<i64> {
    match column.loss {
        Some(Loss::SwingingDoor { max_silence, .. }) if column.value_type.items.is_none() => {
            Some(i64::try_from(max_silence).unwrap_or(i64::MAX))
        }
        _ => None,
    }
}
