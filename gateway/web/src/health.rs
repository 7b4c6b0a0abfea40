//! `/healthz`: is the process alive? `/readyz`: does it do its whole work?
//!
//! A full disk makes the gateway unready, not unhealthy: a restart would not mend the disk, but lose what waits in memory.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde_json::json;

use crate::server::Shared;

/// Always 200 while the process answers; what needs a person is listed.
pub(crate) async fn healthz(State(shared): State<Shared>) -> impl IntoResponse {
    let status = shared.handle.status();
    let word = if status.healthy { "ok" } else { "degraded" };
    Json(json!({ "status": word, "problems": status.problems }))
}

/// 200 while rows are taken in and stored, else 503 with the reasons.
pub(crate) async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let status = shared.handle.status();
    let code = if status.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": status.healthy, "problems": status.problems })))
}
