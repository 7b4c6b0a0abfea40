//! What comes of the work beside listening.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use opcua::types::{CreateSubscriptionResponse, MonitoredItemCreateResult, MonitoredItemNotification, StatusCode};
use tidegate_driver_api::model::Reason;

use super::{Feed, Job, Outcome, Thing, jobs::event_slots};
use crate::{
    fault::Fault,
    history,
    plan::Place,
    rows::{Items, index},
    security, status,
    subscription::{Sequence, State},
};

/// How long the conditions of interest may take to come.
const REFRESH: Duration = Duration::from_secs(5);

impl Feed {
    /// Takes what came of a job.
    pub(super) fn worked(
        &mut self,
        job: Job,
        answer: Result<Outcome, Fault>,
        now: Instant,
        items: &Items<'_>,
        places: &mut [Place],
    ) {
        match (job, answer) {
            (Job::Make(of), Ok(Outcome::Made(answer))) => self.made(of, &answer, now, items, places),
            (Job::Make(of), Err(fault)) => self.not_made(of, &fault, now, items),
            (Job::Fill(of, _, filtered), Ok(Outcome::Filled(results, time))) => {
                self.live_since = self.live_since.max(Some(time));
                self.filled(of, results, filtered, now, items)
            }
            (Job::Fill(of, numbers, filtered), Err(fault))
                if self.server.limits.monitor.yields(&fault, numbers.len()) =>
            {
                for part in numbers.chunks(self.server.limits.monitor.get()).rev() {
                    self.jobs.push_front(Job::Fill(of, part.to_vec(), filtered));
                }
            }
            (Job::Fill(_, numbers, _), Err(_)) => {
                let refused = numbers.into_iter().map(|number| (number, StatusCode::BadUnexpectedError));
                self.park(refused.collect(), now, items);
            }
            (Job::Read(numbers), Err(fault)) if self.server.limits.read.yields(&fault, numbers.len()) => {
                let parts = numbers.chunks(self.server.limits.read.get()).map(|part| Job::Read(part.to_vec()));
                self.jobs.extend(parts);
            }
            (Job::Read(numbers), Err(fault)) => self.not_read(&numbers, &fault, now, items),
            (Job::Events(of, slot), Ok(Outcome::Watched(status))) if status.is_good() => {
                self.parked.remove(Thing::Events(of, slot));
                // What is retained may be from before this subscription.
                self.rows.anew(slot);
                self.jobs.push_front(Job::Refresh(of, slot));
            }
            (Job::Events(of, slot), answer) => self.not_watched((of, slot), answer, now, items),
            (Job::Refresh(_, slot), Ok(Outcome::Refreshed(status))) if status.is_good() => {
                // The end of the refresh comes as an event; a server that forgets it is waited for only so long.
                self.settling.push((slot, now + REFRESH));
            }
            (Job::Refresh(_, slot), _) => {
                // One that cannot be asked for them tells of its conditions when they change.
                self.telling.remove(&slot);
                self.rows.settled(slot);
            }
            (Job::Message(of, number, then), Ok(Outcome::Message(message))) => {
                let known = self.subscriptions.get_mut(of).map(|known| (known.id, known.message(number)));
                if let Some((Some(id), _)) = known {
                    self.acknowledge(id, number);
                }
                if matches!(known, Some((_, Sequence::Next))) {
                    self.notify(of, message, now, items);
                }
                self.jobs.push_front(*then);
            }
            (Job::Message(of, number, then), Err(_)) => {
                // It is gone from the server's memory. What is now has been asked for; events come once more.
                if let Job::Missed(_) = *then {
                    if let Some(subscription) = self.subscriptions.get_mut(of) {
                        subscription.give_up(number);
                    }
                    self.has_lost(of);
                    self.refresh_events(of, items);
                    self.jobs.push_front(*then);
                }
            }
            (Job::Read(numbers), Ok(Outcome::Read(values))) => {
                let value = |(number, value)| {
                    Some(MonitoredItemNotification { client_handle: u32::try_from(number).ok()?, value })
                };
                let values = numbers.into_iter().zip(values).filter_map(value).collect();
                self.rows.values(items, values, false);
            }
            (Job::Retry(numbers), Ok(Outcome::Found(found))) => self.found(numbers, found, items, places),
            (Job::Past(hole), Ok(Outcome::Past(piece))) => {
                self.deadly.is_answered();
                let (values, rest) = hole.take(piece, now);
                if !values.is_empty() {
                    self.rows.values(items, values, true);
                }
                self.jobs.extend(rest.into_iter().map(Job::Past));
            }
            (Job::Past(hole), Err(fault)) => self.no_history(hole, &fault, now, places),
            // What cannot be asked for again is gone from the server's memory; what is now has been asked for or comes.
            _ => {}
        }
    }

