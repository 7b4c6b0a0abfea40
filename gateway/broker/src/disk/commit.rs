//! One transaction: what has changed in the broker, as differences to what the disk has.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteArguments};
use tokio::time::Instant;

use crate::{
    hub::{Changes, Testament},
    message::Published,
    routes::Wish,
    session::{Queued, Saved, Session},
};

/// Messages that go with one statement: each statement goes to the thread of the database and back.
const ROWS: usize = 64;

type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

/// What the disk has.
#[derive(Debug, Default, Clone)]
pub(crate) struct Books {
    /// Bytes of each retained message by its topic.
    pub(crate) retained: HashMap<Bytes, u64>,
    pub(crate) sessions: HashMap<u64, Known>,
    /// Wills by their connections.
    pub(crate) wills: HashSet<u64>,
    /// Bytes of all messages.
    pub(crate) bytes: u64,
}

/// What the disk has of a session.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    /// Number of the last message that was considered.
    pub(crate) considered: u64,
    /// Messages by number, with their packet ids and bytes.
    pub(crate) messages: BTreeMap<u64, (u16, u64)>,
}

/// What was written, to be noted once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Written {
    retained: Vec<(Bytes, Option<u64>)>,
    sessions: HashMap<u64, Known>,
    gone: Vec<u64>,
    wills: Option<HashSet<u64>>,
    /// Messages that found no room.
    pub(crate) left_out: u64,
}

/// How times on this process's clock are written on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: Instant,
    /// The same moment, Unix milliseconds.
    pub(crate) millis: i64,
}

impl Clock {
    /// A time as Unix milliseconds.
    fn millis_of(self, time: Instant) -> i64 {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match time.checked_duration_since(self.now) {
            Some(ahead) => self.millis.saturating_add(millis(ahead)),
            None => self.millis.saturating_sub(millis(self.now.saturating_duration_since(time))),
        }
    }
}

/// Writes and commits. In memory nothing changes before [`Books::note`]. With `anew` what the disk has makes way in the same
/// transaction, so that it is there as long as there is nothing better.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    books: &Books,
    changes: &Changes,
    most: u64,
    clock: Clock,
    anew: bool,
) -> Result<Written, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if anew {
        for table in ["message", "subscription", "session", "retained", "will"] {
            let sql = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::query(sql).execute(&mut *transaction).await?;
        }
    }
    let mut written = Written::default();
    let mut room = Room { bytes: books.bytes, most };
    for number in books.sessions.keys().filter(|number| changes.alive.binary_search(number).is_err()) {
        for sql in [
            "DELETE FROM message WHERE session = ?",
            "DELETE FROM subscription WHERE session = ?",
            "DELETE FROM session WHERE number = ?",
        ] {
            sqlx::query(sql).bind(signed(*number)).execute(&mut *transaction).await?;
        }
        let bytes: u64 =
            books.sessions.get(number).into_iter().flat_map(|known| known.messages.values()).map(|(_, it)| it).sum();
        room.give(bytes);
        written.gone.push(*number);
    }
    for (topic, message) in &changes.retained {
        let before = books.retained.get(topic).copied();
        room.give(before.unwrap_or(0));
        let message = message.as_ref().filter(|message| room.take(size(message)) || left_out(&mut written));
        match message {
            Some(message) => {
                retain(message, clock).execute(&mut *transaction).await?;
                written.retained.push((topic.clone(), Some(size(message))));
            }
            None if before.is_some() => {
                sqlx::query("DELETE FROM retained WHERE topic = ?")
                    .bind(topic.to_vec())
                    .execute(&mut *transaction)
                    .await?;
                written.retained.push((topic.clone(), None));
            }
            None => {}
        }
    }
    for changed in &changes.sessions {
        let session = &changed.session;
        let known = books.sessions.get(&session.number);
        let Some(saved) = session.to_save(known.map_or(0, |known| known.considered)) else { continue };
        if let Some(subscriptions) = &changed.subscriptions {
            subscribe(&mut transaction, session, subscriptions).await?;
        }
        head(session, &saved, clock).execute(&mut *transaction).await?;
        let known = known.cloned().unwrap_or_default();
        let known = messages(&mut transaction, session, saved, known, clock, &mut room, &mut written).await?;
        written.sessions.insert(session.number, known);
    }
    if let Some(wills) = &changes.wills {
        written.wills = Some(bring_up_to_date(&mut transaction, wills, &books.wills).await?);
    }
    transaction.commit().await?;
    Ok(written)
}

