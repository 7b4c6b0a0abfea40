//! The faults that are in force.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use opcua::types::StatusCode;

use super::faults::{Fault, FaultKind, LONGEST_DELAY};

/// A fault with its times on the simulator's clock.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    begin: Duration,
    end: Option<Duration>,
    met: AtomicU32,
}

/// All faults of a simulator.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    faults: Box<[Armed]>,
}

impl Plan {
    /// The faults as given at `now`, a time since the simulator started.
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>, now: Duration) -> Plan {
        let arm = |fault: Fault| {
            let begin = now.saturating_add(fault.after);
            let end = fault.lasts.map(|lasts| begin.saturating_add(lasts));
            Armed { fault, begin, end, met: AtomicU32::new(0) }
        };
        Plan { faults: faults.into_iter().map(arm).collect() }
    }

    /// How much later the next thing comes that the server sends.
    pub(crate) fn delay(&self, now: Duration) -> Duration {
        let delays = self.active(now).filter_map(|armed| match armed.fault.kind {
            FaultKind::Delay { by } if armed.hits() => Some(by),
            _ => None,
        });
        delays.fold(Duration::ZERO, Duration::saturating_add).min(LONGEST_DELAY)
    }

    /// Whether the connection is closed instead of the next thing that the server sends.
    pub(crate) fn closes(&self, now: Duration) -> bool {
        self.active(now).any(|armed| armed.fault.kind == FaultKind::Close && armed.hits())
    }

    /// Whether nothing comes through, and until when if that is known.
    pub(crate) fn silence(&self, now: Duration) -> Option<Option<Duration>> {
        self.active(now).find(|armed| armed.fault.kind == FaultKind::Silence).map(|armed| armed.end)
    }

    /// Whether the port is closed.
    pub(crate) fn refuses(&self, now: Duration) -> bool {
        self.active(now).any(|armed| armed.fault.kind == FaultKind::Refuse)
    }

    /// Whether new items are refused.
    pub(crate) fn no_items(&self, now: Duration) -> bool {
        self.active(now).any(|armed| armed.fault.kind == FaultKind::NoItems)
    }

    /// The status code that the tag has instead of a value.
    pub(crate) fn status(&self, now: Duration, name: &str) -> Option<StatusCode> {
        self.active(now).find_map(|armed| match &armed.fault.kind {
            FaultKind::Status { code, tag } if tag.as_deref().is_none_or(|tag| tag == name) => Some(*code),
            _ => None,
        })
    }

    /// Whether any tag may have a status code of its own now or may have had one.
    pub(crate) fn has_statuses(&self) -> bool {
        self.faults.iter().any(|armed| matches!(armed.fault.kind, FaultKind::Status { .. }))
    }

    /// When the next fault begins or ends.
    pub(crate) fn next_turn(&self, now: Duration) -> Option<Duration> {
        let turns = self.faults.iter().flat_map(|armed| [Some(armed.begin), armed.end]);
        turns.flatten().filter(|turn| *turn > now).min()
    }

    fn active(&self, now: Duration) -> impl Iterator<Item = &Armed> {
        self.faults.iter().filter(move |armed| armed.begin <= now && armed.end.is_none_or(|end| now < end))
    }
}

impl Armed {
    /// Counts one thing that the fault concerns; whether this one is hit.
    fn hits(&self) -> bool {
        let met = self.met.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        met.is_multiple_of(self.fault.every_nth.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fault_begins_and_ends_in_its_time() {
        let fault = Fault::new(FaultKind::Silence).after(SECOND * 10).lasting(SECOND * 30);
        let plan = Plan::new([fault], SECOND * 5);
        let silent: Vec<u32> = (0..60).filter(|second| plan.silence(SECOND * *second).is_some()).collect();
        assert_eq!(silent, (15..45).collect::<Vec<u32>>());
        assert_eq!(plan.silence(SECOND * 20), Some(Some(SECOND * 45)));
        assert_eq!((plan.next_turn(SECOND), plan.next_turn(SECOND * 15)), (Some(SECOND * 15), Some(SECOND * 45)));
    }

    #[test]
    fn a_status_is_that_of_its_tag_alone() {
        let kind = FaultKind::Status { code: StatusCode::BadSensorFailure, tag: Some("level".to_owned()) };
        let plan = Plan::new([Fault::new(kind)], SECOND);
        assert_eq!(plan.status(SECOND, "level"), Some(StatusCode::BadSensorFailure));
        assert_eq!(plan.status(SECOND, "flow"), None);
    }

    #[test]
    fn every_nth_thing_is_hit_and_delays_add_up() {
        let by = Duration::from_millis(200);
        let delay = Fault::new(FaultKind::Delay { by });
        let plan = Plan::new([delay.clone(), delay.every_nth(3), Fault::new(FaultKind::Close).every_nth(2)], SECOND);
        let delays: Vec<Duration> = (0..3).map(|_| plan.delay(SECOND)).collect();
        assert_eq!(delays, [by, by, by * 2]);
        assert_eq!([plan.closes(SECOND), plan.closes(SECOND)], [false, true]);
    }
}
