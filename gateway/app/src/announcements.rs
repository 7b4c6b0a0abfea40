//! What the gateway says beside rows, for the targets that say it too.

use std::{future::Future, pin::Pin};

use tidegate_north::{Announcement, AnnouncementFeed};
use tidegate_runtime::BoardFeed;

/// The board of the gateway, as targets read it.
pub(crate) struct Announcements(pub(crate) BoardFeed);

fn as_targets_say(said: tidegate_runtime::Announcement) -> Announcement {
    let tidegate_runtime::Announcement { topic, payload, retain } = said;
    Announcement { topic, payload, retain }
}

impl AnnouncementFeed for Announcements {
    fn standing(&mut self) -> Vec<Announcement> {
        self.0.standing().into_iter().map(as_targets_say).collect()
    }

    fn next<'a>(&'a mut self) -> Pin<Box<dyn Future<Output = Option<Announcement>> + Send + 'a>> {
        Box::pin(async { self.0.next().await.map(as_targets_say) })
    }
}
