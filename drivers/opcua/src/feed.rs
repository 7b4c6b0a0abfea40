//! The values that come by themselves: subscriptions are made, listened to, watched, and made again when they fall silent.
//!
//! Everything that waits for the server is kept here as a future of its own, so that a call that is dropped half-way loses
//! nothing: the next one goes on waiting for the same answers.

mod jobs;
mod kept;
mod messages;
mod outcomes;
mod parked;
mod renewal;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use opcua::types::{PublishResponse, SubscriptionAcknowledgement};
use tidegate_driver_api::{Cx, Expired};

pub(crate) use jobs::{Job, Outcome, sign_of_life};
use kept::Deadly;
pub(crate) use kept::{Kept, Left};
use parked::{Parked, Thing};
use renewal::Missing;

use crate::{
    channel::Channel,
    config::Mode,
    fault::Fault,
    history::Hole,
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
    /// Questions for messages that wait at the server, each with the round in which it was asked.
    publishes: FuturesUnordered<BoxFuture<'static, (u32, Published)>>,
    /// Those of this round.
    asked: usize,
    round: u32,
    most_publishes: usize,
    /// No question for messages before this.
    pause: Option<Instant>,
    acknowledgements: Vec<SubscriptionAcknowledgement>,
    /// The server's sign of life that is waited for.
    sign: Option<BoxFuture<'static, Result<(), Fault>>>,
    heard: Instant,
    /// What time it is at the server, or later, as OPC UA counts it.
    server_time: i64,
    begun: Instant,
    /// From when on changes come by themselves, as the server counts time.
    live_since: Option<i64>,
    /// Until when what comes was waited for, at most.
    listened: Instant,
    parked: Parked,
    /// By item: the server's number of what watches it; 0 while nothing does.
    ids: Vec<u32>,
    /// Slots of events whose conditions were asked for, and how long the end is waited for.
    settling: Vec<(usize, Instant)>,
    /// Slots of events whose conditions are coming.
    telling: BTreeSet<usize>,
    /// Slots of events of which the log says that they are not reported.
    unwatched: BTreeSet<usize>,
    /// Holes whose items the server does not have now.
    unplaced: Vec<Hole>,
    deadly: Deadly,
    /// By index of a subscription: when it was made anew without delay.
    made_anew: BTreeMap<usize, Instant>,
    missing: Missing,
    warned: bool,
}

