//! An MCP server: what an assistant may ask of the daemon, with the tools of Litestream's.
//!
//! JSON-RPC over Streamable HTTP, without sessions and streams: each request is answered by itself.
//! Whoever presents the token may use all tools. Where there is no token, only those are offered
//! that look, and only at what the daemon's own configuration names.

mod call;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::control;
use super::fleet::Fleet;
use crate::args::ConfigArgs;
use crate::secret::Secret;
use call::Call;
use tools::Tool;

/// The editions of the protocol that are spoken, the newest first.
const EDITIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// Names the edition, after it was agreed upon.
const EDITION: &str = "mcp-protocol-version";
/// Most bytes of a request.
const MOST: usize = 64 * 1024;
/// Requests that are worked on at the same time, each of which may run a program: the control
/// socket, which has the same threads, shall not wait for assistants.
const WORKING: usize = 4;

/// JSON-RPC's numbers for what is wrong with a request.
const NO_JSON: i32 = -32700;
const NO_REQUEST: i32 = -32600;
const NO_SUCH_METHOD: i32 = -32601;
const BAD_PARAMETERS: i32 = -32602;

const INSTRUCTIONS: &str = "Streaming backup for SQLite databases. litestream_info tells what is \
                            replicated and how far behind it is; litestream_ltx lists what a \
                            replica holds.";

/// What answers.
pub struct Server {
    fleet: Arc<Fleet>,
    /// The daemon's own configuration.
    config: ConfigArgs,
    /// What clients must present.
    token: Option<Secret>,
    working: Arc<Semaphore>,
}

/// A request, or a notification if it has no id.
#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// Why a request is not fulfilled.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(i32, String);

type Answer = Result<Value, Refusal>;

/// Serves at every path, as Litestream does.
pub fn router(server: Server) -> Router {
    Router::new().fallback(serve).layer(DefaultBodyLimit::max(MOST)).with_state(Arc::new(server))
}

async fn serve(
    State(server): State<Arc<Server>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::POST {
        let allowed = [(header::ALLOW, "POST")];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed, "Method Not Allowed\n").into_response();
    }
    if !server.admits(&headers) {
        let asked = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, asked, "mcp-token is needed\n").into_response();
    }
    if headers.get(EDITION).is_some_and(|it| !EDITIONS.iter().any(|known| it == known)) {
        let known = EDITIONS.join(", ");
        return (StatusCode::BAD_REQUEST, format!("{EDITION}: {known}\n")).into_response();
    }
    let Ok(working) = Arc::clone(&server.working).acquire_owned().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // It lasts as long as the work does, whether or not the client still waits.
    let work = move || {
        let _working = working;
        server.answer(&body)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Some(answer)) => control::json(StatusCode::OK, &answer),
        Ok(None) => StatusCode::ACCEPTED.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Server {
    /// One with the tools that go with having a token or none.
    pub fn new(fleet: Arc<Fleet>, config: ConfigArgs, token: Option<Secret>) -> Server {
        Server { fleet, config, token, working: Arc::new(Semaphore::new(WORKING)) }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let given = given.and_then(|it| it.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer") && is_same(given.trim(), token.reveal())
        })
    }

    /// The answers to a request or to several; none where none are expected.
    fn answer(&self, body: &[u8]) -> Option<Value> {
        match serde_json::from_slice(body) {
            Err(error) => Some(refused(&Value::Null, &Refusal(NO_JSON, error.to_string()))),
            Ok(Value::Array(several)) if !several.is_empty() => {
                let answers: Vec<Value> =
                    several.into_iter().filter_map(|it| self.answer_one(it)).collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            Ok(one) => self.answer_one(one),
        }
    }

    fn answer_one(&self, message: Value) -> Option<Value> {
        let message: Message = match serde_json::from_value(message) {
            Ok(message) => message,
            Err(error) => {
                return Some(refused(&Value::Null, &Refusal(NO_REQUEST, error.to_string())));
            }
        };
        // A notification wants no answer, and an answer of the client's own does not either.
        let (id, method) = (message.id?, message.method?);
        Some(match self.call(&method, &message.params) {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(refusal) => refused(&id, &refusal),
        })
    }

    fn call(&self, method: &str, params: &Value) -> Answer {
        match method {
            "initialize" => Ok(json!({
                "protocolVersion": edition(params),
                "capabilities": {"tools": {}},
                "serverInfo": {
                    "name": env!("CARGO_PKG_NAME"),
                    "version": env!("CARGO_PKG_VERSION"),
                },
                "instructions": INSTRUCTIONS,
            })),
            "ping" => Ok(json!({})),
            "tools/list" => {
                let all = self.token.is_some();
                let offered = Tool::ALL.iter().filter(|it| all || it.only_looks());
                let tools: Vec<Value> = offered.map(|it| it.described(all)).collect();
                Ok(json!({ "tools": tools }))
            }
            "tools/call" => {
                let call = Call::read(params, self.token.is_some())
                    .map_err(|why| Refusal(BAD_PARAMETERS, why))?;
                let told = call.run(self);
                let content = json!([{"type": "text", "text": told.text}]);
                Ok(json!({"content": content, "isError": !told.is_done}))
            }
            _ => Err(Refusal(NO_SUCH_METHOD, format!("there is no method {method}"))),
        }
    }
}

/// The edition that a client asked for, or the newest that we know.
fn edition(params: &Value) -> &'static str {
    let asked = params["protocolVersion"].as_str();
    EDITIONS.into_iter().find(|it| asked == Some(it)).unwrap_or(EDITIONS[0])
}

fn refused(id: &Value, Refusal(code, message): &Refusal) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

/// Takes as long whatever the first difference is.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let differences = one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_as_a_whole_only() {
        assert!(is_same("hush", "hush"));
        for other in ["", "hus", "husht", "husH"] {
            assert!(!is_same("hush", other), "{other}");
        }
    }

    #[test]
    fn an_edition_is_agreed_upon() {
        let agreed = |asked: &str| edition(&json!({ "protocolVersion": asked }));
        assert_eq!(agreed("2025-06-18"), "2025-06-18");
        assert_eq!(agreed("2024-11-05"), "2025-11-25");
        assert_eq!(edition(&Value::Null), "2025-11-25");
    }
}
