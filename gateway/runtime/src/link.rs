//! The task of one link: the only owner of its connection.
//!
//! It connects, polls what is due, writes before it polls, turns answers into rows and never stops trying. A session
//! that is lost is dropped with whatever was on its way, so a late answer is never taken for the next one.
//!
//! **Invariant:** nothing a driver does ends the task: a call that does not come back is dropped, a panic is reported and
//! the connection made anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_config::Retry;
use tidegate_driver_api::{Arrival, ConnectFault, Cx, Link, Lost, Poll, Readings, Session};
use tidegate_model::Name;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    arrivals,
    backoff::Backoff,
    browse::BrowseOrder,
    clock::Alarm,
    command::WriteOrder,
    device::DeviceTask,
    group::Emitter,
    health::{LinkHealth, Shared},
    schedule::{Due, Schedule},
    status::LinkState,
    supervise::{self, GRACE},
    write,
};

/// A session that was not used for so long may have been closed without our notice. A write that meets that would have to
/// be called unknown, so it is sent over a new one.
const LONG_UNUSED: Duration = Duration::from_secs(30);

/// Times of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
}

impl Times {
    /// How long the task may take to stop: a write that is on its way still gets its answer.
    pub(crate) fn to_stop(self) -> Duration {
        self.timeout + 2 * GRACE
    }
}

/// Everything of a link but the connection.
pub(crate) struct LinkTask {
    pub(crate) name: Name,
    pub(crate) devices: Vec<DeviceTask>,
    /// Whether rows of some group wait for the next one.
    pub(crate) holds: bool,
    pub(crate) schedule: Schedule,
    pub(crate) orders: mpsc::Receiver<WriteOrder>,
    pub(crate) browses: mpsc::Receiver<BrowseOrder>,
    pub(crate) times: Times,
    pub(crate) health: Arc<Shared<LinkHealth>>,
    pub(crate) emitter: Emitter,
    pub(crate) cancel: CancellationToken,
    pub(crate) readings: Readings,
    pub(crate) backoff: Backoff,
    pub(crate) alarm: Alarm,
    pub(crate) memory: Memory,
}

/// What the task remembers from one session to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// An order that came while there was no session; to be carried out over the next one.
    pub(crate) order: Option<WriteOrder>,
    /// A list of what the device offers that somebody waits for.
    pub(crate) browse: Option<BrowseOrder>,
    /// A poll that was cut short through no fault of its device; to be made again over the next session.
    pub(crate) again: Option<Poll>,
    /// When the session brought its last answer; `None` before its first.
    pub(crate) used: Option<Instant>,
    /// When the session was opened.
    pub(crate) opened: Option<Instant>,
    /// Rows that have come one after the other without a pause.
    pub(crate) in_a_row: u32,
    /// Whether the link is to be tried though no slot is due.
    pub(crate) retry: bool,
    /// Whether the link could not be reached since the last session.
    pub(crate) cut_off: bool,
    /// What was last said in the log about a link that cannot be reached; `None` when it was said that it can.
    pub(crate) warned: Option<String>,
    /// What was last said in the log about a mistake of the driver or the gateway.
    pub(crate) reported: Option<String>,
}

/// What woke a waiting task.
enum Woken {
    Time,
    Order(WriteOrder),
    Browse(BrowseOrder),
    /// Something came without being asked for, or the session is over.
    Arrival(Result<Arrival, Lost>),
    Stop,
}

/// Whether to connect again. A lost session needs no pause of its own: each loss is put down to the device that was
/// asked, and its breaker spaces the next tries. Only of a session that brings values by itself nobody may have been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stopped,
    Again,
}

impl LinkTask {
    /// Works until cancelled, and ends soon after that whatever the driver does, as long as it gives its thread back.
    pub(crate) async fn run(mut self, mut link: Box<dyn Link>) {
        let (name, clock, cancel) = (self.name.clone(), self.emitter.clock.clone(), self.cancel.clone());
        let patience = self.times.to_stop();
        let overdue = async {
            cancel.cancelled().await;
            clock.sleep(patience).await;
        };
        tokio::select! {
            biased;
            () = self.keep_working(&mut *link) => {}
            () = overdue => tracing::warn!(link = %name, "the driver does not stop when it is told to; its call was dropped"),
        }
        self.release(None);
    }

