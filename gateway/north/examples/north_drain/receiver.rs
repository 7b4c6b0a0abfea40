//! The other side of the drain: gets everything, unpacks it, and notes each number of each stream.

use std::{collections::HashMap, io::BufRead, time::Duration};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};
use tidegate_codec::block::{self, Batch, BlockSchema, Decoder, Frame, SchemaId};
use tidegate_config::Format;
use tokio::sync::oneshot;

use crate::{Done, cpu_time, now, plant::DEVICES};

/// Nothing for this long means that nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has arrived.
struct Books {
    /// The numbers of the backlog end here, in every stream.
    backlog: u64,
    streams: HashMap<String, Numbers>,
    rows: u64,
    twice: u64,
    values: u64,
    bytes: u64,
    messages: u64,
    missing_backlog: u64,
    /// Milliseconds that live rows took, while there was backlog and afterwards.
    ages: [Vec<i64>; 2],
    schemas: HashMap<SchemaId, BlockSchema>,
    decoder: Decoder,
}

/// Which numbers of a stream have arrived, a bit each.
#[derive(Default)]
struct Numbers {
    words: Vec<u64>,
    last: u64,
}

impl Numbers {
    /// Notes a number; false when it was there before.
    fn note(&mut self, seq: u64) -> bool {
        let at = usize::try_from(seq / 64).unwrap_or(usize::MAX);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.last = self.last.max(seq);
        let Some(word) = self.words.get_mut(at) else { return false };
        let bit = 1 << (seq % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Numbers from 1 to `last` that have not arrived.
    fn missing(&self, last: u64) -> u64 {
        let there: u32 = self.words.iter().map(|word| word.count_ones()).sum();
        let beyond = self.last.saturating_sub(last);
        (last + beyond).saturating_sub(u64::from(there))
    }
}

/// Receives until it is told the last numbers on its standard input and has them all.
pub(crate) async fn run(port: u16, format: Format, backlog: u64) -> Done<()> {
    let mut options = MqttOptions::new("drain-receiver", "127.0.0.1", port);
    options.set_max_packet_size(32 << 20, 1 << 20).set_inflight(1_000).set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = AsyncClient::new(options, 16);
    let topics: &[&str] = match format {
        Format::Block => &["plant/drain/schema/+", "plant/drain/block"],
        Format::Json => &["plant/drain/+/data/+"],
    };
    for topic in topics {
        client.subscribe(*topic, QoS::AtLeastOnce).await?;
        while !matches!(next(&mut events).await?, Event::Incoming(Packet::SubAck(_))) {}
    }
    println!("ready");
    let mut books = Books::new(backlog);
    let mut last = told();
    let mut end = None;
    loop {
        tokio::select! {
            event = next(&mut events) => {
                if let Event::Incoming(Packet::Publish(publish)) = event? {
                    books.message(&publish)?;
                }
            }
            told = &mut last, if end.is_none() => end = Some(told?),
        }
        if let Some(end) = end
            && books.missing(end) == 0
        {
            return books.report();
        }
    }
}

async fn next(events: &mut EventLoop) -> Done<Event> {
    Ok(tokio::time::timeout(PATIENCE, events.poll()).await.map_err(|_| "nothing comes any more")??)
}

/// The number that comes on standard input.
fn told() -> oneshot::Receiver<u64> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).is_ok()
            && let Ok(last) = line.trim().parse()
        {
            // Nobody listens when the receiver has failed meanwhile.
            let _ = tell.send(last);
        }
    });
    told
}

impl Books {
    fn new(backlog: u64) -> Books {
        Books {
            backlog,
            streams: HashMap::new(),
            rows: 0,
            twice: 0,
            values: 0,
            bytes: 0,
            messages: 0,
            missing_backlog: backlog * DEVICES,
            ages: Default::default(),
            schemas: HashMap::new(),
            decoder: Decoder::new(),
        }
    }

    fn message(&mut self, publish: &Publish) -> Done<()> {
        self.messages += 1;
        self.bytes += u64::try_from(publish.payload.len())?;
        if publish.topic.starts_with("plant/drain/schema/") {
            let schema = BlockSchema::decode(&publish.payload)?;
            self.schemas.insert(BlockSchema::id_of(&publish.payload), schema);
        } else if publish.topic == "plant/drain/block" {
            for frame in block::split(&publish.payload) {
                let Frame::Data(head) = frame? else { return Err("a gap".into()) };
                let schema = self.schemas.get(&head.schema).ok_or("a schema has not come before its block")?;
                let batch = self.decoder.decode(&head, head.schema, &schema.columns)?;
                let device = schema.device.to_string();
                self.batch(&device, &batch)?;
            }
        } else {
            let device = publish.topic.split('/').nth(2).unwrap_or_default();
            let row: serde_json::Value = serde_json::from_slice(&publish.payload)?;
            let values = row.get("values").and_then(serde_json::Value::as_object).ok_or("a row without values")?;
            let number = |key: &str| row.get(key).and_then(serde_json::Value::as_u64).ok_or("a row without numbers");
            self.values += u64::try_from(values.len())?;
            self.row(device, number("seq")?, i64::try_from(number("ts")?)?);
        }
        Ok(())
    }

    fn batch(&mut self, device: &str, batch: &Batch) -> Done<()> {
        self.values += u64::try_from(batch.len() * batch.columns())?;
        for row in 0..batch.len() {
            let (Some(seq), Some(time)) = (batch.seq(row), batch.time(row)) else { continue };
            self.row(device, seq, time.as_millis());
        }
        Ok(())
    }

    fn row(&mut self, device: &str, seq: u64, time: i64) {
        if !self.streams.contains_key(device) {
            self.streams.insert(device.to_owned(), Numbers::default());
        }
        let Some(numbers) = self.streams.get_mut(device) else { return };
        self.rows += 1;
        if !numbers.note(seq) {
            self.twice += 1;
        } else if seq <= self.backlog {
            self.missing_backlog -= 1;
            if self.missing_backlog == 0 {
                println!("drained");
            }
        } else {
            let [during, afterwards] = &mut self.ages;
            let ages = if self.missing_backlog > 0 { during } else { afterwards };
            ages.push(now().as_millis() - time);
        }
    }

    fn missing(&self, last: u64) -> u64 {
        let absent = DEVICES.saturating_sub(u64::try_from(self.streams.len()).unwrap_or(0)) * last;
        absent + self.streams.values().map(|numbers| numbers.missing(last)).sum::<u64>()
    }

    fn report(mut self) -> Done<()> {
        let Books { rows, twice, values, bytes, messages, .. } = self;
        println!(
            "received: {rows} rows, {values} values, {:.1} MB in {messages} messages; none missing, {twice} twice",
            crate::megabytes(bytes)
        );
        println!("the receiver: {:.1} s of CPU", cpu_time()?.as_secs_f64());
        for (when, ages) in ["while there was backlog", "afterwards"].into_iter().zip(&mut self.ages) {
            ages.sort_unstable();
            let at = |part: usize| ages.get((ages.len() * part / 1_000).min(ages.len().saturating_sub(1))).copied();
            println!(
                "age of live rows {when}: {} ms p50, {} ms p99, {} ms at most, of {}",
                at(500).unwrap_or(0),
                at(990).unwrap_or(0),
                at(1_000).unwrap_or(0),
                ages.len()
            );
        }
        println!("done");
        Ok(())
    }
}
