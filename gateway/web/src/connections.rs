//! Connections: a bounded number at a time, each with a limit to everything that its client may delay or send.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Listener, stream::Moving};

/// Connections at a time from other machines; one more is closed at once.
const PLACES: usize = 64;
/// Connections at a time from this machine. They have places of their own, so that whoever keeps the others busy does not
/// make the gateway look ill to the health check of its container.
const PLACES_HERE: usize = 16;
/// How long a client may take for the head of a request, and be silent between two.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long a client may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(15);
/// Bytes of the head of a request.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long requests that are on their way may go on when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long to wait after a connection could not be accepted: a lack of sockets would come back at once.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections until stopped; each is served by a task of its own.
pub(crate) async fn accept(listener: Listener, app: Router, tasks: TaskTracker, stop: CancellationToken) {
    let socket = listener.into_socket();
    let (others, here) = (Arc::new(Semaphore::new(PLACES)), Arc::new(Semaphore::new(PLACES_HERE)));
    let (mut failing, mut full) = (false, false);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest(&error, &mut failing).await;
                continue;
            }
        };
        failing = false;
        let places = if peer.ip().to_canonical().is_loopback() { &here } else { &others };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            tell_full(peer, &mut full);
            continue;
        };
        full = false;
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            serve(stream, app, stop).await;
            drop(place);
        });
    }
}

/// Serves one connection until its client is done, breaks a limit, or the gateway stops.
async fn serve(stream: TcpStream, app: Router, stop: CancellationToken) {
    // Without it a small answer may wait for the acknowledgement of the one before; it still arrives.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_header_size(LONGEST_HEAD);
    let stream = TokioIo::new(Moving::new(stream, WRITE_TIME));
    let mut connection = std::pin::pin!(http.serve_connection(stream, TowerToHyperService::new(app)));
    // How a connection ends is its client's business: it has got its answer or knows that it has not.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FAREWELL, connection).await;
}

async fn rest(error: &io::Error, failing: &mut bool) {
    if !std::mem::replace(failing, true) {
        tracing::error!(%error, "clients of the web interface cannot be accepted; trying on; check the limit of open files");
    }
    sleep(REST).await;
}

fn tell_full(peer: SocketAddr, full: &mut bool) {
    if !std::mem::replace(full, true) {
        tracing::warn!(%peer, "too many connections to the web interface; more are closed at once");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tidegate_config as config;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Rig {
        address: SocketAddr,
        stop: CancellationToken,
        tasks: TaskTracker,
    }

    async fn rig() -> Rig {
        let app = Router::new()
            .route("/", get(async || "here"))
            .route("/large", get(async || "x".repeat(64 * 1024 * 1024)))
            .route("/slow", get(std::future::pending::<()>));
        let listener = Listener::bind(&config::Web { listen: ([127, 0, 0, 1], 0).into() }).await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = listener.address();
        tasks.spawn(accept(listener, app, tasks.clone(), stop.clone()));
        Rig { address, stop, tasks }
    }

    async fn send(address: SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    /// Everything until the server closes.
    async fn rest_of(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        // A connection may end with a reset when the server did not want all that was sent.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lets so much time pass at once. The clock goes on afterwards: one that stands would run ahead of what is on its way over a
    /// socket.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_the_next_one_after_an_end_is_served() {
        let rig = rig().await;
        let mut busy = Vec::new();
        for _ in 0..PLACES_HERE {
            let mut stream = send(rig.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0, "it has a place");
            busy.push(stream);
        }
        assert_eq!(rest_of(&mut send(rig.address, REQUEST).await).await, "");
        drop(busy);
        let deadline = Instant::now() + PATIENCE;
        while !rest_of(&mut send(rig.address, REQUEST).await).await.ends_with("here") {
            assert!(Instant::now() < deadline, "places are free again");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let rig = rig().await;
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(LONGEST_HEAD));
        let answer = rest_of(&mut send(rig.address, long.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_head_or_says_nothing_is_let_go() {
        let rig = rig().await;
        let mut unfinished = send(rig.address, b"GET / HTTP/1.1\r\nHost:").await;
        let mut silent = send(rig.address, b"").await;
        let mut idle = send(rig.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
        // All three are in the hands of the server now.
        pass(HEAD_TIME + Duration::from_secs(1)).await;
        for stream in [&mut unfinished, &mut silent, &mut idle] {
            rest_of(stream).await;
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
        let rig = rig().await;
        let stream = send(rig.address, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stream.readable().await.unwrap();
        // The time begins anew when the system still takes something for the client, for which it has little room.
        for _ in 0..20 {
            pass(WRITE_TIME + Duration::from_secs(1)).await;
            for _ in 0..50 {
                // The accepting task is left.
                if rig.tasks.len() == 1 {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        }
        panic!("the connection is still there");
    }

    #[tokio::test]
    async fn the_end_of_the_gateway_does_not_wait_for_a_slow_request() {
        let rig = rig().await;
        let mut slow = send(rig.address, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut idle = send(rig.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
        rig.stop.cancel();
        rig.tasks.close();
        timeout(PATIENCE, rig.tasks.wait()).await.expect("all connections end");
        assert_eq!(rest_of(&mut slow).await, "");
    }
}
