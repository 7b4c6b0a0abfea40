//! What comes without being asked for: taken between polls and writes, and what its end means.

use std::time::Duration;

use futures_util::FutureExt;
use tidegate_driver_api::{Arrival, Lost, Poll, Session};

use crate::{
    device::DeviceTask,
    link::{End, LinkTask},
    poll::reason_of,
    supervise,
};

/// How long a driver waits for the next arrival until it is called again. It looks after its watchdogs in between.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Arrivals that are taken between two polls, at most, where there is always a poll due.
const BETWEEN_POLLS: usize = 8;
/// After so many arrivals without a pause other tasks get their turn. A driver whose queue is full never waits for the network, and
/// a task that never waits would keep its thread, and be kept from its orders.
const TURN: u32 = 8;
/// A session that lived for so long was worth its connection: the next one is made at once. Others are spaced as connections are
/// that fail.
const WORTH_IT: Duration = Duration::from_secs(5);

impl LinkTask {
    /// Whether the driver means to subscribe to some group of the link.
    pub(crate) fn subscribes(&self) -> bool {
        self.devices.iter().any(|device| (0..device.groups.len()).any(|group| device.is_subscribed(group)))
    }

    /// Whether the session brings the values of the group, so that it is not polled in the slot that has come. Events cannot be polled:
    /// a driver that does not get them makes their tags bad.
    pub(crate) fn comes_by_itself(&mut self, session: &dyn Session, poll: Poll) -> bool {
        let is_of_events = self.devices.get(poll.device).is_some_and(|device| device.is_of_events(poll.group));
        let delivers = is_of_events || session.delivers(poll);
        if let Some(device) = self.devices.get_mut(poll.device).filter(|_| delivers) {
            device.break_silence(poll.group, &mut self.readings, &self.emitter);
        }
        delivers
    }

    /// Takes what has come while the session was in use, without waiting for more.
    pub(crate) async fn take_arrivals(&mut self, session: &mut dyn Session) -> Result<(), Lost> {
        for _ in 0..BETWEEN_POLLS {
            let Some(subscriber) = session.subscriber() else { return Ok(()) };
            let cx = self.cx(PATIENCE);
            let next = subscriber.next(&cx, &mut self.readings);
            let Some(arrival) = supervise::call(&mut self.alarm, &cx, next).now_or_never() else { return Ok(()) };
            match arrival.unwrap_or_else(|given_up| Err(self.given_up(&given_up)))? {
                Arrival::Nothing => return Ok(()),
                arrival => self.arrived(arrival).await,
            }
        }
        Ok(())
    }

    /// Makes a row of what has come, which is in the readings.
    pub(crate) async fn arrived(&mut self, arrival: Arrival) {
        let poll = match arrival {
            Arrival::Nothing => {
                self.memory.in_a_row = 0;
                return;
            }
            Arrival::Row(poll) | Arrival::Settled(poll) | Arrival::Anew(poll) => poll,
        };
        // Rows of a task that was given up would have numbers of another's.
        if self.cancel.is_cancelled() {
            return;
        }
        self.memory.used = Some(self.emitter.clock.now());
        let Some(device) = self.devices.get_mut(poll.device) else { return };
        match arrival {
            Arrival::Settled(_) => device.settle(poll.group, &mut self.readings, &self.emitter),
            Arrival::Anew(_) => device.tells_anew(poll.group),
            Arrival::Nothing | Arrival::Row(_) => {
                self.emitter.counters.arrivals.add(1);
                device.arrive(poll.group, &mut self.readings, &self.emitter);
            }
        }
        self.answered(poll.device);
        self.memory.in_a_row += 1;
        if self.memory.in_a_row >= TURN {
            self.memory.in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }

    /// A session is over: what it brought by itself is bad at once. Waits until it is worth while to make another.
    pub(crate) async fn session_over(&mut self, lost: &Lost) -> End {
        self.lost(lost);
        if !self.subscribes() {
            return End::Again;
        }
        for device in &mut self.devices {
            device.session_over(reason_of(lost.cause), &mut self.readings, &self.emitter);
        }
        self.memory.cut_off |= self.devices.iter().any(DeviceTask::is_away);
        let lived = self.memory.opened.map(|opened| self.emitter.clock.now().saturating_duration_since(opened));
        if lived.is_some_and(|lived| lived >= WORTH_IT) {
            self.backoff.reset();
            self.memory.retry = true;
            return End::Again;
        }
        let pause = self.backoff.pause(true, rand::random());
        self.wait_out(pause).await
    }
}
