//! The values that come by themselves: subscriptions are made, listened to, watched, and made again when they fall silent.
//!
//! Everything that waits for the server is kept here as a future of its own, so that a call that is dropped half-way loses
//! nothing: the next one goes on waiting for the same answers.

mod jobs;
mod messages;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use opcua::types::{PublishResponse, SubscriptionAcknowledgement};
use tidegate_driver_api::{Cx, Expired};

pub(crate) use jobs::{Job, Outcome};

use crate::{
    channel::Channel,
    config::Mode,
    fault::Fault,
    node::Address,
    plan::{Place, Slot},
    resolve::Server,
    rows::{Items, Rows},
    subscription::{MOST_ITEMS, State, Subscription},
};

/// A server that has said nothing for this long is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(1);
/// How long the sign of life may take, at least; more where the link's `timeout` is longer.
const SIGN: Duration = Duration::from_millis(1500);
/// The same while the server works on something else for us.
const BUSY: Duration = Duration::from_secs(5);
/// How long making and repairing may take; servers need long for thousands of items at once.
const WORK: Duration = Duration::from_secs(15);
/// The longest time between two messages with something to say.
const PUBLISHING: Duration = Duration::from_secs(1);
/// How long a server may keep a question for messages.
const PUBLISH: Duration = Duration::from_secs(120);
/// Questions for messages that wait at the server at once.
const MOST_PUBLISHES: usize = 8;
/// Pause after a question for messages was refused.
const PAUSE: Duration = Duration::from_secs(1);

/// Messages that are asked for again at most; with more missing, everything is read instead.
const MOST_MISSED: u32 = 64;

type Published = Result<PublishResponse, Fault>;

/// By device: where the ways of its tags begin.
pub(crate) type Roots<'a> = dyn Fn(usize) -> Option<Address> + Sync + 'a;

/// Everything that a session has to do with subscriptions.
pub(crate) struct Feed {
    channel: Arc<Channel>,
    server: Arc<Server>,
    timeout: Duration,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) rows: Rows,
    jobs: VecDeque<Job>,
    job: Option<BoxFuture<'static, (Job, Result<Outcome, Fault>)>>,
    /// What `job` is doing.
    doing: Option<Job>,
    publishes: FuturesUnordered<BoxFuture<'static, Published>>,
    most_publishes: usize,
    /// No question for messages before this.
    pause: Option<Instant>,
    acknowledgements: Vec<SubscriptionAcknowledgement>,
    /// The server's sign of life that is waited for.
    sign: Option<BoxFuture<'static, Result<(), Fault>>>,
    heard: Instant,
    /// Until when what comes was waited for, at most.
    listened: Instant,
    /// Items that the server does not have, when they are asked for again, and how long they waited.
    parked: Vec<(usize, Instant, Duration)>,
    retry_bad_address: Duration,
    /// Slots of events whose conditions are still coming, and how long they are waited for.
    settling: Vec<(usize, Instant)>,
    warned: bool,
}

/// What ended a wait.
enum Event {
    Published(Published),
    Worked(Job, Result<Outcome, Fault>),
    Sign(Result<(), Fault>),
    Ended(Fault),
    Quiet,
}

/// What a feed leaves behind for the next connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) subscriptions: Vec<Subscription>,
    parked: Vec<(usize, Instant, Duration)>,
    /// Messages that were still to be asked for again.
    jobs: Vec<Job>,
}

/// What a feed leaves behind whatever the next connection finds.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What had come and was no row yet.
    rows: Rows,
    /// What was still to be asked for of the past.
    jobs: Vec<Job>,
}

/// What a feed is made of.
pub(crate) struct FeedPlan<'a> {
    pub(crate) channel: Arc<Channel>,
    pub(crate) server: Arc<Server>,
    pub(crate) slots: &'a [Slot],
    pub(crate) timeout: Duration,
    /// Subscriptions of the connection before that the server still has.
    pub(crate) resumed: Kept,
}

