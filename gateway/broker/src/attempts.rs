//! Logins that failed, by address and user name: whoever guesses has to wait longer and longer.
//!
//! Both together, because in a plant many machines can stand behind one address: one of them with an old password must not
//! lock the others out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::time::{Duration, Instant};

/// Wrong passwords that cost nothing but the delay of each.
const FREE: u32 = 5;
/// The first pause after these; doubled by each further failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// After this time without a failure everything is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// Pairs that are remembered; of more, those that are quiet for longest are forgotten.
const MOST: usize = 4_096;
/// Bytes of a name that tell it from others.
const NAME: usize = 64;

/// The failures of each address and user name.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: Mutex<HashMap<(IpAddr, String), Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    closed_until: Instant,
}

impl Attempts {
    /// Whether a login under this name may be tried from that address now.
    pub(crate) fn may_try(&self, address: IpAddr, name: &str, now: Instant) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&key(address, name)).is_none_or(|found| found.closed_until <= now)
    }

    /// Notes that a login failed; says whether it is the one after which there are pauses.
    pub(crate) fn failed(&self, address: IpAddr, name: &str, now: Instant) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST {
            failures.retain(|_, found| now.saturating_duration_since(found.last) < FORGOTTEN);
            if failures.len() >= MOST {
                failures.clear();
            }
        }
        let entry = failures.entry(key(address, name)).or_insert(Failures { count: 0, last: now, closed_until: now });
        if now.saturating_duration_since(entry.last) >= FORGOTTEN {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        if let Some(beyond) = entry.count.checked_sub(FREE) {
            let pause = FIRST.saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX)).min(LONGEST);
            entry.closed_until = now.checked_add(pause).unwrap_or(now);
        }
        entry.count == FREE
    }

    /// Forgets the failures: the right password has come.
    pub(crate) fn succeeded(&self, address: IpAddr, name: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            failures.remove(&key(address, name));
        }
    }
}

/// Of an IPv6 address what one customer gets as a whole counts, 64 bits.
fn key(address: IpAddr, name: &str) -> (IpAddr, String) {
    let address = match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    };
    (address, name.chars().take(NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn after_some_failures_there_are_pauses_that_grow_and_end() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 1..FREE {
            assert!(!attempts.failed(ADDRESS, "scada", now));
            assert!(attempts.may_try(ADDRESS, "scada", now));
        }
        assert!(attempts.failed(ADDRESS, "scada", now));
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            assert!(!attempts.may_try(ADDRESS, "scada", now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(attempts.may_try(ADDRESS, "scada", now));
            attempts.failed(ADDRESS, "scada", now);
        }
        now += FORGOTTEN;
        attempts.failed(ADDRESS, "scada", now);
        assert!(attempts.may_try(ADDRESS, "scada", now), "the failures of long ago are forgotten");
    }

    #[test]
    fn others_are_not_locked_out_with_them() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..10 {
            attempts.failed(ADDRESS, "scada", now);
        }
        assert!(!attempts.may_try(ADDRESS, "scada", now));
        assert!(attempts.may_try(ADDRESS, "panel", now));
        assert!(attempts.may_try(IpAddr::from([10, 0, 0, 2]), "scada", now));
        attempts.succeeded(ADDRESS, "scada");
        assert!(attempts.may_try(ADDRESS, "scada", now));
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 1..=10 {
            attempts.failed(format!("2001:db8::{host}").parse().unwrap(), "scada", now);
        }
        assert!(!attempts.may_try("2001:db8::ffff".parse().unwrap(), "scada", now));
    }

    #[test]
    fn any_number_of_addresses_takes_bounded_memory() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..u32::try_from(3 * MOST).unwrap() {
            attempts.failed(IpAddr::from(number.to_be_bytes()), &"x".repeat(1_000), now);
        }
        let failures = attempts.failures.lock().unwrap();
        assert!(failures.len() <= MOST);
        assert!(failures.keys().all(|(_, name)| name.len() <= NAME));
    }
}
