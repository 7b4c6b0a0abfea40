//! A plant in memory: how its links and devices behave, and what the gateway did to them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tidegate_driver_api::{
    Cause,
    model::{Reading, Reason, Value},
};
use tokio::sync::{Notify, Semaphore};

/// Nothing that is waited for takes as long, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// What takes as long is not done at once; what is wrong takes a minute or more.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(20);

/// How a link lets itself be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Refused,
    /// The driver does not come back, whatever its deadline is, before the door is another.
    Stuck,
    Panics,
}

/// What a device does when it is asked or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers with its values and takes what is written.
    Well,
    /// It says nothing; the driver keeps to its deadline.
    Silent,
    /// The session is lost at once.
    Lost(Cause),
    /// It answers that it has no value; it refuses what is written.
    Fault(Reason),
    /// It answers a write without saying whether it has taken it.
    Vague,
    /// The driver does not come back, whatever its deadline and the cancel token say.
    Stuck,
    /// The driver panics.
    Panics,
}

/// Something that the gateway did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    Connect {
        link: String,
    },
    /// A session was dropped.
    Close {
        link: String,
    },
    Read {
        device: String,
        tag: String,
    },
    Write {
        device: String,
        tag: String,
        value: f64,
    },
    /// The device was asked for a piece of what it offers.
    List {
        link: String,
    },
    /// A device sent something by itself.
    Push {
        device: String,
    },
}

/// What comes over a link without being asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Push {
    Row { device: String, group: String, readings: Vec<(String, Reading)>, device_time: Option<i64>, past: bool },
    Settled { device: String, group: String },
    Anew { device: String, group: String },
    Lost(Cause),
    Panic,
}

/// Some tags of a device's group have changed.
pub(crate) fn changed(device: &str, group: &str, values: &[(&str, f64)]) -> Push {
    let readings = values.iter().map(|(tag, value)| ((*tag).to_owned(), Reading::Value(Value::F64(*value)))).collect();
    Push::Row { device: device.to_owned(), group: group.to_owned(), readings, device_time: None, past: false }
}

/// A deed and when it was done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) deed: Deed,
}

/// A plant, steered by a test and asked by the driver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plant(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    doors: HashMap<String, Door>,
    moods: HashMap<String, Mood>,
    /// Of single tags; before that of the device.
    tag_moods: HashMap<(String, String), Mood>,
    /// For one read or write of the device; before all others.
    next_moods: HashMap<String, Mood>,
    values: HashMap<(String, String), f64>,
    /// A read of the device waits for a permit.
    gates: HashMap<String, Arc<Semaphore>>,
    /// How often sessions of the link have been broken from outside.
    cuts: HashMap<String, u64>,
    /// What comes over the link next.
    pushes: HashMap<String, VecDeque<Push>>,
    /// What comes over the link whenever nothing else does.
    flood: HashMap<String, Push>,
    /// Devices that cannot be subscribed to.
    refusing: HashSet<String>,
    bell: Arc<Notify>,
    /// What the plant offers, if it can say so.
    shelf: Option<Vec<String>>,
    log: Vec<Entry>,
}

