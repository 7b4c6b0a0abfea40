//! How many messages may be on their way at the same time. Pure.
//!
//! The window opens by one with each acknowledgement that came quickly and closes by half when one came so slowly that
//! the link must be full: on a thin link a fixed window would hold the keep-alive's ping back behind minutes of data, the
//! connection would be given up, and the data sent again, for ever.

use std::time::Duration;

/// Bytes of payload on their way, at most. One message may be larger and then travels alone.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Messages on their way at the start of a connection.
const FIRST_MESSAGES: u16 = 16;

/// How many messages may be on their way.
#[derive(Debug)]
pub(crate) struct Window {
    messages: u16,
    most: u16,
    /// An acknowledgement within this time opens the window.
    quick: Duration,
    /// One after this time closes it.
    slow: Duration,
    /// Acknowledgements to pass before the window closes again: those belong to what was sent before it closed.
    settle: u16,
}

impl Window {
    /// A window of at most `most` messages, for the target's first connection.
    pub(crate) fn new(most: u16, keep_alive: Duration) -> Window {
        let most = most.max(1);
        Window { messages: FIRST_MESSAGES.min(most), most, quick: keep_alive / 8, slow: keep_alive / 3, settle: 0 }
    }

    /// A new connection. What the last one has taught about a thin link still holds. `alone`: it begins with one message,
    /// so that what this message does to the connection is seen.
    pub(crate) fn begin(&mut self, alone: bool) {
        self.settle = 0;
        self.messages = if alone { 1 } else { self.messages.min(FIRST_MESSAGES) };
    }

    /// Whether one more message may be sent.
    pub(crate) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        messages < usize::from(self.messages) && (messages == 0 || bytes < MOST_BYTES)
    }

    /// Whether one more message of backlog may be sent while so many of it are on their way: a quarter of the window is kept
    /// for live rows. There has to be room at all, too.
    pub(crate) fn has_room_for_backlog(&self, backlog: usize) -> bool {
        let kept = if self.messages > 1 { (self.messages / 4).max(1) } else { 0 };
        backlog < usize::from(self.messages - kept)
    }

    /// A message was acknowledged this long after it was sent.
    pub(crate) fn acknowledged(&mut self, after: Duration) {
        self.settle = self.settle.saturating_sub(1);
        if after <= self.quick {
            self.messages = self.messages.saturating_add(1).min(self.most);
        } else if after > self.slow && self.settle == 0 {
            self.settle = self.messages;
            self.messages = (self.messages / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(24);
    const QUICK: Duration = Duration::from_millis(100);
    const SLOW: Duration = Duration::from_secs(10);

    fn size(window: &Window) -> usize {
        (0..1000).take_while(|messages| window.has_room(*messages, 0)).count()
    }

    #[test]
    fn the_window_opens_with_quick_acknowledgements_up_to_its_most() {
        let mut window = Window::new(20, KEEP_ALIVE);
        assert_eq!(size(&window), 16);
        (0..100).for_each(|_| window.acknowledged(QUICK));
        assert_eq!(size(&window), 20);
    }

    #[test]
    fn a_slow_link_closes_the_window_once_for_all_that_was_on_its_way() {
        let mut window = Window::new(100, KEEP_ALIVE);
        (0..16).for_each(|_| window.acknowledged(SLOW));
        assert_eq!(size(&window), 8);
        (0..200).for_each(|_| window.acknowledged(SLOW));
        assert_eq!(size(&window), 1, "one message may always travel");
    }

    #[test]
    fn bytes_bound_the_window_but_never_a_message_that_travels_alone() {
        let window = Window::new(100, KEEP_ALIVE);
        assert!(window.has_room(1, MOST_BYTES - 1));
        assert!(!window.has_room(1, MOST_BYTES));
        assert!(window.has_room(0, MOST_BYTES));
    }

    #[test]
    fn the_backlog_leaves_room_for_live_rows() {
        let room = |window: &Window| (0..1000).take_while(|count| window.has_room_for_backlog(*count)).count();
        let mut window = Window::new(100, KEEP_ALIVE);
        assert_eq!((size(&window), room(&window)), (16, 12));
        window.begin(true);
        assert_eq!((size(&window), room(&window)), (1, 1), "and is not kept from sending at all");
        window.acknowledged(QUICK);
        assert_eq!((size(&window), room(&window)), (2, 1));
    }

    #[test]
    fn a_suspicious_message_travels_alone() {
        let mut window = Window::new(100, KEEP_ALIVE);
        window.begin(true);
        assert_eq!(size(&window), 1);
        window.acknowledged(QUICK);
        assert_eq!(size(&window), 2);
    }

    #[test]
    fn a_new_connection_begins_carefully_and_remembers_a_thin_link() {
        let mut window = Window::new(100, KEEP_ALIVE);
        (0..100).for_each(|_| window.acknowledged(QUICK));
        window.begin(false);
        assert_eq!(size(&window), 16);
        (0..16).for_each(|_| window.acknowledged(SLOW));
        window.begin(false);
        assert_eq!(size(&window), 8);
    }
}
