//! The task of one link: the only owner of its connection.
//!
//! It connects, polls what is due, writes before it polls, turns answers into rows and never stops trying. A session
//! that is lost is dropped with whatever was on its way, so a late answer is never taken for the next one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidegate_config::Retry;
use tidegate_driver_api::{Cause, ConnectFault, Cx, Link, Lost, Next, Poll, Readings, Session, Step};
use tidegate_model::{Name, Reading, Reason, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    command::Order,
    device::{DeviceTask, Emitter},
    schedule::Schedule,
    status::LinkState,
    write,
};

/// What the world knows about a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkHealth {
    pub(crate) state: LinkState,
    pub(crate) since: Timestamp,
    pub(crate) next_try: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

/// A link's health where the status can read it.
#[derive(Debug)]
pub(crate) struct SharedLinkHealth(Mutex<LinkHealth>);

impl SharedLinkHealth {
    pub(crate) fn new(since: Timestamp) -> SharedLinkHealth {
        SharedLinkHealth(Mutex::new(LinkHealth { state: LinkState::Idle, since, next_try: None, last_error: None }))
    }

    pub(crate) fn get(&self) -> LinkHealth {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut LinkHealth)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Times of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
}

/// Everything of a link but the connection.
pub(crate) struct LinkTask {
    pub(crate) name: Name,
    pub(crate) devices: Vec<DeviceTask>,
    pub(crate) schedule: Schedule,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) times: Times,
    pub(crate) health: Arc<SharedLinkHealth>,
    pub(crate) emitter: Emitter,
    pub(crate) cancel: CancellationToken,
    pub(crate) readings: Readings,
    pub(crate) backoff: Backoff,
}

/// What woke a waiting task.
enum Woken {
    Time,
    Order(Order),
    Stop,
}

/// Whether to connect again. A lost session needs no pause of its own: each loss is put down to the device that was
/// asked, and its breaker spaces the next tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Again,
}

impl LinkTask {
    /// Works until cancelled.
    pub(crate) async fn run(mut self, mut link: Box<dyn Link>) {
        while self.wait_until_needed().await {
            self.change_state(LinkState::Connecting, None);
            let cx = self.cx(self.times.connect_timeout);
            let ended = match link.connect(&cx).await {
                Ok(mut session) => {
                    self.connected();
                    self.serve(&mut *session).await
                }
                Err(fault) if fault.cause == Cause::Cancelled => End::Stopped,
                Err(fault) => {
                    let pause = self.not_connected(&fault);
                    self.wait_out(pause).await
                }
            };
            if ended == End::Stopped {
                return;
            }
        }
    }

    pub(crate) fn cx(&self, timeout: Duration) -> Cx {
        Cx::new(self.emitter.clock.now(), timeout, self.cancel.clone())
    }

    /// Waits, without a connection, until there is something to poll or to write. False when cancelled.
    async fn wait_until_needed(&mut self) -> bool {
        loop {
            let now = self.emitter.clock.now();
            if self.schedule.next_due().is_some_and(|due| due <= now) {
                if self.devices.iter().any(|device| device.breaker.allows(now)) {
                    return true;
                }
                self.skip_due(now);
                self.change_state(LinkState::Idle, None);
                continue;
            }
            match self.wait(self.schedule.next_due()).await {
                Woken::Time => {}
                Woken::Order(order) => self.answer_without_session(order),
                Woken::Stop => return false,
            }
        }
    }

    /// Waits out a pause; slots that pass are missed and orders get their refusal.
    async fn wait_out(&mut self, pause: Duration) -> End {
        let until = self.emitter.clock.now() + pause;
        let next_try = self.emitter.clock.timestamp(until);
        self.change_state(LinkState::BackingOff, Some(next_try));
        loop {
            match self.wait(Some(until)).await {
                Woken::Time => break,
                Woken::Order(order) => self.answer_without_session(order),
                Woken::Stop => return End::Stopped,
            }
        }
        self.skip_due(self.emitter.clock.now());
        End::Again
    }

