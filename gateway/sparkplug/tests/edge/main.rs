//! The edge node: what it publishes, in which order, and what it does with what comes.

mod births;
mod commands;
mod devices;
mod plant;
mod primary_host;
mod rows;
mod sessions;
