//! `GET /api/v1/status`: everything about the gateway at this moment.

use axum::{Json, extract::State, response::IntoResponse};

use crate::server::Shared;

pub(crate) async fn status(State(shared): State<Shared>) -> impl IntoResponse {
    Json(shared.handle.status())
}
