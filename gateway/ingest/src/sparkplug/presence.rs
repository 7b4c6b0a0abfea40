//! Whether the host says that it is online: the word that edge nodes with this primary host publish or keep their data by. Pure.
//!
//! What comes over Sparkplug is sent once. While the sink takes nothing, or less than comes, everything more would have to wait in memory, where a
//! kill loses it; edge nodes have a disk. So the host goes offline early and comes back when what it had taken is written.

use std::time::Duration;

use tidegate_model::Timestamp;

/// So long what has come may wait for a sink that refuses it or cannot be reached.
const DOWN: Duration = Duration::from_secs(2);
/// So long it may wait for a sink that is slow.
const SLOW: Duration = Duration::from_secs(30);
/// So many bytes may wait. What is on its way when the host goes offline comes on top.
const BYTES: usize = 32 << 20;
/// The host comes back when the sink keeps up with what comes all the same, from nodes that mind no host: the oldest value has waited
/// less, and fewer bytes wait.
const FRESH: Duration = Duration::from_secs(2);
const FEW: usize = 4 << 20;

/// What waits for the sink.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Bytes that have come and are not with the sink.
    pub(super) bytes: usize,
    /// For how long the oldest value that is not written has waited; `None` when everything is written.
    pub(super) oldest: Option<Duration>,
    /// Whether the sink's last answer was that it cannot write.
    pub(super) sink_down: bool,
}

/// What the host says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presence {
    online: bool,
    /// Nothing that is said of it matters any more.
    left: bool,
}

/// What a word that the host is offline means for it. Its own come back from the broker too.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is of a connection that began later: nobody minds what this one says, now or later.
    Over,
    /// It is of an earlier connection, and the host is online.
    Wrong,
    /// So it is.
    Right,
}

impl Presence {
    /// Not there yet.
    pub(super) fn new() -> Presence {
        Presence { online: false, left: false }
    }

    /// What to make of a word that the connection of that time is over; the own one began at `connected`.
    pub(super) fn said_offline(&self, over: Timestamp, connected: Timestamp) -> Said {
        match () {
            () if self.left => Said::Right,
            () if over > connected => Said::Over,
            () if self.online => Said::Wrong,
            () => Said::Right,
        }
    }

    /// What it is to say from now on, when that is another word.
    pub(super) fn decide(&mut self, load: Load) -> Option<bool> {
        let patience = if load.sink_down { DOWN } else { SLOW };
        let too_much = load.bytes > BYTES || load.oldest.is_some_and(|oldest| oldest > patience);
        let keeps_up = !load.sink_down && load.bytes <= FEW && load.oldest.is_none_or(|oldest| oldest < FRESH);
        let online = if self.online { !too_much } else { keeps_up };
        (std::mem::replace(&mut self.online, online) != online).then_some(online)
    }

    /// The end of a connection, or of the ingest. True when it had been online.
    pub(super) fn leave(&mut self) -> bool {
        self.left = true;
        std::mem::take(&mut self.online)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(bytes: usize, oldest: Option<u64>, sink_down: bool) -> Load {
        Load { bytes, oldest: oldest.map(Duration::from_secs), sink_down }
    }

    #[test]
    fn a_sink_that_is_down_takes_the_host_offline_until_what_waited_is_written() {
        let mut presence = Presence::new();
        assert_eq!(presence.decide(load(0, None, false)), Some(true));
        assert_eq!(presence.decide(load(5000, Some(1), true)), None, "a moment is nothing");
        assert_eq!(presence.decide(load(5000, Some(3), true)), Some(false));
        assert_eq!(presence.decide(load(5000, Some(0), true)), None);
        assert_eq!(presence.decide(load(5000, Some(4), false)), None, "the sink is back and all of it still waits");
        assert_eq!(presence.decide(load(FEW + 1, Some(0), false)), None, "much has come meanwhile");
        assert_eq!(presence.decide(load(5000, Some(1), false)), Some(true), "other nodes go on and it keeps up");
    }

    #[test]
    fn a_sink_that_is_slow_takes_it_offline_too_later() {
        let mut presence = Presence::new();
        presence.decide(load(0, None, false));
        assert_eq!(presence.decide(load(5000, Some(29), false)), None);
        assert_eq!(presence.decide(load(5000, Some(31), false)), Some(false));
        presence.decide(load(0, None, false));
        assert_eq!(presence.decide(load(BYTES + 1, Some(0), false)), Some(false), "more than may wait");
    }

    #[test]
    fn a_connection_that_ends_is_offline_and_says_so_once() {
        let mut presence = Presence::new();
        assert!(!presence.leave());
        presence.decide(load(0, None, false));
        assert!(presence.leave() && !presence.leave());
    }

    #[test]
    fn a_later_connection_that_is_over_makes_it_begin_anew_also_while_it_is_offline() {
        let [earlier, own, later] = [1, 2, 3].map(Timestamp::from_millis);
        let mut presence = Presence::new();
        assert_eq!(
            [earlier, own, later].map(|over| presence.said_offline(over, own)),
            [Said::Right, Said::Right, Said::Over]
        );
        presence.decide(load(0, None, false));
        assert_eq!(
            [earlier, own, later].map(|over| presence.said_offline(over, own)),
            [Said::Wrong, Said::Wrong, Said::Over]
        );
        presence.leave();
        assert_eq!(presence.said_offline(later, own), Said::Right, "its own last word");
    }
}
