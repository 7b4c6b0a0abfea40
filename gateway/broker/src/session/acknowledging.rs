//! What a client acknowledges, what it publishes with QoS 2, and what others get in its place (MQTT 5.0 §4.3, §4.8.2).

use super::{Gone, Queued, Session, State};

impl Session {
    /// A message is done with: the client has it (QoS 1), has refused it, or takes no packet of its size.
    pub(crate) fn finished(&self, connection: u64, id: u16) -> Result<(), Gone> {
        let mut state = self.serving(connection)?;
        state.in_flight.finish(id);
        state.count_places();
        Ok(())
    }

    /// The client has a message with QoS 2; says whether there was one under this id.
    pub(crate) fn stored(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.in_flight.release(id))
    }

    /// The client has forgotten the id of a message with QoS 2.
    pub(crate) fn completed(&self, connection: u64, id: u16) -> Result<(), Gone> {
        let mut state = self.serving(connection)?;
        state.in_flight.complete(id);
        state.count_places();
        Ok(())
    }

    /// The client has published with QoS 2; `Some(false)` when it had done so before under this id, and `None` when it may
    /// not have more than `most` under way.
    pub(crate) fn receive(&self, connection: u64, id: u16, most: usize) -> Result<Option<bool>, Gone> {
        let mut state = self.serving(connection)?;
        if state.received.len() >= most && !state.received.contains(&id) {
            return Ok(None);
        }
        Ok(Some(state.received.insert(id)))
    }

    /// The client will not publish the message under this id again; `false` when there was none.
    pub(crate) fn release(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.received.remove(&id))
    }

    /// Takes off what the client of a shared subscription is not going to get, as far as `hand_over` finds others for it: what waits,
    /// and what was sent with QoS 1 and not acknowledged. What was sent with QoS 2 belongs to this client for good (MQTT 5.0
    /// §4.8.2).
    pub(crate) fn hand_over(&self, mut hand_over: impl FnMut(&Queued) -> bool) {
        let mut state = self.change();
        let State { queue, queued: waiting, in_flight, .. } = &mut *state;
        in_flight.hand_over(&mut hand_over);
        queue.retain(|queued| {
            let gone = queued.shared.is_some() && hand_over(queued);
            if gone {
                *waiting = waiting.saturating_sub(queued.message.cost());
            }
            !gone
        });
        state.count_places();
    }
}
