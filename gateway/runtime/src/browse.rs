//! What a device offers: listed over the link that is there, between polls and writes, or over a connection of its own.

use std::time::Duration;

use tidegate_config as config;
use tidegate_driver_api::{Browser, Cx, Link, Listing, Lost, Node, Session};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Alarm, Clock},
    handle::Handle,
    link::LinkTask,
    supervise,
};

/// How long a list over a running link may take, the wait for a connection included.
const LONGEST: Duration = Duration::from_secs(60);
/// A list has at most so many nodes.
const MOST: usize = 100_000;

/// What a device offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Every node once, a folder before what is in it.
    pub nodes: Vec<Node>,
    /// Whether that is all: a list has an end.
    pub complete: bool,
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrowseError {
    /// There is no such link.
    #[error("there is no link \"{0}\"")]
    UnknownLink(String),
    /// Another list of the link is being made.
    #[error("another list of what is behind \"{0}\" is being made; ask again later")]
    Busy(String),
    /// The driver cannot list what a device offers.
    #[error(
        "the driver of \"{0}\" cannot list what a device offers; its profile has to be written from the device's manual"
    )]
    Unable(String),
    /// The device could not be reached, or not any more.
    #[error("{0}")]
    Unreachable(String),
    /// The device has no such node, or does not let itself be asked.
    #[error("{0}")]
    Refused(String),
    /// It took too long, or the link was stopped meanwhile.
    #[error("the list was not there within {} s; ask for a part of it, by the node to begin with", LONGEST.as_secs())]
    TooSlow,
}

/// A list for a link task to make.
#[derive(Debug)]
pub(crate) struct BrowseOrder {
    start: Option<String>,
    found: Vec<Node>,
    begun: bool,
    reply: oneshot::Sender<Result<Listed, BrowseError>>,
}

impl BrowseOrder {
    pub(crate) fn refuse(self, why: &str) {
        // Nobody waits for the answer any more: nothing to do.
        let _ = self.reply.send(Err(BrowseError::Unreachable(why.to_owned())));
    }
}

/// What came of one request of a list.
enum Piece {
    More(usize),
    Complete,
    Full,
    Refused(String),
}

/// Asks for the next piece of a list, which is begun if it was not.
async fn piece(
    browser: &mut dyn Browser,
    cx: &Cx,
    start: Option<&str>,
    begun: &mut bool,
    found: &mut Vec<Node>,
) -> Result<Piece, Lost> {
    if !std::mem::replace(begun, true) {
        browser.begin(start);
    }
    let listing = browser.list(cx, found).await?;
    if found.len() > MOST {
        found.truncate(MOST);
        return Ok(Piece::Full);
    }
    Ok(match listing {
        Listing::More(left) => Piece::More(left),
        Listing::Complete => Piece::Complete,
        Listing::Refused(why) => Piece::Refused(why),
    })
}

impl LinkTask {
    /// Makes one piece of the list that somebody waits for.
    pub(crate) async fn browse_on(&mut self, session: &mut dyn Session) -> Result<(), Lost> {
        let Some(mut order) = self.memory.browse.take().filter(|order| !order.reply.is_closed()) else { return Ok(()) };
        let cx = self.cx(self.times.timeout);
        let Some(browser) = session.browser() else {
            let _ = order.reply.send(Err(BrowseError::Unable(self.name.to_string())));
            return Ok(());
        };
        let work = piece(browser, &cx, order.start.as_deref(), &mut order.begun, &mut order.found);
        let result = supervise::call(&mut self.alarm, &cx, work).await;
        self.emitter.counters.requests.add(1);
        let answer = match result.unwrap_or_else(|given_up| Err(self.given_up(&given_up))) {
            Ok(Piece::More(_)) => {
                self.memory.used = Some(self.emitter.clock.now());
                self.memory.browse = Some(order);
                return Ok(());
            }
            Ok(Piece::Complete) => Ok(Listed { nodes: order.found, complete: true }),
            Ok(Piece::Full) => Ok(Listed { nodes: order.found, complete: false }),
            Ok(Piece::Refused(why)) => Err(BrowseError::Refused(why)),
            Err(lost) => {
                order.refuse(&lost.detail);
                return Err(lost);
            }
        };
        let _ = order.reply.send(answer);
        Ok(())
    }
}

