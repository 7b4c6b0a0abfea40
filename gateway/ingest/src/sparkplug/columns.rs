//! What a birth says, as the columns of schemas, and rows as the blocks of these. Pure.

use std::{collections::HashSet, sync::Arc};

use tidegate_codec::block::{Batch, BlockError, BlockSchema, Encoder, Origin};
use tidegate_model::{Column, Reason, Slot, StreamId, TagName, ValueType};
use tidegate_sparkplug::{Known as Metric, QualityCode, Sample, Worth};

use super::{names, streams::Row};
use crate::{
    StreamKey,
    piece::{Known, Rows, arrival},
};

/// Columns of a schema: rows of a device of which little changes at a time do not become large.
pub(super) const MOST: usize = 1000;
/// Bytes of a unit; a longer one is left away.
const LONGEST_UNIT: usize = 1024;

/// Where a metric is: its schema and its column there; `None` for one that is not taken.
pub(super) type Place = Option<(usize, usize)>;

/// The schemas of a device with these metrics, and where each metric is.
pub(super) fn schemas(key: &StreamKey, metrics: &[Metric]) -> Result<(Vec<Place>, Vec<Arc<Known>>), BlockError> {
    let (places, columns) = columns(metrics);
    let schemas = columns.chunks(MOST).map(|columns| known(key, columns).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok((places, schemas))
}

fn known(key: &StreamKey, columns: &[Column]) -> Result<Known, BlockError> {
    let (device, group) = (key.device.clone(), key.group.clone());
    let schema = BlockSchema { store: key.store, device, group, columns: columns.into(), salt: 0 };
    Known::read(key.gateway.clone(), schema.encode()?.into())
}

/// The columns of metrics, and where each metric is.
fn columns(metrics: &[Metric]) -> (Vec<Place>, Vec<Column>) {
    let mut names: Vec<Option<TagName>> = vec![None; metrics.len()];
    let mut taken: HashSet<TagName> = HashSet::new();
    // A name that can stand as it is goes before one that is spelled like it.
    for own in [true, false] {
        for (metric, name) in metrics.iter().zip(&mut names).filter(|(metric, _)| !is_control(&metric.name)) {
            let wanted = names::tag(&metric.name);
            if (wanted.as_str() == &*metric.name) != own {
                continue;
            }
            let found = [wanted, names::other_tag(&metric.name)].into_iter().find(|name| !taken.contains(name));
            taken.extend(found.clone());
            *name = found;
        }
    }
    let (mut places, mut columns) = (Vec::with_capacity(metrics.len()), Vec::new());
    for (metric, name) in metrics.iter().zip(names) {
        let column = name.zip(metric.datatype.kind()).map(|(name, (kind, array))| {
            // A birth does not say how long an array is.
            let mut column = Column::new(name, ValueType { kind, items: array.then_some(0) });
            column.unit = metric.unit.as_ref().filter(|unit| unit.len() <= LONGEST_UNIT).map(ToString::to_string);
            column
        });
        places.push(column.is_some().then_some((columns.len() / MOST, columns.len() % MOST)));
        columns.extend(column);
    }
    (places, columns)
}

/// What belongs to the protocol and is no value of a process.
fn is_control(name: &str) -> bool {
    name == "bdSeq" || name.starts_with("Node Control/") || name.starts_with("Device Control/")
}

pub(super) fn slot(sample: &Sample) -> Slot {
    let reason = |otherwise| sample.reason.unwrap_or(otherwise);
    match &sample.worth {
        Worth::Value(value, QualityCode::Good) => Slot::Good(value.clone()),
        Worth::Value(value, _) => Slot::Uncertain(value.clone(), reason(Reason::Stale)),
        Worth::Null(QualityCode::Stale) => Slot::Bad(reason(Reason::Stale)),
        Worth::Null(_) => Slot::Bad(reason(Reason::DeviceFault)),
        Worth::Unreadable(_) => Slot::Bad(Reason::InvalidValue),
    }
}

/// Rows under the numbers from `first` on.
pub(super) fn encode<'a>(
    encoder: &mut Encoder,
    known: &Arc<Known>,
    boot: u64,
    first: u64,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<Rows, BlockError> {
    let columns = &known.schema.columns;
    let (mut batch, mut repeats, mut last) = (Batch::new(columns), None, first);
    let mut slots = vec![Slot::Unchanged; columns.len()];
    for (row, seq) in rows.zip(first..) {
        slots.iter_mut().for_each(|slot| *slot = Slot::Unchanged);
        for (column, slot) in &row.slots {
            if let Some(place) = slots.get_mut(*column) {
                place.clone_from(slot);
            }
        }
        batch.push(seq, row.time, None, &slots)?;
        repeats = repeats.max(row.doubtful.then_some(row.time));
        last = seq;
    }
    let arrival = arrival(first, last, boot)?;
    let origin = Origin { stream: StreamId(0), schema: known.id, boot };
    let mut frame = Vec::new();
    encoder.encode(&origin, &batch, &mut frame)?;
    Ok(Rows { known: Arc::clone(known), arrival, batch, frame: frame.into(), repeats })
}

#[cfg(test)]
mod tests {
    use tidegate_sparkplug::DataType;

    use super::*;

    fn metric(name: &str, datatype: DataType) -> Metric {
        let unit = Some("rpm".into());
        Metric { name: name.into(), alias: None, datatype, unit, range: None, description: None, writable: false }
    }

    #[test]
    fn metrics_are_columns_and_what_belongs_to_the_protocol_is_none() {
        let all = [
            metric("Motor/Speed", DataType::Double),
            metric("bdSeq", DataType::Int64),
            metric("Motor.Speed", DataType::Float),
            metric("Node Control/Rebirth", DataType::Boolean),
            metric("curve", DataType::Int16Array),
        ];
        let (places, columns) = columns(&all);
        assert_eq!(places, [Some((0, 0)), None, Some((0, 1)), None, Some((0, 2))]);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert!(names[0].starts_with("Motor.Speed-") && names[1..] == ["Motor.Speed", "curve"], "{names:?}");
        assert_eq!((columns[0].unit.as_deref(), columns[2].value_type.items), (Some("rpm"), Some(0)));
    }

    #[test]
    fn many_metrics_are_in_several_schemas() {
        let all: Vec<Metric> = (0..2500).map(|at| metric(&format!("m{at}"), DataType::Double)).collect();
        let [gateway, device, group] = ["n", "d", "g"].map(|name| name.parse().unwrap());
        let key = StreamKey { gateway, device, group, store: crate::sparkplug::NUMBERED_HERE };
        let (places, schemas) = schemas(&key, &all).unwrap();
        assert_eq!((places[999], places[1000], places[2499]), (Some((0, 999)), Some((1, 0)), Some((2, 499))));
        assert_eq!(schemas.iter().map(|known| known.schema.columns.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