impl Feed {
    pub(crate) fn new(plan: FeedPlan<'_>, now: Instant) -> Feed {
        let mut jobs = VecDeque::new();
        let Kept { mut subscriptions, parked, jobs: open } = plan.resumed;
        for (index, subscription) in subscriptions.iter_mut().enumerate() {
            if subscription.state == State::Live {
                subscription.resumed(now);
                jobs.push_back(Job::Resume(index));
            }
        }
        if subscriptions.is_empty() {
            subscriptions = group(plan.slots);
        }
        let missing = subscriptions.iter().enumerate().filter(|(_, subscription)| subscription.state == State::Making);
        jobs.extend(missing.map(|(index, _)| Job::Make(index)));
        let is_live = |index: usize| subscriptions.get(index).is_some_and(|known| known.state == State::Live);
        let again = |job: &Job| match job {
            Job::Again(of, ..) => is_live(*of),
            _ => true,
        };
        open.into_iter().filter(again).rev().for_each(|job| jobs.push_front(job));
        let retries = plan.slots.iter().map(|slot| slot.plan.quirks.retry_bad_address);
        Feed {
            retry_bad_address: retries.min().unwrap_or(WORK),
            channel: plan.channel,
            server: plan.server,
            timeout: plan.timeout,
            subscriptions,
            rows: Rows::default(),
            jobs,
            job: None,
            doing: None,
            publishes: FuturesUnordered::new(),
            most_publishes: MOST_PUBLISHES,
            pause: None,
            acknowledgements: Vec::new(),
            sign: None,
            heard: now,
            listened: now,
            parked,
            settling: Vec::new(),
            warned: false,
        }
    }

    /// Whether the values of the slot come by themselves.
    pub(crate) fn delivers(&self, slot: usize) -> bool {
        let brings =
            |subscription: &Subscription| subscription.state != State::Refused && subscription.slots.contains(&slot);
        self.subscriptions.iter().any(brings)
    }

