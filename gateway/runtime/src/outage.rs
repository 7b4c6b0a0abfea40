//! What the world is told when the connection of a link comes and goes.

use std::time::Duration;

use tidegate_driver_api::{ConnectFault, Lost, Poll};
use tidegate_model::Timestamp;

use crate::{
    device::SOON,
    link::{LinkTask, part},
    status::LinkState,
    supervise::GivenUp,
    write,
};

impl LinkTask {
    /// A session has been opened.
    pub(crate) fn connected(&mut self) {
        self.emitter.counters.connects.add(1);
        self.memory.used = None;
        self.memory.opened = Some(self.emitter.clock.now());
        if !self.subscribes() {
            self.backoff.reset();
        }
        self.change_state(LinkState::Online, None);
        if self.memory.warned.take().is_some() {
            tracing::info!(link = %self.name, "link is connected again");
        }
        if std::mem::take(&mut self.memory.cut_off) {
            self.catch_up();
        }
    }

    /// Lets every group that lost its values with the link be read soon, also when its next slot is far.
    fn catch_up(&mut self) {
        let now = self.emitter.clock.now();
        let devices = self.devices.iter().enumerate();
        let polls = devices.flat_map(|(index, device)| device.polls(index).map(move |(poll, _)| (device, poll)));
        let polls: Vec<Poll> =
            polls.filter(|(device, poll)| device.needs_extra(poll.group)).map(|(_, poll)| poll).collect();
        let total = polls.len();
        for (place, poll) in polls.into_iter().enumerate() {
            self.schedule.add_extra(poll, now + part(SOON, place, total));
        }
    }

    /// Tells everybody that the link cannot be reached; returns how long to wait before the next try.
    pub(crate) fn not_connected(&mut self, fault: &ConnectFault) -> Duration {
        self.emitter.counters.connect_failures.add(1);
        self.memory.cut_off = true;
        self.note_error(fault.to_string());
        if self.memory.warned.as_ref() != Some(&fault.detail) {
            tracing::warn!(
                link = %self.name,
                error = %fault.detail,
                "link cannot be reached; its devices are offline and it is tried again for ever"
            );
            self.memory.warned = Some(fault.detail.clone());
        }
        if let Some(poll) = self.memory.again.take() {
            self.missed(poll.device, 1);
        }
        for device in &mut self.devices {
            device.unreachable(&mut self.readings, &self.emitter);
        }
        if let Some(order) = self.memory.order.take() {
            write::refuse(order, &self.last_error());
        }
        if let Some(order) = self.memory.browse.take() {
            order.refuse(&self.last_error());
        }
        self.backoff.pause(fault.retry_soon, rand::random())
    }

    /// Notes that a session has ended.
    pub(crate) fn lost(&mut self, lost: &Lost) {
        self.emitter.counters.lost(lost.cause);
        if let Some(order) = self.memory.browse.take() {
            order.refuse(&lost.detail);
        }
        tracing::debug!(link = %self.name, error = %lost, "session ended; it is made anew when it is needed");
        self.note_error(lost.to_string());
    }

    /// What a call that was given up means for its session; a person is told once.
    pub(crate) fn given_up(&mut self, given_up: &GivenUp) -> Lost {
        let lost = Lost::new(given_up.cause(), given_up.to_string());
        self.report(&lost.detail);
        lost
    }

    /// Tells a person of a mistake in the program, once as long as it is the same.
    pub(crate) fn report(&mut self, what: &str) {
        self.note_error(what.to_owned());
        if self.memory.reported.as_deref() != Some(what) {
            tracing::error!(link = %self.name, error = what, "a mistake in the program; the link goes on with a new connection; please report it");
            self.memory.reported = Some(what.to_owned());
        }
    }

    fn note_error(&self, error: String) {
        self.health.with(|health| health.last_error = Some(error));
    }

    /// What went wrong last.
    pub(crate) fn last_error(&self) -> String {
        self.health.with(|health| health.last_error.clone()).unwrap_or_else(|| "the link is not connected".to_owned())
    }

    /// Keeps what the link is doing for the status.
    pub(crate) fn change_state(&self, state: LinkState, next_try: Option<Timestamp>) {
        let now = self.emitter.clock.timestamp(self.emitter.clock.now());
        self.health.with(|health| {
            if health.state != state {
                health.since = now;
            }
            health.state = state;
            health.next_try = next_try;
        });
    }
}
