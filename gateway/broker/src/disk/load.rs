//! Putting back what was there before a restart.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tokio_util::sync::CancellationToken;

use super::commit::{Books, Clock, Written, size};
use crate::{
    hub::Hub,
    message::Published,
    rights::Rights,
    routes::Wish,
    session::{Queued, Restored, Session},
    topic,
    total::Part,
    wire::{Passed, Qos},
};

/// A session that was put back and whose client is away.
#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) session: Arc<Session>,
    /// Cancelled when the client is back or the session has been given up.
    pub(crate) resumed: CancellationToken,
    /// How long the session is still kept; absent for ever.
    pub(crate) left: Option<Duration>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) books: Books,
    pub(crate) away: Vec<Away>,
    /// Topics of retained messages that were left out.
    pub(crate) stale: Vec<Bytes>,
}

/// A session to be put back.
struct Found {
    restored: Restored,
    rights: Rights,
    subscriptions: Vec<(String, Wish)>,
    left: Left,
}

/// Reads the database and puts what is in it into the hub; after an error the hub has nothing of it. Sessions that are over, or
/// whose user is gone, and messages that nobody needs any more, are left out; the writer takes them off the disk.
pub(crate) async fn load(connection: &mut SqliteConnection, hub: &Hub, clock: Clock) -> Result<Loaded, sqlx::Error> {
    let mut loaded = Loaded::default();
    let sessions = sessions(connection, hub, clock, &mut loaded.books).await?;
    let mut retained = Vec::new();
    for row in sqlx::query("SELECT * FROM retained").fetch_all(&mut *connection).await? {
        let message = published(&row, row.try_get("qos")?, true, clock)?;
        hub.pass_over(message.from);
        loaded.books.retained.insert(message.topic.clone(), size(&message));
        retained.push(message);
    }
    // Nothing can fail from here on.
    for Found { restored, rights, subscriptions, left } in sessions {
        let (session, resumed) = hub.restore_session(restored, rights, subscriptions);
        // Whatever was left out is taken off the disk with the next commit.
        session.unsaved.note_subscriptions();
        loaded.away.push(Away { session, resumed, left: left.for_ever_is_none() });
    }
    for message in retained {
        if message.is_expired(clock.now) || !topic::is_topic(&String::from_utf8_lossy(&message.topic)) {
            loaded.stale.push(message.topic);
        } else {
            hub.restore_retained(message);
        }
    }
    loaded.books.note(Written::default());
    Ok(loaded)
}

/// Reads the sessions, and notes all that the disk has of them. Their numbers, also those of sessions that are left out, are not
/// given again.
async fn sessions(
    connection: &mut SqliteConnection,
    hub: &Hub,
    clock: Clock,
    books: &mut Books,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut found = Vec::new();
    let mut subscriptions = subscriptions(connection).await?;
    let mut messages = messages(connection, clock).await?;
    for row in sqlx::query("SELECT * FROM session ORDER BY number").fetch_all(&mut *connection).await? {
        let number = unsigned(row.try_get("number")?);
        hub.pass_over(number);
        // On the disk until the writer finds that it is not there.
        let known = books.sessions.entry(number).or_default();
        let messages = messages.remove(&number).unwrap_or_default();
        for (queued, id) in &messages {
            hub.pass_over(queued.message.from);
            known.messages.insert(queued.number, (*id, size(&queued.message)));
        }
        known.considered = known.messages.keys().next_back().copied().unwrap_or(0);
        let (client, user) = (row.try_get::<String, _>("client")?, row.try_get::<Option<String>, _>("user")?);
        let expiry = u32::try_from(row.try_get::<i64, _>("expiry")?).unwrap_or(0);
        let left = left(expiry, row.try_get("offline_since")?, clock.millis);
        let rights = hub.users.rights(user.as_deref(), &client);
        let (Some(rights), Some(left)) = (rights, left) else { continue };
        // What has been sent is finished, however late (MQTT 5.0 §4.3.3).
        let is_needed = |(queued, id): &(Queued, u16)| *id != 0 || !queued.message.is_expired(clock.now);
        let restored = Restored {
            number,
            client,
            expiry,
            last_id: id(row.try_get("last_id")?),
            last_number: known.considered,
            received: ids(row.try_get("received")?),
            released: ids(row.try_get("released")?),
            messages: messages.into_iter().filter(is_needed).collect(),
        };
        let subscriptions = subscriptions.remove(&number).unwrap_or_default();
        let subscriptions = subscriptions.into_iter().filter(|(filter, _)| rights.may_subscribe(filter)).collect();
        found.push(Found { restored, rights, subscriptions, left });
    }
    Ok(found)
}

