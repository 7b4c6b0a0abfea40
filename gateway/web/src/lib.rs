//! The HTTP side of the gateway: health, metrics and the interface of programs.
//!
//! | path | file |
//! | --- | --- |
//! | `/healthz`, `/readyz` | `health.rs` |
//! | `/metrics` | `metrics.rs` |
//! | `/api/v1/status` | `status.rs` |
//! | `/api/v1/devices`, `/api/v1/devices/{device}/values` | `devices.rs` |
//! | `/api/v1/history` | `history.rs` |
//! | `/api/v1/links/{link}/browse` | `browse.rs` |
//!
//! Everything but the first three needs a login (`login.rs`, `access.rs`, `local.rs`). What a client may send, delay and
//! take up is limited in `connections.rs` and `body.rs`; the form of all answers is in `answer.rs`.
//!
//! **Invariant:** this crate reaches the gateway only through [`tidegate_runtime::Handle`].
//!
//! **Invariant:** no client can make the gateway wait, grow or stop.

mod access;
mod answer;
mod body;
mod browse;
mod connections;
mod devices;
mod health;
mod history;
mod listener;
mod local;
mod login;
mod metrics;
mod passwords;
mod query;
mod server;
mod status;
mod stream;

pub use access::{Access, AccessError, Role};
pub use listener::{Listener, WebError};
pub use local::{ADDRESS_FILE, TOKEN_FILE};
pub use server::Server;
