//! What the store knows of a link's groups from before the link was started, for a driver that fills what is missing since.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_driver_api::{Link, Poll, Recorded};
use tidegate_model::{Name, Slot, Stream, Timestamp};
use tidegate_store::{Part, Query, Reader, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, running::RunningDevice};

/// All of a link's groups together may take that long to look up; it connects afterwards.
const LONGEST: Duration = Duration::from_secs(20);
/// The newest row of a group is looked for so precisely, and the rows before it so far back.
const STRETCH: i64 = 20_000;
/// How far back a newest row is looked for, in milliseconds: 60 days.
const FARTHEST: i64 = 60 * 24 * 3_600_000;

/// A group, and the names of its columns.
pub(crate) struct Wanted {
    poll: Poll,
    stream: Arc<Stream>,
}

impl Wanted {
    /// All groups of devices.
    pub(crate) fn of(devices: &[RunningDevice]) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            for (group, stream) in device.streams().enumerate() {
                wanted.push(Wanted { poll: Poll { device: index, group }, stream });
            }
        }
        wanted
    }
}

/// Tells a link what had been recorded of its groups, if it wants to know.
pub(crate) async fn tell(
    link: &mut dyn Link,
    name: &Name,
    (store, wanted): (&Store, &[Wanted]),
    clock: &Clock,
    cancel: &CancellationToken,
) {
    let now: Instant = clock.now();
    let reading = async {
        // The rows of the link that this one takes the place of may not have been committed yet.
        store.commit().await?;
        read(&store.reader(), wanted, clock.timestamp(now)).await
    };
    let read = tokio::select! {
        () = cancel.cancelled() => return,
        read = clock.until(now + LONGEST, reading) => read,
    };
    match read {
        Some(Ok(recorded)) => link.recorded(&recorded),
        Some(Err(error)) => {
            tracing::warn!(link = %name, %error, "what was recorded last cannot be read; what is missing since is not filled");
        }
        None => {
            tracing::warn!(link = %name, limit_s = LONGEST.as_secs(), "looking up what was recorded last takes too long; what is missing since is not filled");
        }
    }
}

async fn read(reader: &Reader, wanted: &[Wanted], now: Timestamp) -> Result<Vec<Recorded>, StoreError> {
    let mut recorded = Vec::with_capacity(wanted.len());
    for Wanted { poll, stream } in wanted {
        let rows = Rows { reader, stream };
        if let Some(from) = rows.newest(now.as_millis()).await? {
            recorded.extend(rows.since(from, *poll).await?);
        }
    }
    Ok(recorded)
}

/// The rows of one group.
struct Rows<'a> {
    reader: &'a Reader,
    stream: &'a Stream,
}

