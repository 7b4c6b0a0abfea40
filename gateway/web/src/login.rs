//! The login that stands before most of the interface.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    Role,
    access::{Access, Refused},
    answer::problem,
    server::Shared,
};

/// Lets nobody pass without a login; who passes has a [`Role`] among the request's extensions.
pub(crate) async fn login(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let role = role(&shared.access, request.headers()).await;
    if role.is_err() && request.headers().contains_key(header::AUTHORIZATION) {
        shared.access.count_refused();
    }
    match role {
        Ok(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(Refused::Unknown) => {
            let text = "a login is needed: a user and password (basic), or a token (bearer)";
            let mut response = problem(StatusCode::UNAUTHORIZED, text);
            let challenge = HeaderValue::from_static("Basic realm=\"tidegate\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        Err(Refused::Busy) => {
            let text = "too many passwords are being checked; try again in a few seconds, or use a token";
            let mut response = problem(StatusCode::TOO_MANY_REQUESTS, text);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            response
        }
    }
}

async fn role(access: &Access, headers: &HeaderMap) -> Result<Role, Refused> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, rest) = header.and_then(|header| header.split_once(' ')).ok_or(Refused::Unknown)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return access.by_token(rest.trim());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refused::Unknown);
    }
    let (name, password) = name_and_password(rest.trim()).ok_or(Refused::Unknown)?;
    access.by_password(&name, password).await
}

/// What a basic login says (RFC 7617 §2): the name ends at the first colon.
fn name_and_password(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_ends_at_the_first_colon() {
        let parts = |text: &str| name_and_password(&STANDARD.encode(text));
        assert_eq!(parts("admin:a:b"), Some(("admin".to_owned(), "a:b".to_owned())));
        assert_eq!(parts("admin"), None);
        assert_eq!(name_and_password("%%%"), None);
        assert_eq!(name_and_password(&STANDARD.encode([0xff, b':', 0xff])), None);
    }
}
