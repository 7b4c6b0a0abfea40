//! What has been recorded: the groups of devices, and the columns they have had.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{Row, SqliteConnection};
use tidegate_codec::{block::StoreId, schema};
use tidegate_model::{Column, Name, Stream, StreamId, TagName, Timestamp};

use super::{Access, Query, damage};
use crate::{
    StoreError,
    books::Meta,
    numbers::{signed, unsigned},
    streams,
    summary::Summary,
};

/// Records whose heads are read at once.
const AT_ONCE: i64 = 4_096;

/// A group of a device that rows have been recorded of.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The device.
    pub device: Name,
    /// Its group.
    pub group: Name,
    /// The columns it has had, each from some time on; the newest last.
    pub versions: Vec<Version>,
}

/// Rows of one group with the same columns.
#[derive(Debug, Clone)]
pub struct Version {
    /// The stream with these columns.
    pub stream: Arc<Stream>,
    /// Time of the first row in the store, or a little before (as much as the rows of one epoch span); `None` when no row is
    /// there any more.
    pub first: Option<Timestamp>,
    /// Time of the last, or a little after.
    pub last: Option<Timestamp>,
}

impl Recorded {
    /// Time of the first row in the store, or a little before.
    pub fn first(&self) -> Option<Timestamp> {
        self.versions.iter().filter_map(|version| version.first).min()
    }

    /// Time of the last row in the store, or a little after.
    pub fn last(&self) -> Option<Timestamp> {
        self.versions.iter().filter_map(|version| version.last).max()
    }
}

/// First and last position at which there is something of a stream, and the times around them.
#[derive(Debug, Clone, Copy)]
struct Extent {
    first: Timestamp,
    last: Timestamp,
    /// Where it begins: the order of the columns of a group.
    begins: u64,
}

/// The identity of the numbering of the rows.
pub(super) async fn store(access: &Access) -> Result<Option<StoreId>, StoreError> {
    if let Some(store) = access.store() {
        return Ok(Some(store));
    }
    let mut snapshot = access.snapshot().await?;
    let meta = damage(Meta::load(snapshot.connection()).await);
    snapshot.end().await;
    let meta = meta.map_err(|error| access.error(error))?;
    Ok(meta.ok().and_then(|meta| meta.store))
}

/// Everything that has been recorded.
pub(super) async fn recorded(access: &Access) -> Result<Vec<Recorded>, StoreError> {
    let error = |error| access.error(error);
    let mut snapshot = access.snapshot().await?;
    let mut extents = BTreeMap::new();
    if snapshot.has_blocks() {
        in_epochs(snapshot.connection(), &mut extents).await.map_err(error)?;
    }
    in_log(snapshot.connection(), &mut extents).await.map_err(error)?;
    let streams = all_streams(snapshot.connection(), None).await.map_err(error)?;
    snapshot.end().await;

    let mut groups: BTreeMap<(Name, Name), Vec<(u64, Version)>> = BTreeMap::new();
    for stream in streams {
        let extent = extents.get(&stream.id()).copied();
        let version = Version {
            first: extent.map(|extent| extent.first),
            last: extent.map(|extent| extent.last),
            stream: Arc::clone(&stream),
        };
        let begins = extent.map_or(0, |extent| extent.begins);
        let key = (stream.device().clone(), stream.group().clone());
        groups.entry(key).or_default().push((begins, version));
    }
    let recorded = groups.into_iter().map(|((device, group), mut versions)| {
        versions.sort_by_key(|(begins, version)| (*begins, version.stream.id()));
        Recorded { device, group, versions: versions.into_iter().map(|(_, version)| version).collect() }
    });
    Ok(recorded.collect())
}

fn note(extents: &mut BTreeMap<StreamId, Extent>, stream: StreamId, new: Extent) {
    extents
        .entry(stream)
        .and_modify(|known| {
            known.first = known.first.min(new.first);
            known.last = known.last.max(new.last);
            known.begins = known.begins.min(new.begins);
        })
        .or_insert(new);
}