    async fn wait(&mut self, until: Option<Instant>) -> Woken {
        let clock = self.emitter.clock.clone();
        let time = async {
            match until {
                Some(until) => clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Woken::Stop,
            Some(order) = self.orders.recv() => Woken::Order(order),
            () = time => Woken::Time,
        }
    }

    /// Counts every slot that is due as missed.
    fn skip_due(&mut self, now: Instant) {
        while let Some(due) = self.schedule.take(now) {
            self.emitter.counters.missed_slots.add(due.missed + 1);
        }
    }

    fn connected(&mut self) {
        self.emitter.counters.connects.add(1);
        self.backoff.reset();
        let was = self.health.get();
        self.change_state(LinkState::Online, None);
        if was.last_error.is_some() {
            tracing::debug!(link = %self.name, "link is connected");
        }
    }

    /// Tells everybody that the link cannot be reached; returns how long to wait before the next try.
    fn not_connected(&mut self, fault: &ConnectFault) -> Duration {
        self.emitter.counters.connect_failures.add(1);
        let pause = self.backoff.pause(fault.retry_soon, rand::random());
        if self.note_error(fault.to_string()) {
            tracing::warn!(
                link = %self.name,
                error = %fault.detail,
                "link cannot be reached; its devices are offline and it is tried again for ever"
            );
        }
        for device in &mut self.devices {
            let known = device.health.get();
            if known.reason != Some(Reason::Disconnected) || known.state.is_none() {
                device.emit_all_bad(Reason::Disconnected, &mut self.readings, &self.emitter);
            }
            device.unreachable(&self.emitter);
        }
        pause
    }

    /// Keeps an error for the status. True when it is another one than before.
    fn note_error(&self, error: String) -> bool {
        let mut new = false;
        self.health.change(|health| {
            new = health.last_error.as_ref() != Some(&error);
            health.last_error = Some(error);
        });
        new
    }

    fn change_state(&self, state: LinkState, next_try: Option<Timestamp>) {
        let now = self.emitter.clock.timestamp(self.emitter.clock.now());
        self.health.change(|health| {
            if health.state != state {
                health.since = now;
            }
            health.state = state;
            health.next_try = next_try;
        });
    }

    /// Polls and writes over one session until it is lost or the gateway stops.
    async fn serve(&mut self, session: &mut dyn Session) -> End {
        loop {
            let now = self.emitter.clock.now();
            let Some(due) = self.schedule.take(now) else {
                match self.wait(self.schedule.next_due()).await {
                    Woken::Stop => return End::Stopped,
                    Woken::Time => continue,
                    Woken::Order(order) => match self.carry_out(session, order).await {
                        Ok(()) => continue,
                        Err(lost) => return self.lost(&lost),
                    },
                }
            };
            self.emitter.counters.missed_slots.add(due.missed);
            if !self.devices.get(due.poll.device).is_some_and(|device| device.breaker.allows(now)) {
                self.emitter.counters.missed_slots.add(1);
                continue;
            }
            if let Err(lost) = self.poll(session, due.poll).await {
                return self.lost(&lost);
            }
        }
    }

    fn lost(&mut self, lost: &Lost) -> End {
        if lost.cause == Cause::Cancelled {
            return End::Stopped;
        }
        self.emitter.counters.lost(lost.cause);
        if self.note_error(lost.to_string()) {
            tracing::debug!(link = %self.name, error = %lost, "session ended; connecting anew");
        }
        End::Again
    }

    /// Polls one group of one device, request by request; orders are carried out in between.
    async fn poll(&mut self, session: &mut dyn Session, poll: Poll) -> Result<(), Lost> {
        let columns = self.devices.get(poll.device).map_or(0, |device| device.columns(poll.group));
        let mut readings = std::mem::take(&mut self.readings);
        readings.reset(columns);
        let result = self.requests(session, poll, &mut readings).await;
        self.finish_poll(poll, &result, &mut readings, columns);
        self.readings = readings;
        result
    }

    async fn requests(&mut self, session: &mut dyn Session, poll: Poll, out: &mut Readings) -> Result<(), Lost> {
        let mut step = Step::FIRST;
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.carry_out(session, order).await?;
            }
            let cx = self.cx(self.times.timeout);
            let next = session.read(&cx, poll, step, out).await;
            self.emitter.counters.requests.add(1);
            self.emitter.counters.latency.observe(self.emitter.clock.now().saturating_duration_since(cx.now()));
            match next? {
                Next::Request(next) => step = next,
                Next::Done => return Ok(()),
            }
        }
    }

    /// Makes the row of a poll, whatever came of it, and lets the breaker know.
    fn finish_poll(&mut self, poll: Poll, result: &Result<(), Lost>, readings: &mut Readings, columns: usize) {
        let Some(device) = self.devices.get_mut(poll.device) else { return };
        self.emitter.counters.polls.add(1);
        let failure = match result {
            Ok(()) if silent(readings) => Some(Reason::Timeout),
            Ok(()) => None,
            Err(lost) if lost.cause == Cause::Cancelled => return,
            Err(lost) => Some(reason_of(lost.cause)),
        };
        match failure {
            None => device.answered(readings, &self.emitter),
            Some(reason) => {
                self.emitter.counters.failed_polls.add(1);
                readings.fail_missing(0..columns, reason);
                device.failed(reason, self.emitter.clock.now(), &self.emitter);
            }
        }
        device.emit(poll.group, readings, &self.emitter);
    }

    async fn carry_out(&mut self, session: &mut dyn Session, order: Order) -> Result<(), Lost> {
        match order {
            Order::Latest { device, reply } => {
                self.tell_latest(device, reply);
                Ok(())
            }
            Order::Write(order) => write::carry_out(self, session, order).await,
        }
    }

    fn answer_without_session(&mut self, order: Order) {
        match order {
            Order::Latest { device, reply } => self.tell_latest(device, reply),
            Order::Write(order) => {
                let why = self.health.get().last_error.unwrap_or_else(|| "the link is not connected".to_owned());
                write::refuse(order, &why);
            }
        }
    }

    fn tell_latest(&self, device: usize, reply: tokio::sync::oneshot::Sender<Vec<crate::device::Latest>>) {
        let latest = self.devices.get(device).map(DeviceTask::latest).unwrap_or_default();
        // Nobody waits for the answer any more: nothing to do.
        let _ = reply.send(latest);
    }
}

/// Whether a poll brought nothing but silence, as behind a gateway that answers for devices it cannot reach.
fn silent(readings: &Readings) -> bool {
    let mut failed = readings.items().iter().filter(|reading| **reading != Reading::Missing).peekable();
    failed.peek().is_some() && failed.all(|reading| *reading == Reading::Failed(Reason::Timeout))
}

/// The reason that the tags of a poll get when its session was lost.
fn reason_of(cause: Cause) -> Reason {
    match cause {
        Cause::Timeout => Reason::Timeout,
        Cause::Closed | Cause::Cancelled => Reason::Disconnected,
        Cause::Mismatch | Cause::Malformed => Reason::DeviceFault,
    }
}
