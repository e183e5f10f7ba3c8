//! A node's HTTP server, on loopback: whether it lives and is ready, how it stands, what it measures.
//!
//! What is *not* here: anything that changes the node. Whoever reaches loopback may only look.

mod client;
mod connections;
mod readiness;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::LoopbackAddress;
use crate::metrics::Metrics;
use crate::status::NodeStatus;
pub(crate) use client::{ANSWER_TIMEOUT, ask};
pub use client::{AskError, NotNode, ask_status};
use connections::Connections;
use routes::Routes;

/// More than any request of ours has, with all that browsers add. *Units:* bytes.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// How long a client may take to say what it wants: on loopback a hundred times what it needs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection lives, so that a client that does not read its answer is not kept for long.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long until connections are accepted again after that failed, as it does without free files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers that are under way may take when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The HTTP server of a node, which listens but does not answer yet.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why there is no server.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is in use, or not this machine's.
    #[error("http.listen: {address}: {error}")]
    Bind {
        /// The address.
        address: LoopbackAddress,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl HttpServer {
    /// Listens; on a port that the system chooses, if the address has port 0.
    ///
    /// *Errors:* see [`HttpError`].
    pub async fn bind(address: LoopbackAddress) -> Result<Self, HttpError> {
        let failed = |error| HttpError::Bind { address, error };
        let listener = TcpListener::bind(address.socket()).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`; then answers that are under way are finished, within a second.
    pub async fn run(
        self,
        status: watch::Receiver<Arc<NodeStatus>>,
        metrics: Metrics,
        shutdown: impl Future<Output = ()>,
    ) {
        let routes = Arc::new(Routes::new(status, metrics));
        let mut connections = Connections::default();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => connections.admit(serve(stream, Arc::clone(&routes))).await,
                    Err(error) => {
                        tracing::warn!(%error, "the HTTP server accepted no connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = connections.ended() => {}
            }
        }
        drop(self.listener);
        // What is not finished by then ends with its set.
        let _ = timeout(DRAIN_TIMEOUT, connections.all_ended()).await;
    }
}

/// Answers one request; a connection that is used again would be one that is open without need.
async fn serve(stream: TcpStream, routes: Arc<Routes>) {
    let service = hyper::service::service_fn(move |request| {
        let answer = routes.answer(&request);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends concerns its client alone.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}