impl Handle {
    /// Lists what the device behind a link offers, from `start` on (in the driver's notation) or from its top, over the connection
    /// that the link has; its polls and writes go on. Ends after a minute, or with 100,000 nodes.
    ///
    /// # Errors
    ///
    /// [`BrowseError`].
    pub async fn browse(&self, link: &str, start: Option<&str>) -> Result<Listed, BrowseError> {
        let browses = self.browses(link).ok_or_else(|| BrowseError::UnknownLink(link.to_owned()))?;
        let (reply, answer) = oneshot::channel();
        let order = BrowseOrder { start: start.map(str::to_owned), found: Vec::new(), begun: false, reply };
        browses.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BrowseError::Busy(link.to_owned()),
            mpsc::error::TrySendError::Closed(_) => BrowseError::TooSlow,
        })?;
        let deadline = self.clock().now() + LONGEST;
        match self.clock().until(deadline, answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Err(BrowseError::TooSlow),
        }
    }
}

/// A list over a connection of its own, for the command line.
pub struct OwnBrowse<'a> {
    /// The name of the link, for what is said.
    name: &'a str,
    /// Where to begin, in the driver's notation.
    start: Option<&'a str>,
    timeout: Duration,
    connect_timeout: Duration,
}

/// What a device offers, and a profile of it if one was asked for.
pub struct Browsed {
    /// The nodes that were chosen.
    pub listed: Listed,
    /// A profile of them, or why there is none.
    pub profile: Option<Result<String, String>>,
}

impl<'a> OwnBrowse<'a> {
    /// With the times of this link.
    pub fn of(link: &'a config::Link, start: Option<&'a str>) -> OwnBrowse<'a> {
        OwnBrowse { name: link.name.as_str(), start, timeout: link.timeout, connect_timeout: link.connect_timeout }
    }

    /// Connects, and lists what the device offers. `choose` says which nodes are wanted, `profile` whether a profile of them is, and
    /// `progress` hears how many nodes were found and how many are known of that have not been looked at.
    ///
    /// # Errors
    ///
    /// [`BrowseError`].
    pub async fn run(
        &self,
        link: &mut dyn Link,
        choose: impl Fn(&Node) -> bool,
        profile: bool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Browsed, BrowseError> {
        let (clock, mut alarm) = (Clock::start(), Alarm::new());
        let cx = |timeout| Cx::new(clock.now(), timeout, CancellationToken::new());
        let connect = cx(self.connect_timeout);
        let session = supervise::call(&mut alarm, &connect, async { link.connect(&connect).await }).await;
        let unreachable = |text: String| BrowseError::Unreachable(text);
        let mut session = session
            .map_err(|given_up| unreachable(given_up.to_string()))?
            .map_err(|fault| unreachable(fault.detail))?;
        let Some(browser) = session.browser() else { return Err(BrowseError::Unable(self.name.to_owned())) };
        let (mut nodes, mut begun) = (Vec::new(), false);
        let complete = loop {
            let cx = cx(self.timeout);
            let work = piece(browser, &cx, self.start, &mut begun, &mut nodes);
            let piece = supervise::call(&mut alarm, &cx, work).await;
            match piece
                .map_err(|given_up| unreachable(given_up.to_string()))?
                .map_err(|lost| unreachable(lost.detail))?
            {
                Piece::More(left) => progress(nodes.len(), left),
                Piece::Complete => break true,
                Piece::Full => break false,
                Piece::Refused(why) => return Err(BrowseError::Refused(why)),
            }
        };
        nodes.retain(choose);
        let profile = profile.then(|| browser.profile(&nodes));
        Ok(Browsed { listed: Listed { nodes, complete }, profile })
    }
}
