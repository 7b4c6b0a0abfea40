//! A broker, a database, and a gateway that can publish anything.

use std::{sync::Arc, time::Duration};

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tidegate_codec::block::{Batch, BlockSchema, Codec, Encoder, Origin, StoreId};
use tidegate_ingest::{Address, Broker, Counters, Destination, Format, Options, Report, Rotation, Snapshot};
use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};
use tidegate_tests::{Mosquitto, PATIENCE, Peers, Postgres, wait_until};
use tokio_util::sync::CancellationToken;

/// Topic, whether it is retained, payload.
pub(crate) type Message = (String, bool, Vec<u8>);

pub(crate) struct Cloud {
    broker: Mosquitto,
    pub(crate) database: Postgres,
    runtime: tokio::runtime::Runtime,
}

impl Cloud {
    pub(crate) fn start(peers: &Peers) -> anyhow::Result<Cloud> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Cloud { broker: Mosquitto::start(peers)?, database: Postgres::start(peers)?, runtime })
    }

    /// Takes all that the broker has for the ingest.
    pub(crate) fn ingest(&self, schema_wait: Duration) -> anyhow::Result<Snapshot> {
        self.run(&self.database.url(), schema_wait)
    }

    /// The same into another database of the server.
    pub(crate) fn ingest_into(&self, database: &str) -> anyhow::Result<Snapshot> {
        let url = self.database.url();
        let (server, _) = url.rsplit_once('/').unwrap();
        self.run(&format!("{server}/{database}"), Duration::ZERO)
    }

    fn run(&self, url: &str, schema_wait: Duration) -> anyhow::Result<Snapshot> {
        let until_idle = Some(Duration::from_millis(500));
        let options = Options { until_idle, schema_wait, ..self.options(url, Format::Block)? };
        let counters = Arc::new(Counters::default());
        let work = tidegate_ingest::run(options, Arc::clone(&counters), CancellationToken::new());
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await })??;
        Ok(counters.snapshot())
    }

    /// Takes what edge nodes say until it is enough.
    pub(crate) fn host(&self, enough: impl Fn(&Snapshot) -> bool) -> anyhow::Result<Snapshot> {
        let options = self.options(&self.database.url(), Format::SparkplugB)?;
        let (counters, cancel) = (Arc::new(Counters::default()), CancellationToken::new());
        let host = self.runtime.spawn(tidegate_ingest::run(options, Arc::clone(&counters), cancel.clone()));
        wait_until(PATIENCE, "what edge nodes have said", || enough(&counters.snapshot()).then_some(()))?;
        cancel.cancel();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, host).await })???;
        Ok(counters.snapshot())
    }

    fn options(&self, url: &str, format: Format) -> anyhow::Result<Options> {
        Ok(Options {
            broker: Broker {
                address: self.address(),
                password: None,
                ca: None,
                certificate: None,
                client_id: "ingest".to_owned(),
                topic_root: "tidegate".to_owned(),
                format,
                group: None,
                host_id: None,
                share: None,
                session_expiry: Duration::from_secs(3600),
                in_flight: 128,
                longest_pause: Duration::from_secs(1),
            },
            destination: url.parse()?,
            schema_wait: Duration::ZERO,
            until_idle: None,
            rotation: Rotation::default(),
        })
    }

    pub(crate) fn verify(&self) -> anyhow::Result<Report> {
        let destination: Destination = self.database.url().parse()?;
        Ok(self.runtime.block_on(tidegate_ingest::verify(&destination))?)
    }

    /// Publishes messages at QoS 1 and waits until the broker has them.
    pub(crate) fn publish(&self, messages: Vec<Message>) -> anyhow::Result<()> {
        let Address { host, port, .. } = self.address();
        let (client, mut event_loop) = AsyncClient::new(MqttOptions::new("plant", host, port), 64);
        self.runtime.block_on(async {
            let count = messages.len();
            for (topic, retain, payload) in messages {
                client.publish(topic, QoS::AtLeastOnce, retain, payload).await?;
            }
            let mut acknowledged = 0;
            while acknowledged < count {
                let event = tokio::time::timeout(PATIENCE, event_loop.poll()).await??;
                acknowledged += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
            }
            Ok(())
        })
    }

    fn address(&self) -> Address {
        format!("mqtt://{}", self.broker.address()).parse().unwrap()
    }
}

pub(crate) fn schema(device: &str, columns: usize, unit: Option<&str>) -> BlockSchema {
    let column = |at| {
        let mut column = Column::new(format!("tag{at}").parse().unwrap(), ValueType::single(ValueKind::Int));
        column.unit = unit.map(str::to_owned);
        column
    };
    let columns: Vec<Column> = (0..columns).map(column).collect();
    let (device, group) = (device.parse().unwrap(), "fast".parse().unwrap());
    BlockSchema { store: StoreId(7), device, group, columns: columns.into(), salt: 0 }
}

/// A block of the rows with these numbers; each value is the number of its row.
pub(crate) fn block(schema: &BlockSchema, boot: u64, first: u64, last: u64) -> Vec<u8> {
    let mut batch = Batch::new(&schema.columns);
    for seq in first..=last {
        let number = i64::try_from(seq).unwrap();
        let time = Timestamp::from_millis(1_795_000_000_000 + number * 1000);
        batch.push(seq, time, None, &vec![Slot::Good(Value::Int(number)); schema.columns.len()]).unwrap();
    }
    let origin = Origin { stream: StreamId(1), schema: schema.id().unwrap(), boot };
    let mut bytes = Vec::new();
    Encoder::new(Codec::Range).encode(&origin, &batch, &mut bytes).unwrap();
    bytes
}

pub(crate) fn block_message(block: Vec<u8>) -> Message {
    ("tidegate/line3/block".to_owned(), false, block)
}

pub(crate) fn schema_message(schema: &BlockSchema) -> Message {
    (format!("tidegate/line3/schema/{}", schema.id().unwrap()), true, schema.encode().unwrap())
}
