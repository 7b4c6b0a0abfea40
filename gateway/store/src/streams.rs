//! Which streams there are, what their columns are, and which number a row had last.
//!
//! All of it is in memory but the columns of streams that have had no row since the start, so a device can begin to
//! work while the disk is failing; what is new goes to the disk with the next commit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use sqlx::{Row, SqliteConnection};
use tidegate_codec::{
    block::{SchemaId, StoreId},
    schema,
};
use tidegate_model::{Column, Name, Stream, StreamId};
use tokio::sync::oneshot;

use crate::{
    StoreError,
    database::{Unusable, failed},
    missing::Missing,
    numbers::{signed, unsigned},
    summary::Span,
    wire::{self, WireSchemas},
};

/// Schemas of blocks that are tried for a stream until one has an id of its own.
const SALTS: usize = 64;

/// A request for a stream.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) device: Name,
    pub(crate) group: Name,
    pub(crate) columns: Arc<[Column]>,
    pub(crate) reply: oneshot::Sender<Result<(Arc<Stream>, u64), StoreError>>,
}

/// The rows of one group of one device, whatever its columns were: they share one numbering.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) device: Name,
    pub(crate) group: Name,
    /// Number of the last row; 0 before the first.
    pub(crate) last_seq: u64,
    /// Number of the last row in the log; those that wait to be written have larger ones.
    pub(crate) written: u64,
    /// The stream with the newest columns.
    pub(crate) newest: StreamId,
    /// Whether `last_seq` is not in the table.
    unsaved: bool,
    /// Whether the targets have to be told that everything up to `last_seq` is lost, as far as they have not got it.
    unannounced: bool,
}

#[derive(Debug)]
struct Schema {
    hash: u32,
    columns: Option<Arc<[Column]>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    series: usize,
    schema: u32,
    /// The id of its schema in blocks, once that has been looked up.
    wire: Option<SchemaId>,
    /// Keeps that apart from those of other streams.
    salt: u32,
}

/// Which streams there are.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Last number of groups that the database knows nothing of: not 0 when one has been lost to damage.
    numbering_base: u64,
    schemas: BTreeMap<u32, Schema>,
    streams: BTreeMap<StreamId, Known>,
    series: Vec<Series>,
    by_name: HashMap<(Name, Name), usize>,
    by_parts: HashMap<(usize, u32), StreamId>,
    wire_ids: HashSet<SchemaId>,
    unsaved_schemas: Vec<(u32, Vec<u8>)>,
    unsaved_streams: Vec<StreamId>,
}

/// The columns of a stream, from the database.
pub(crate) async fn load(connection: &mut SqliteConnection, id: StreamId) -> Result<Arc<Stream>, Unusable> {
    let row = sqlx::query(
        "SELECT device, group_name, columns FROM stream JOIN schema ON schema.id = stream.schema_id \
         WHERE stream.id = ?",
    )
    .bind(i64::from(id.0))
    .fetch_one(connection)
    .await?;
    let columns = schema::decode(row.try_get("columns")?).map_err(|error| Unusable::Damaged(error.to_string()))?;
    Ok(Arc::new(Stream::new(id, name(row.try_get("device")?)?, name(row.try_get("group_name")?)?, columns)))
}

/// A name out of the database.
pub(crate) fn name(text: &str) -> Result<Name, Unusable> {
    text.parse().map_err(|error| Unusable::Damaged(format!("{text:?} is there as a name, but {error}")))
}

fn id(number: i64) -> Result<u32, Unusable> {
    u32::try_from(number).map_err(|_| Unusable::Damaged(format!("{number} is there as the number of a stream")))
}