fn left_out(written: &mut Written) -> bool {
    written.left_out += 1;
    false
}

/// Bytes of messages on the disk.
struct Room {
    bytes: u64,
    most: u64,
}

impl Room {
    fn give(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= self.most;
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }
}

/// Brings the messages of a session up to date.
async fn messages(
    connection: &mut SqliteConnection,
    session: &Session,
    saved: Saved,
    mut known: Known,
    clock: Clock,
    room: &mut Room,
    written: &mut Written,
) -> Result<Known, sqlx::Error> {
    let session = signed(session.number);
    let there: HashMap<u64, u16> = saved.messages.iter().copied().collect();
    for (first, last) in runs_gone(&known, &there) {
        let query = sqlx::query("DELETE FROM message WHERE session = ? AND number BETWEEN ? AND ?");
        query.bind(session).bind(signed(first)).bind(signed(last)).execute(&mut *connection).await?;
    }
    known.messages.retain(|number, (_, bytes)| {
        let stays = there.contains_key(number);
        if !stays {
            room.give(*bytes);
        }
        stays
    });
    for (number, (id, _)) in &mut known.messages {
        let now = there.get(number).copied().unwrap_or(0);
        if std::mem::replace(id, now) != now {
            let query = sqlx::query("UPDATE message SET packet_id = ? WHERE session = ? AND number = ?");
            query.bind(i64::from(now)).bind(session).bind(signed(*number)).execute(&mut *connection).await?;
        }
    }
    let mut rows = Vec::new();
    for queued in saved.new {
        known.considered = known.considered.max(queued.number);
        let bytes = size(&queued.message);
        if !room.take(bytes) {
            written.left_out += 1;
            continue;
        }
        let id = there.get(&queued.number).copied().unwrap_or(0);
        known.messages.insert(queued.number, (id, bytes));
        rows.push((queued, id));
    }
    for rows in rows.chunks(ROWS) {
        insert(session, rows, clock).execute(&mut *connection).await?;
    }
    Ok(known)
}

