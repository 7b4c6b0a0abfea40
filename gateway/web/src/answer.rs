//! What all answers have in common: every error is JSON with a text for a person.

use axum::{
    Json,
    body::to_bytes,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The libraries say in less than that what they do not like.
const LONGEST_REASON: usize = 4096;

/// An error answer: `{"error": "…"}`.
pub(crate) fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

/// The answer where there is nothing.
pub(crate) async fn nothing_here(request: Request) -> Response {
    problem(StatusCode::NOT_FOUND, &format!("there is nothing at {}", request.uri().path()))
}

/// Gives every answer the headers of all answers, and puts what libraries say as text into the form of [`problem`].
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let mut response = if is_error && !is_json(&response) { as_problem(&method, response).await } else { response };
    // What a machine does changes all the time, and none of it is to be taken for a page.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

async fn as_problem(method: &axum::http::Method, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, LONGEST_REASON).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let text = match parts.status {
        StatusCode::METHOD_NOT_ALLOWED => format!("{method} is not possible here"),
        status if said.is_empty() => status.canonical_reason().unwrap_or("an error").to_lowercase(),
        _ => said.into_owned(),
    };
    let mut response = problem(parts.status, &text);
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
