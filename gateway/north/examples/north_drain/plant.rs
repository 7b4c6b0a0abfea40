//! A plant of 100 devices with 100 tags each, whose values move as a plant's do.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate_codec::json;
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{Done, now};

pub(crate) const DEVICES: u64 = 100;
pub(crate) const TAGS: u64 = 100;

/// All devices.
pub(crate) struct Plant {
    devices: Vec<Device>,
    random: u64,
}

struct Device {
    stream: Arc<Stream>,
    seq: u64,
    values: Vec<i32>,
}

/// What a tag is, by its place.
enum Motion {
    /// A measurement with one decimal that never rests.
    Walk,
    /// A measurement that changes now and then.
    Slow,
    /// A counter.
    Count,
    /// A state.
    State,
    /// A setting.
    Still,
}

impl Motion {
    fn of(tag: usize) -> Motion {
        match tag % 10 {
            0..=3 => Motion::Walk,
            4 | 5 => Motion::Slow,
            6 => Motion::Count,
            7 => Motion::State,
            _ => Motion::Still,
        }
    }

    fn kind(&self) -> ValueKind {
        match self {
            Motion::Walk | Motion::Slow | Motion::Still => ValueKind::F32,
            Motion::Count => ValueKind::Uint,
            Motion::State => ValueKind::Bool,
        }
    }
}

impl Plant {
    /// Its streams in a store, where they left off.
    pub(crate) async fn build(store: &Store) -> Done<Plant> {
        let columns = (0..usize::try_from(TAGS)?)
            .map(|tag| Ok(Column::new(format!("tag-{tag:02}").parse()?, ValueType::single(Motion::of(tag).kind()))));
        let columns: Arc<[Column]> = columns.collect::<Done<Vec<Column>>>()?.into();
        let mut devices = Vec::new();
        for device in 0..DEVICES {
            let name = format!("device-{device:02}").parse()?;
            let (stream, seq) = store.stream(&name, &"fast".parse()?, Arc::clone(&columns)).await?;
            let values = (0..columns.len()).map(|tag| i32::try_from(tag * 37 % 1_000).unwrap_or(0)).collect();
            devices.push(Device { stream, seq, values });
        }
        Ok(Plant { devices, random: 0x9e37_79b9_7f4a_7c15 })
    }

    /// The last number of each stream; they all have the same.
    pub(crate) fn last(&self) -> u64 {
        self.devices.iter().map(|device| device.seq).max().unwrap_or(0)
    }

    /// A row of each device, all at this time.
    pub(crate) fn second(&mut self, store: &Store, time: Timestamp) {
        for device in &mut self.devices {
            // Nobody reads the payload: what goes out later is made from the row.
            store.append(Arc::new(device.row(&mut self.random, time)), Bytes::new());
        }
    }

    /// A row a second of each device, evenly spread, until it is told to stop, and to the end of that second. Gives the last
    /// number of each stream.
    pub(crate) async fn live(&mut self, store: &Store, stop: &CancellationToken) -> u64 {
        let every = Duration::from_secs(1) / u32::try_from(DEVICES).unwrap_or(1);
        let mut clock = interval_at(Instant::now() + every, every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.is_cancelled() {
            for device in &mut self.devices {
                clock.tick().await;
                let row = device.row(&mut self.random, now());
                let mut payload = Vec::with_capacity(2 * 1024);
                json::row(&row, false, &mut payload);
                store.append(Arc::new(row), payload.into());
            }
        }
        self.last()
    }
}

impl Device {
    fn row(&mut self, random: &mut u64, time: Timestamp) -> Row {
        self.seq += 1;
        let slots = self.values.iter_mut().enumerate().map(|(tag, value)| {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            let draw = i32::try_from(*random % 1_000).unwrap_or(0);
            match Motion::of(tag) {
                Motion::Walk => *value = (*value + draw % 7 - 3).clamp(-5_000, 5_000),
                Motion::Slow => *value += i32::from(draw < 20),
                Motion::Count => *value = value.wrapping_add(draw % 4),
                Motion::State => *value ^= i32::from(draw < 3),
                Motion::Still => {}
            }
            Slot::Good(match Motion::of(tag).kind() {
                ValueKind::Bool => Value::Bool(*value & 1 == 1),
                ValueKind::Uint => Value::Uint(u64::from(value.unsigned_abs())),
                _ => Value::F32(tenths(*value)),
            })
        });
        let slots = slots.collect();
        Row { stream: Arc::clone(&self.stream), seq: self.seq, time, device_time: None, slots }
    }
}

/// What a device that counts in tenths shows.
fn tenths(value: i32) -> f32 {
    f32::from(i16::try_from(value).unwrap_or(i16::MAX)) / 10.0
}
