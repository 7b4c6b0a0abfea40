//! One poll of one group, request by request, and what it says about its device.

use tidegate_driver_api::{Cause, Lost, Next, Poll, Readings, Session, Step};
use tidegate_model::{Reading, Reason};

use crate::{device::SOON, link::LinkTask, supervise, write};

/// Orders that are carried out between two requests, at most: whoever writes without end must not end the polls.
const ORDERS_BETWEEN_REQUESTS: usize = 8;

/// How a poll lost its session.
enum Cut {
    /// Its own request did.
    ByRequest(Lost),
    /// Before the device was asked: by a write, or because the other side had closed the session while nobody used it.
    Before(Lost),
}

/// What a poll says about its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Answered,
    /// It was not asked, or it cannot be told.
    Nothing,
    Failed(Reason),
}

impl LinkTask {
    /// Polls one group of one device, request by request; orders are carried out in between.
    pub(crate) async fn poll(&mut self, session: &mut dyn Session, poll: Poll) -> Result<(), Lost> {
        let columns = self.devices.get(poll.device).map_or(0, |device| device.columns(poll.group));
        let mut readings = std::mem::take(&mut self.readings);
        readings.reset(columns);
        let now = self.emitter.clock.now();
        if let Some(device) = self.devices.get_mut(poll.device) {
            device.asked(poll.group, now);
        }
        let result = match self.requests(session, poll, &mut readings).await {
            // Nothing was learned about the device, so there is nothing to make a row of.
            Err(Cut::Before(lost)) => {
                self.memory.again = Some(poll);
                Err(lost)
            }
            Err(Cut::ByRequest(lost)) => {
                self.finish(poll, Some(&lost), &mut readings);
                Err(lost)
            }
            Ok(()) => {
                self.finish(poll, None, &mut readings);
                Ok(())
            }
        };
        self.readings = readings;
        result
    }

    async fn requests(&mut self, session: &mut dyn Session, poll: Poll, out: &mut Readings) -> Result<(), Cut> {
        let mut step = Step::FIRST;
        loop {
            for _ in 0..ORDERS_BETWEEN_REQUESTS {
                let Ok(order) = self.orders.try_recv() else { break };
                write::carry_out(self, session, order).await.map_err(Cut::Before)?;
            }
            let cx = self.cx(self.times.timeout);
            let call = async { session.read(&cx, poll, step, out).await };
            let answer = supervise::call(&mut self.alarm, &cx, call).await;
            let now = self.emitter.clock.now();
            self.emitter.counters.requests.add(1);
            self.emitter.counters.latency.observe(now.saturating_duration_since(cx.now()));
            match answer.unwrap_or_else(|given_up| Err(self.given_up(&given_up))) {
                Ok(Next::Request(next)) => step = next,
                Ok(Next::Done) => {
                    self.memory.used = Some(now);
                    return Ok(());
                }
                Err(lost) if self.was_closed_unused(&lost, step) => return Err(Cut::Before(lost)),
                Err(lost) => return Err(Cut::ByRequest(lost)),
            }
            self.memory.used = Some(now);
        }
    }

    /// Whether the other side had closed a session that had worked, as many devices do when they are not asked for a while.
    fn was_closed_unused(&self, lost: &Lost, step: Step) -> bool {
        lost.cause == Cause::Closed && step == Step::FIRST && self.memory.used.is_some()
    }

    /// Makes the row of a poll, whatever came of it, and notes what it says about the device.
    fn finish(&mut self, poll: Poll, lost: Option<&Lost>, readings: &mut Readings) {
        // What is cut off by a stop says nothing, and rows of a task that was given up would have numbers of another's.
        if self.cancel.is_cancelled() {
            return;
        }
        let verdict = verdict(lost, readings);
        let Some(device) = self.devices.get_mut(poll.device) else { return };
        self.emitter.counters.polls.add(1);
        device.counters.polls.add(1);
        if let Verdict::Failed(reason) = verdict {
            self.emitter.counters.failed_polls.add(1);
            device.counters.failed_polls.add(1);
            readings.fail_missing(0..device.columns(poll.group), reason);
        }
        device.emit(poll.group, readings, &self.emitter);
        match verdict {
            Verdict::Failed(reason) => self.failed(poll, reason),
            // A poll that asked for nothing is no sign of life.
            Verdict::Nothing if !device.breaker.is_clean() => {}
            Verdict::Answered | Verdict::Nothing => self.answered(poll.device),
        }
    }

