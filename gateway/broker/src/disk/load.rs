//! Putting back what was there before a restart.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tokio_util::sync::CancellationToken;

use super::commit::{Books, Clock, Written, size};
use crate::{
    hub::{Hub, PutBack, Testament},
    message::{FROM_GATEWAY, Published},
    rights::Rights,
    routes::Wish,
    session::{Queued, Restored, Session},
    topic,
    total::Part,
    wire::{Passed, Qos, Will},
};

/// A session whose client is away.
#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) session: Arc<Session>,
    /// Cancelled when the client is back or the session has been given up.
    pub(crate) resumed: CancellationToken,
    /// How long the session is still kept; absent for ever.
    pub(crate) left: Option<Duration>,
    /// The will of the client, and in what time it is due; not later than the end of the session.
    pub(crate) will: Option<(Duration, Arc<Testament>)>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) books: Books,
    pub(crate) away: Vec<Away>,
    /// Topics of retained messages that were left out.
    pub(crate) stale: Vec<Bytes>,
    /// Wills that are due.
    pub(crate) wills: Vec<Arc<Testament>>,
    /// Sessions that were left out because their clients have come without them, and the messages that waited there.
    pub(crate) superseded: (usize, usize),
}

/// A session to be put back.
struct Found {
    restored: Restored,
    rights: Rights,
    subscriptions: Vec<(String, Wish)>,
    left: Left,
    /// For how long the client had been away.
    away: Duration,
}

/// What reading needs.
struct Reading<'a> {
    hub: &'a Hub,
    clock: Clock,
    /// New numbers by those that the disk has, when the broker has given some of these already.
    renumbered: Option<HashMap<u64, u64>>,
}

impl Reading<'_> {
    /// The number of a session or connection here; nothing else has it or gets it.
    fn number(&mut self, number: i64) -> u64 {
        let (number, hub) = (u64::try_from(number).unwrap_or(0), self.hub);
        match &mut self.renumbered {
            _ if number == FROM_GATEWAY => FROM_GATEWAY,
            Some(renumbered) => *renumbered.entry(number).or_insert_with(|| hub.number()),
            None => {
                hub.pass_over(number);
                number
            }
        }
    }
}

/// Reads the database and puts what is in it into the hub; after an error the hub has nothing of it. Sessions that are over, or
/// whose user is gone, and messages that nobody needs any more, are left out; the writer takes them off the disk. A broker that has
/// been `running` keeps what it has got meanwhile, and its books are not those of the disk.
pub(crate) async fn load(
    connection: &mut SqliteConnection,
    hub: &Hub,
    clock: Clock,
    running: bool,
) -> Result<Loaded, sqlx::Error> {
    let mut loaded = Loaded::default();
    let reading = &mut Reading { hub, clock, renumbered: running.then(HashMap::new) };
    let found = sessions(connection, reading, &mut loaded.books).await?;
    let mut retained = Vec::new();
    for row in sqlx::query("SELECT * FROM retained").fetch_all(&mut *connection).await? {
        let message = published(&row, row.try_get("qos")?, true, reading)?;
        loaded.books.retained.insert(message.topic.clone(), size(&message));
        retained.push(message);
    }
    let wills = wills(connection, reading, &mut loaded.books).await?;
    // Nothing can fail from here on.
    for found in found {
        put_back(found, &wills, hub, &mut loaded);
    }
    let mut no_room = 0_usize;
    for message in retained.into_iter().map(Arc::new) {
        let is_needed = !message.is_expired(clock.now) && topic::is_topic(&String::from_utf8_lossy(&message.topic));
        let is_back = is_needed && hub.restore_retained(&message);
        no_room += usize::from(is_needed && !is_back);
        if !is_back {
            loaded.stale.push(message.topic.clone());
        }
    }
    if no_room > 0 {
        tracing::warn!(
            messages = no_room,
            most = hub.limits.retained_messages,
            most_bytes = hub.limits.retained_bytes,
            "more retained messages of clients are on the disk than are kept now; these are gone, and the others are there"
        );
    }
    let later = |testament: &Testament| {
        let due = |away: &Away| away.will.as_ref().is_some_and(|(_, will)| will.connection == testament.connection);
        loaded.away.iter().any(due)
    };
    loaded.wills =
        wills.into_iter().filter(|testament| !later(testament) && !hub.has_arrived(&testament.client)).collect();
    loaded.books.note(Written::default());
    Ok(loaded)
}