async fn in_epochs(
    connection: &mut SqliteConnection,
    extents: &mut BTreeMap<StreamId, Extent>,
) -> Result<(), sqlx::Error> {
    let mut epochs = BTreeMap::new();
    let select = "SELECT first_position, time_min, time_max FROM epoch";
    for row in sqlx::query(select).fetch_all(&mut *connection).await? {
        let times: (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        epochs.insert(unsigned(row.try_get(0)?), times);
    }
    let select = "SELECT stream_id, min(first_position), max(first_position) FROM block GROUP BY stream_id";
    for row in sqlx::query(select).fetch_all(&mut *connection).await? {
        let Ok(stream) = u32::try_from(row.try_get::<i64, _>(0)?) else { continue };
        for column in [1, 2] {
            let position = unsigned(row.try_get(column)?);
            let Some((begins, (first, last))) = epochs.range(..=position).next_back() else { continue };
            let (first, last) = (Timestamp::from_millis(*first), Timestamp::from_millis(*last));
            note(extents, StreamId(stream), Extent { first, last, begins: *begins });
        }
    }
    Ok(())
}

async fn in_log(
    connection: &mut SqliteConnection,
    extents: &mut BTreeMap<StreamId, Extent>,
) -> Result<(), sqlx::Error> {
    let mut from = 0;
    loop {
        let select = "SELECT first_position, time_min, time_max, summary FROM log WHERE first_position >= ? \
                      ORDER BY first_position LIMIT ?";
        let rows = sqlx::query(select).bind(signed(from)).bind(AT_ONCE).fetch_all(&mut *connection).await?;
        for row in &rows {
            let begins = unsigned(row.try_get(0)?);
            let (first, last) = (Timestamp::from_millis(row.try_get(1)?), Timestamp::from_millis(row.try_get(2)?));
            // Of a damaged one nothing is known but that its neighbours are close by.
            let summary = Summary::decode(row.try_get(3)?, begins);
            for stream in summary.iter().flat_map(|summary| summary.streams.keys()) {
                note(extents, *stream, Extent { first, last, begins });
            }
            from = begins.saturating_add(1);
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

/// The streams of a device, or all. What cannot be read is left out.
async fn all_streams(
    connection: &mut SqliteConnection,
    device: Option<&Name>,
) -> Result<Vec<Arc<Stream>>, sqlx::Error> {
    let select = "SELECT stream.id, device, group_name, schema_id, columns FROM stream \
                  JOIN schema ON schema.id = stream.schema_id WHERE ?1 IS NULL OR device = ?1 ORDER BY stream.id";
    let rows = sqlx::query(select).bind(device.map(Name::as_str)).fetch_all(connection).await?;
    let mut known: BTreeMap<i64, Arc<[Column]>> = BTreeMap::new();
    let mut streams = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Ok(device), Ok(group)) = (streams::name(row.try_get(1)?), streams::name(row.try_get(2)?)) else {
            continue;
        };
        let (Ok(id), schema_id) = (u32::try_from(row.try_get::<i64, _>(0)?), row.try_get(3)?) else { continue };
        let columns = match known.get(&schema_id) {
            Some(columns) => Arc::clone(columns),
            None => {
                let Ok(columns) = schema::decode(row.try_get(4)?) else { continue };
                Arc::clone(known.entry(schema_id).or_insert(columns.into()))
            }
        };
        streams.push(Arc::new(Stream::new(StreamId(id), device, group, columns)));
    }
    Ok(streams)
}

/// The streams that a query is about, by group.
pub(crate) async fn matching(access: &Access, query: &Query) -> Result<Vec<Vec<Arc<Stream>>>, StoreError> {
    let mut snapshot = access.snapshot().await?;
    let streams = all_streams(snapshot.connection(), Some(&query.device)).await;
    snapshot.end().await;
    let mut groups: BTreeMap<Name, Vec<Arc<Stream>>> = BTreeMap::new();
    for stream in streams.map_err(|error| access.error(error))? {
        let of_group = query.group.as_ref().is_none_or(|group| stream.group() == group);
        let has_tag = query.tags.is_empty() || stream.columns().iter().any(|column| is_one(&column.name, &query.tags));
        if of_group && has_tag {
            groups.entry(stream.group().clone()).or_default().push(stream);
        }
    }
    Ok(groups.into_values().collect())
}

fn is_one(name: &TagName, tags: &[TagName]) -> bool {
    tags.contains(name)
}