impl Streams {
    /// What the database knows, the last numbers as of its table `sequence`.
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Streams, Unusable> {
        let mut streams = Streams::default();
        for row in sqlx::query("SELECT id, hash FROM schema").fetch_all(&mut *connection).await? {
            let hash = id(row.try_get("hash")?)?;
            streams.schemas.insert(id(row.try_get("id")?)?, Schema { hash, columns: None });
        }
        let rows = sqlx::query("SELECT id, device, group_name, schema_id, wire_id, salt FROM stream ORDER BY id");
        for row in rows.fetch_all(&mut *connection).await? {
            let (device, group) = (name(row.try_get("device")?)?, name(row.try_get("group_name")?)?);
            let (stream, schema) = (StreamId(id(row.try_get("id")?)?), id(row.try_get("schema_id")?)?);
            streams.know(stream, &device, &group, schema);
            let wire = row.try_get::<Option<i64>, _>("wire_id")?.and_then(|id| u32::try_from(id).ok());
            let salt = id(row.try_get("salt")?)?;
            if let Some(known) = streams.streams.get_mut(&stream) {
                (known.wire, known.salt) = (wire.map(SchemaId), salt);
                streams.wire_ids.extend(known.wire);
            }
        }
        for row in sqlx::query("SELECT device, group_name, last_seq FROM sequence").fetch_all(connection).await? {
            let names = (name(row.try_get("device")?)?, name(row.try_get("group_name")?)?);
            let last_seq = unsigned(row.try_get("last_seq")?);
            if let Some(series) = streams.by_name.get(&names).and_then(|at| streams.series.get_mut(*at)) {
                (series.last_seq, series.written) = (last_seq, last_seq);
            }
        }
        Ok(streams)
    }

    fn know(&mut self, stream: StreamId, device: &Name, group: &Name, schema: u32) {
        let (base, series) = (self.numbering_base, &mut self.series);
        let at = *self.by_name.entry((device.clone(), group.clone())).or_insert_with(|| {
            let (device, group) = (device.clone(), group.clone());
            let after_damage = base > 0;
            let (unsaved, unannounced) = (after_damage, after_damage);
            series.push(Series { device, group, last_seq: base, written: base, newest: stream, unsaved, unannounced });
            series.len() - 1
        });
        if let Some(series) = series.get_mut(at) {
            series.newest = series.newest.max(stream);
        }
        self.streams.insert(stream, Known { series: at, schema, wire: None, salt: 0 });
        self.by_parts.insert((at, schema), stream);
    }

    /// The stream of a group with these columns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`] when the columns of an older stream have to be compared and cannot be read;
    /// [`StoreError::Columns`] when these or those cannot be turned into bytes or back.
    pub(crate) async fn find(
        &mut self,
        connection: Option<&mut SqliteConnection>,
        device: &Name,
        group: &Name,
        columns: &Arc<[Column]>,
    ) -> Result<Stream, StoreError> {
        let (schema, columns) = self.schema(connection, columns).await?;
        let series = self.by_name.get(&(device.clone(), group.clone())).copied();
        let found = series.and_then(|series| self.by_parts.get(&(series, schema)).copied());
        let stream = found.unwrap_or_else(|| {
            let stream = StreamId(self.streams.last_key_value().map_or(1, |(last, _)| last.0.saturating_add(1)));
            self.know(stream, device, group, schema);
            self.unsaved_streams.push(stream);
            stream
        });
        Ok(Stream::new(stream, device.clone(), group.clone(), columns))
    }

    /// Sees to it that the stream's schema has an id of its own in blocks. Gives its salt when that is new.
    pub(crate) fn tell_apart(&mut self, store: StoreId, stream: &Stream) -> Option<u32> {
        if self.streams.get(&stream.id())?.wire.is_some() {
            return None;
        }
        let ids = (0..u32::MAX).map(|salt| (wire::schema(store, stream, salt).id, salt));
        let (id, salt) = ids.take(SALTS).find(|(id, _)| !self.wire_ids.contains(id))?;
        self.wire_ids.insert(id);
        let known = self.streams.get_mut(&stream.id())?;
        (known.wire, known.salt) = (Some(id), salt);
        if self.unsaved_streams.last() != Some(&stream.id()) {
            self.unsaved_streams.push(stream.id());
        }
        Some(salt)
    }

