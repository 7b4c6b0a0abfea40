//! Rows under the topics and in the forms that users want, beside the gateway's own.
//!
//! [`Layout`] is what a site says about topics. It gives a [`StreamTopics`] for each stream: the topics are filled in once, and a
//! row becomes messages without another look at a name. [`discovery`] makes what Home Assistant wants to know of a tag.
//!
//! # What the forms have in common
//!
//! - What has not changed is in no message, as in the gateway's own rows. A message that would say nothing is none.
//! - A form that cannot say how good a value is has the good values only. What is doubtful or missing is left out of it, or is
//!   told as an error where the form has errors.
//! - **Invariant:** a retained message never outlives what it tells of: where the form cannot say that there is no value left, an
//!   empty message takes the last one away.
//! - A row of the past goes to no topic that is retained, or it would be taken for the present, and to no form without a time.

mod home_assistant;
mod layout;
mod payload;
mod stream;

pub use home_assistant::{Discovery, Entity, discovery};
pub use layout::Layout;
pub use stream::{Dispatch, Message, StreamTopics};
