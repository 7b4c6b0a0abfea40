//! The ability to get values without asking.

use async_trait::async_trait;

use crate::{Cx, Lost, Poll, Readings};

/// What a device sent by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing within the time of the call.
    Nothing,
    /// Something about this group.
    Row(Poll),
    /// Everything about this group that the device had to say when the session began, or since [`Arrival::Anew`], has been said,
    /// however little: the subscription is confirmed. Of a group of events that makes it good again; alarms that have not been told
    /// of are over.
    Settled(Poll),
    /// What is known of this group of events may have holes, and from now on the device tells everything that is of interest once
    /// more, until [`Arrival::Settled`]. The group stays as it is until then.
    Anew(Poll),
}

/// The ability of a session to get values without asking.
///
/// **Invariant: [`Subscriber::next`] is cancel-safe.** The runtime drops the call whenever there is something else to do over the
/// session (a write, a poll of another group), and calls again afterwards. What had arrived by then comes with the next call:
/// nothing is lost, nothing comes twice, and the session stays usable. It is the only call into a driver that may be dropped
/// without its session.
///
/// **Invariant: orders do not wait for arrivals.** However much a device sends, a call brings one row and ends; between two calls
/// the runtime writes.
#[async_trait]
pub trait Subscriber: Send {
    /// Waits for what the device sends next, until the time of `cx` is over; that is no fault but [`Arrival::Nothing`], and the
    /// runtime calls again at once with a new `cx` of about a second. The driver looks after its own watchdogs then, by
    /// [`Cx::now`].
    ///
    /// With [`Arrival::Row`] the driver has called [`Readings::reset`] for the group's columns, and `out` has what arrived: a
    /// column that is still missing is as it was. Of an event (a group with [`GroupPlan::alarm`](crate::GroupPlan)) a missing
    /// column is a field that the event does not have. A tag, or a whole group, that the device does not report on any more gets
    /// its reason by [`Readings::fail`].
    ///
    /// # Errors
    ///
    /// [`Lost`] when the connection is over. The runtime then makes every group that the session delivers bad: with `timeout`
    /// for [`Cause::Timeout`](crate::Cause) (nothing was heard of the device for too long), with `disconnected` for
    /// [`Cause::Closed`](crate::Cause).
    async fn next(&mut self, cx: &Cx, out: &mut Readings) -> Result<Arrival, Lost>;
}
