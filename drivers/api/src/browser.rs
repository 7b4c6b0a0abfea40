//! The ability to list what a device offers.

use async_trait::async_trait;
use tidegate_config::Access;

use crate::{Cx, Lost};

/// What something that a device offers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// It holds others.
    Folder,
    /// It has a value.
    Tag,
    /// It can be called.
    Method,
}

impl NodeKind {
    /// The word in lists: `folder`, `tag` or `method`.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeKind::Folder => "folder",
            NodeKind::Tag => "tag",
            NodeKind::Method => "method",
        }
    }
}

/// Something that a device offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// How the driver names it, in a profile and as the start of another list (`nsu=urn:plant;s=T1`).
    pub id: String,
    /// Where it is, from the top of the device (`Objects/Plant/T1`).
    pub path: String,
    /// What it is.
    pub kind: NodeKind,
    /// The type of its values, in the words of the protocol (`Double`, `Int16[4]`); of a method its arguments.
    pub value_type: Option<String>,
    /// The unit of its values.
    pub unit: Option<String>,
    /// The lowest and the highest value that the device states.
    pub range: Option<(f64, f64)>,
    /// What the device says about it.
    pub description: Option<String>,
    /// Who may do what with it; `None` where there is no value.
    pub access: Option<Access>,
}

/// What follows a request of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// There is more. So many nodes are known of that have not been looked at, at least.
    More(usize),
    /// The list is complete.
    Complete,
    /// There is no list; the text says why, for a person (there is no such node).
    Refused(String),
}

/// The ability of a session to list what its device offers.
///
/// A list is made piece by piece, so that the runtime can poll and write in between. A list that was begun is given up by beginning
/// another, or by dropping the session.
#[async_trait]
pub trait Browser: Send {
    /// Begins a list of everything below `start`, in the notation of [`Node::id`]; of all that the device offers without one.
    fn begin(&mut self, start: Option<&str>);

    /// Asks for the next piece and adds what came to `found`: each node once, a folder before what is in it. Takes about a
    /// request's time, as [`Session::read`](crate::Session::read) does.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the connection is over; what is already in `found` counts all the same.
    async fn list(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Lost>;

    /// A complete profile with these nodes of the last list, as TOML text that the gateway reads without a mistake. Folders in
    /// `chosen` are no tags of it.
    ///
    /// # Errors
    ///
    /// Why there is no profile of these nodes, for a person.
    fn profile(&self, chosen: &[Node]) -> Result<String, String>;
}
