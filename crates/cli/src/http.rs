//! What is served by HTTP: at `addr` nothing that changes anything, at the control socket all.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::args::ConfigArgs;
use crate::config::Heartbeat;
use crate::daemon::fleet::Fleet;
use crate::daemon::health::{self, Thresholds};
use crate::daemon::{control, heartbeat, mcp, pprof, served, socket};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::{go_duration, metrics};

/// Requests that wait for something at the same time.
const WAITING: usize = 64;

/// Where is served what.
#[derive(Debug, Default)]
pub struct Doors {
    /// The address of metrics and health.
    pub address: Option<Address>,
    /// The address of the MCP server, and what it goes by.
    pub mcp: Option<(Address, Mcp)>,
    /// The control socket.
    pub socket: Option<socket::Bound>,
    /// Not served, but sent.
    pub heartbeat: Option<Heartbeat>,
}

/// What the MCP server goes by.
#[derive(Debug)]
pub struct Mcp {
    /// The daemon's own configuration.
    pub config: ConfigArgs,
    /// What its clients must present.
    pub token: Option<Secret>,
}

/// An address that is listened at.
#[derive(Debug)]
pub struct Address {
    listener: TcpListener,
    bound: SocketAddr,
}

impl Address {
    /// Listens at what `key` names. An address without a host, such as `:9090`, is one of this
    /// machine alone.
    pub fn listen(key: &str, address: &str) -> Result<Address> {
        let full = match address.strip_prefix(':') {
            Some(port) => format!("127.0.0.1:{port}"),
            None => address.to_owned(),
        };
        let listen = || {
            let listener = TcpListener::bind(&full)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok(Address { listener, bound })
        };
        listen().map_err(|error: std::io::Error| {
            Failure::new(Exit::Failed, format_args!("cannot serve at {key} {address:?}: {error}"))
                .hint("write it as :9090 for this machine alone, or 0.0.0.0:9090 for the network")
        })
    }

    /// Serves what changes nothing until the process ends.
    pub fn serve(self, looking: Router) -> Result<()> {
        let runtime = runtime()?;
        let entered = runtime.enter();
        runtime.spawn(self.served("metrics", with_fallbacks(looking))?);
        drop(entered);
        Ok(go_on(runtime)?)
    }

    fn served(
        self,
        what: &'static str,
        router: Router,
    ) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let Address { listener, bound } = self;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let host = if bound.ip().is_loopback() { Host::OfThisMachine } else { Host::Any };
        let guard = middleware::from_fn(move |request, next| guarded(host, request, next));
        let router = router.layer(guard);
        tracing::info!(address = %bound, "serving {what}");
        Ok(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "no longer serving {what}");
            }
        })
    }
}

impl Doors {
    /// Serves until the process ends. What is returned removes the socket's file when it goes.
    pub fn open(self, fleet: &Arc<Fleet>) -> Result<Option<socket::Place>> {
        let Doors { address: None, mcp: None, socket: None, heartbeat: None } = self else {
            return self.serve(fleet);
        };
        Ok(None)
    }

    fn serve(self, fleet: &Arc<Fleet>) -> Result<Option<socket::Place>> {
        let runtime = runtime()?;
        let entered = runtime.enter();
        if let Some(address) = self.address {
            let router = with_fallbacks(looking(Arc::clone(fleet)));
            runtime.spawn(address.served("metrics", router)?);
        }
        if let Some((address, Mcp { config, token })) = self.mcp {
            let server = mcp::Server::new(Arc::clone(fleet), config, token);
            runtime.spawn(address.served("MCP", mcp::router(server))?);
        }
        let mut place = None;
        if let Some(bound) = self.socket {
            let (listener, file) = bound.into_parts();
            let listener = tokio::net::UnixListener::from_std(listener)?;
            let router = looking(Arc::clone(fleet)).merge(control::router(Arc::clone(fleet)));
            let router = with_fallbacks(router.merge(pprof::router()));
            runtime.spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%error, "the control socket is served no more");
                }
            });
            tracing::info!(path = %file.path().display(), "control socket listening");
            place = Some(file);
        }
        if let Some(heartbeat) = self.heartbeat {
            runtime.spawn(heartbeat::beat(heartbeat, Arc::clone(fleet)));
        }
        drop(entered);
        go_on(runtime)?;
        Ok(place)
    }
}

fn runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(WAITING).build()
}