    fn made(
        &mut self,
        of: usize,
        answer: &CreateSubscriptionResponse,
        now: Instant,
        items: &Items<'_>,
        places: &[Place],
    ) {
        let Some(subscription) = self.subscriptions.get_mut(of) else { return };
        subscription.made(answer, now);
        self.parked.forget(of);
        let slots = subscription.slots.clone();
        let mut numbers = Vec::new();
        let mut missing = Vec::new();
        for slot_index in slots {
            let Some((slot, tags)) = items.slots.get(slot_index).and_then(|slot| Some((slot, slot.tags()?))) else {
                continue;
            };
            if tags.events.is_some() {
                self.jobs.push_back(Job::Events(of, slot_index));
            }
            for number in (slot.first_item..).take(tags.items.len()) {
                if let Some(id) = self.ids.get_mut(number) {
                    *id = 0;
                }
                match places.get(number) {
                    Some(Some(_)) => numbers.push(number),
                    _ => missing.push((number, StatusCode::BadNodeIdUnknown)),
                }
            }
        }
        for chunk in numbers.chunks(self.server.limits.monitor.get()) {
            self.jobs.push_back(Job::Fill(of, chunk.to_vec(), true));
        }
        self.park(missing, now, items);
    }

    /// The server does not want a subscription: its groups are polled, until it does.
    fn not_made(&mut self, of: usize, fault: &Fault, now: Instant, items: &Items<'_>) {
        self.parked.add(Thing::Subscription(of), now);
        let Some(subscription) = self.subscriptions.get_mut(of) else { return };
        if std::mem::replace(&mut subscription.state, State::Refused) == State::Refused {
            tracing::debug!(%fault, "the server still does not let subscribe");
            return;
        }
        tracing::warn!(%fault, "the server does not let subscribe; the groups are polled, events do not come, and it is asked again from time to time");
        let slots = subscription.slots.clone();
        event_slots(&slots, items).for_each(|slot| self.fail_slot(slot, Reason::DeviceFault, items));
    }

    /// What was to be read was not told otherwise, and what is known of it may be old: a subscription made anew tells it.
    fn not_read(&mut self, numbers: &[usize], fault: &Fault, now: Instant, items: &Items<'_>) {
        tracing::debug!(%fault, "what may have been missed cannot be read; it is subscribed to anew");
        let slots: BTreeSet<usize> = numbers.iter().filter_map(|number| Some(items.slot(*number)?.0)).collect();
        for of in 0..self.subscriptions.len() {
            let brings =
                self.subscriptions.get(of).is_some_and(|known| known.slots.iter().any(|of| slots.contains(of)));
            if brings {
                self.make_anew_slowly(of, now);
            }
        }
    }

    /// The server does not report the events of a slot now; it is asked again slowly.
    fn not_watched(
        &mut self,
        (of, slot): (usize, usize),
        answer: Result<Outcome, Fault>,
        now: Instant,
        items: &Items<'_>,
    ) {
        let status = match answer {
            Ok(Outcome::Watched(status)) | Err(Fault::Refused(status)) => status,
            _ => StatusCode::BadUnexpectedError,
        };
        self.parked.add(Thing::Events(of, slot), now);
        if self.unwatched.insert(slot) {
            tracing::warn!(%status, "the server does not report these events: check the node in `events`; it is asked again from time to time");
        }
        self.fail_slot(slot, status::bad(status), items);
    }

    /// Everything of interest about the events of a subscription is to be told once more.
    pub(super) fn refresh_events(&mut self, of: usize, items: &Items<'_>) {
        let slots = self.subscriptions.get(of).map(|subscription| subscription.slots.clone()).unwrap_or_default();
        for slot in event_slots(&slots, items) {
            let is_same = |job: &Job| matches!(job, Job::Refresh(_, other) if *other == slot);
            if !self.jobs.iter().any(is_same) {
                self.jobs.push_back(Job::Refresh(of, slot));
            }
        }
    }

