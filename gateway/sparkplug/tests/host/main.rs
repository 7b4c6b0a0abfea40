//! The host application: what it makes of what edge nodes publish.

mod listening;
mod orders;
mod scene;