fn put_back(found: Found, wills: &[Arc<Testament>], hub: &Hub, loaded: &mut Loaded) {
    let Found { restored, rights, subscriptions, left, away } = found;
    let (number, messages) = (restored.number, restored.messages.len());
    let (session, resumed) = match hub.restore_session(restored, rights, subscriptions) {
        PutBack::Whole(session, resumed) => (session, resumed),
        PutBack::Messages => return,
        PutBack::Nothing => {
            loaded.superseded.0 += 1;
            loaded.superseded.1 += messages;
            return;
        }
    };
    // Whatever was left out is taken off the disk with the next commit.
    session.unsaved.note_subscriptions();
    let left = left.for_ever_is_none();
    // MQTT 5.0 §3.1.3.2.2: the delay ends with the session.
    let due = |testament: &Arc<Testament>| {
        let delay = Duration::from_secs(testament.will.delay.into()).saturating_sub(away);
        (left.map_or(delay, |left| delay.min(left)), Arc::clone(testament))
    };
    let will = wills.iter().rfind(|testament| testament.session == number && testament.will.delay > 0).map(due);
    loaded.away.push(Away { session, resumed, left, will });
}

/// Reads the sessions, and notes all that the disk has of them. Their numbers, also those of sessions that are left out, are not
/// given again.
async fn sessions(
    connection: &mut SqliteConnection,
    reading: &mut Reading<'_>,
    books: &mut Books,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut found = Vec::new();
    let mut subscriptions = subscriptions(connection).await?;
    let mut messages = messages(connection, reading).await?;
    let clock = reading.clock;
    for row in sqlx::query("SELECT * FROM session ORDER BY number").fetch_all(&mut *connection).await? {
        let on_disk: i64 = row.try_get("number")?;
        let number = reading.number(on_disk);
        // On the disk until the writer finds that it is not there.
        let known = books.sessions.entry(number).or_default();
        let messages = messages.remove(&on_disk).unwrap_or_default();
        for (queued, id) in &messages {
            known.messages.insert(queued.number, (*id, size(&queued.message)));
        }
        known.considered = known.messages.keys().next_back().copied().unwrap_or(0);
        let (client, user) = (row.try_get::<String, _>("client")?, row.try_get::<Option<String>, _>("user")?);
        let expiry = u32::try_from(row.try_get::<i64, _>("expiry")?).unwrap_or(0);
        let away = away(row.try_get("offline_since")?, clock.millis);
        let rights = reading.hub.users.rights(user.as_deref(), &client);
        let (Some(rights), Some(left)) = (rights, left(expiry, away)) else { continue };
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
        let subscriptions = subscriptions.remove(&on_disk).unwrap_or_default();
        let subscriptions = subscriptions.into_iter().filter(|(filter, _)| rights.may_subscribe(filter)).collect();
        found.push(Found { restored, rights, subscriptions, left, away });
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

/// For how long a client has been away. One that was connected at the end is away from now on.
fn away(offline_since: Option<i64>, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(offline_since.unwrap_or(now))).unwrap_or(0))
}

/// How long a session is still kept; `None` when it is over.
fn left(expiry: u32, away: Duration) -> Option<Left> {
    if expiry == u32::MAX {
        return Some(Left::ForEver);
    }
    let left = Duration::from_secs(expiry.into()).checked_sub(away)?;
    (!left.is_zero()).then_some(Left::For(left))
}