    pub(crate) fn answered(&mut self, index: usize) {
        let Some(device) = self.devices.get_mut(index) else { return };
        if !device.answered(&self.emitter) {
            return;
        }
        // The groups that lost their values meanwhile are read now and not when their next slot comes.
        let now = self.emitter.clock.now();
        for (poll, _) in device.polls(index).filter(|(poll, _)| device.needs_extra(poll.group)) {
            self.schedule.add_extra(poll, now);
        }
    }

    /// A tag of the group has been written, or may have been. Unless the session brings what it holds now, the group is polled at once
    /// and not when its next slot comes, which stays where it is.
    pub(crate) fn written(&mut self, session: &dyn Session, poll: Poll) {
        if session.delivers(poll) {
            return;
        }
        let now = self.emitter.clock.now();
        if let Some(due) = self.devices.get_mut(poll.device).and_then(|device| device.written(poll.group, now)) {
            self.schedule.add_extra(poll, due);
        }
    }

    /// The device has not answered the poll. A group with few slots is tried again before the next one.
    fn failed(&mut self, poll: Poll, reason: Reason) {
        self.device_failed(poll.device, reason);
        let Some(device) = self.devices.get(poll.device) else { return };
        if device.groups.get(poll.group).is_some_and(|group| group.interval > SOON) {
            let soon = self.emitter.clock.now() + self.times.retry.first;
            self.schedule.add_extra(poll, device.breaker.next_try().unwrap_or(soon));
        }
    }

    /// The device has not answered.
    pub(crate) fn device_failed(&mut self, index: usize, reason: Reason) {
        let now = self.emitter.clock.now();
        if let Some(device) = self.devices.get_mut(index) {
            device.failed(reason, now, &mut self.readings, &self.emitter);
        }
    }
}

/// What the readings of a poll, and how it ended, say about the device.
fn verdict(lost: Option<&Lost>, readings: &Readings) -> Verdict {
    if let Some(lost) = lost {
        return Verdict::Failed(reason_of(lost.cause));
    }
    let mut timeouts = false;
    for reading in readings.items() {
        match reading {
            // Tags whose address does not exist are not asked for at every poll.
            Reading::Missing | Reading::Failed(Reason::BadAddress) => {}
            // As behind a gateway that answers for devices which it cannot reach.
            Reading::Failed(Reason::Timeout) => timeouts = true,
            Reading::Value(_) | Reading::Doubtful(..) | Reading::Failed(_) => return Verdict::Answered,
        }
    }
    if timeouts { Verdict::Failed(Reason::Timeout) } else { Verdict::Nothing }
}

/// The reason that the tags of a poll get when its session was lost.
pub(crate) fn reason_of(cause: Cause) -> Reason {
    match cause {
        Cause::Timeout => Reason::Timeout,
        Cause::Closed | Cause::Cancelled => Reason::Disconnected,
        Cause::Mismatch | Cause::Malformed => Reason::DeviceFault,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Value;

    use super::*;

    fn readings(items: &[Reading]) -> Readings {
        let mut readings = Readings::new(items.len());
        readings.items_mut().clone_from_slice(items);
        readings
    }

    const SILENT: Reading = Reading::Failed(Reason::Timeout);
    const PARKED: Reading = Reading::Failed(Reason::BadAddress);

    #[test]
    fn any_answer_is_a_sign_of_life() {
        for answer in [Reading::Value(Value::Bool(false)), Reading::Failed(Reason::DeviceFault)] {
            let verdict = verdict(None, &readings(&[Reading::Missing, SILENT, answer]));
            assert_eq!(verdict, Verdict::Answered);
        }
    }

    #[test]
    fn silence_beside_addresses_that_were_not_asked_for_is_silence() {
        let verdict = verdict(None, &readings(&[PARKED, SILENT, Reading::Missing]));
        assert_eq!(verdict, Verdict::Failed(Reason::Timeout));
    }

    #[test]
    fn a_poll_that_asked_for_nothing_says_nothing() {
        assert_eq!(verdict(None, &readings(&[])), Verdict::Nothing);
        assert_eq!(verdict(None, &readings(&[PARKED, Reading::Missing])), Verdict::Nothing);
    }

    #[test]
    fn a_lost_session_is_a_failure_whatever_came_before() {
        let lost = Lost::new(Cause::Mismatch, "the answer of another unit");
        let verdict = verdict(Some(&lost), &readings(&[Reading::Value(Value::Bool(true))]));
        assert_eq!(verdict, Verdict::Failed(Reason::DeviceFault));
    }
}
