//! One device of a link: its groups, its breaker, and what the world is told about it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_driver_api::{Poll, Readings};
use tidegate_model::{Name, Reason};

use crate::{
    breaker::Breaker,
    complaint::Complaint,
    counters::DeviceCounters,
    group::{Emitter, GroupTask},
    health::{DeviceHealth, Shared},
    status::DeviceState,
};

/// A group with a shorter interval need not be polled between its slots: the next one is near.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// One device of a link, owned by the link's task.
pub(crate) struct DeviceTask {
    name: Name,
    pub(crate) groups: Vec<GroupTask>,
    pub(crate) breaker: Breaker,
    pub(crate) health: Arc<Shared<DeviceHealth>>,
    pub(crate) counters: Arc<DeviceCounters>,
    /// Whether it could not be reached since it last answered.
    away: bool,
    /// Whether the log says that it does not answer.
    logged: bool,
    /// What the log says about its tags while it answers.
    complaint: Complaint,
}

impl DeviceTask {
    /// A device that has not been asked yet.
    pub(crate) fn new(name: Name, groups: Vec<GroupTask>, breaker: Breaker, health: DeviceHealth) -> DeviceTask {
        DeviceTask {
            name,
            groups,
            breaker,
            health: Arc::new(Shared::new(health)),
            counters: Arc::default(),
            away: false,
            logged: false,
            complaint: Complaint::default(),
        }
    }

    /// Turns the readings of one poll into a row and sends it on its way.
    pub(crate) fn emit(&mut self, group: usize, readings: &mut Readings, emitter: &Emitter) {
        if let Some(group) = self.groups.get_mut(group) {
            group.emit(readings, emitter, &self.counters);
        }
    }

    /// Turns what came without being asked for into a row and sends it on its way.
    pub(crate) fn arrive(&mut self, group: usize, readings: &mut Readings, emitter: &Emitter) {
        if let Some(group) = self.groups.get_mut(group) {
            self.counters.arrivals.add(1);
            group.arrive(readings, emitter, &self.counters);
        }
    }

    /// The device has said everything about a group that it had to say when the session began.
    pub(crate) fn settle(&mut self, group: usize, readings: &mut Readings, emitter: &Emitter) {
        if let Some(group) = self.groups.get_mut(group) {
            group.settle(readings, emitter, &self.counters);
        }
    }

    /// What is known of a group of events may have holes, and is told once more.
    pub(crate) fn tells_anew(&self, group: usize) {
        if let Some(group) = self.groups.get(group) {
            group.tells_anew();
        }
    }

    /// Reports the tags of a group that comes by itself which may not be silent any longer.
    pub(crate) fn break_silence(&mut self, group: usize, readings: &mut Readings, emitter: &Emitter) {
        if let Some(group) = self.groups.get_mut(group) {
            group.break_silence(readings, emitter, &self.counters);
        }
    }

    /// Whether the driver means to subscribe to a group.
    pub(crate) fn is_subscribed(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(GroupTask::is_subscribed)
    }