/// How long a session is kept.
#[derive(Debug, Clone, Copy)]
enum Left {
    ForEver,
    For(Duration),
}

impl Left {
    fn for_ever_is_none(self) -> Option<Duration> {
        match self {
            Left::ForEver => None,
            Left::For(time) => Some(time),
        }
    }
}

/// How long a session is still kept; `None` when it is over. A client that was connected at the end is away from now on.
fn left(expiry: u32, offline_since: Option<i64>, now: i64) -> Option<Left> {
    if expiry == u32::MAX {
        return Some(Left::ForEver);
    }
    let away = u64::try_from(now.saturating_sub(offline_since.unwrap_or(now))).unwrap_or(0);
    let left = Duration::from_secs(expiry.into()).checked_sub(Duration::from_millis(away))?;
    (!left.is_zero()).then_some(Left::For(left))
}

async fn subscriptions(connection: &mut SqliteConnection) -> Result<HashMap<u64, Vec<(String, Wish)>>, sqlx::Error> {
    let mut found: HashMap<u64, Vec<(String, Wish)>> = HashMap::new();
    for row in sqlx::query("SELECT * FROM subscription").fetch_all(connection).await? {
        let wish = Wish {
            qos: qos(row.try_get("qos")?),
            no_local: row.try_get("no_local")?,
            retain_as_published: row.try_get("retain_as_published")?,
            identifier: row.try_get::<Option<i64>, _>("identifier")?.and_then(|id| u32::try_from(id).ok()),
        };
        let session = unsigned(row.try_get("session")?);
        found.entry(session).or_default().push((row.try_get("filter")?, wish));
    }
    Ok(found)
}

async fn messages(
    connection: &mut SqliteConnection,
    clock: Clock,
) -> Result<HashMap<u64, Vec<(Queued, u16)>>, sqlx::Error> {
    let mut found: HashMap<u64, Vec<(Queued, u16)>> = HashMap::new();
    for row in sqlx::query("SELECT * FROM message ORDER BY session, number").fetch_all(connection).await? {
        let identifiers: Vec<u8> = row.try_get("identifiers")?;
        let identifiers: Vec<u32> = identifiers.as_chunks().0.iter().map(|four| u32::from_be_bytes(*four)).collect();
        let shared: Option<String> = row.try_get("shared")?;
        let queued = Queued {
            message: Arc::new(published(&row, row.try_get("sent_qos")?, false, clock)?),
            qos: qos(row.try_get("qos")?),
            retain: row.try_get("retain")?,
            identifiers: (!identifiers.is_empty()).then(|| identifiers.into()),
            shared: shared.map(Into::into),
            number: unsigned(row.try_get("number")?),
        };
        let session = unsigned(row.try_get("session")?);
        found.entry(session).or_default().push((queued, id(row.try_get("packet_id")?)));
    }
    Ok(found)
}

fn published(row: &SqliteRow, level: i64, retain: bool, clock: Clock) -> Result<Published, sqlx::Error> {
    let expires: Option<i64> = row.try_get("expires")?;
    let expires = expires.map(|at| {
        let left = Duration::from_millis(u64::try_from(at.saturating_sub(clock.millis)).unwrap_or(0));
        clock.now.checked_add(left).unwrap_or(clock.now)
    });
    Ok(Published {
        topic: Bytes::from(row.try_get::<Vec<u8>, _>("topic")?),
        payload: Bytes::from(row.try_get::<Vec<u8>, _>("payload")?),
        qos: qos(level),
        retain,
        expires,
        properties: Passed::read(Bytes::from(row.try_get::<Vec<u8>, _>("properties")?)).unwrap_or_default(),
        from: unsigned(row.try_get("sender")?),
        may_be_answered: row.try_get("answerable")?,
        part: Part::default(),
    })
}

fn qos(level: i64) -> Qos {
    u8::try_from(level).ok().and_then(|level| Qos::try_from(level).ok()).unwrap_or(Qos::AtLeastOnce)
}

fn ids(bytes: Vec<u8>) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|two| u16::from_be_bytes(*two)).collect()
}

fn id(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
