//! A session as the runtime would use it, and what is known of the columns of its group.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tidegate_driver_api::{
    Arrival, Browser, Compiled, Cx, Listing, Lost, Next, Node, Poll, Readings, Session, Step, model::Reading, testkit,
};

use super::{PATIENT, Plant};

/// A context for a call that is about to begin.
pub(crate) fn about_a_second() -> Cx {
    testkit::within(Duration::from_millis(500))
}

/// The only group.
pub(crate) const ALL: Poll = Poll { device: 0, group: 0 };

/// What is known of the columns of the group, as the runtime would keep it.
#[derive(Default)]
pub(crate) struct Known(pub(crate) BTreeMap<usize, Reading>);

impl Known {
    /// Listens until the condition holds, which is looked at again whenever something has come or half a second is over.
    /// A condition may give the plant a value each time: a server does not look at one more often than its sampling interval.
    pub(crate) async fn until(
        &mut self,
        session: &mut dyn Session,
        what: &str,
        mut done: impl FnMut(&Known) -> bool,
    ) -> Result<(), Lost> {
        let begin = Instant::now();
        let mut out = Readings::default();
        while !done(self) {
            assert!(begin.elapsed() < PATIENT, "{what} did not come; known: {:?}", self.0);
            let arrival = session.subscriber().unwrap().next(&about_a_second(), &mut out).await?;
            if let Arrival::Row(_) = arrival {
                self.note(&out);
            }
        }
        Ok(())
    }

    /// Takes what readings say.
    pub(crate) fn note(&mut self, out: &Readings) {
        let new = out.items().iter().enumerate().filter(|(_, reading)| **reading != Reading::Missing);
        self.0.extend(new.map(|(column, reading)| (column, reading.clone())));
    }

    /// The value in a column.
    pub(crate) fn number(&self, column: usize) -> Option<f64> {
        self.0.get(&column).and_then(number)
    }

    /// Listens until the first column has been each number from 1 to 5.
    pub(crate) async fn counts_to_five(&mut self, session: &mut dyn Session) {
        let mut seen = BTreeSet::new();
        let all = |known: &Known| {
            seen.extend(known.number(0).map(|value| value.to_string()));
            (1..=5).all(|value| seen.contains(&value.to_string()))
        };
        self.until(session, "all values of the outage", all).await.unwrap();
    }
}

/// Gives the plant a new value until it has come.
pub(crate) async fn moves(session: &mut dyn Session, known: &mut Known, plant: &Plant, column: usize, what: &str) {
    let mut value = known.number(column).unwrap_or_default();
    let wanted = value + 0.5;
    let come = |known: &Known| {
        value += 1.0;
        plant.set(&format!("T{column}"), value);
        known.number(column) > Some(wanted)
    };
    known.until(session, what, come).await.unwrap();
}

/// A session over the link.
pub(crate) async fn connected(compiled: &mut Compiled) -> Box<dyn Session + '_> {
    compiled.link.connect(&testkit::within(PATIENT)).await.unwrap()
}

/// A session over the link, and the first values of so many columns.
pub(crate) async fn begun(compiled: &mut Compiled, columns: usize) -> (Box<dyn Session + '_>, Known) {
    let (mut session, mut known) = (connected(compiled).await, Known::default());
    known.until(session.as_mut(), "all values", |known| known.0.len() == columns).await.unwrap();
    (session, known)
}

/// Listens until the session is over, and why.
pub(crate) async fn lost(mut session: Box<dyn Session + '_>, known: &mut Known) -> Lost {
    known.until(session.as_mut(), "the end", |_| false).await.unwrap_err()
}

/// Polls the group with so many columns.
pub(crate) async fn poll(session: &mut dyn Session, columns: usize) -> Readings {
    let mut out = Readings::new(columns);
    let mut step = Step::FIRST;
    while let Next::Request(next) = session.read(&testkit::within(PATIENT), ALL, step, &mut out).await.unwrap() {
        step = next;
    }
    out
}

/// Everything that the server offers below the plant's folder; how much was found and how much was left to look at, again and again.
pub(crate) async fn listed(browser: &mut dyn Browser) -> (Vec<Node>, Vec<(usize, usize)>) {
    browser.begin(Some("nsu=urn:plant;s=Line"));
    let (mut found, mut left) = (Vec::new(), Vec::new());
    while let Listing::More(more) = browser.list(&testkit::within(PATIENT), &mut found).await.unwrap() {
        left.push((found.len(), more));
    }
    (found, left)
}

/// The number of a reading.
pub(crate) fn number(reading: &Reading) -> Option<f64> {
    if let Reading::Value(value) = reading { value.as_f64() } else { None }
}