    /// Whether the rows of a group are events.
    pub(crate) fn is_of_events(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.alarms().is_some())
    }

    /// Whether rows of some group wait for the next one.
    pub(crate) fn holds(&self) -> bool {
        self.groups.iter().any(GroupTask::holds)
    }

    /// When the first of the rows that wait for the next one waits no longer.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.groups.iter().filter_map(GroupTask::overdue).min()
    }

    /// Gives the rows that have waited until `now` for the next one to the store; all that wait when there is no `now`.
    pub(crate) fn release(&mut self, now: Option<Instant>, emitter: &Emitter) {
        let is_over = |overdue: Instant| now.is_none_or(|now| overdue <= now);
        for group in self.groups.iter_mut().filter(|group| group.overdue().is_some_and(is_over)) {
            group.release(&emitter.outputs);
        }
    }

    /// How many columns a group has.
    pub(crate) fn columns(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, GroupTask::columns)
    }

    /// Whether it could not be reached since it last answered.
    pub(crate) fn is_away(&self) -> bool {
        self.away
    }

    /// The device has answered a poll whose row has been made. Says whether it had been away.
    pub(crate) fn answered(&mut self, emitter: &Emitter) -> bool {
        self.breaker.success();
        // A group that is well does not make up for another one that is not.
        let trouble = self.groups.iter().find_map(GroupTask::trouble);
        let state = if trouble.is_some() { DeviceState::Degraded } else { DeviceState::Online };
        self.tell(state, trouble, emitter);
        self.complain(trouble, emitter.clock.now());
        std::mem::take(&mut self.away)
    }

    /// The device has not answered. When it is left alone from now on, its other groups, which are not polled either, get a bad row.
    /// Those that come by themselves over the session are not asked for, so the silence says nothing of them.
    pub(crate) fn failed(&mut self, reason: Reason, now: Instant, readings: &mut Readings, emitter: &Emitter) {
        self.breaker.failure(now, rand::random());
        if self.breaker.next_try().is_none() {
            return self.tell(DeviceState::Degraded, Some(reason), emitter);
        }
        self.away = true;
        let speaks = self.groups.iter().any(GroupTask::comes_by_itself);
        self.tell(if speaks { DeviceState::Degraded } else { DeviceState::Offline }, Some(reason), emitter);
        if speaks {
            self.complain(Some(reason), now);
        }
        self.darken(reason, |group| group.has_been_well() && !group.comes_by_itself(), readings, emitter);
    }

    /// The session is over: what it brought by itself comes no more.
    pub(crate) fn session_over(&mut self, reason: Reason, readings: &mut Readings, emitter: &Emitter) {
        if self.darken(reason, GroupTask::session_over, readings, emitter) {
            self.away = true;
            self.tell(DeviceState::Offline, Some(reason), emitter);
        }
    }

    /// The link is down, so the device cannot be reached. Groups that have been bad since their session was lost keep its reason.
    pub(crate) fn unreachable(&mut self, readings: &mut Readings, emitter: &Emitter) {
        self.away = true;
        let choose = |group: &mut GroupTask| match group.is_subscribed() {
            true => group.has_been_well(),
            false => group.dark() != Some(Reason::Disconnected),
        };
        let darkened = self.darken(Reason::Disconnected, choose, readings, emitter);
        let before = self.health.get();
        let reason = match before.state {
            Some(DeviceState::Offline) if !darkened => before.reason,
            _ => Some(Reason::Disconnected),
        };
        self.tell(DeviceState::Offline, reason, emitter);
    }

    /// Gives a bad row to the groups that are chosen. Whether there was one.
    fn darken(
        &mut self,
        reason: Reason,
        choose: impl Fn(&mut GroupTask) -> bool,
        readings: &mut Readings,
        emitter: &Emitter,
    ) -> bool {
        let mut darkened = false;
        for group in &mut self.groups {
            if choose(group) {
                group.emit_bad(reason, readings, emitter, &self.counters);
                darkened = true;
            }
        }
        darkened
    }

    /// Whether a poll between the slots of this group is of use: values are missing or were written, and the next slot may be far.
    pub(crate) fn needs_extra(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| {
            let missing = group.dark().or(group.trouble());
            // An address that does not exist is asked for again by the driver, slowly.
            let is_missed = group.interval > SOON && missing.is_some_and(|reason| reason != Reason::BadAddress);
            is_missed || group.is_outdated()
        })
    }

    /// A tag of the group has been written. When what it holds now should be read, if that is before the group's next slot.
    pub(crate) fn written(&mut self, group: usize, now: Instant) -> Option<Instant> {
        self.groups.get_mut(group)?.written(now)
    }

    /// The group is about to be polled.
    pub(crate) fn asked(&mut self, group: usize, now: Instant) {
        if let Some(group) = self.groups.get_mut(group) {
            group.asked(now);
        }
    }

    /// Says in the log, once, that tags have no value, or have one again.
    fn complain(&mut self, trouble: Option<Reason>, now: Instant) {
        let groups = &self.groups;
        let bad = || groups.iter().flat_map(GroupTask::without_value).collect();
        self.complaint.note(&self.name, trouble, now, bad);
    }

    /// Notes what the device is now; a change is published, and one that concerns a person is logged once.
    fn tell(&mut self, state: DeviceState, reason: Option<Reason>, emitter: &Emitter) {
        let before = self.health.get();
        let next_try = self.breaker.next_try().map(|moment| emitter.clock.timestamp(moment));
        if before.state == Some(state) && before.reason == reason {
            if before.next_try != next_try {
                self.health.with(|health| health.next_try = next_try);
            }
            return;
        }
        let now = emitter.clock.timestamp(emitter.clock.now());
        let since = if before.state == Some(state) { before.since } else { now };
        self.health.with(|health| *health = DeviceHealth { state: Some(state), reason, since, next_try });
        emitter.outputs.device_state(&self.name, state, reason.map(Reason::as_str), since);
        self.log(state, reason.map(Reason::as_str));
    }

    /// A link that is down is logged by the link, once for all its devices.
    fn log(&mut self, state: DeviceState, reason: Option<&'static str>) {
        let device = &self.name;
        let left_alone = state == DeviceState::Offline && self.breaker.next_try().is_some();
        if left_alone && !self.logged {
            self.logged = true;
            tracing::info!(%device, reason, "device does not answer; its tags are bad and it is tried again from time to time");
        } else if state != DeviceState::Offline && std::mem::take(&mut self.logged) {
            tracing::info!(%device, reason, "device answers again");
        } else {
            tracing::debug!(%device, ?state, reason, "device has changed its state");
        }
    }

    /// The polls of the device, which is the `device`-th of its link.
    pub(crate) fn polls(&self, device: usize) -> impl Iterator<Item = (Poll, Duration)> {
        self.groups.iter().enumerate().map(move |(group, task)| (Poll { device, group }, task.interval))
    }
}
