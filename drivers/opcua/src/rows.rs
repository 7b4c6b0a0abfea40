//! From what a server sent to rows of groups: one batch gives as many rows as it has groups and times.
//!
//! An item is known by its number, which is an index: nothing is looked up by name, and nothing allocated, per value.

use std::collections::{HashMap, VecDeque};

use opcua::types::{DataValue, MonitoredItemNotification, Variant};
use tidegate_driver_api::{
    Arrival, Poll, Readings,
    model::{Reason, Timestamp},
};

use crate::{
    convert, events,
    plan::{GroupTags, Item, Slot},
    told::Told,
    types::Types,
};

/// All items of a link, numbered over all devices and groups.
pub(crate) struct Items<'a> {
    pub(crate) slots: &'a [Slot],
    /// By number of the item: its slot.
    pub(crate) slot_of: &'a [u32],
    /// How structures are taken apart.
    pub(crate) types: &'a Types,
}

impl<'a> Items<'a> {
    /// The slot of an item.
    pub(crate) fn slot(&self, item: usize) -> Option<(usize, &'a Slot)> {
        let index = usize::try_from(*self.slot_of.get(item)?).ok()?;
        Some((index, self.slots.get(index)?))
    }

    /// An item with its group.
    pub(crate) fn item(&self, number: usize) -> Option<(&'a GroupTags, &'a Item)> {
        let (_, slot) = self.slot(number)?;
        let tags = slot.tags()?;
        Some((tags, tags.items.get(number.checked_sub(slot.first_item)?)?))
    }
}

/// Notes a value of an item for all its tags.
pub(crate) fn note(items: &Items<'_>, number: usize, value: &DataValue, out: &mut Readings) {
    let Some((tags, item)) = items.item(number) else { return };
    for point in item.points.iter().filter_map(|point| tags.points.get(*point)) {
        convert::note(point, value, items.types, out);
    }
}

/// Whether something has already been noted for the item.
fn is_noted(items: &Items<'_>, number: usize, out: &Readings) -> bool {
    let Some((tags, item)) = items.item(number) else { return true };
    let column = item.points.first().and_then(|point| tags.points.get(*point)).map(|point| point.column);
    column.and_then(|column| out.items().get(column)) != Some(&tidegate_driver_api::model::Reading::Missing)
}

/// What waits to become rows.
#[derive(Debug, Clone)]
enum Batch {
    Values {
        values: Vec<MonitoredItemNotification>,
        /// The order in which values are taken, when it is not that in which they came.
        order: Option<Vec<u32>>,
        next: usize,
        /// Whether each time gets a row of its own.
        by_time: bool,
        past: bool,
    },
    Event {
        slot: usize,
        fields: Vec<Variant>,
    },
    Failed {
        slot: usize,
        columns: Vec<usize>,
        reason: Reason,
    },
    Settled {
        slot: usize,
    },
    Anew {
        slot: usize,
    },
}

/// What has arrived and is no row yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    waiting: VecDeque<Batch>,
    /// By item: the batch in which it was last seen.
    seen: Vec<u32>,
    batch: u32,
}

impl Rows {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is left of a connection that is over: true when it was said, but nothing that is so now.
    pub(crate) fn into_past(mut self) -> Rows {
        self.waiting.retain_mut(|batch| match batch {
            Batch::Values { by_time, past, .. } => {
                (*by_time, *past) = (true, true);
                true
            }
            Batch::Event { .. } => true,
            Batch::Failed { .. } | Batch::Settled { .. } | Batch::Anew { .. } => false,
        });
        self
    }

    /// Takes values of items, which their numbers say. Of a group that has several values of one item, each time makes a row.
    pub(crate) fn values(&mut self, items: &Items<'_>, values: Vec<MonitoredItemNotification>, past: bool) {
        self.batch = self.batch.wrapping_add(1);
        self.seen.resize(items.slot_of.len(), 0);
        let mut repeated = past;
        let mut sorted = true;
        let mut slot_before = 0;
        for value in &values {
            let Some(number) = index(value.client_handle) else { continue };
            let Some(seen) = self.seen.get_mut(number) else { continue };
            repeated |= *seen == self.batch;
            *seen = self.batch;
            let slot = items.slot_of.get(number).copied().unwrap_or_default();
            sorted &= slot >= slot_before;
            slot_before = slot;
        }
        let order = (repeated || !sorted).then(|| {
            let times = if repeated { times(&values) } else { Vec::new() };
            let mut order: Vec<u32> = (0..).take(values.len()).collect();
            order.sort_by_key(|place| {
                let value = index(*place).and_then(|place| values.get(place));
                let number = value.and_then(|value| index(value.client_handle));
                let slot = number.and_then(|number| items.slot_of.get(number));
                (slot.copied(), index(*place).and_then(|place| times.get(place).copied()).flatten())
            });
            order
        });
        self.waiting.push_back(Batch::Values { values, order, next: 0, by_time: repeated, past });
    }

    /// Takes an event.
    pub(crate) fn event(&mut self, slot: usize, fields: Vec<Variant>) {
        self.waiting.push_back(Batch::Event { slot, fields });
    }

    /// Notes that columns have no value.
    pub(crate) fn failed(&mut self, slot: usize, columns: Vec<usize>, reason: Reason) {
        self.waiting.push_back(Batch::Failed { slot, columns, reason });
    }