    /// The store has got another identity, and with it every schema another id.
    pub(crate) fn forget_wire_ids(&mut self) {
        self.wire_ids.clear();
        for known in self.streams.values_mut() {
            (known.wire, known.salt) = (None, 0);
        }
    }

    /// The salts that there are.
    pub(crate) fn wire_schemas(&self, store: StoreId) -> WireSchemas {
        let schemas = WireSchemas::new(store);
        self.streams.iter().for_each(|(stream, known)| schemas.salted(*stream, known.salt));
        schemas
    }

    /// The number of these columns, and the one copy of them that is kept.
    async fn schema(
        &mut self,
        mut connection: Option<&mut SqliteConnection>,
        columns: &Arc<[Column]>,
    ) -> Result<(u32, Arc<[Column]>), StoreError> {
        let bytes = schema::encode(columns)?;
        let hash = crc32c::crc32c(&bytes);
        for (id, schema) in self.schemas.iter_mut().filter(|(_, schema)| schema.hash == hash) {
            let known = match (&schema.columns, &mut connection) {
                (Some(known), _) => Arc::clone(known),
                (None, Some(connection)) => columns_of(connection, *id).await?,
                (None, None) => {
                    let source = sqlx::Error::Protocol("it cannot be reached at the moment".to_owned());
                    return Err(failed("read the columns of a stream")(source));
                }
            };
            let known = schema.columns.insert(known);
            if known == columns {
                return Ok((*id, Arc::clone(known)));
            }
        }
        let id = self.schemas.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
        self.schemas.insert(id, Schema { hash, columns: Some(Arc::clone(columns)) });
        self.unsaved_schemas.push((id, bytes));
        Ok((id, Arc::clone(columns)))
    }

    /// The last number of groups that the database knows nothing of.
    pub(crate) fn numbering_base(&self) -> u64 {
        self.numbering_base
    }

    /// No group has a smaller last number than this.
    pub(crate) fn raise_to(&mut self, numbering_base: u64) {
        self.numbering_base = numbering_base;
        for series in self.series.iter_mut().filter(|series| series.last_seq < numbering_base) {
            (series.last_seq, series.written) = (numbering_base, numbering_base);
            series.unsaved = true;
        }
    }

    /// Every group.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// Every row that has been written.
    pub(crate) fn everything(&self) -> Missing {
        let mut missing = Missing::default();
        for series in self.series.iter().filter(|series| series.written > 0) {
            missing.add(series.newest, Span { first: 1, last: series.written });
        }
        missing
    }

    /// The group that a stream is of.
    pub(crate) fn series_of(&self, stream: StreamId) -> Option<&Series> {
        self.streams.get(&stream).and_then(|known| self.series.get(known.series))
    }

    /// The last number before the damage after which the group of this stream has been begun anew, until
    /// [`Streams::announced`].
    pub(crate) fn unannounced(&self, stream: StreamId) -> Option<u64> {
        self.series_of(stream).filter(|series| series.unannounced).map(|_| self.numbering_base)
    }

    /// The targets know that rows of the group of this stream have been lost.
    pub(crate) fn announced(&mut self, stream: StreamId) {
        let Some(known) = self.streams.get(&stream) else { return };
        if let Some(series) = self.series.get_mut(known.series) {
            series.unannounced = false;
        }
    }

    /// Has everything written again, to a database that replaces a damaged one; `columns` are those that could be
    /// read from that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Columns`].
    pub(crate) fn write_all(&mut self, columns: &BTreeMap<u32, Arc<[Column]>>) -> Result<(), StoreError> {
        self.unsaved_schemas.clear();
        for (id, schema) in &mut self.schemas {
            // Without its columns a stream can still be named in a gap.
            let found = || columns.get(id).cloned().unwrap_or_else(|| Vec::new().into());
            let bytes = schema::encode(schema.columns.get_or_insert_with(found))?;
            schema.hash = crc32c::crc32c(&bytes);
            self.unsaved_schemas.push((*id, bytes));
        }
        self.unsaved_streams = self.streams.keys().copied().collect();
        for series in &mut self.series {
            series.unsaved = true;
        }
        Ok(())
    }

