//! The times of the rows: a period, and how far each is off; the device's own times beside.

use tidegate_model::Timestamp;

use super::{
    Batch, BlockError,
    coder::{Coder, Flag, Number, Set},
    convert::count,
    search::{Search, quick_cost},
    series::{read_series, write_series},
};

/// Writes all times but the first, which is in the head.
pub(super) fn write<C: Coder>(coder: &mut C, batch: &Batch, search: &mut Search) -> Result<(), BlockError> {
    let times: Vec<i64> = batch.times().iter().map(|time| time.as_millis()).collect();
    if times.len() > 1 {
        write_times(coder, &times, search)?;
    }
    if coder.flag(Flag::DeviceTimes, batch.has_device_times())? {
        write_device_times(coder, batch, search)?;
    }
    Ok(())
}

fn write_times<C: Coder>(coder: &mut C, times: &[i64], search: &mut Search) -> Result<(), BlockError> {
    let period = coder.number(Number::Time, period(times))?;
    write_series(coder, Set::Times, &phases(times, period), search)
}

fn write_device_times<C: Coder>(coder: &mut C, batch: &Batch, search: &mut Search) -> Result<(), BlockError> {
    let mut there = true;
    let mut changes: Vec<bool> = (0..batch.len())
        .map(|row| {
            let before = std::mem::replace(&mut there, batch.device_time(row).is_some());
            before != there
        })
        .collect();
    coder.changes(batch.len(), &mut changes)?;
    let pairs =
        || (0..batch.len()).filter_map(|row| Some((batch.time(row)?.as_millis(), batch.device_time(row)?.as_millis())));
    let times: Vec<i64> = pairs().map(|(_, device)| device).collect();
    let delays: Vec<i64> = pairs().map(|(time, device)| device.wrapping_sub(time)).collect();
    if times.is_empty() {
        return Ok(());
    }
    let own = phases(&times, period(&times));
    let first = delays.first().copied().unwrap_or(0);
    if coder.flag(Flag::OwnPeriod, quick_cost(&own) < quick_cost(&delays))? {
        coder.number(Number::Time, first)?;
        write_times(coder, &times, search)
    } else {
        write_series(coder, Set::Times, &delays, search)
    }
}

/// Reads the times of the rows, the first of which is known.
pub(super) fn read<C: Coder>(coder: &mut C, first: i64, rows: usize, batch: &mut Batch) -> Result<(), BlockError> {
    let mut times = vec![first];
    if rows > 1 {
        read_times(coder, rows, &mut times)?;
    }
    if !coder.flag(Flag::DeviceTimes, false)? {
        for time in times {
            batch.push_times(Timestamp::from_millis(time), None);
        }
        return Ok(());
    }
    let mut device = read_device_times(coder, &times)?.into_iter();
    for time in times {
        batch.push_times(Timestamp::from_millis(time), device.next().flatten().map(Timestamp::from_millis));
    }
    Ok(())
}

/// Reads times after the first, which is there.
fn read_times<C: Coder>(coder: &mut C, rows: usize, times: &mut Vec<i64>) -> Result<(), BlockError> {
    let first = times.first().copied().unwrap_or(0);
    let period = coder.number(Number::Time, 0)?;
    read_series(coder, Set::Times, rows, times)?;
    let mut expected = first;
    for time in times {
        *time = time.wrapping_add(expected);
        expected = expected.wrapping_add(period);
    }
    Ok(())
}

fn read_device_times<C: Coder>(coder: &mut C, times: &[i64]) -> Result<Vec<Option<i64>>, BlockError> {
    let mut changes = Vec::new();
    coder.changes(times.len(), &mut changes)?;
    let mut there = true;
    for change in &mut changes {
        there ^= *change;
        *change = there;
    }
    let of: Vec<i64> = times.iter().zip(&changes).filter(|(_, there)| **there).map(|(time, _)| *time).collect();
    let mut device = Vec::new();
    if let Some(first) = of.first() {
        if coder.flag(Flag::OwnPeriod, false)? {
            device.push(first.wrapping_add(coder.number(Number::Time, 0)?));
            read_times(coder, of.len(), &mut device)?;
        } else {
            read_series(coder, Set::Times, of.len(), &mut device)?;
            for (device, time) in device.iter_mut().zip(&of) {
                *device = device.wrapping_add(*time);
            }
        }
    }
    let mut device = device.into_iter();
    Ok(changes.into_iter().map(|there| if there { device.next() } else { None }).collect())
}

/// The mean distance of times, to the nearest millisecond.
fn period(times: &[i64]) -> i64 {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0 };
    let steps = i128::from(count(times.len().saturating_sub(1).max(1)));
    let span = i128::from(last.wrapping_sub(*first));
    i64::try_from((2 * span + steps).div_euclid(2 * steps)).unwrap_or(0)
}

/// How far times are off the period, from the first on.
fn phases(times: &[i64], period: i64) -> Vec<i64> {
    let mut expected = times.first().copied().unwrap_or(0);
    let phase = |time: &i64| {
        let phase = time.wrapping_sub(expected);
        expected = expected.wrapping_add(period);
        phase
    };
    times.iter().map(phase).collect()
}
