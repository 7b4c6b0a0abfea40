//! What each command of the command line does, one file each.

pub(crate) mod block;
pub(crate) mod browse;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod drivers;
pub(crate) mod export;
pub(crate) mod healthcheck;
pub(crate) mod ingest;
pub(crate) mod password;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod trust;
pub(crate) mod values;
