//! What the store promises, from outside.

mod closing;
mod crash;
mod cursors;
mod damage;
mod failing;
mod plant;
mod retention;
mod status;
mod streams;