/// Writes the wills that the disk does not have, and takes off those that are not due any more.
async fn bring_up_to_date(
    connection: &mut SqliteConnection,
    wills: &[Arc<Testament>],
    known: &HashSet<u64>,
) -> Result<HashSet<u64>, sqlx::Error> {
    let there: HashSet<u64> = wills.iter().map(|testament| testament.connection).collect();
    for gone in known.difference(&there) {
        sqlx::query("DELETE FROM will WHERE connection = ?").bind(signed(*gone)).execute(&mut *connection).await?;
    }
    for testament in wills.iter().filter(|testament| !known.contains(&testament.connection)) {
        let will = &testament.will;
        sqlx::query("INSERT INTO will VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(testament.connection))
            .bind(signed(testament.session))
            .bind(testament.client.clone())
            .bind(testament.user.clone())
            .bind(will.topic.clone())
            .bind(will.payload.to_vec())
            .bind(will.passed.bytes().to_vec())
            .bind(i64::from(will.qos.number()))
            .bind(will.retain)
            .bind(i64::from(will.delay))
            .bind(will.message_expiry.map(i64::from))
            .execute(&mut *connection)
            .await?;
    }
    Ok(there)
}

/// Runs of numbers on the disk of which none is there any more.
fn runs_gone(known: &Known, there: &HashMap<u64, u16>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut open: Option<(u64, u64)> = None;
    for number in known.messages.keys().copied() {
        match (&mut open, there.contains_key(&number)) {
            (run, true) => runs.extend(run.take()),
            (Some((_, last)), false) => *last = number,
            (run @ None, false) => *run = Some((number, number)),
        }
    }
    runs.extend(open);
    runs
}

async fn subscribe(
    connection: &mut SqliteConnection,
    session: &Session,
    subscriptions: &[(String, Wish)],
) -> Result<(), sqlx::Error> {
    let number = signed(session.number);
    sqlx::query("DELETE FROM subscription WHERE session = ?").bind(number).execute(&mut *connection).await?;
    for (filter, wish) in subscriptions {
        sqlx::query("INSERT INTO subscription VALUES (?, ?, ?, ?, ?, ?)")
            .bind(number)
            .bind(filter.clone())
            .bind(i64::from(wish.qos.number()))
            .bind(wish.no_local)
            .bind(wish.retain_as_published)
            .bind(wish.identifier.map(i64::from))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn head(session: &Session, saved: &Saved, clock: Clock) -> Query {
    let ids = |ids: &[u16]| ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>();
    sqlx::query("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(signed(session.number))
        .bind(session.client.clone())
        .bind(session.rights.user().map(str::to_owned))
        .bind(i64::from(saved.expiry))
        .bind(saved.offline_since.map(|since| clock.millis_of(since)))
        .bind(i64::from(saved.last_id))
        .bind(ids(&saved.received))
        .bind(ids(&saved.released))
}

fn retain(message: &Published, clock: Clock) -> Query {
    sqlx::query("INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(message.topic.to_vec())
        .bind(message.payload.to_vec())
        .bind(message.properties.bytes().to_vec())
        .bind(i64::from(message.qos.number()))
        .bind(message.expires.map(|expires| clock.millis_of(expires)))
        .bind(signed(message.from))
        .bind(message.may_be_answered)
}

fn insert(session: i64, rows: &[(Queued, u16)], clock: Clock) -> Query {
    let places = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let sql = sqlx::AssertSqlSafe(format!("INSERT OR REPLACE INTO message VALUES {places}"));
    // Only the full one comes again and again.
    let mut query = sqlx::query(sql).persistent(rows.len() == ROWS);
    for (queued, id) in rows {
        let message = &queued.message;
        let identifiers = queued.identifiers.iter().flat_map(|all| all.iter()).flat_map(|id| id.to_be_bytes());
        query = query
            .bind(session)
            .bind(signed(queued.number))
            .bind(i64::from(*id))
            .bind(message.topic.to_vec())
            .bind(message.payload.to_vec())
            .bind(message.properties.bytes().to_vec())
            .bind(i64::from(queued.qos.number()))
            .bind(i64::from(message.qos.number()))
            .bind(queued.retain)
            .bind(identifiers.collect::<Vec<u8>>())
            .bind(queued.shared.as_deref().map(str::to_owned))
            .bind(message.expires.map(|expires| clock.millis_of(expires)))
            .bind(signed(message.from))
            .bind(message.may_be_answered);
    }
    query
}

impl Books {
    /// Notes what is on the disk now.
    pub(crate) fn note(&mut self, written: Written) {
        for (topic, bytes) in written.retained {
            match bytes {
                Some(bytes) => self.retained.insert(topic, bytes),
                None => self.retained.remove(&topic),
            };
        }
        for number in written.gone {
            self.sessions.remove(&number);
        }
        self.sessions.extend(written.sessions);
        if let Some(wills) = written.wills {
            self.wills = wills;
        }
        let waiting = self.sessions.values().flat_map(|known| known.messages.values()).map(|(_, bytes)| bytes);
        self.bytes = self.retained.values().chain(waiting).sum();
    }

    /// Messages that wait for clients.
    pub(crate) fn messages(&self) -> usize {
        self.sessions.values().map(|known| known.messages.len()).sum()
    }
}

/// Bytes that a message counts on the disk.
pub(crate) fn size(message: &Published) -> u64 {
    u64::try_from(message.cost()).unwrap_or(u64::MAX)
}

/// SQLite has no unsigned numbers; ours are far below the limit.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