/// What ended a wait.
enum Event {
    Published(u32, Published),
    Worked(Job, Result<Outcome, Fault>),
    Sign(Result<(), Fault>),
    Ended(Fault),
    Quiet,
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
        let Kept { mut subscriptions, parked, mut ids } = plan.resumed;
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
        let longest = plan.slots.iter().map(|slot| slot.plan.quirks.retry_bad_address).min().unwrap_or(WORK);
        let items = plan.slots.iter().map(|slot| slot.tags().map_or(0, |tags| tags.items.len())).sum();
        ids.resize(items, 0);
        Feed {
            ids,
            channel: plan.channel,
            server: plan.server,
            timeout: plan.timeout,
            subscriptions,
            rows: Rows::default(),
            jobs,
            job: None,
            doing: None,
            publishes: FuturesUnordered::new(),
            asked: 0,
            round: 0,
            most_publishes: MOST_PUBLISHES,
            pause: None,
            acknowledgements: Vec::new(),
            sign: None,
            heard: now,
            server_time: 0,
            begun: now,
            live_since: None,
            listened: now,
            parked: parked.unwrap_or_else(|| Parked::new(longest)),
            settling: Vec::new(),
            telling: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            unplaced: Vec::new(),
            deadly: Deadly::default(),
            made_anew: BTreeMap::new(),
            missing: Missing::default(),
            warned: false,
        }
    }

    /// Whether the values of the slot come by themselves.
    pub(crate) fn delivers(&self, slot: usize) -> bool {
        let brings =
            |subscription: &Subscription| subscription.state != State::Refused && subscription.slots.contains(&slot);
        self.subscriptions.iter().any(brings)
    }

    /// Items that the server did not have when the session began are asked for again, also those that are polled.
    pub(crate) fn park_unfound(&mut self, places: &[Place], now: Instant) {
        let unfound = places.iter().enumerate().filter(|(_, place)| place.is_none());
        unfound.for_each(|(number, _)| self.parked.add(Thing::Item(number), now));
    }

    /// Whether something of the past is still to be told.
    pub(crate) fn is_in_the_past(&self) -> bool {
        let open = self.jobs.iter().chain(self.doing.iter().filter(|_| self.job.is_some()));
        !self.unplaced.is_empty()
            || self.missing.is_suspected()
            || !self.rows.is_empty()
            || open.into_iter().any(|job| matches!(job, Job::Past(_)))
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
            self.watch(now);
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
                    match &answer {
                        // To look into its history may take a server longer than anything else.
                        Err(Fault::Silent) if matches!(job, Job::Past(_)) => {}
                        Err(fault @ (Fault::Closed(_) | Fault::Malformed(_) | Fault::Silent)) => {
                            let fault = fault.clone();
                            self.put_back(job);
                            return Err(fault);
                        }
                        _ => {}
                    }
                    self.worked(job, answer, now, items, places);
                }
                Event::Published(round, answer) => {
                    self.asked -= usize::from(round == self.round).min(self.asked);
                    self.published(answer, now, items)?;
                }
            }
            self.heard = now;
        }
        Ok(())
    }

    /// Waits for whatever comes first. Only looks at what is kept in `self`, so it may be dropped at any time.
    async fn event(&mut self, wait: Duration) -> Event {
        let Feed { channel, job, publishes, sign, .. } = self;
        tokio::select! {
            Some((round, answer)) = publishes.next(), if !publishes.is_empty() => Event::Published(round, answer),
            Some((job, answer)) = maybe(job) => Event::Worked(job, answer),
            Some(answer) = maybe(sign) => Event::Sign(answer),
            fault = channel.ended() => Event::Ended(fault),
            () = pause(wait) => Event::Quiet,
        }
    }

    /// Begins what has to be begun: questions for messages, the next job, a sign of life.
    fn start(&mut self, now: Instant, items: &Items<'_>, places: &[Place], roots: &Roots<'_>) {
        let live = self.subscriptions.iter().filter(|subscription| subscription.state == State::Live).count();
        let wanted = if live == 0 { 0 } else { (live + 1).max(2).min(self.most_publishes.max(1)) };
        if self.pause.is_none_or(|pause| pause <= now) {
            self.pause = None;
            while self.asked < wanted {
                self.asked += 1;
                let (round, channel) = (self.round, Arc::clone(&self.channel));
                let acknowledged = std::mem::take(&mut self.acknowledgements);
                self.publishes.push(Box::pin(async move { (round, channel.publish(acknowledged, PUBLISH).await) }));
            }
        }
        self.server_time = self.time_there(now);
        while self.job.is_none() {
            let Some(job) = self.next_job(now) else { break };
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
    fn watch(&mut self, now: Instant) {
        for index in 0..self.subscriptions.len() {
            let Some(subscription) = self.subscriptions.get(index) else { continue };
            if subscription.is_silent(now) {
                if !std::mem::replace(&mut self.warned, true) {
                    let interval = subscription.interval;
                    tracing::warn!(?interval, "a subscription has fallen silent; it is made anew");
                }
                // The server may have lost the questions that it has, and then others would never be asked.
                self.round = self.round.wrapping_add(1);
                self.asked = 0;
                self.most_publishes = MOST_PUBLISHES;
                self.make_anew(index);
            }
        }
        let settled: Vec<usize> = self.settling.iter().filter(|(_, due)| *due <= now).map(|(slot, _)| *slot).collect();
        settled.into_iter().for_each(|slot| self.settle(slot));
        let waits = |job: &Job| matches!(job, Job::Past(hole) if !hole.is_due(now));
        if self.job.is_none() && self.jobs.iter().all(waits) {
            self.ask_again(now);
        }
    }

    /// What is to be done next. The past waits for the present: what the subscriptions still have to say of it need not be asked for.
    fn next_job(&mut self, now: Instant) -> Option<Job> {
        let is_catching_up = |known: &Subscription| known.state == State::Live && !known.has_caught_up;
        let now_first = self.subscriptions.iter().any(is_catching_up);
        let is_present = |job: &Job| !matches!(job, Job::Past(_));
        let is_due = |job: &Job| matches!(job, Job::Past(hole) if !now_first && hole.is_due(now));
        let place = self.jobs.iter().position(is_present).or_else(|| self.jobs.iter().position(is_due));
        self.jobs.remove(place?)
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
pub(crate) async fn pause(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}
