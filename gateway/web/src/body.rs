//! Takes the body of a request whole, with a limit to its size and to the time its client may take for it.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use tokio::time::timeout;

use crate::answer::problem;

/// Bytes of the body of a request.
const LONGEST: usize = 256 * 1024;
/// How long a client may take to send it.
const TIME: Duration = Duration::from_secs(15);

/// Lets no request pass whose body is not there yet.
pub(crate) async fn take(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(TIME, to_bytes(body, LONGEST)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => {
            let text = format!("the body of the request is cut off or has more than {LONGEST} bytes");
            problem(StatusCode::PAYLOAD_TOO_LARGE, &text)
        }
        Err(_) => problem(StatusCode::REQUEST_TIMEOUT, "the body of the request did not come in time"),
    }
}
