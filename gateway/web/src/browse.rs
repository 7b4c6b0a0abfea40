//! `POST /api/v1/links/{link}/browse`: what the device behind a link offers, over the connection that the link has.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value as Json_, json};
use tidegate_runtime::{BrowseError, Node};

use crate::{Role, answer::problem, server::Shared};

/// What is asked for. An empty body asks for everything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Question {
    /// Where to begin, in the notation of `id`.
    node: Option<String>,
}

pub(crate) async fn browse(
    State(shared): State<Shared>,
    Extension(role): Extension<Role>,
    Path(link): Path<String>,
    body: Bytes,
) -> Response {
    if role < Role::Operator {
        return problem(StatusCode::FORBIDDEN, "to ask a device what it offers needs the role operator");
    }
    let question = if body.is_empty() { Ok(Question::default()) } else { serde_json::from_slice(&body) };
    let question: Question = match question {
        Ok(question) => question,
        Err(wrong) => {
            let text = format!("the body has to be empty or an object such as {{\"node\": \"i=85\"}}: {wrong}");
            return problem(StatusCode::BAD_REQUEST, &text);
        }
    };
    match shared.handle.browse(&link, question.node.as_deref()).await {
        Ok(listed) => {
            let nodes: Vec<Json_> = listed.nodes.iter().map(node_json).collect();
            Json(json!({ "complete": listed.complete, "nodes": nodes })).into_response()
        }
        Err(error) => {
            let status = match error {
                BrowseError::UnknownLink(_) => StatusCode::NOT_FOUND,
                BrowseError::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
                BrowseError::Unable(_) => StatusCode::NOT_IMPLEMENTED,
                BrowseError::Unreachable(_) => StatusCode::BAD_GATEWAY,
                BrowseError::Refused(_) => StatusCode::CONFLICT,
                BrowseError::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            };
            problem(status, &error.to_string())
        }
    }
}

fn node_json(node: &Node) -> Json_ {
    json!({
        "id": node.id, "path": node.path, "kind": node.kind.as_str(), "type": node.value_type, "unit": node.unit,
        "range": node.range.map(|(low, high)| json!({ "low": low, "high": high })),
        "description": node.description, "access": node.access.map(tidegate_config::Access::as_str),
    })
}