impl Plant {
    fn state(&self) -> MutexGuard<'_, State> {
        // A driver that panics on purpose does not hold it.
        self.0.lock().unwrap()
    }

    pub(crate) fn set_door(&self, link: &str, door: Door) {
        self.state().doors.insert(link.to_owned(), door);
        self.bell().notify_waiters();
    }

    pub(crate) fn set_mood(&self, device: &str, mood: Mood) {
        self.state().moods.insert(device.to_owned(), mood);
    }

    pub(crate) fn set_tag_mood(&self, device: &str, tag: &str, mood: Mood) {
        self.state().tag_moods.insert((device.to_owned(), tag.to_owned()), mood);
    }

    /// What the device does the next time only.
    pub(crate) fn set_next_mood(&self, device: &str, mood: Mood) {
        self.state().next_moods.insert(device.to_owned(), mood);
    }

    pub(crate) fn set_value(&self, device: &str, tag: &str, value: f64) {
        self.state().values.insert((device.to_owned(), tag.to_owned()), value);
    }

    /// From now on each read of the device waits until the gate lets it through, as long as its deadline allows.
    pub(crate) fn close_gate(&self, device: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state().gates.insert(device.to_owned(), Arc::clone(&gate));
        gate
    }

    /// Breaks the sessions of a link as a machine does that nobody has asked for a while.
    pub(crate) fn cut(&self, link: &str) {
        *self.state().cuts.entry(link.to_owned()).or_default() += 1;
    }

    pub(crate) fn door(&self, link: &str) -> Door {
        self.state().doors.get(link).copied().unwrap_or(Door::Open)
    }

    /// What the device does now.
    pub(crate) fn take_mood(&self, device: &str, tag: &str) -> Mood {
        let mut state = self.state();
        let next = state.next_moods.remove(device);
        let of_tag = next.or_else(|| state.tag_moods.get(&(device.to_owned(), tag.to_owned())).copied());
        of_tag.or_else(|| state.moods.get(device).copied()).unwrap_or(Mood::Well)
    }

    /// What the device holds; 1 before anything was set or written.
    pub(crate) fn value(&self, device: &str, tag: &str) -> f64 {
        self.state().values.get(&(device.to_owned(), tag.to_owned())).copied().unwrap_or(1.0)
    }

    pub(crate) fn gate(&self, device: &str) -> Option<Arc<Semaphore>> {
        self.state().gates.get(device).cloned()
    }

    pub(crate) fn cuts(&self, link: &str) -> u64 {
        self.state().cuts.get(link).copied().unwrap_or(0)
    }

    /// Lets that come over a link.
    pub(crate) fn push(&self, link: &str, push: Push) {
        self.state().pushes.entry(link.to_owned()).or_default().push_back(push);
        self.bell().notify_waiters();
    }

    /// From now on that comes over a link as fast as it is taken.
    pub(crate) fn flood(&self, link: &str, push: Push) {
        self.state().flood.insert(link.to_owned(), push);
        self.bell().notify_waiters();
    }

    pub(crate) fn next_push(&self, link: &str) -> Option<Push> {
        let mut state = self.state();
        let queued = state.pushes.get_mut(link).and_then(VecDeque::pop_front);
        queued.or_else(|| state.flood.get(link).cloned())
    }

    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.state().bell)
    }

    /// From now on the plant can be asked what it offers.
    pub(crate) fn offer(&self, ids: &[&str]) {
        self.state().shelf = Some(ids.iter().map(|id| (*id).to_owned()).collect());
    }

    pub(crate) fn shelf(&self) -> Option<Vec<String>> {
        self.state().shelf.clone()
    }

    pub(crate) fn refuse_subscriptions(&self, device: &str) {
        self.state().refusing.insert(device.to_owned());
    }

    pub(crate) fn refuses_subscriptions(&self, device: &str) -> bool {
        self.state().refusing.contains(device)
    }

    pub(crate) fn note(&self, deed: Deed) {
        self.state().log.push(Entry { at: Instant::now(), deed });
    }

    /// Everything that was done so far.
    pub(crate) fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// When the deeds that `choose` wants were done.
    pub(crate) fn times(&self, choose: impl Fn(&Deed) -> bool) -> Vec<Instant> {
        self.state().log.iter().filter(|entry| choose(&entry.deed)).map(|entry| entry.at).collect()
    }

    pub(crate) fn count(&self, choose: impl Fn(&Deed) -> bool) -> usize {
        self.times(choose).len()
    }

    /// Waits until so many such deeds have been done.
    pub(crate) async fn wait_for(&self, count: usize, choose: impl Fn(&Deed) -> bool) {
        let enough = || (self.count(&choose) >= count).then_some(());
        until("deeds of the gateway", enough, || format!("{:?}", self.log())).await;
    }

    /// What was written, in its order.
    pub(crate) fn written(&self, device: &str) -> Vec<(String, f64)> {
        let of_device = |entry: Entry| match entry.deed {
            Deed::Write { device: of, tag, value } if of == device => Some((tag, value)),
            _ => None,
        };
        self.log().into_iter().filter_map(of_device).collect()
    }
}

/// Whether a link was asked for a connection.
pub(crate) fn connect(link: &str) -> impl Fn(&Deed) -> bool {
    move |deed| matches!(deed, Deed::Connect { link: of } if of == link)
}

/// Whether a device was asked for a tag.
pub(crate) fn read(device: &str) -> impl Fn(&Deed) -> bool {
    move |deed| matches!(deed, Deed::Read { device: of, .. } if of == device)
}

/// Whether a device was written to.
pub(crate) fn write(device: &str) -> impl Fn(&Deed) -> bool {
    move |deed| matches!(deed, Deed::Write { device: of, .. } if of == device)
}

/// Looks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>, shown: impl Fn() -> String) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = found() {
            return answer;
        }
        assert!(began.elapsed() < LONG, "waited in vain for {what}: {}", shown());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
