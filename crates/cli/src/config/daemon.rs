//! What concerns the running program: `logging`, `socket`, MCP, heartbeats.

use std::path::PathBuf;
use std::time::Duration;

use super::absolute;
use super::keys;
use super::problem::Problem;
use super::section::{Section, Text};
use crate::logging::{Format, Level};
use crate::secret::Secret;

type Result<T> = std::result::Result<T, Problem>;

/// Where the control socket is, unless told otherwise.
pub const SOCKET_PATH: &str = "/var/run/litestream.sock";
const SOCKET_MODE: u32 = 0o600;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5 * 60);
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(60);

/// The `logging` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// The least important level to show.
    pub level: Option<Level>,
    /// How a line is written.
    pub format: Format,
    /// Whether logs go to stderr, which is the default, or to stdout.
    pub stderr: Option<bool>,
    /// Whether lines name their place in the source.
    pub source: bool,
}

/// The `socket` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Whether there is to be one.
    pub enabled: bool,
    /// Absolute.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
}

impl Default for Socket {
    fn default() -> Socket {
        Socket { enabled: false, path: SOCKET_PATH.into(), mode: SOCKET_MODE }
    }
}

/// Who is told that all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// `http://` or `https://`.
    pub url: String,
    /// At least a minute.
    pub interval: Duration,
}

/// The MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mcp {
    /// Where it listens.
    pub address: String,
    /// What its clients must present.
    pub token: Option<Secret>,
}

/// Reads the `logging` section.
pub fn logging(root: &Section<'_>) -> Result<Logging> {
    let Some(section) = root.section("logging", &keys::LOGGING)? else {
        return Ok(Logging::default());
    };
    let level = section.text("level")?.map(|Text { line, text }| {
        text.parse::<Level>().map_err(|error| {
            Problem::new(line, format_args!("logging.level: {error}"))
                .hint("levels: trace, debug, info, warn, error")
        })
    });
    let format = section.text("type")?.map(|Text { line, text }| match text.as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "pretty" => Ok(Format::Pretty),
        _ => Err(Problem::new(line, format_args!("logging.type: {text:?} is not a type"))
            .hint("types: text, json, pretty")),
    });
    Ok(Logging {
        level: level.transpose()?,
        format: format.transpose()?.unwrap_or_default(),
        stderr: section.flag("stderr")?,
        source: section.flag("source")?.unwrap_or(false),
    })
}

/// Reads the `socket` section.
pub fn socket(root: &Section<'_>) -> Result<Socket> {
    let mut socket = Socket::default();
    let Some(section) = root.section("socket", &keys::SOCKET)? else { return Ok(socket) };
    socket.enabled = section.flag("enabled")?.unwrap_or(socket.enabled);
    socket.mode = section.mode("permissions")?.unwrap_or(socket.mode);
    if let Some(path) = section.place("path")? {
        socket.path = absolute(&path)?;
    }
    Ok(socket)
}

/// Reads `mcp-addr` and `mcp-token`.
pub fn mcp(root: &Section<'_>) -> Result<Option<Mcp>> {
    let token = root.secret("mcp-token")?;
    match (root.text("mcp-addr")?, token) {
        (None, None) => Ok(None),
        (None, Some(Text { line, .. })) => {
            Err(Problem::new(line, "mcp-token means nothing without mcp-addr"))
        }
        (Some(Text { text: address, .. }), token) => {
            Ok(Some(Mcp { address, token: token.map(|it| Secret::new(it.text)) }))
        }
    }
}

/// Reads `heartbeat-url` and `heartbeat-interval`.
pub fn heartbeat(root: &Section<'_>) -> Result<Option<Heartbeat>> {
    let interval = root.interval("heartbeat-interval")?.unwrap_or(HEARTBEAT_INTERVAL);
    if interval < SHORTEST_HEARTBEAT {
        let line = root.node("heartbeat-interval").map_or(root.line, |node| node.line);
        return Err(Problem::new(line, "heartbeat-interval must be a minute or more"));
    }
    let Some(Text { line, text: url }) = root.place("heartbeat-url")? else { return Ok(None) };
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(Problem::new(line, "heartbeat-url must begin with http:// or https://"));
    }
    Ok(Some(Heartbeat { url, interval }))
}
