//! What every driver must show, whatever its protocol.
//!
//! A driver's test starts a scripted device of its protocol through a [`Harness`] and asserts that [`check`] finds nothing:
//!
//! ```ignore
//! #[tokio::test]
//! async fn the_driver_behaves() {
//!     assert_eq!(testkit::check(&MyHarness).await, []);
//! }
//! ```
//!
//! The suite plays the part of the runtime, so it reads the clock.

mod abilities;
mod checks;
mod stalls;

use std::{
    fmt,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tidegate_config as config;
use tidegate_model::Value;
use tokio_util::sync::CancellationToken;

pub use stalls::Stalls;

use crate::{Cx, Driver, Poll};

/// How a scripted device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers every request rightly.
    Healthy,
    /// It lets anybody connect and never says a word.
    Silent,
    /// It answers so many requests of each connection, then is silent.
    SilentAfter(usize),
    /// It answers so many requests of each connection, then closes it when the next one comes.
    ClosedAfter(usize),
    /// It cannot be connected to.
    Refusing,
}

/// A scripted device, as long as it lives.
pub trait ScriptedDevice: Send {
    /// Requests it has got so far, reads and writes.
    fn requests(&self) -> usize;

    /// Writes it has got so far, answered or not.
    fn writes(&self) -> usize;

    /// Connections that are open now.
    fn open_connections(&self) -> usize;
}

/// A scripted device and the link that leads to it.
pub struct Rig {
    /// The link, with at least one device; no mistakes in it. Its first device's first group needs two requests or more.
    pub link: config::Link,
    /// The device.
    pub device: Box<dyn ScriptedDevice>,
}

/// What a driver's test brings along.
#[async_trait]
pub trait Harness: Sync {
    /// The driver under test.
    fn driver(&self) -> &dyn Driver;

    /// Starts a device that behaves like this.
    async fn start(&self, behaviour: Behaviour) -> Rig;

    /// What the healthy device holds there, before scale and offset; `None` for a column that is not polled.
    fn expected(&self, poll: Poll, column: usize) -> Option<Value>;

    /// A tag that may be written, and a value for it. `None` when the driver cannot write.
    fn write(&self) -> Option<(Poll, usize, Value)>;

    /// A group that the driver subscribes to. The healthy device sends what [`Harness::expected`] says when a session begins.
    /// `None` when the driver cannot subscribe.
    fn subscribed(&self) -> Option<Poll> {
        None
    }
}

/// Something that the driver did not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What every driver must show.
    pub expected: &'static str,
    /// What this one did.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.expected, self.found)
    }
}

/// Runs the whole suite; the answer is everything that the driver did not show.
pub async fn check(harness: &dyn Harness) -> Vec<Failure> {
    [
        judge("a profile and its links are planned alike each time", checks::plans_are_alike(harness)).await,
        judge("a poll fills every column with what the device holds", checks::poll_is_complete(harness)).await,
        judge("a link connects again and again and closes what it opened", checks::connects_again(harness)).await,
        judge("a device that refuses is a connect fault in time", checks::refusal_is_a_fault(harness)).await,
        judge("a silent device is lost within the timeout", checks::silence_is_a_timeout(harness)).await,
        judge("a cancelled call ends at once", checks::cancel_ends_at_once(harness)).await,
        judge("what came before the session was lost counts", checks::half_a_poll_counts(harness)).await,
        judge("a closed connection is noticed at once", checks::closing_is_noticed(harness)).await,
        judge("a dropped call leaves nothing open", checks::dropped_call_is_closed(harness)).await,
        judge("a driver can do what it says it can", checks::capabilities_are_true(harness)).await,
        judge(
            "what a device sends by itself is complete, also when calls are dropped",
            abilities::arrivals_are_complete(harness),
        )
        .await,
        judge("a wait for arrivals ends in time", abilities::waiting_ends(harness)).await,
        judge("a list of what a device offers ends and makes a profile", abilities::list_makes_a_profile(harness))
            .await,
        judge("a write is sent once and confirmed", checks::write_is_confirmed(harness)).await,
        judge("a write without an answer is unknown and was sent once", checks::lost_write_was_sent_once(harness))
            .await,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Waits for a check; one that does not end has failed.
async fn judge(expected: &'static str, check: impl Future<Output = Result<(), String>>) -> Option<Failure> {
    let found = match tokio::time::timeout(PATIENT * 3, check).await {
        Ok(Ok(())) => return None,
        Ok(Err(found)) => found,
        Err(_) => "it waits for ever".to_owned(),
    };
    Some(Failure { expected, found })
}

/// The time within which a device that works has answered.
const PATIENT: Duration = Duration::from_secs(10);

/// The timeout of a call that is not going to be answered; long enough for a busy machine to give the answers before it.
const SHORT: Duration = Duration::from_millis(400);

/// The timeout of a call that something else is to end; whoever waits for it has taken longer than [`PATIENT`].
const LONG: Duration = Duration::from_secs(20);

/// What a busy machine may add to a time; it may stop for seconds.
const SLACK: Duration = Duration::from_secs(6);

/// The context of a call that begins now and may take `timeout`; for a driver's own tests too.
pub fn within(timeout: Duration) -> Cx {
    Cx::new(Instant::now(), timeout, CancellationToken::new())
}
