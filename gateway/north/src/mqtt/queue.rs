//! What a lane has given and is not on its way yet.

use std::{collections::VecDeque, time::Duration};

use tidegate_config::Format;
use tidegate_store::{Delivery, Item};
use tokio::time::Instant;

use super::{
    message::{Composer, Message},
    share::LaneKind,
    suspicion::Suspicion,
};

/// How much is read from the store at once, and ahead of what can be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reads {
    /// Rows of one read, at most.
    pub(crate) rows: usize,
    /// Bytes of one read, at most; one row or block may be larger.
    pub(crate) bytes: usize,
    /// More is read as soon as fewer messages than this are ready: a lane must not look empty while the store has more.
    ahead: usize,
}

/// Rows of one lane that are given and not acknowledged, at most; the store itself stops at 65,536 for both lanes together, and
/// a backlog must not keep live rows from being given.
const MOST_GIVEN: usize = 24_576;

/// One lane's deliveries between the store and the connection.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) reads: Reads,
    lane: LaneKind,
    /// How long deliveries wait for others.
    batch: Duration,
    /// Given by the store and not yet put into messages.
    gathered: Vec<Delivery>,
    /// Memory that they take, about.
    gathered_bytes: usize,
    /// When that has to be done.
    due: Option<Instant>,
    ready: VecDeque<Message>,
    /// Deliveries that the store has given and that are not acknowledged.
    given: usize,
}

impl Reads {
    /// What is right for messages of this format; `fans`: one row may be a message for each of its values.
    pub(crate) fn of(format: Format, fans: bool) -> Reads {
        match format {
            Format::Json if fans => Reads { rows: 64, bytes: 128 * 1024, ahead: 128 },
            Format::Json => Reads { rows: 256, bytes: 2 * 1024 * 1024, ahead: 128 },
            // Many rows, so that the single ones among them share blocks.
            Format::Block => Reads { rows: 8_192, bytes: 2 * 1024 * 1024, ahead: 4 },
        }
    }
}

impl Queue {
    pub(crate) fn new(lane: LaneKind, reads: Reads, batch: Duration) -> Queue {
        let (gathered, ready) = (Vec::new(), VecDeque::new());
        Queue { reads, lane, batch, gathered, gathered_bytes: 0, due: None, ready, given: 0 }
    }

    /// Whether the store is to be asked for more.
    pub(crate) fn wants_more(&self) -> bool {
        self.ready.len() < self.reads.ahead && !self.is_enough() && self.given < MOST_GIVEN
    }

    /// Whether what has been gathered need not wait for more.
    fn is_enough(&self) -> bool {
        self.gathered.len() >= self.reads.rows || self.gathered_bytes >= self.reads.bytes
    }

    /// Takes what the store has given.
    pub(crate) fn take(&mut self, deliveries: Vec<Delivery>, now: Instant) {
        self.given += deliveries.len();
        self.gathered_bytes += deliveries.iter().map(memory).sum::<usize>();
        self.gathered.extend(deliveries);
        self.due.get_or_insert(now + self.batch);
    }

    /// When the deliveries have waited long enough for others.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Makes messages of the deliveries once they have waited long enough, or are enough.
    pub(crate) fn compose(&mut self, composer: &mut Composer, suspicion: &Suspicion, now: Instant) {
        if self.due.is_some_and(|due| due <= now) || self.is_enough() {
            (self.due, self.gathered_bytes) = (None, 0);
            let deliveries = std::mem::take(&mut self.gathered);
            composer.compose(deliveries, self.lane, suspicion, &mut self.ready);
        }
    }

    /// The message that is sent next.
    pub(crate) fn front(&self) -> Option<&Message> {
        self.ready.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    /// Deliveries that are not acknowledged.
    pub(crate) fn given(&self) -> usize {
        self.given
    }

    /// So many deliveries were acknowledged.
    pub(crate) fn arrived(&mut self, deliveries: usize) {
        self.given = self.given.saturating_sub(deliveries);
    }
}

/// Memory that a delivery takes, about.
fn memory(delivery: &Delivery) -> usize {
    match &delivery.item {
        Item::Row { row, .. } => row.heap_bytes(),
        Item::Block { bytes, .. } => bytes.len(),
        Item::Gap { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::{ByteSize, StartAt, WhenFull};
    use tidegate_model::{Column, Row, Slot, Timestamp, Value, ValueKind, ValueType};
    use tidegate_store::{Cursor, Store};

    use super::*;
    use crate::mqtt::message::Topics;

    /// So many rows after this one, in a commit of their own.
    async fn commit(store: &Store, cursor: &mut Cursor, (after, count): (u64, u64)) -> Vec<Delivery> {
        let column = Column::new("count".parse().unwrap(), ValueType::single(ValueKind::Uint));
        let (device, group) = ("press".parse().unwrap(), "fast".parse().unwrap());
        let (stream, _) = store.stream(&device, &group, vec![column]).await.unwrap();
        for seq in after + 1..=after + count {
            let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
            let slots = [Slot::Good(Value::Uint(seq))].into();
            let row = Row { stream: stream.clone(), seq, time, device_time: None, slots };
            store.append(row.into(), bytes::Bytes::new());
        }
        let mut given = Vec::new();
        while given.len() < usize::try_from(count).unwrap() {
            given.extend(cursor.next(1_000, 1 << 20).await.unwrap());
        }
        given
    }

    #[tokio::test]
    async fn rows_of_many_commits_wait_for_each_other_from_the_first_on_and_share_one_message() {
        let folder = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(5),
            max_age: Duration::from_secs(3_600 * 24 * 36_500),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let store = Store::open(folder.path(), &options).await.unwrap().store;
        let mut cursor = store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await.unwrap();
        let topics = Topics::new("plant", &"line3".parse().unwrap());
        let mut composer = Composer::new(Format::Block, topics, None, &store);
        let batch = Duration::from_millis(600);
        let mut queue = Queue::new(LaneKind::Live, Reads::of(Format::Block, false), batch);
        let mut begin = Instant::now();
        // The second time a while after the first: then the wait begins with the row that comes then.
        for round in 0..2 {
            for commits in 0..6 {
                let now = begin + commits * Duration::from_millis(100);
                let after = round * 30 + u64::from(commits) * 5;
                queue.take(commit(&store, &mut cursor, (after, 5)).await, now);
                queue.compose(&mut composer, &Suspicion::default(), now);
                assert_eq!((queue.due(), queue.front().is_none()), (Some(begin + batch), true));
            }
            queue.compose(&mut composer, &Suspicion::default(), begin + batch - Duration::from_nanos(1));
            assert!(queue.front().is_none(), "not before the time is over");
            queue.compose(&mut composer, &Suspicion::default(), begin + batch);
            assert_eq!(queue.pop().map(|message| message.carried.len()), Some(30));
            assert_eq!((queue.due(), queue.front().is_none()), (None, true));
            begin += Duration::from_secs(10);
        }
    }
}