impl Rows<'_> {
    fn query(&self, from: i64) -> Query {
        let from = Some(Timestamp::from_millis(from));
        Query { group: Some(self.stream.group().clone()), from, ..Query::of(self.stream.device().clone()) }
    }

    /// A time shortly before the newest row with a time of the device's own; `None` when there is none.
    async fn newest(&self, now: i64) -> Result<Option<i64>, StoreError> {
        let (mut back, mut without) = (STRETCH, i64::MAX);
        let mut with = loop {
            let from = now.saturating_sub(back);
            if self.has(from).await? {
                break from;
            }
            if back >= FARTHEST {
                return Ok(None);
            }
            without = from;
            back = back.saturating_mul(4).min(FARTHEST);
        };
        while without != i64::MAX && without.saturating_sub(with) > STRETCH {
            let middle = with + (without - with) / 2;
            match self.has(middle).await? {
                true => with = middle,
                false => without = middle,
            }
        }
        Ok(Some(with))
    }

    /// Whether there is a row with a time of the device's own, from then on.
    async fn has(&self, from: i64) -> Result<bool, StoreError> {
        let mut scan = self.reader.scan(&self.query(from)).await?;
        while let Some(part) = scan.next().await? {
            let Part::Rows { batch, .. } = part else { continue };
            if (0..batch.len()).any(|row| batch.device_time(row).is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the rows from a little before then on say.
    async fn since(&self, from: i64, poll: Poll) -> Result<Option<Recorded>, StoreError> {
        let places = self.stream.columns().iter().enumerate().map(|(place, column)| (&column.name, place));
        let places: HashMap<_, _> = places.collect();
        let mut newest: Vec<Option<Timestamp>> = vec![None; places.len()];
        let mut since: Option<Timestamp> = None;
        let mut stored: Option<Timestamp> = None;
        let mut scan = self.reader.scan(&self.query(from.saturating_sub(STRETCH))).await?;
        while let Some(part) = scan.next().await? {
            let Part::Rows { stream, batch, .. } = part else { continue };
            let times: Vec<Option<Timestamp>> = (0..batch.len()).map(|row| batch.device_time(row)).collect();
            since = times.iter().flatten().copied().chain(since).min();
            // A row of the past has no time of the gateway's.
            let of_gateway =
                (0..batch.len()).map(|row| batch.time(row)).zip(&times).filter(|(own, device)| own != *device);
            stored = of_gateway.filter_map(|(own, _)| own).chain(stored).max();
            // Columns were others when the profile was another.
            for (column, known) in stream.columns().iter().enumerate() {
                let Some(newest) = places.get(&known.name).and_then(|place| newest.get_mut(*place)) else { continue };
                let said = batch.slots(column).zip(&times).filter(|(slot, _)| *slot != Slot::Unchanged);
                *newest = said.filter_map(|(_, time)| *time).chain(*newest).max();
            }
        }
        Ok(since.map(|since| Recorded { poll, newest, since, stored: stored.unwrap_or(since) }))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use tidegate_config::{ByteSize, WhenFull};
    use tidegate_driver_api::{ConnectFault, Cx, Session};
    use tidegate_model::{Column, Row, Value, ValueKind, ValueType};

    use super::*;

    #[derive(Default)]
    struct Listening(Vec<Recorded>);

    #[async_trait]
    impl Link for Listening {
        async fn connect<'link>(&'link mut self, _cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
            std::future::pending().await
        }

        fn recorded(&mut self, groups: &[Recorded]) {
            self.0 = groups.to_vec();
        }
    }

    #[tokio::test]
    async fn rows_that_wait_for_their_commit_are_known_and_by_the_clock_of_the_gateway_too() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        let options = tidegate_config::Store {
            commit: hour,
            max_age: 72 * hour,
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let store = Store::open(folder.path(), &options).await.unwrap().store;
        let column = |name: &str| Column::new(name.parse().unwrap(), ValueType::single(ValueKind::Int));
        let name: Name = "press".parse().unwrap();
        let columns = vec![column("utc"), column("local")];
        let (stream, _) = store.stream(&name, &"all".parse().unwrap(), columns).await.unwrap();
        let clock = Clock::start();
        let now = clock.timestamp(clock.now());
        let ago = |millis: i64| Timestamp::from_millis(now.as_millis() - millis);
        // The second tag is of a device whose clock is two hours ahead.
        let ahead = |millis: i64| ago(millis - 7_200_000);
        let rows = [(2000, 0, ago(2003)), (1500, 1, ahead(1503)), (1000, 0, ago(1003)), (500, 1, ahead(503))];
        for (seq, (millis, says, device_time)) in (1..).zip(rows) {
            let mut slots = [Slot::Unchanged, Slot::Unchanged];
            slots[says] = Slot::Good(Value::Int(1));
            let (time, device_time) = (ago(millis), Some(device_time));
            let row = Row { stream: Arc::clone(&stream), seq, time, device_time, slots: slots.into() };
            store.append(Arc::new(row), Bytes::new());
        }
        let poll = Poll { device: 0, group: 0 };
        let wanted = [Wanted { poll, stream }];
        let mut link = Listening::default();
        tell(&mut link, &name, (&store, &wanted), &clock, &CancellationToken::new()).await;
        let newest = vec![Some(ago(1003)), Some(ahead(503))];
        assert_eq!(link.0, [Recorded { poll, newest, since: ago(2003), stored: ago(500) }]);
        store.close().await;
    }
}
