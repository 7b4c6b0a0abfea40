//! The ids of streams and tags in the database. They are made once and remembered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sqlx::{Connection, PgConnection, Row};
use tidegate_codec::block::SchemaId;
use tidegate_model::{Column, Name, ValueKind};

use super::patience::Progress;
use crate::{StreamKey, piece::Known};

/// Schemas whose ids are remembered; beyond, all are forgotten and asked for again.
const MOST: usize = 100_000;

/// Where the rows of a schema go.
#[derive(Debug)]
pub(crate) struct Place {
    known: Arc<Known>,
    pub(crate) stream: i32,
    /// One id for each column.
    pub(crate) tags: Vec<i32>,
}

/// The ids of streams and tags that are known here.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    places: HashMap<(Name, SchemaId), Place>,
}

impl Identities {
    /// The place of a schema that was learned.
    pub(crate) fn of(&self, known: &Known) -> Result<&Place, sqlx::Error> {
        let place = self.places.get(&(known.key.gateway.clone(), known.id));
        // Two schemas may have the same checksum.
        let same = |place: &&Place| std::ptr::eq(&*place.known, known) || place.known.document == known.document;
        place.filter(same).ok_or(sqlx::Error::RowNotFound)
    }

    /// Forgets everything: it is asked for again.
    pub(crate) fn forget(&mut self) {
        self.places.clear();
    }

    /// Finds the ids for these schemas, or makes them.
    pub(crate) async fn learn(
        &mut self,
        connection: &mut PgConnection,
        schemas: impl Iterator<Item = &Arc<Known>>,
        progress: &Progress,
    ) -> Result<(), sqlx::Error> {
        // In the order of the streams, so that two ingests that learn the same do not wait for each other in a circle.
        let new: BTreeMap<(StreamKey, SchemaId), Arc<Known>> = schemas
            .filter(|known| self.of(known).is_err())
            .map(|known| ((known.key.clone(), known.id), Arc::clone(known)))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.places.len().saturating_add(new.len()) > MOST {
            self.places.clear();
        }
        let mut transaction = connection.begin().await?;
        let mut places = Vec::with_capacity(new.len());
        for known in new.values() {
            let stream = stream(&mut transaction, &known.key).await?;
            let mut tags = Vec::with_capacity(known.schema.columns.len());
            for column in known.schema.columns.iter() {
                tags.push(tag(&mut transaction, stream, column).await?);
                progress.made();
            }
            remember(&mut transaction, known).await?;
            places.push(((known.key.gateway.clone(), known.id), Place { known: Arc::clone(known), stream, tags }));
        }
        transaction.commit().await?;
        self.places.extend(places);
        Ok(())
    }
}

async fn stream(connection: &mut PgConnection, key: &StreamKey) -> Result<i32, sqlx::Error> {
    let texts = [key.gateway.to_string(), key.store.to_string(), key.device.to_string(), key.group.to_string()];
    let insert = "INSERT INTO tidegate.stream (gateway, store, device, group_name) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT DO NOTHING";
    let select = "SELECT id FROM tidegate.stream WHERE gateway = $1 AND store = $2 AND device = $3 AND group_name = $4";
    find_or_make(connection, select, insert, |query| texts.iter().fold(query, |query, text| query.bind(text.as_str())))
        .await
}

async fn tag(connection: &mut PgConnection, stream: i32, column: &Column) -> Result<i32, sqlx::Error> {
    let items = column.value_type.items.map(|items| i32::try_from(items).unwrap_or(i32::MAX));
    // PostgreSQL has no character 0.
    let unit = column.unit.as_ref().map(|unit| unit.replace('\0', "\u{fffd}"));
    let insert = "INSERT INTO tidegate.tag (stream_id, name, kind, items, unit) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT DO NOTHING";
    let select = "SELECT id FROM tidegate.tag WHERE stream_id = $1 AND name = $2 AND kind = $3 \
                  AND coalesce(items, -1) = coalesce($4, -1) AND coalesce(unit, '') = coalesce($5, '')";
    find_or_make(connection, select, insert, |query| {
        query
            .bind(stream)
            .bind(column.name.as_str())
            .bind(kind(column.value_type.kind))
            .bind(items)
            .bind(unit.as_deref())
    })
    .await
}

type Query<'a> = sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Looks first: nothing is written, and no number of the sequence used up, for what is there.
async fn find_or_make<'a>(
    connection: &mut PgConnection,
    select: &'static str,
    insert: &'static str,
    bind: impl Fn(Query<'a>) -> Query<'a>,
) -> Result<i32, sqlx::Error> {
    if let Some(row) = bind(sqlx::query(select)).fetch_optional(&mut *connection).await? {
        return row.try_get(0);
    }
    bind(sqlx::query(insert)).execute(&mut *connection).await?;
    bind(sqlx::query(select)).fetch_one(&mut *connection).await?.try_get(0)
}

async fn remember(connection: &mut PgConnection, known: &Known) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO tidegate.schema (gateway, id, document) VALUES ($1, $2, $3) \
               ON CONFLICT (gateway, id) DO UPDATE SET document = excluded.document \
               WHERE schema.document <> excluded.document";
    let query = sqlx::query(sql).bind(known.key.gateway.as_str()).bind(known.id.to_string());
    query.bind(known.document.as_ref()).execute(connection).await.map(drop)
}

/// The word for a kind, as in the documents of schemas.
fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bool => "bool",
        ValueKind::Int => "int",
        ValueKind::Uint => "uint",
        ValueKind::F32 => "f32",
        ValueKind::F64 => "f64",
        ValueKind::Text => "text",
        ValueKind::Bytes => "bytes",
    }
}