    /// Works until cancelled; begins again after a panic.
    async fn keep_working(&mut self, link: &mut dyn Link) {
        while let Err(panic) = supervise::caught(self.work(&mut *link)).await {
            self.report(&format!("the task of the link panicked: {panic}"));
            self.memory.cut_off = true;
            let pause = self.backoff.pause(true, rand::random());
            if self.wait_out(pause).await == End::Stopped {
                return;
            }
        }
    }

    async fn work(&mut self, link: &mut dyn Link) {
        while self.wait_until_needed().await {
            let ended = match self.connect(link).await {
                Ok(mut session) => {
                    self.connected();
                    match self.serve(&mut *session).await {
                        Ok(end) => end,
                        Err(_) if self.cancel.is_cancelled() => End::Stopped,
                        Err(lost) => self.session_over(&lost).await,
                    }
                }
                Err(_) if self.cancel.is_cancelled() => End::Stopped,
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

    fn allows(&self, device: usize, now: Instant) -> bool {
        self.devices.get(device).is_some_and(|device| device.breaker.allows(now))
    }

    /// Waits, without a connection, until there is something to poll or to write. False when cancelled.
    async fn wait_until_needed(&mut self) -> bool {
        let retry = std::mem::take(&mut self.memory.retry);
        while !self.cancel.is_cancelled() {
            let now = self.emitter.clock.now();
            if self.memory.order.is_some() || self.memory.again.is_some() || self.memory.browse.is_some() {
                return true;
            }
            if retry && self.devices.iter().any(|device| device.breaker.allows(now)) {
                return true;
            }
            match self.schedule.peek(now) {
                Some(poll) if self.allows(poll.device, now) => return true,
                Some(_) => {
                    self.skip_next(now);
                    continue;
                }
                None => self.change_state(LinkState::Idle, None),
            }
            match self.wait(self.schedule.next_due(), None).await {
                Woken::Time | Woken::Arrival(_) => {}
                Woken::Order(order) if self.allows(order.device, self.emitter.clock.now()) => {
                    self.memory.order = Some(order);
                }
                Woken::Order(order) => write::refuse(order, write::LEFT_ALONE),
                Woken::Browse(order) => self.memory.browse = Some(order),
                Woken::Stop => return false,
            }
        }
        false
    }

    /// Waits out a pause; slots that pass are missed and orders get their refusal.
    pub(crate) async fn wait_out(&mut self, pause: Duration) -> End {
        let until = self.emitter.clock.now() + pause;
        let next_try = self.emitter.clock.timestamp(until);
        self.change_state(LinkState::BackingOff, Some(next_try));
        loop {
            match self.wait(Some(until), None).await {
                Woken::Time => break,
                Woken::Arrival(_) => {}
                Woken::Order(order) => write::refuse(order, &self.last_error()),
                Woken::Browse(order) => order.refuse(&self.last_error()),
                Woken::Stop => return End::Stopped,
            }
        }
        let now = self.emitter.clock.now();
        while self.skip_next(now) {}
        self.memory.retry = true;
        End::Again
    }

    /// Waits until that time, or for whatever comes before it, over the session if there is one. Rows that have waited long enough
    /// for the next one go meanwhile.
    async fn wait(&mut self, until: Option<Instant>, mut session: Option<&mut dyn Session>) -> Woken {
        loop {
            let devices = if self.holds { self.devices.as_slice() } else { &[] };
            let overdue = devices.iter().filter_map(DeviceTask::overdue).min();
            let overdue = overdue.filter(|overdue| until.is_none_or(|until| *overdue < until));
            let session = session.as_deref_mut();
            match self.wait_for(overdue.or(until), session).await {
                Woken::Time if overdue.is_some() => self.release(overdue),
                woken => return woken,
            }
        }
    }

    /// Lets rows go that wait for the next one: those whose time is over by `now`, or all.
    fn release(&mut self, now: Option<Instant>) {
        for device in &mut self.devices {
            device.release(now, &self.emitter);
        }
    }

    async fn wait_for(&mut self, until: Option<Instant>, session: Option<&mut (dyn Session + '_)>) -> Woken {
        let clock = self.emitter.clock.clone();
        let time = async {
            match until {
                Some(until) => clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let cx = self.cx(arrivals::PATIENCE);
        let (alarm, readings) = (&mut self.alarm, &mut self.readings);
        let arrival = async {
            match session.and_then(|session| session.subscriber()) {
                Some(subscriber) => supervise::call(alarm, &cx, subscriber.next(&cx, readings)).await,
                None => std::future::pending().await,
            }
        };
        // Arrivals last: however many there are, nothing else waits for them.
        let arrival = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Woken::Stop,
            Some(order) = self.orders.recv() => return Woken::Order(order),
            Some(order) = self.browses.recv() => return Woken::Browse(order),
            () = time => return Woken::Time,
            arrival = arrival => arrival,
        };
        Woken::Arrival(arrival.unwrap_or_else(|given_up| Err(self.given_up(&given_up))))
    }

    /// Makes the next poll that is due.
    async fn poll_next(&mut self, session: &mut dyn Session, now: Instant) -> Result<(), Lost> {
        let Some(Due { poll, missed, extra }) = self.schedule.take(now) else { return Ok(()) };
        if self.comes_by_itself(session, poll) {
            return Ok(());
        }
        self.missed(poll.device, missed);
        if extra && !self.devices.get(poll.device).is_some_and(|device| device.needs_extra(poll.group)) {
            // It has been read in its slot meanwhile.
            return Ok(());
        }
        self.poll(session, poll).await
    }

    /// Lets the next poll that is due pass. False when none is.
    fn skip_next(&mut self, now: Instant) -> bool {
        let Some(due) = self.schedule.take(now) else { return false };
        // What would have come by itself has no slots to miss.
        if !self.devices.get(due.poll.device).is_some_and(|device| device.is_subscribed(due.poll.group)) {
            self.missed(due.poll.device, due.missed_if_skipped());
        }
        let next_try = self.devices.get(due.poll.device).and_then(|device| device.breaker.next_try());
        if let Some(next_try) = next_try.filter(|next_try| due.extra && *next_try > now) {
            self.schedule.add_extra(due.poll, next_try);
        }
        true
    }

    /// Counts slots that pass without a poll.
    pub(crate) fn missed(&self, device: usize, slots: u64) {
        self.emitter.counters.missed_slots.add(slots);
        if let Some(device) = self.devices.get(device) {
            device.counters.missed_slots.add(slots);
        }
    }

    async fn connect<'link>(&mut self, link: &'link mut dyn Link) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        self.change_state(LinkState::Connecting, None);
        let cx = self.cx(self.times.connect_timeout);
        match supervise::call(&mut self.alarm, &cx, async { link.connect(&cx).await }).await {
            Ok(result) => result,
            Err(given_up) => {
                let Lost { cause, detail } = self.given_up(&given_up);
                Err(ConnectFault { cause, detail, retry_soon: true })
            }
        }
    }

    /// Polls and writes over one session until it is lost or the gateway stops.
    async fn serve(&mut self, session: &mut dyn Session) -> Result<End, Lost> {
        if let Some(order) = self.memory.order.take() {
            write::carry_out(self, session, order).await?;
        }
        if let Some(poll) = self.memory.again.take() {
            if self.allows(poll.device, self.emitter.clock.now()) {
                self.poll(session, poll).await?;
            } else {
                self.missed(poll.device, 1);
            }
        }
        while !self.cancel.is_cancelled() {
            let now = self.emitter.clock.now();
            if let Some(poll) = self.schedule.peek(now) {
                if self.allows(poll.device, now) {
                    self.poll_next(session, now).await?;
                } else {
                    self.skip_next(now);
                }
                self.take_arrivals(session).await?;
                continue;
            }
            if self.memory.browse.is_some() {
                self.browse_on(session).await?;
                // A driver that has the next piece already never waits, and nobody else would get a turn.
                tokio::task::yield_now().await;
                while let Ok(order) = self.orders.try_recv() {
                    write::carry_out(self, session, order).await?;
                }
                self.take_arrivals(session).await?;
                continue;
            }
            match self.wait(self.schedule.next_due(), Some(session)).await {
                Woken::Time => {}
                Woken::Browse(order) => self.memory.browse = Some(order),
                Woken::Arrival(arrival) => self.arrived(arrival?).await,
                Woken::Order(order) if self.is_long_unused() && session.subscriber().is_none() => {
                    self.memory.order = Some(order);
                    return Ok(End::Again);
                }
                Woken::Order(order) => write::carry_out(self, session, order).await?,
                Woken::Stop => break,
            }
        }
        Ok(End::Stopped)
    }

    fn is_long_unused(&self) -> bool {
        self.memory.used.is_some_and(|used| self.emitter.clock.now().duration_since(used) >= LONG_UNUSED)
    }
}

/// The `place`-th of `total` equal parts of a time.
pub(crate) fn part(time: Duration, place: usize, total: usize) -> Duration {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
    time.mul_f64(f64::from(place) / f64::from(total))
}