    /// Notes that everything of a group has been said.
    pub(crate) fn settled(&mut self, slot: usize) {
        self.waiting.push_back(Batch::Settled { slot });
    }

    /// Notes that everything of interest about a group of events is told once more.
    pub(crate) fn anew(&mut self, slot: usize) {
        self.waiting.push_back(Batch::Anew { slot });
    }

    /// The next row, with the index of its slot. What has been taken is gone, also when nothing of it was a row.
    pub(crate) fn take(&mut self, items: &Items<'_>, told: &mut Told, out: &mut Readings) -> Option<(usize, Arrival)> {
        loop {
            let batch = self.waiting.front_mut()?;
            if let Batch::Values { values, order, next, by_time, past } = batch {
                let row = Making { items, values, order: order.as_deref(), by_time: *by_time, past: *past };
                let taken = row.make(next, told, out);
                if *past {
                    out.set_past();
                }
                if *next >= values.len() {
                    self.waiting.pop_front();
                }
                match taken {
                    Some(slot) => return Some((slot, Arrival::Row(items.slots.get(slot)?.poll))),
                    None => continue,
                }
            }
            let (slot, arrival): (usize, fn(Poll) -> Arrival) = match self.waiting.pop_front()? {
                Batch::Settled { slot } => (slot, Arrival::Settled),
                Batch::Anew { slot } => (slot, Arrival::Anew),
                Batch::Failed { slot, columns, reason } => {
                    out.reset(items.slots.get(slot)?.tags()?.columns);
                    columns.iter().for_each(|column| out.fail(*column, reason));
                    (slot, Arrival::Row)
                }
                Batch::Event { slot, fields } => {
                    let tags = items.slots.get(slot)?.tags()?;
                    out.reset(tags.columns);
                    events::note(tags, &fields, out);
                    (slot, Arrival::Row)
                }
                Batch::Values { .. } => continue,
            };
            return Some((slot, arrival(items.slots.get(slot)?.poll)));
        }
    }
}

/// The times by which values are put in order: their own, but never before what the server said of the same item before. A clock
/// that was set back, or a bad value that has no time of its own, must not make an older value the last one.
fn times(values: &[MonitoredItemNotification]) -> Vec<Option<Timestamp>> {
    let mut newest: HashMap<u32, Option<Timestamp>> = HashMap::new();
    let time = |value: &MonitoredItemNotification| {
        let before = newest.entry(value.client_handle).or_default();
        *before = convert::time(&value.value).max(*before);
        *before
    };
    values.iter().map(time).collect()
}

/// Values that become rows.
struct Making<'a> {
    items: &'a Items<'a>,
    values: &'a [MonitoredItemNotification],
    order: Option<&'a [u32]>,
    by_time: bool,
    past: bool,
}

impl Making<'_> {
    /// The value in that place, with the number of its item.
    fn value(&self, place: usize) -> Option<(usize, &DataValue)> {
        let place = match self.order {
            Some(order) => index(*order.get(place)?)?,
            None => place,
        };
        let value = self.values.get(place)?;
        Some((index(value.client_handle)?, &value.value))
    }

    /// Takes values into a row until the group, the time or an item says that the next one begins. Of the past, what has been told
    /// is left out.
    fn make(&self, next: &mut usize, told: &mut Told, out: &mut Readings) -> Option<usize> {
        let mut slot: Option<usize> = None;
        let mut newest: Option<Timestamp> = None;
        told.row_begins();
        while *next < self.values.len() {
            let found = self.value(*next).and_then(|(number, value)| Some((number, value, self.items.slot(number)?)));
            let found = found.filter(|(number, value, _)| !(self.past && told.has(*number, value)));
            let Some((number, value, (index, of))) = found else {
                *next += 1;
                continue;
            };
            let time = convert::time(value);
            match slot {
                None => {
                    slot = Some(index);
                    out.reset(of.tags()?.columns);
                }
                Some(slot) => {
                    let other_time = self.by_time && time != newest;
                    if slot != index || other_time || is_noted(self.items, number, out) {
                        break;
                    }
                }
            }
            newest = newest.max(time);
            note(self.items, number, value, out);
            told.note(number, value, self.past);
            *next += 1;
        }
        if let Some(time) = newest {
            out.set_device_time(time);
        }
        told.row_ends(newest);
        slot
    }
}

/// A number of an item as an index.
pub(crate) fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use opcua::types::DateTime;

    use super::*;

    fn value(item: u32, source: Option<i64>) -> MonitoredItemNotification {
        let source_timestamp =
            source.map(|second| DateTime::ymd_hms(2026, 11, 23, 12, 0, u16::try_from(second).unwrap()));
        MonitoredItemNotification { client_handle: item, value: DataValue { source_timestamp, ..DataValue::default() } }
    }

    #[test]
    fn what_the_server_said_last_of_an_item_stays_last_whatever_its_clock_says() {
        let values = [value(1, Some(3)), value(2, Some(9)), value(1, None), value(1, Some(1)), value(1, Some(4))];
        let times = times(&values);
        assert_eq!((times[0], times[2], times[3]), (times[0], times[0], times[0]));
        assert!(times[4] > times[3] && times[1] > times[4]);
    }
}
