//! Alarms for whoever listens inside the gateway, beside their topics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_model::{Name, Timestamp};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::TryRecvError};

/// Alarms that wait for a listener, at most; the oldest go.
const WAITING: usize = 4096;

/// What a device says about one of its alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNotice {
    /// The device.
    pub device: Name,
    /// What tells it from the other alarms of the device: the level of its topic.
    pub key: String,
    /// Its name.
    pub name: String,
    /// When the gateway had it; `None` when the alarm is over because nobody speaks of it any more.
    pub time: Option<Timestamp>,
    /// Whether it is active, where the device says so.
    pub active: Option<bool>,
    /// Whether somebody has acknowledged it, where the device says so.
    pub acked: Option<bool>,
    /// 1 to 1000, as the device says.
    pub severity: Option<u16>,
    /// What it says.
    pub message: Option<String>,
    /// What of the device it is about.
    pub source: Option<String>,
    /// The name of its condition.
    pub condition: Option<String>,
    /// Whether it is of interest still.
    pub is_of_interest: bool,
}

impl AlarmNotice {
    /// That an alarm is over.
    pub(crate) fn over(device: &Name, key: &str) -> AlarmNotice {
        AlarmNotice {
            device: device.clone(),
            key: key.to_owned(),
            name: key.to_owned(),
            time: None,
            active: Some(false),
            acked: None,
            severity: None,
            message: None,
            source: None,
            condition: None,
            is_of_interest: false,
        }
    }
}

/// Where links tell of alarms. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) struct AlarmSender(Arc<Alarms>);

#[derive(Debug)]
struct Alarms {
    /// Those that are of interest and retained, by device and key: the bounds of their groups bound them.
    standing: Mutex<BTreeMap<(Name, String), Arc<AlarmNotice>>>,
    news: Sender<Arc<AlarmNotice>>,
}

/// The alarms of all devices since this was made, and those that stand.
#[derive(Debug)]
pub struct AlarmFeed {
    alarms: AlarmSender,
    news: Receiver<Arc<AlarmNotice>>,
}

impl AlarmSender {
    pub(crate) fn new() -> AlarmSender {
        AlarmSender(Arc::new(Alarms { standing: Mutex::default(), news: channel(WAITING).0 }))
    }

    /// Tells whoever listens. `stays`: whether it is kept for those that come later.
    pub(crate) fn send(&self, notice: AlarmNotice, stays: bool) {
        let (name, notice) = ((notice.device.clone(), notice.key.clone()), Arc::new(notice));
        let mut standing = self.standing();
        match stays {
            true => drop(standing.insert(name, Arc::clone(&notice))),
            false => drop(standing.remove(&name)),
        }
        // In the order of what stands, so under its lock. Whoever has listened may just have gone.
        let _ = self.0.news.send(notice);
    }

    pub(crate) fn feed(&self) -> AlarmFeed {
        AlarmFeed { alarms: self.clone(), news: self.0.news.subscribe() }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<(Name, String), Arc<AlarmNotice>>> {
        // Each change is complete in itself: a thread that panicked in between left nothing half done.
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AlarmFeed {
    /// What has come since the last time, the oldest first, without waiting; of more than 4,096 the oldest are left out.
    pub fn take(&mut self) -> Vec<Arc<AlarmNotice>> {
        let mut taken = Vec::new();
        loop {
            match self.news.try_recv() {
                Ok(notice) => taken.push(notice),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return taken,
            }
        }
    }

    /// The last that was said about each alarm that is of interest now, by device and key. What [`AlarmFeed::take`] gives next may be
    /// in it already.
    pub fn standing(&self) -> Vec<Arc<AlarmNotice>> {
        self.alarms.standing().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(key: &str, is_of_interest: bool) -> AlarmNotice {
        AlarmNotice { is_of_interest, ..AlarmNotice::over(&"press".parse().unwrap(), key) }
    }

    #[test]
    fn an_alarm_stands_until_it_is_over_and_is_told_to_whoever_comes_later() {
        let sender = AlarmSender::new();
        sender.send(notice("hot", true), true);
        sender.send(notice("low", true), true);
        let mut feed = sender.feed();
        assert_eq!(feed.take(), [], "that was before");
        sender.send(notice("hot", false), false);
        sender.send(notice("one too many", true), false);
        let keys = |notices: Vec<Arc<AlarmNotice>>| notices.iter().map(|notice| notice.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(feed.take()), ["hot", "one too many"]);
        assert_eq!(keys(feed.standing()), ["low"]);
    }
}
