//! The connection. The client under it comes back by itself; what was under way when it was lost
//! fails at once, and is tried again above.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::context::{
    ContextBuilder, GetStreamErrorKind, PublishError, PublishErrorKind,
};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ClientError, ConnectErrorKind, Event, ServerError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::settings::Settings;
use crate::remote::SILENCE;
use crate::{Error, Result};

/// How the client stands with the server.
#[derive(Debug, Clone)]
enum Standing {
    Up,
    /// It tries to come back.
    Lost(String),
    /// It has given up.
    Closed,
}

/// The same, and how often it fell: a connection that is back at once was lost all the same, with
/// what was under way.
#[derive(Debug, Clone)]
struct Stand {
    standing: Standing,
    falls: u64,
}

impl Stand {
    fn turn(&mut self, standing: Standing) {
        self.falls += u64::from(!matches!(standing, Standing::Up));
        self.standing = standing;
    }
}

/// A connection, and the stream that a bucket is.
pub(super) struct Link {
    client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream,
    stand: watch::Receiver<Stand>,
    /// What the server did not allow last. It does not say to which request that belongs.
    refusal: watch::Receiver<String>,
    /// Whether the stream was not there when it was needed.
    is_adrift: AtomicBool,
}

impl Link {
    pub(super) async fn connect(settings: &Settings, object: &str) -> Result<Link> {
        let (stands, stand) = watch::channel(Stand { standing: Standing::Up, falls: 0 });
        let (refusals, refusal) = watch::channel(String::new());
        let options = settings.connect_options(object).await?.event_callback(move |event| {
            match event {
                Event::ServerError(ServerError::Other(text)) if is_refusal(&text) => {
                    refusals.send_replace(text);
                }
                event => {
                    if let Some(it) = standing_after(event) {
                        stands.send_modify(|stand| stand.turn(it));
                    }
                }
            }
            std::future::ready(())
        });
        let servers = settings.servers.clone();
        let client = options.connect(servers).await.map_err(|error| {
            let (object, reason) = (object.to_owned(), text(&error));
            match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    Error::Denied { object, reason }
                }
                _ => Error::Unreachable { object, reason },
            }
        })?;
        let context =
            ContextBuilder::new().timeout(SILENCE).ack_timeout(SILENCE).build(client.clone());
        let stream = context.get_stream(format!("OBJ_{}", settings.bucket)).await;
        let stream = stream.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) => refused(object, &error),
            _ => unreachable(object, &error),
        })?;
        Ok(Link { client, context, stream, stand, refusal, is_adrift: AtomicBool::new(false) })
    }

    /// Whether only a new connection will do.
    pub(super) fn is_gone(&self) -> bool {
        self.is_adrift.load(Ordering::Relaxed)
            || matches!(self.stand.borrow().standing, Standing::Closed)
    }

    /// How many bytes a message may have.
    pub(super) fn most_bytes(&self) -> usize {
        self.client.server_info().max_payload
    }

    pub(super) fn inbox(&self) -> String {
        self.client.new_inbox()
    }

    /// Does something, unless the connection is lost meanwhile. Begins once it is there: what is
    /// given to the client before would pile up in its memory.
    pub(super) async fn during<T>(
        &self,
        object: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (mut stand, mut refusal) = (self.stand.clone(), self.refusal.clone());
        let falls = self.wait(object, &mut stand).await?;
        refusal.mark_unchanged();
        tokio::select! {
            biased;
            result = work => result,
            Ok(fallen) = stand.wait_for(|it| it.falls != falls) => {
                Err(meaning(object, &fallen.standing))
            }
            Ok(()) = refusal.changed() => {
                let reason = refusal.borrow().clone();
                Err(Error::Denied { object: object.to_owned(), reason })
            }
        }
    }

    /// Waits until it stands. Gives how often it fell before.
    async fn wait(&self, object: &str, stand: &mut watch::Receiver<Stand>) -> Result<u64> {
        let is_decided = stand.wait_for(|it| !matches!(it.standing, Standing::Lost(_)));
        let decided = timeout(SILENCE, is_decided).await.map(|it| it.map(|it| it.clone()));
        match decided {
            Ok(Ok(Stand { standing: Standing::Up, falls })) => Ok(falls),
            Ok(Ok(fallen)) => Err(meaning(object, &fallen.standing)),
            Ok(Err(_)) => Err(meaning(object, &Standing::Closed)),
            Err(_) => Err(meaning(object, &stand.borrow().standing)),
        }
    }

    /// What a failed publication means.
    pub(super) fn not_published(&self, object: &str, error: &PublishError) -> Error {
        let cause = StdError::source(error).and_then(|it| it.downcast_ref());
        match (error.kind(), cause) {
            (PublishErrorKind::WrongLastSequence, _) => {
                Error::Conflict { object: object.to_owned() }
            }
            (PublishErrorKind::StreamNotFound, _) => {
                self.is_adrift.store(true, Ordering::Relaxed);
                unreachable(object, error)
            }
            (_, Some(cause)) => refused(object, cause),
            _ => unreachable(object, error),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

fn standing_after(event: Event) -> Option<Standing> {
    match event {
        Event::Connected => Some(Standing::Up),
        Event::Disconnected => Some(Standing::Lost("the connection was lost".into())),
        Event::ClientError(ClientError::Other(reason)) => Some(Standing::Lost(reason)),
        Event::Closed | Event::ClientError(ClientError::MaxReconnects) => Some(Standing::Closed),
        _ => None,
    }
}

fn is_refusal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["permissions violation", "authorization", "authentication"].iter().any(|it| text.contains(it))
}

fn meaning(object: &str, standing: &Standing) -> Error {
    let object = object.to_owned();
    match standing {
        Standing::Lost(reason) if is_refusal(reason) => {
            Error::Denied { object, reason: reason.clone() }
        }
        Standing::Lost(reason) => Error::Unreachable { object, reason: reason.clone() },
        Standing::Up => Error::Unreachable { object, reason: "the connection was lost".into() },
        Standing::Closed => {
            Error::Unreachable { object, reason: "the connection is closed".into() }
        }
    }
}

/// What the server's refusal means.
pub(super) fn refused(object: &str, error: &async_nats::jetstream::Error) -> Error {
    let (object, reason) = (object.to_owned(), error.to_string());
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => {
            let reason = "there is no such bucket; hint: nats object add <bucket>".into();
            Error::NoBucket { object, reason }
        }
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Error::Unsupported { url: object, reason: "the server has no JetStream for us".into() }
        }
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
            Error::Conflict { object }
        }
        _ if error.code() == 503 => Error::Unreachable { object, reason },
        _ => Error::Io { object, source: std::io::Error::other(reason) },
    }
}

/// There was no answer, or none of use.
pub(super) fn unreachable(object: &str, error: &(dyn StdError + 'static)) -> Error {
    Error::Unreachable { object: object.to_owned(), reason: text(error) }
}

fn text(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
