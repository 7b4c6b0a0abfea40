//! Messages, ready to be published, and the topics they go to.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_config::Format;
use tidegate_model::{Name, Stream};
use tidegate_store::{Delivery, Store, WireSchema};

use super::{
    block::BlockMessages,
    fan::{Fan, Kept, RowTopics},
    flight::Carried,
    json::JsonMessages,
    share::{LaneKind, Load},
    suspicion::{Span, Suspicion},
};

/// Larger payloads are not sent. The protocol ends at 256 MiB, common brokers take far less; a row of this size is a mistake.
pub(crate) const LARGEST_PAYLOAD: usize = 16 * 1024 * 1024;

/// Bytes of a packet beside topic and payload: header, length, packet id, no properties.
const BESIDE_TOPIC_AND_PAYLOAD: usize = 16;

/// One message, ready to be published.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// Present when the broker is to keep it for those who come later, unless there is something newer then.
    pub(crate) kept: Option<Kept>,
    /// How it shares what it carries with others.
    pub(crate) portion: Portion,
    /// Values that whoever receives it has to unpack, about: rows times columns, whether they have changed or not.
    pub(crate) values: usize,
    /// What it carries from the store.
    pub(crate) carried: Vec<Carried>,
    /// By which schemas its blocks are read; they have to be published first.
    pub(crate) schemas: Vec<Arc<WireSchema>>,
    /// Whether it could be divided into smaller messages.
    pub(crate) divisible: bool,
    /// Nothing else may be on its way beside it.
    pub(crate) alone: bool,
    /// Present when the message is a gap record in place of a row.
    pub(crate) left_out: Option<LeftOut>,
}

/// Which of the messages that carry the same it is. What they carry has arrived when all of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portion {
    /// From 1 on.
    pub(crate) number: usize,
    /// How many there are. 0: there is nothing to be sent for what it carries.
    pub(crate) of: usize,
}

impl Portion {
    /// The only one.
    pub(crate) const WHOLE: Portion = Portion { number: 1, of: 1 };
    /// In the place of none.
    pub(crate) const NOTHING: Portion = Portion { number: 0, of: 0 };

    /// Whether no other comes after it.
    pub(crate) fn is_last(self) -> bool {
        self.number >= self.of
    }
}

/// Why a gap record is sent in place of a row that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Its payload is larger than [`LARGEST_PAYLOAD`].
    TooLarge,
    /// The broker closes the connection over it.
    Refused,
}

impl LeftOut {
    /// The word used in gap records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            LeftOut::TooLarge => "too_large",
            LeftOut::Refused => "refused",
        }
    }

    /// The code used in gap records of blocks. Those of the store are below 128.
    pub(crate) fn code(self) -> u8 {
        match self {
            LeftOut::TooLarge => 128,
            LeftOut::Refused => 129,
        }
    }
}

impl Message {
    /// What it costs to send it: topic and payload, and the values in it.
    pub(crate) fn load(&self) -> Load {
        Load { bytes: self.topic.len() + self.payload.len(), values: self.values }
    }
}

/// The topics of one gateway on the target's broker.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    prefix: Arc<str>,
}

impl Topics {
    /// Topics below `<root>/<gateway>`.
    pub(crate) fn new(topic_root: &str, gateway: &Name) -> Topics {
        Topics { prefix: format!("{topic_root}/{gateway}").into() }
    }

    /// Says whether the gateway is there.
    pub(crate) fn state(&self) -> String {
        format!("{}/state", self.prefix)
    }

    /// Blocks of all streams.
    pub(crate) fn block(&self) -> String {
        format!("{}/block", self.prefix)
    }

    /// The schema by which blocks are read.
    pub(crate) fn schema(&self, schema: &WireSchema) -> String {
        format!("{}/schema/{}", self.prefix, schema.id)
    }

    /// Rows of a group (`data`) or what is missing of them (`gap`).
    pub(crate) fn group(&self, stream: &Stream, level: &str) -> String {
        format!("{}/{}/{level}/{}", self.prefix, stream.device(), stream.group())
    }
}

/// What makes messages of deliveries.
pub(crate) enum Composer {
    Json(JsonMessages),
    Blocks(Box<BlockMessages>),
}

impl Composer {
    /// What makes messages of this format; `fan`: where rows go beside, or in place of, the topics of all gateways.
    pub(crate) fn new(format: Format, topics: Topics, fan: Option<RowTopics>, store: &Store) -> Composer {
        match format {
            Format::Json => Composer::Json(JsonMessages::new(topics, fan.map(Fan::new))),
            Format::Block => {
                let (schemas, boot) = (store.clone(), store.boot());
                let schema_of = Box::new(move |stream: &Stream| schemas.block_schema(stream));
                Composer::Blocks(Box::new(BlockMessages::new(topics, schema_of, boot)))
            }
        }
    }

    /// There is a new connection, to a broker that takes packets of so many bytes at most.
    pub(crate) fn begin(&mut self, packet: u32) {
        let packet = usize::try_from(packet).unwrap_or(usize::MAX);
        let most = LARGEST_PAYLOAD.min(packet.saturating_sub(BESIDE_TOPIC_AND_PAYLOAD));
        match self {
            Composer::Json(json) => {
                json.most = most;
                json.begin();
            }
            Composer::Blocks(blocks) => blocks.most = most,
        }
    }

    /// Whether one row may become many messages.
    pub(crate) fn fans_out(&self) -> bool {
        matches!(self, Composer::Json(json) if json.fans_out())
    }

    /// A message is sent now: whether it is the newest of its topic.
    pub(crate) fn is_newest(&mut self, kept: &Kept) -> bool {
        match self {
            Composer::Json(json) => json.is_newest(kept),
            Composer::Blocks(_) => false,
        }
    }

    /// Bytes of topic and payload of a message, at most, as far as the broker has said.
    pub(crate) fn largest(&self) -> usize {
        match self {
            Composer::Json(json) => json.most,
            Composer::Blocks(blocks) => blocks.most,
        }
    }

    /// Makes smaller messages from now on, where they can be smaller. False when there is nothing to be done.
    pub(crate) fn divide(&mut self) -> bool {
        match self {
            Composer::Json(_) => false,
            Composer::Blocks(blocks) => {
                blocks.divide();
                true
            }
        }
    }

    /// The messages for these deliveries, appended to `out` in order. All deliveries are in them.
    pub(crate) fn compose(
        &mut self,
        deliveries: Vec<Delivery>,
        lane: LaneKind,
        suspicion: &Suspicion,
        out: &mut impl Extend<Message>,
    ) {
        match self {
            Composer::Json(json) => {
                out.extend(deliveries.iter().flat_map(|delivery| json.messages(delivery, lane, suspicion)));
            }
            Composer::Blocks(blocks) => out.extend(blocks.messages(deliveries, suspicion)),
        }
    }
}

/// The row of that number.
pub(crate) fn one_row(stream: &Stream, seq: u64) -> Span {
    Span { stream: stream.id(), first: seq, last: seq }
}
