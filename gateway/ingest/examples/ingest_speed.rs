//! How many values a second an ingest writes: publishes blocks to a broker, then takes them from there.
//!
//! `cargo run --release -p tidegate-ingest --example ingest_speed -- mqtt://localhost:1883 postgres://user@localhost/empty 100 10 60 20`
//! publishes blocks of 100 streams with 10 tags each, 60 rows a block, 20 blocks a stream, and prints what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tidegate_codec::block::{Batch, BlockSchema, Codec, Encoder, Origin, StoreId};
use tidegate_ingest::{Address, Broker, Counters, Format, Options, Rotation};
use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};
use tokio_util::sync::CancellationToken;

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
    let address: Address = next("the broker")?.parse()?;
    let destination = next("the destination")?.parse()?;
    let [streams, tags, rows, blocks] = [next("streams")?, next("tags")?, next("rows")?, next("blocks")?];
    let (streams, tags): (u32, usize) = (streams.parse()?, tags.parse()?);
    let (rows, blocks): (u64, u64) = (rows.parse()?, blocks.parse()?);
    // A run of its own: its streams are new, and nobody has its session.
    let run = std::process::id();
    let options = Options {
        broker: Broker {
            address: address.clone(),
            password: None,
            ca: None,
            certificate: None,
            client_id: format!("ingest-speed-{run}"),
            topic_root: format!("speed{run}"),
            format: Format::Block,
            group: None,
            host_id: None,
            share: None,
            session_expiry: Duration::from_secs(3600),
            in_flight: 128,
            longest_pause: Duration::from_secs(1),
        },
        destination,
        schema_wait: Duration::from_secs(10),
        until_idle: Some(Duration::from_millis(500)),
        rotation: Rotation::default(),
    };
    // Subscribes, so that the broker keeps what is published.
    run_ingest(&options).await?;
    let bytes = publish(&address, run, streams, tags, rows, blocks).await?;
    let started = Instant::now();
    let counters = run_ingest(&options).await?;
    let seconds = (started.elapsed() - Duration::from_millis(500)).as_secs_f64();
    let done = counters.snapshot();
    println!(
        "{done:?}\n{} values in {} rows and {bytes} bytes of blocks in {seconds:.2} s: {:.0} values/s; {} duplicates, {} refused",
        done.values,
        done.rows,
        f64::from(u32::try_from(done.values)?) / seconds,
        done.duplicates,
        done.refused
    );
    Ok(())
}

async fn run_ingest(options: &Options) -> Result<Arc<Counters>, Anything> {
    let counters = Arc::new(Counters::default());
    tidegate_ingest::run(options.clone(), Arc::clone(&counters), CancellationToken::new()).await?;
    Ok(counters)
}

/// Publishes the schemas and blocks; returns the bytes of the blocks.
async fn publish(
    address: &Address,
    run: u32,
    streams: u32,
    tags: usize,
    rows: u64,
    blocks: u64,
) -> Result<usize, Anything> {
    let mut options = MqttOptions::new(format!("plant-{run}"), &address.host, address.port);
    options.set_outgoing_inflight_upper_limit(100);
    let (client, mut event_loop) = AsyncClient::new(options, 100);
    let total = u64::from(streams) * (blocks + 1);
    let acknowledged = tokio::spawn(async move {
        let mut count = 0;
        while count < total {
            if let Event::Incoming(Packet::PubAck(_)) = event_loop.poll().await? {
                count += 1;
            }
        }
        Ok::<(), Anything>(())
    });
    let column = |at| {
        Column::new(format!("tag{at}").parse().unwrap_or_else(|_| unreachable!()), ValueType::single(ValueKind::F64))
    };
    let columns: Vec<Column> = (0..tags).map(column).collect();
    let mut encoder = Encoder::new(Codec::Range);
    let mut bytes = 0;
    for block in 0..=blocks {
        for stream in 0..streams {
            let (device, group) = (format!("device{stream}").parse()?, "fast".parse()?);
            let schema =
                BlockSchema { store: StoreId(u64::from(run)), device, group, columns: columns.clone().into(), salt: 0 };
            let (id, document) = (schema.id()?, schema.encode()?);
            if block == 0 {
                let topic = format!("speed{run}/line{stream}/schema/{id}");
                client.publish(topic, QoS::AtLeastOnce, true, document).await?;
                continue;
            }
            let mut batch = Batch::new(&columns);
            for row in 0..rows {
                let seq = (block - 1) * rows + row + 1;
                let time = Timestamp::from_millis(1_795_000_000_000 + i64::try_from(seq)? * 1000);
                let number = f64::from(u32::try_from(seq)? % 1000 + stream) / 10.0;
                let slots: Vec<Slot> = (0..tags).map(|_| Slot::Good(Value::F64(number))).collect();
                batch.push(seq, time, None, &slots)?;
            }
            let mut payload = Vec::new();
            encoder.encode(&Origin { stream: StreamId(stream), schema: id, boot: 1 }, &batch, &mut payload)?;
            bytes += payload.len();
            client.publish(format!("speed{run}/line{stream}/block"), QoS::AtLeastOnce, false, payload).await?;
        }
    }
    acknowledged.await??;
    Ok(bytes)
}