/// Runs what was given to a runtime until the process ends.
fn go_on(runtime: Runtime) -> std::io::Result<()> {
    let named = thread::Builder::new().name("http".into());
    named.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(())
}

/// What changes nothing.
fn looking(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/metrics", get(all_metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(fleet)
}

fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
        })
}

async fn all_metrics(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let page = metrics::render(&fleet.statuses());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page)
}

/// How much is borne, if it is not what usually is: durations such as `30s`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Bearable {
    max_lag: Option<String>,
    max_verify_age: Option<String>,
    max_snapshot_age: Option<String>,
}

impl Bearable {
    /// What it says, or why it says nothing.
    pub fn thresholds(&self) -> std::result::Result<Thresholds, String> {
        let read = |name: &str, text: &Option<String>| {
            let duration = text.as_deref().map(go_duration::parse).transpose();
            duration.map_err(|error| format!("{name}: {error}\n"))
        };
        Ok(Thresholds {
            lag: read("max-lag", &self.max_lag)?,
            verified: read("max-verify-age", &self.max_verify_age)?,
            snapshot: read("max-snapshot-age", &self.max_snapshot_age)?,
        })
    }
}

async fn readyz(State(fleet): State<Arc<Fleet>>, Query(bearable): Query<Bearable>) -> Response {
    let thresholds = match bearable.thresholds() {
        Ok(thresholds) => thresholds,
        Err(refused) => return (StatusCode::BAD_REQUEST, refused).into_response(),
    };
    let problems = health::of(&fleet, &thresholds);
    let behind: String =
        problems.iter().filter(|it| it.behind).map(|it| format!("{it}\n")).collect();
    match behind.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, behind).into_response(),
    }
}

async fn status(State(fleet): State<Arc<Fleet>>, Query(bearable): Query<Bearable>) -> Response {
    match bearable.thresholds() {
        Ok(thresholds) => control::json(StatusCode::OK, &served::status(&fleet, &thresholds)),
        Err(refused) => (StatusCode::BAD_REQUEST, refused).into_response(),
    }
}

/// By which names we may be called.
#[derive(Debug, Clone, Copy)]
enum Host {
    /// Whoever listens at this machine's own addresses has no other.
    OfThisMachine,
    /// On a network nobody knows.
    Any,
}

/// A page in a browser may reach this machine under a name of its own making: only names that mean
/// this machine are answered, and no page of another origin.
async fn guarded(host: Host, request: Request, next: Next) -> Response {
    match is_welcome(host, request.headers()) {
        true => next.run(request).await,
        false => {
            (StatusCode::FORBIDDEN, "this is not for other names or origins\n").into_response()
        }
    }
}

fn is_welcome(host: Host, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (called, origin) = (text(header::HOST), text(header::ORIGIN));
    let bare = |origin: &str| origin.split_once("://").map(|(_, rest)| rest.to_owned());
    match host {
        Host::OfThisMachine => {
            called.is_none_or(is_local)
                && origin.is_none_or(|it| bare(it).is_some_and(|it| is_local(&it)))
        }
        Host::Any => origin.is_none_or(|it| bare(it).as_deref() == called),
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, _)) => literal,
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost:9090", "LOCALHOST", "127.0.0.1:1", "[::1]:9090"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example:9090", "localhost.evil.example", "10.0.0.1", ""] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_not_welcome() {
        let welcome = |host, called: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            let mut set = |name, value: Option<&str>| {
                value.map(|value| headers.insert(name, value.parse().unwrap()));
            };
            set(header::HOST, called);
            set(header::ORIGIN, origin);
            is_welcome(host, &headers)
        };
        let here = Some("localhost:9090");
        assert!(welcome(Host::OfThisMachine, here, None));
        assert!(welcome(Host::OfThisMachine, None, None));
        assert!(welcome(Host::OfThisMachine, here, Some("http://localhost:3000")));
        assert!(!welcome(Host::OfThisMachine, here, Some("http://evil.example")));
        assert!(!welcome(Host::OfThisMachine, here, Some("null")));
        assert!(!welcome(Host::OfThisMachine, Some("evil.example"), None));
        let there = Some("db.example:9090");
        assert!(welcome(Host::Any, there, None));
        assert!(welcome(Host::Any, there, Some("http://db.example:9090")));
        assert!(!welcome(Host::Any, there, Some("http://evil.example")));
    }
}
