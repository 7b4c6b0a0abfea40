//! The listener, the routes, and the login that stands before most of them.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tidegate_config as config;
use tidegate_runtime::Handle;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Access, Role, devices, health, metrics, status};

/// A request has at most this many bytes.
const LONGEST_BODY: usize = 256 * 1024;

/// Why the interface could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address could not be listened on.
    #[error(
        "[web] listen = \"{address}\": {source}; is another program using the port? set another one in the site, or stop it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The running interface.
pub struct Server {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    access: Arc<Access>,
}

impl Server {
    /// Starts to listen. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`WebError::Listen`] when the address cannot be used.
    pub async fn start(options: &config::Web, handle: Handle, access: Access) -> Result<Server, WebError> {
        let failed = |source| WebError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cancel = CancellationToken::new();
        let app = routes(Shared { handle, access: Arc::new(access) });
        let stop = cancel.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the web interface has stopped; restart the gateway to get it back");
            }
        });
        Ok(Server { address, cancel, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops to listen. Requests that are on their way are cut after a second.
    pub async fn stop(self) {
        self.cancel.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(std::time::Duration::from_secs(1), self.task).await.is_err() {
            abort.abort();
        }
    }
}

fn routes(shared: Shared) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics));
    let closed = Router::new()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{device}/values", get(devices::values).put(devices::write))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), login));
    open.merge(closed).with_state(shared)
}

/// Lets nobody pass without a login; who passes has a [`Role`] among the request's extensions.
async fn login(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match role(&shared.access, header.as_deref()).await {
        Some(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        None => {
            let mut response = problem(StatusCode::UNAUTHORIZED, "a login is needed: a user and password, or a token");
            let challenge = HeaderValue::from_static("Basic realm=\"tidegate\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

async fn role(access: &Arc<Access>, header: Option<&str>) -> Option<Role> {
    let (scheme, rest) = header?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return access.by_token(rest.trim());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64_decode(rest.trim())?;
    let text = String::from_utf8(decoded).ok()?;
    let access = Arc::clone(access);
    let check = move || {
        let (name, password) = text.split_once(':')?;
        access.by_password(name, password)
    };
    tokio::task::spawn_blocking(check).await.ok().flatten()
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()
}

/// An error answer: `{"error": "…"}`.
pub(crate) fn problem(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": text }))).into_response()
}
