//! The running interface: its routes, its start and its end.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use tidegate_runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Access, Listener, answer, body, browse, connections, devices, health, history, login, metrics, status};

/// The running interface.
pub struct Server {
    address: SocketAddr,
    access: Arc<Access>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) access: Arc<Access>,
}

impl Server {
    /// Starts to answer on a listener.
    pub fn start(listener: Listener, handle: Handle, access: Access) -> Server {
        let address = listener.address();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let access = Arc::new(access);
        let app = routes(Shared { handle, access: Arc::clone(&access) });
        tasks.spawn(connections::accept(listener, app, tasks.clone(), stop.clone()));
        Server { address, access, stop, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops to listen. Requests that are on their way are cut after a second.
    pub async fn stop(self) {
        self.access.close();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
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
        .route("/api/v1/history", get(history::history))
        .route("/api/v1/links/{link}/browse", post(browse::browse))
        .fallback(answer::nothing_here)
        .layer(middleware::from_fn(body::take))
        .layer(middleware::from_fn_with_state(shared.clone(), login::login));
    open.merge(closed).layer(middleware::from_fn(answer::finish)).with_state(shared)
}
