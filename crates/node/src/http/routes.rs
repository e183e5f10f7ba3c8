use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

use super::readiness::Readiness;
use crate::clock::wall_ms;
use crate::metrics::Metrics;
use crate::status::NodeStatus;

const TEXT: &str = "text/plain; charset=utf-8";
/// The version of Prometheus' text format that its exporters in text announce.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// What the server answers, by method and path.
pub(super) struct Routes {
    status: watch::Receiver<Arc<NodeStatus>>,
    metrics: Metrics,
}

/// What went wrong, as JSON says it.
#[derive(Serialize)]
struct Refusal {
    error: String,
}

type Answer = Response<Full<Bytes>>;

impl Routes {
    pub(super) fn new(status: watch::Receiver<Arc<NodeStatus>>, metrics: Metrics) -> Self {
        Self { status, metrics }
    }

    /// The answer to a request, whose body is not looked at.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        let shard = path.strip_prefix("/v1/shards/");
        let is_known =
            matches!(path, "/livez" | "/readyz" | "/metrics" | "/v1/status") || shard.is_some();
        if !is_known {
            return refusal(StatusCode::NOT_FOUND, format!("there is nothing at {path}"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let only = "this server is only asked, with GET or HEAD".to_owned();
            let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, only);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        // Cloned, so that no writer of the status waits for an answer to be made.
        let status = Arc::clone(&self.status.borrow());
        match path {
            "/livez" => answer(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => readyz(&status, is_verbose(request.uri().query())),
            "/metrics" => answer(StatusCode::OK, PROMETHEUS, self.metrics.render(&status)),
            "/v1/status" => json(StatusCode::OK, &*status),
            _ => one_shard(&status, shard.unwrap_or_default()),
        }
    }
}

fn is_verbose(query: Option<&str>) -> bool {
    let mut keys = query.unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    keys.any(|key| key == "verbose")
}

fn readyz(status: &NodeStatus, verbose: bool) -> Answer {
    let readiness = Readiness::of(status, wall_ms());
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(code, TEXT, if verbose { readiness.verbose() } else { readiness.brief() })
}

fn one_shard(status: &NodeStatus, id: &str) -> Answer {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return refusal(StatusCode::BAD_REQUEST, format!("`{id}` is no shard's number"));
    }
    // A number that is too long for an id is no shard's either.
    let shard = id.parse().ok();
    let report = status.shards.iter().find(|report| Some(report.shard) == shard);
    match report {
        Some(report) => json(StatusCode::OK, report),
        None => refusal(StatusCode::NOT_FOUND, format!("shard {id} is not on this node")),
    }
}

fn refusal(code: StatusCode, error: String) -> Answer {
    json(code, &Refusal { error })
}

fn json(code: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            text.push(b'\n');
            answer(code, JSON, text)
        }
        Err(error) => {
            tracing::error!(%error, "an answer is no JSON");
            answer(StatusCode::INTERNAL_SERVER_ERROR, JSON, "{\"error\":\"internal\"}\n")
        }
    }
}

fn answer(code: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
