//! The faults that are in force, and which of them a request meets.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tidegate_driver_modbus::{PrimaryTable, RegisterAddress, UnitId};

use super::faults::{Fault, FaultKind, LONGEST_DELAY, SHORTEST_FLOOD};

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

/// What happens to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Treatment {
    /// The answer waits this long.
    pub(crate) delay: Duration,
    /// What else happens to it.
    pub(crate) kind: Option<FaultKind>,
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

    /// Whether there is no fault, now or later.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// What happens to the answer of a request to `unit` behind `port`; `touches` says whether it concerns any of the addresses.
    pub(crate) fn treatment(
        &self,
        now: Duration,
        port: usize,
        unit: UnitId,
        touches: impl Fn(PrimaryTable, RegisterAddress, u16) -> bool,
    ) -> Treatment {
        let mut treatment = Treatment::default();
        for armed in self.active(now, port) {
            let fault = &armed.fault;
            if fault.unit.is_some_and(|only| only != unit) {
                continue;
            }
            match fault.kind {
                FaultKind::Flood { .. } | FaultKind::Refuse => {}
                FaultKind::Delay { by } if armed.hits() => {
                    treatment.delay = treatment.delay.saturating_add(by).min(LONGEST_DELAY);
                }
                FaultKind::Delay { .. } => {}
                FaultKind::IllegalAddress { table, first, count } if !touches(table, first, count) => {}
                kind => {
                    if treatment.kind.is_none() && armed.hits() {
                        treatment.kind = Some(kind);
                    }
                }
            }
        }
        treatment
    }

    /// Whether the port is closed.
    pub(crate) fn refuses(&self, now: Duration, port: usize) -> bool {
        self.active(now, port).any(|armed| armed.fault.kind == FaultKind::Refuse)
    }

    /// Time between two unsolicited frames, when there are any.
    pub(crate) fn flood(&self, now: Duration, port: usize) -> Option<Duration> {
        self.active(now, port).find_map(|armed| match armed.fault.kind {
            FaultKind::Flood { every } => Some(every.max(SHORTEST_FLOOD)),
            _ => None,
        })
    }

    /// When the next fault of the port as a whole begins or ends.
    pub(crate) fn next_turn(&self, now: Duration, port: usize) -> Option<Duration> {
        let of_port = |armed: &&Armed| {
            matches!(armed.fault.kind, FaultKind::Flood { .. } | FaultKind::Refuse) && armed.concerns(port)
        };
        let turns = self.faults.iter().filter(of_port).flat_map(|armed| [Some(armed.begin), armed.end]);
        turns.flatten().filter(|turn| *turn > now).min()
    }

    fn active(&self, now: Duration, port: usize) -> impl Iterator<Item = &Armed> {
        let in_time = move |armed: &Armed| armed.begin <= now && armed.end.is_none_or(|end| now < end);
        self.faults.iter().filter(move |armed| in_time(armed) && armed.concerns(port))
    }
}

impl Armed {
    fn concerns(&self, port: usize) -> bool {
        self.fault.port.is_none_or(|only| only == port)
    }

    /// Counts a request that the fault concerns; whether this one is hit.
    fn hits(&self) -> bool {
        let met = self.met.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        met.is_multiple_of(self.fault.every_nth.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn kind(plan: &Plan, seconds: u32, port: usize, unit: u8) -> Option<FaultKind> {
        plan.treatment(SECOND * seconds, port, UnitId::from(unit), |_, _, _| false).kind
    }

    #[test]
    fn a_fault_begins_and_ends_in_its_time() {
        let fault = Fault::new(FaultKind::Silence).after(SECOND * 10).lasting(SECOND * 30);
        let plan = Plan::new([fault], SECOND * 5);
        let silent: Vec<u32> = (0..60).filter(|second| kind(&plan, *second, 0, 1).is_some()).collect();
        assert_eq!(silent, (15..45).collect::<Vec<u32>>());
    }

    #[test]
    fn a_fault_concerns_its_port_and_unit_alone() {
        let plan = Plan::new([Fault::new(FaultKind::Silence).of_port(1).of_unit(UnitId::from(3))], SECOND);
        assert_eq!(kind(&plan, 1, 1, 3), Some(FaultKind::Silence));
        assert_eq!(kind(&plan, 1, 1, 4), None);
        assert_eq!(kind(&plan, 1, 0, 3), None);
    }

    #[test]
    fn every_nth_request_is_hit() {
        let plan = Plan::new([Fault::new(FaultKind::Silence).every_nth(3)], SECOND);
        let hits: Vec<bool> = (0..6).map(|_| kind(&plan, 1, 0, 1).is_some()).collect();
        assert_eq!(hits, [false, false, true, false, false, true]);
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_counts() {
        let by = Duration::from_millis(200);
        let faults = [FaultKind::Delay { by }, FaultKind::WrongUnit, FaultKind::Silence, FaultKind::Delay { by }];
        let plan = Plan::new(faults.map(Fault::new), SECOND);
        let treatment = plan.treatment(SECOND, 0, UnitId::from(1), |_, _, _| false);
        assert_eq!(treatment, Treatment { delay: 2 * by, kind: Some(FaultKind::WrongUnit) });
    }

    #[test]
    fn an_illegal_address_hits_what_touches_it() {
        let (table, first) = (PrimaryTable::Holding, RegisterAddress::from(100));
        let plan = Plan::new([Fault::new(FaultKind::IllegalAddress { table, first, count: 10 })], SECOND);
        let met = |touched: bool| {
            plan.treatment(SECOND, 0, UnitId::from(1), |asked_table, asked_first, count| {
                assert_eq!((asked_table, asked_first, count), (table, first, 10));
                touched
            })
        };
        assert!(met(true).kind.is_some());
        assert!(met(false).kind.is_none());
    }

    #[test]
    fn a_port_knows_when_its_own_faults_turn() {
        let refuse = Fault::new(FaultKind::Refuse).of_port(0).after(SECOND).lasting(SECOND);
        let plan = Plan::new([refuse, Fault::new(FaultKind::Silence).after(SECOND * 9)], Duration::ZERO);
        assert_eq!(plan.next_turn(Duration::ZERO, 0), Some(SECOND));
        assert_eq!(plan.next_turn(SECOND, 0), Some(SECOND * 2));
        assert_eq!(plan.next_turn(SECOND * 2, 0), None);
        assert_eq!(plan.next_turn(Duration::ZERO, 1), None);
        assert!(plan.refuses(SECOND, 0) && !plan.refuses(SECOND, 1) && !plan.refuses(SECOND * 2, 0));
    }
}