    /// Notes that a row of a stream has got this number.
    pub(crate) fn used(&mut self, stream: StreamId, seq: u64) {
        let Some(known) = self.streams.get(&stream) else { return };
        if let Some(series) = self.series.get_mut(known.series).filter(|series| series.last_seq < seq) {
            series.last_seq = seq;
            series.unsaved = true;
        }
    }

    /// Notes that the row of a stream with this number is in the log.
    pub(crate) fn wrote(&mut self, stream: StreamId, seq: u64) {
        self.used(stream, seq);
        let Some(known) = self.streams.get(&stream) else { return };
        if let Some(series) = self.series.get_mut(known.series) {
            series.written = series.written.max(seq);
        }
    }

    /// Whether there are streams that the database does not know.
    pub(crate) fn has_new(&self) -> bool {
        !self.unsaved_streams.is_empty()
    }

    /// Writes what the database does not know; [`Streams::saved_new`] afterwards. Writing it twice does no harm.
    pub(crate) async fn save_new(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for (id, columns) in &self.unsaved_schemas {
            let hash = self.schemas.get(id).map_or(0, |schema| schema.hash);
            sqlx::query("INSERT OR REPLACE INTO schema (id, hash, columns) VALUES (?, ?, ?)")
                .bind(i64::from(*id))
                .bind(i64::from(hash))
                .bind(columns)
                .execute(&mut *connection)
                .await?;
        }
        for id in &self.unsaved_streams {
            let Some(known) = self.streams.get(id) else { continue };
            let Some(series) = self.series.get(known.series) else { continue };
            let insert = "INSERT OR REPLACE INTO stream (id, device, group_name, schema_id, wire_id, salt) \
                          VALUES (?, ?, ?, ?, ?, ?)";
            sqlx::query(insert)
                .bind(i64::from(id.0))
                .bind(series.device.as_str())
                .bind(series.group.as_str())
                .bind(i64::from(known.schema))
                .bind(known.wire.map(|wire| i64::from(wire.0)))
                .bind(i64::from(known.salt))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// [`Streams::save_new`] has been committed.
    pub(crate) fn saved_new(&mut self) {
        self.unsaved_schemas.clear();
        self.unsaved_streams.clear();
    }

    /// Writes the last numbers that have changed; [`Streams::saved_sequence`] afterwards.
    pub(crate) async fn save_sequence(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for series in self.series.iter().filter(|series| series.unsaved) {
            sqlx::query("INSERT OR REPLACE INTO sequence (device, group_name, last_seq) VALUES (?, ?, ?)")
                .bind(series.device.as_str())
                .bind(series.group.as_str())
                .bind(signed(series.last_seq))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// [`Streams::save_sequence`] has been committed.
    pub(crate) fn saved_sequence(&mut self) {
        for series in &mut self.series {
            series.unsaved = false;
        }
    }
}

/// All columns that can be read.
pub(crate) async fn all_columns(connection: &mut SqliteConnection) -> BTreeMap<u32, Arc<[Column]>> {
    let rows = sqlx::query("SELECT id, columns FROM schema").fetch_all(connection).await.unwrap_or_default();
    let columns = rows.iter().filter_map(|row| {
        let id = u32::try_from(row.try_get::<i64, _>("id").ok()?).ok()?;
        Some((id, schema::decode(row.try_get("columns").ok()?).ok()?.into()))
    });
    columns.collect()
}

async fn columns_of(connection: &mut SqliteConnection, schema: u32) -> Result<Arc<[Column]>, StoreError> {
    let doing = failed("read the columns of a stream");
    let query = sqlx::query("SELECT columns FROM schema WHERE id = ?").bind(i64::from(schema));
    let row = query.fetch_one(connection).await.map_err(&doing)?;
    let bytes: &[u8] = row.try_get("columns").map_err(&doing)?;
    Ok(schema::decode(bytes)?.into())
}