    /// What time it is at the server: as it said when it was asked, which was after the connection was begun.
    pub(super) fn time_there(&self, now: Instant) -> i64 {
        let said = self.server.now.unwrap_or_else(|| history::date_time(security::now()).ticks());
        let since = now.saturating_duration_since(self.begun);
        said.saturating_add(i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX))
    }

    /// Where the hole of an outage ends: what is newer comes by itself, or is polled.
    pub(super) fn hole_ends(&self) -> i64 {
        let comes = self.subscriptions.iter().any(|known| known.state == State::Live);
        match (comes, self.live_since, self.server.now) {
            (true, Some(since), _) | (true, None, Some(since)) => since,
            _ => self.server_time,
        }
    }

    /// The server has not told of the past. With fewer items at once it may.
    fn no_history(&mut self, hole: history::Hole, fault: &Fault, now: Instant, places: &[Place]) {
        let limit = &self.server.limits.history;
        let asked = hole.question(places, limit.get()).map_or(0, |question| question.len());
        let rest = match fault {
            Fault::Silent => {
                limit.lower(asked);
                hole.not_answered()
            }
            fault if limit.yields(fault, asked) => Some(hole),
            Fault::Refused(status) if history::is_passing(*status) => hole.refused(now),
            _ => None,
        };
        match rest {
            Some(hole) => self.jobs.push_back(Job::Past(hole)),
            None => {
                tracing::warn!(%fault, "the server's history cannot be read; what was while it was away stays missing: check `backfill` and the rights of the user")
            }
        }
    }

    fn filled(
        &mut self,
        of: usize,
        results: Vec<(usize, MonitoredItemCreateResult)>,
        filtered: bool,
        now: Instant,
        items: &Items<'_>,
    ) {
        let mut unfiltered = Vec::new();
        let mut refused = Vec::new();
        for (number, result) in results {
            let status = result.status_code;
            if !status.is_bad() {
                // One that was parked stays so until a value comes: servers take items of nodes that they do not have.
                if let Some(id) = self.ids.get_mut(number) {
                    *id = result.monitored_item_id;
                }
            } else if filtered && items.item(number).is_some_and(|(_, item)| item.deadband.is_some()) {
                // Not every server has filters, and not for every type; ours works in any case.
                unfiltered.push(number);
            } else {
                refused.push((number, status));
            }
        }
        if !unfiltered.is_empty() {
            self.jobs.push_front(Job::Fill(of, unfiltered, false));
        }
        self.park(refused, now, items);
    }

    /// Items that the server does not have now; they are asked for again slowly.
    fn park(&mut self, refused: Vec<(usize, StatusCode)>, now: Instant, items: &Items<'_>) {
        for (number, status) in refused {
            self.parked.add(Thing::Item(number), now);
            let (Some((slot, _)), Some((tags, item))) = (items.slot(number), items.item(number)) else { continue };
            let columns = item.points.iter().filter_map(|point| tags.points.get(*point)).map(|point| point.column);
            self.rows.failed(slot, columns.collect(), status::bad(status));
        }
    }

    /// Takes what was found of items that had been parked. Those that are polled need no more than that.
    fn found(&mut self, numbers: Vec<usize>, found: Vec<Place>, items: &Items<'_>, places: &mut [Place]) {
        let live = self.subscriptions.iter().enumerate().filter(|(_, known)| known.state == State::Live);
        let live: Vec<(usize, &[usize])> = live.map(|(of, known)| (of, known.slots.as_slice())).collect();
        let mut wanted: Vec<(usize, Vec<usize>)> = Vec::new();
        for (number, place) in numbers.into_iter().zip(found) {
            let Some((slot, _)) = items.slot(number) else { continue };
            let is_there = place.is_some();
            if let Some(known) = places.get_mut(number) {
                *known = place;
            }
            match live.iter().find(|(_, slots)| slots.contains(&slot)) {
                Some((of, _)) => match wanted.iter_mut().find(|(other, _)| other == of) {
                    Some((_, numbers)) => numbers.push(number),
                    None => wanted.push((*of, vec![number])),
                },
                None if is_there => self.parked.remove(Thing::Item(number)),
                None => {}
            }
            if is_there {
                self.jobs.extend(self.unplaced.drain(..).map(Job::Past));
            }
        }
        self.jobs.extend(wanted.into_iter().map(|(of, numbers)| Job::Fill(of, numbers, true)));
    }

    /// Reads what all items of slots are now.
    pub(super) fn read_all(&mut self, slots: &[usize], items: &Items<'_>) {
        for slot in slots.iter().filter_map(|slot| items.slots.get(*slot)) {
            let count = slot.tags().map_or(0, |tags| tags.items.len());
            let numbers: Vec<usize> = (slot.first_item..).take(count).collect();
            for chunk in numbers.chunks(self.server.limits.read.get()) {
                self.jobs.push_back(Job::Read(chunk.to_vec()));
            }
        }
    }

    /// Everything about a slot has this reason.
    fn fail_slot(&mut self, slot: usize, reason: Reason, items: &Items<'_>) {
        let Some(tags) = items.slots.get(slot).and_then(crate::plan::Slot::tags) else { return };
        self.rows.failed(slot, tags.read_columns().collect(), reason);
    }

    /// The index of the subscription with that number of the server.
    pub(super) fn by_id(&self, id: u32) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.id == Some(id))
    }

    /// The slot of an item of events.
    pub(super) fn event_slot(number: u32) -> Option<usize> {
        (number & crate::subscription::EVENTS != 0).then(|| index(number & !crate::subscription::EVENTS))?
    }
}