    /// Adds something to be done, behind everything else.
    pub(crate) fn later(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// The server has answered something else.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Waits until something has come that may be a row, or the time is over. Cancel-safe.
    pub(crate) async fn wait(
        &mut self,
        cx: &Cx,
        items: &Items<'_>,
        places: &mut [Place],
        roots: &Roots<'_>,
    ) -> Result<(), Fault> {
        let end = cx.now() + cx.timeout();
        let mut now = cx.now();
        let deaf = now.saturating_duration_since(self.listened);
        self.subscriptions.iter_mut().for_each(|subscription| subscription.not_listened_to(deaf));
        self.listened = end;
        while self.rows.is_empty() {
            self.watch(now, items);
            self.start(now, items, places, roots);
            let quiet = (self.heard + QUIET).saturating_duration_since(now).max(Duration::from_millis(20));
            let wait = if self.sign.is_some() { cx.timeout() } else { quiet };
            let event = match cx.within(self.event(wait)).await {
                Ok(event) => event,
                Err(Expired::Deadline) => return Ok(()),
                Err(Expired::Cancelled) => return Err(Fault::Cancelled),
            };
            match event {
                Event::Quiet => {
                    now = (now + wait).min(end);
                    continue;
                }
                Event::Ended(fault) => return Err(fault),
                Event::Sign(answer) => {
                    self.sign = None;
                    answer?;
                }
                Event::Worked(job, answer) => {
                    self.job = None;
                    if let Err(fault @ (Fault::Closed(_) | Fault::Malformed(_) | Fault::Silent)) = answer {
                        return Err(fault);
                    }
                    self.worked(job, answer, now, items, places);
                }
                Event::Published(answer) => self.published(answer, now, items)?,
            }
            self.heard = now;
        }
        Ok(())
    }

    /// Waits for whatever comes first. Only looks at what is kept in `self`, so it may be dropped at any time.
    async fn event(&mut self, wait: Duration) -> Event {
        let Feed { channel, job, publishes, sign, .. } = self;
        tokio::select! {
            Some(answer) = publishes.next(), if !publishes.is_empty() => Event::Published(answer),
            Some((job, answer)) = maybe(job) => Event::Worked(job, answer),
            Some(answer) = maybe(sign) => Event::Sign(answer),
            fault = channel.ended() => Event::Ended(fault),
            () = pause(wait) => Event::Quiet,
        }
    }

    /// Begins what has to be begun: questions for messages, the next job, a sign of life.
    fn start(&mut self, now: Instant, items: &Items<'_>, places: &[Place], roots: &Roots<'_>) {
        let live = self.subscriptions.iter().filter(|subscription| subscription.state == State::Live).count();
        let wanted = if live == 0 { 0 } else { (live + 1).clamp(2, self.most_publishes.max(1)) };
        if self.pause.is_none_or(|pause| pause <= now) {
            self.pause = None;
            while self.publishes.len() < wanted {
                let channel = Arc::clone(&self.channel);
                let acknowledged = std::mem::take(&mut self.acknowledgements);
                self.publishes.push(Box::pin(async move { channel.publish(acknowledged, PUBLISH).await }));
            }
        }
        while self.job.is_none() {
            let Some(job) = self.jobs.pop_front() else { break };
            self.doing = Some(job.clone());
            self.job = self.begin(job, items, places, roots);
        }
        if self.sign.is_none() && now.saturating_duration_since(self.heard) >= QUIET {
            let channel = Arc::clone(&self.channel);
            let timeout = self.timeout.max(if self.job.is_some() { BUSY } else { SIGN });
            self.sign = Some(Box::pin(async move { jobs::sign_of_life(&channel, timeout).await }));
        }
    }

    /// Looks after subscriptions that have fallen silent and items that were parked.
    fn watch(&mut self, now: Instant, items: &Items<'_>) {
        for index in 0..self.subscriptions.len() {
            let Some(subscription) = self.subscriptions.get(index) else { continue };
            if subscription.is_silent(now) {
                if !std::mem::replace(&mut self.warned, true) {
                    let interval = subscription.interval;
                    tracing::warn!(?interval, "a subscription has fallen silent; it is made anew");
                }
                self.make_anew(index);
            }
        }
        let settled: Vec<usize> = self.settling.iter().filter(|(_, due)| *due <= now).map(|(slot, _)| *slot).collect();
        settled.into_iter().for_each(|slot| self.settle(slot));
        if self.job.is_none() && self.jobs.is_empty() {
            let due: Vec<usize> =
                self.parked.iter().filter(|(_, due, _)| *due <= now).map(|(item, ..)| *item).take(100).collect();
            if !due.is_empty() && self.parked.len() <= items.slot_of.len() {
                for (item, due_at, waited) in &mut self.parked {
                    if due.contains(item) {
                        *waited = waited.saturating_mul(2).min(self.retry_bad_address);
                        *due_at = now + *waited;
                    }
                }
                self.jobs.push_back(Job::Retry(due));
            }
        }
    }

    /// What is left to be said of a connection that is over.
    pub(crate) fn leave(&mut self) -> Left {
        let doing = self.doing.iter().filter(|_| self.job.is_some());
        let jobs = doing.chain(&self.jobs).filter(|job| matches!(job, Job::Past(_))).cloned().collect();
        Left { rows: std::mem::take(&mut self.rows).into_past(), jobs }
    }

    /// Goes on with what a connection before has left.
    pub(crate) fn take_up(&mut self, left: Left) {
        self.rows = left.rows;
        self.jobs.extend(left.jobs);
    }

    /// What another connection can go on with: subscriptions that are complete, and what is parked. The others are nobody's
    /// any more and end by themselves.
    pub(crate) fn keep(&self) -> Kept {
        let doing = self.doing.iter().filter(|_| self.job.is_some());
        let jobs = doing.clone().chain(&self.jobs).filter(|job| matches!(job, Job::Again(..))).cloned().collect();
        let open: Vec<&Job> = self.jobs.iter().chain(doing).filter(|job| job.makes()).collect();
        let is_filling = |index: usize| open.iter().any(|job| job.is_of(index));
        let keep = |(index, subscription): (usize, &Subscription)| {
            let mut kept = subscription.clone();
            if kept.state != State::Live || is_filling(index) {
                kept.begin_anew();
            }
            kept
        };
        Kept {
            subscriptions: self.subscriptions.iter().enumerate().map(keep).collect(),
            parked: self.parked.clone(),
            jobs,
        }
    }

    /// Gives a subscription up and makes it again.
    fn make_anew(&mut self, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else { return };
        if let Some(id) = subscription.id {
            self.jobs.push_back(Job::Drop(id));
        }
        subscription.begin_anew();
        self.jobs.retain(|job| !job.is_of(index));
        self.jobs.push_back(Job::Make(index));
    }
}

/// Subscriptions for all slots that are not polled, by interval, none with too many items.
fn group(slots: &[Slot]) -> Vec<Subscription> {
    let mut subscriptions: Vec<(Subscription, usize)> = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let Some(tags) = slot.tags() else { continue };
        if tags.events.is_none() && (tags.mode == Mode::Poll || tags.items.is_empty()) {
            continue;
        }
        let count = tags.items.len().max(1);
        // How often values are looked at is the item's; what there is comes soon, the first values too.
        let interval = slot.interval.min(PUBLISHING);
        let fits = |(subscription, items): &&mut (Subscription, usize)| {
            subscription.interval == interval && *items + count <= MOST_ITEMS
        };
        match subscriptions.iter_mut().find(fits) {
            Some((subscription, items)) => {
                subscription.slots.push(index);
                *items += count;
            }
            None => subscriptions.push((Subscription::new(interval, vec![index]), count)),
        }
    }
    subscriptions.into_iter().map(|(subscription, _)| subscription).collect()
}

/// The answer of a future, if there is one to wait for. The future stays where it is when this is dropped.
async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

/// Waits that long.
async fn pause(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}