/// By the number that the session has on the disk.
async fn subscriptions(connection: &mut SqliteConnection) -> Result<HashMap<i64, Vec<(String, Wish)>>, sqlx::Error> {
    let mut found: HashMap<i64, Vec<(String, Wish)>> = HashMap::new();
    for row in sqlx::query("SELECT * FROM subscription").fetch_all(connection).await? {
        let wish = Wish {
            qos: qos(row.try_get("qos")?),
            no_local: row.try_get("no_local")?,
            retain_as_published: row.try_get("retain_as_published")?,
            identifier: row.try_get::<Option<i64>, _>("identifier")?.and_then(|id| u32::try_from(id).ok()),
        };
        found.entry(row.try_get("session")?).or_default().push((row.try_get("filter")?, wish));
    }
    Ok(found)
}

/// By the number that the session has on the disk.
async fn messages(
    connection: &mut SqliteConnection,
    reading: &mut Reading<'_>,
) -> Result<HashMap<i64, Vec<(Queued, u16)>>, sqlx::Error> {
    let mut found: HashMap<i64, Vec<(Queued, u16)>> = HashMap::new();
    for row in sqlx::query("SELECT * FROM message ORDER BY session, number").fetch_all(connection).await? {
        let identifiers: Vec<u8> = row.try_get("identifiers")?;
        let identifiers: Vec<u32> = identifiers.as_chunks().0.iter().map(|four| u32::from_be_bytes(*four)).collect();
        let shared: Option<String> = row.try_get("shared")?;
        let queued = Queued {
            message: Arc::new(published(&row, row.try_get("sent_qos")?, false, reading)?),
            qos: qos(row.try_get("qos")?),
            retain: row.try_get("retain")?,
            identifiers: (!identifiers.is_empty()).then(|| identifiers.into()),
            shared: shared.map(Into::into),
            number: u64::try_from(row.try_get::<i64, _>("number")?).unwrap_or(0),
        };
        found.entry(row.try_get("session")?).or_default().push((queued, id(row.try_get("packet_id")?)));
    }
    Ok(found)
}

fn published(row: &SqliteRow, level: i64, retain: bool, reading: &mut Reading<'_>) -> Result<Published, sqlx::Error> {
    let (clock, expires) = (reading.clock, row.try_get::<Option<i64>, _>("expires")?);
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
        properties: properties(row)?,
        from: reading.number(row.try_get("sender")?),
        may_be_answered: row.try_get("answerable")?,
        part: Part::default(),
    })
}

/// The wills that may be due, the older ones first.
async fn wills(
    connection: &mut SqliteConnection,
    reading: &mut Reading<'_>,
    books: &mut Books,
) -> Result<Vec<Arc<Testament>>, sqlx::Error> {
    let mut found = Vec::new();
    for row in sqlx::query("SELECT * FROM will ORDER BY connection").fetch_all(connection).await? {
        let will = Will {
            topic: row.try_get("topic")?,
            payload: Bytes::from(row.try_get::<Vec<u8>, _>("payload")?),
            qos: qos(row.try_get("qos")?),
            retain: row.try_get("retain")?,
            delay: u32::try_from(row.try_get::<i64, _>("delay")?).unwrap_or(0),
            message_expiry: row.try_get::<Option<i64>, _>("message_expiry")?.and_then(|it| u32::try_from(it).ok()),
            passed: properties(&row)?,
        };
        let testament = Testament {
            connection: reading.number(row.try_get("connection")?),
            session: reading.number(row.try_get("session")?),
            client: row.try_get("client")?,
            user: row.try_get("user")?,
            will,
        };
        books.wills.insert(testament.connection);
        found.push(Arc::new(testament));
    }
    Ok(found)
}

fn properties(row: &SqliteRow) -> Result<Passed, sqlx::Error> {
    Ok(Passed::read(Bytes::from(row.try_get::<Vec<u8>, _>("properties")?)).unwrap_or_default())
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
