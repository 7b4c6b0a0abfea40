//! What the demo is made of: simulated machines, and a site over them that a person can read and change.

pub(crate) mod plant;
pub(crate) mod site;
