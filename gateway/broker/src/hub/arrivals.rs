//! Which clients have come while the disk could not be read: what it has of them is not theirs any more.

use std::collections::HashSet;

use super::Hub;

/// Client ids that are noted. When there are more, all clients count as having come.
const MOST: usize = 100_000;

/// Clients that have come.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    clients: HashSet<String>,
    too_many: bool,
}

impl Arrivals {
    pub(super) fn note(&mut self, client: &str) {
        if self.too_many || self.clients.contains(client) {
            return;
        }
        if self.clients.len() == MOST {
            (self.clients, self.too_many) = (HashSet::new(), true);
            return;
        }
        self.clients.insert(client.to_owned());
    }

    pub(super) fn has(&self, client: &str) -> bool {
        self.too_many || self.clients.contains(client)
    }
}

impl Hub {
    /// From now on notes which clients come.
    pub(crate) fn note_arrivals(&self) {
        self.lock().arrivals.get_or_insert_default();
    }

    /// They need not be known any more.
    pub(crate) fn forget_arrivals(&self) {
        self.lock().arrivals = None;
    }

    /// Whether a client has come since [`Hub::note_arrivals`].
    pub(crate) fn has_arrived(&self, client: &str) -> bool {
        self.lock().arrivals.as_ref().is_some_and(|arrivals| arrivals.has(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_too_many_have_come_all_have() {
        let mut arrivals = Arrivals::default();
        for number in 0..MOST {
            arrivals.note(&number.to_string());
            arrivals.note("0");
        }
        assert!(arrivals.has("0") && !arrivals.has("x"));
        arrivals.note("one more");
        assert!(arrivals.has("x") && arrivals.clients.is_empty());
    }
}
