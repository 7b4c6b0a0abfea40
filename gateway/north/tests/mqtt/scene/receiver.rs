//! What stands behind a broker that gets blocks: it keeps the schemas and unpacks the rows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rumqttc::mqttbytes::v4::Publish;
use tidegate_codec::block::{BlockSchema, Decoder, Frame, GapRecord, SchemaId, split};
use tidegate_model::{Row, Slot, Stream};

use super::Client;

#[derive(Default)]
pub(crate) struct Receiver {
    schemas: HashMap<SchemaId, BlockSchema>,
    /// Messages with schemas, as they came.
    pub(crate) schemas_published: Vec<SchemaId>,
    /// Messages with blocks, by their length.
    pub(crate) messages: Vec<usize>,
    /// Rows by group and number, each as often as it came.
    pub(crate) rows: BTreeMap<(String, u64), Vec<Row>>,
    pub(crate) gaps: Vec<GapRecord>,
    /// Of each block its first number, its rows, and the start it states.
    pub(crate) starts: Vec<(u64, u32, u64)>,
}

impl Receiver {
    /// Takes a message, and says how many rows and gap records it had.
    pub(crate) fn take(&mut self, publish: &Publish) -> usize {
        if let Some(id) = publish.topic.strip_prefix("plant/line3/schema/") {
            assert!(publish.retain, "a schema is kept by the broker");
            let id: SchemaId = id.parse().unwrap();
            assert_eq!(BlockSchema::id_of(&publish.payload), id);
            self.schemas.insert(id, BlockSchema::decode(&publish.payload).unwrap());
            self.schemas_published.push(id);
            return 0;
        }
        assert_eq!((publish.topic.as_str(), publish.retain), ("plant/line3/block", false));
        self.messages.push(publish.payload.len());
        let mut count = 0;
        for frame in split(&publish.payload) {
            count += match frame.unwrap() {
                Frame::Gap(gap) => {
                    assert!(self.schemas.contains_key(&gap.schema), "a gap record before its schema");
                    self.gaps.push(gap);
                    1
                }
                Frame::Data(head) => {
                    self.starts.push((head.first_seq, head.rows, head.boot));
                    let schema = self.schemas.get(&head.schema).expect("a block comes after its schema");
                    let batch = Decoder::new().decode(&head, head.schema, &schema.columns).unwrap();
                    let (device, group) = (schema.device.clone(), schema.group.clone());
                    let stream = Arc::new(Stream::new(head.stream, device, group, Arc::clone(&schema.columns)));
                    for row in (0..batch.len()).map(|row| batch.row(row, &stream).unwrap()) {
                        let key = (schema.group.to_string(), row.seq);
                        self.rows.entry(key).or_default().push(row);
                    }
                    batch.len()
                }
            };
        }
        count
    }

    /// Takes messages and acknowledges each, until so many rows and gap records have come.
    pub(crate) async fn take_rows(&mut self, client: &mut Client, mut count: usize) {
        while count > 0 {
            let publish = client.publish().await;
            count = count.checked_sub(self.take(&publish)).expect("no more rows than there are");
            client.acknowledge(publish.pkid).await;
        }
    }

    /// Whether exactly these rows have come, each once.
    pub(crate) fn has_exactly(&self, wanted: &[&[Arc<Row>]]) {
        let wanted: Vec<&Arc<Row>> = wanted.iter().copied().flatten().collect();
        for row in &wanted {
            let came = self.rows.get(&(row.stream.group().to_string(), row.seq));
            let came = came.unwrap_or_else(|| panic!("row {} of {} is missing", row.seq, row.stream.group()));
            assert_eq!(came.len(), 1, "row {} of {} came more than once", row.seq, row.stream.group());
            assert_eq!((came[0].time, came[0].device_time), (row.time, row.device_time));
            assert!(came[0].slots.iter().zip(&row.slots).all(|(came, row)| same(came, row)), "{came:?} for {row:?}");
        }
        assert_eq!(self.rows.len(), wanted.len(), "other rows came too");
    }
}

/// Slots are the same to the last bit: a NaN is not equal to itself.
fn same(one: &Slot, other: &Slot) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
