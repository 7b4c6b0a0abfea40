//! The HTTP side of the gateway: health, metrics and the interface of programs.
//!
//! | path | file |
//! | --- | --- |
//! | `/healthz`, `/readyz` | `health.rs` |
//! | `/metrics` | `metrics.rs` |
//! | `/api/v1/status` | `status.rs` |
//! | `/api/v1/devices`, `/api/v1/devices/{device}/values` | `devices.rs` |
//!
//! Everything but the first three needs a login (`access.rs`).
//!
//! **Invariant:** this crate reaches the gateway only through [`tidegate_runtime::Handle`].

mod access;
mod devices;
mod health;
mod metrics;
mod server;
mod status;

pub use access::{Access, AccessError, Role, TOKEN_FILE};
pub use server::{Server, WebError};
