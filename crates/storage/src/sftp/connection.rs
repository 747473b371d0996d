//! One SSH connection that carries SFTP.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelMsg, Preferred, SshId, cipher};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as Failure;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure;
use super::known::{self, Known, Verdict};
use super::login::Login;
use super::place::Place;
use super::watched::Watched;
use crate::remote::SILENCE;
use crate::{Error, Result, wire};

/// To reach a server, name look-up included.
const CONNECT: Duration = Duration::from_secs(10);
/// To log in and begin SFTP: servers like to wait before they refuse a password.
const BEGIN: Duration = Duration::from_secs(30);
/// An answer may take so long while the connection is alive: a server that writes a large file to
/// a slow disk for good answers nobody else meanwhile.
const ANSWER_SECONDS: u64 = 300;
/// What may come in before the server waits for us.
const WINDOW: u32 = 8 << 20;
/// The most that SSH allows.
const PACKET: u32 = 65_535;
/// Bytes of one read or write: as many as every server takes, and as many as pay.
const LEAST: u64 = 32 << 10;
const MOST: u64 = 128 << 10;

const RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const SPACE: &str = "statvfs@openssh.com";
const LIMITS: &str = "limits@openssh.com";

/// A connection, for all who need one.
pub(super) struct Connection {
    sftp: RawSftpSession,
    /// The connection lives as long as this.
    ssh: Handle<Guard>,
    pub(super) can: Abilities,
    is_lost: AtomicBool,
    parting: Parting,
    /// Directories that are open to be synced; none for those that cannot be.
    directories: tokio::sync::Mutex<HashMap<String, Option<String>>>,
}

/// What the server can do beyond the least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    /// Renames over an existing file.
    pub(super) replace: bool,
    pub(super) fsync: bool,
    tell_space: bool,
    /// Bytes of a read.
    pub(super) read: u32,
    /// Bytes of a write.
    pub(super) write: usize,
}

/// Why a connection ended, once somebody knows.
type Parting = Arc<Mutex<Option<String>>>;

/// Judges the server's key, and hears why the connection ends.
#[derive(Debug)]
pub(super) struct Guard {
    known: Known,
    /// The server's name, for the warning that nobody told us its key. None if it was said before.
    warning: Option<String>,
    parting: Parting,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// SSH failed.
    Ssh(russh::Error),
    /// We do not trust the server.
    Refused(String),
}

impl From<russh::Error> for End {
    fn from(error: russh::Error) -> End {
        End::Ssh(error)
    }
}

impl Connection {
    /// Connects and logs in. `object` names the replica in messages; `is_first` is whether a
    /// warning was not given before.
    pub(super) async fn open(
        object: &str,
        place: &Place,
        known: &Known,
        login: &Login,
        is_first: bool,
    ) -> Result<Connection> {
        let late = |what: &str, limit: Duration| {
            failure::lost(object, format!("{what} took more than {} s", limit.as_secs()))
        };
        let parting = Parting::default();
        let warning = is_first.then(|| place.known_as());
        let guard = Guard { known: known.clone(), warning, parting: Arc::clone(&parting) };
        let mut ssh = timeout(CONNECT, reach(object, place, guard))
            .await
            .map_err(|_| late("to connect", CONNECT))??;
        let begun = timeout(BEGIN, begin(object, login, &mut ssh)).await;
        let (sftp, can) = begun.map_err(|_| late("to log in", BEGIN))??;
        let (is_lost, directories) = (AtomicBool::new(false), tokio::sync::Mutex::default());
        Ok(Connection { sftp, ssh, can, is_lost, parting, directories })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// Waits for what was asked about `object`.
    pub(super) async fn ask<T>(
        &self,
        object: &str,
        asked: impl Future<Output = SftpResult<T>>,
    ) -> Result<T> {
        match asked.await {
            Ok(answer) => Ok(answer),
            Err(Failure::Status(status)) => Err(failure::meaning(object, status)),
            Err(error) => {
                self.is_lost.store(true, Ordering::Relaxed);
                let parting = self.parting.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(failure::lost(object, parting.unwrap_or_else(|| error.to_string())))
            }
        }
    }

    /// The requests themselves.
    pub(super) fn sftp(&self) -> &RawSftpSession {
        &self.sftp
    }

    /// Gives a file another name. Most servers refuse if something has it.
    pub(super) async fn rename(&self, object: &str, from: &str, to: &str) -> Result<()> {
        self.ask(object, self.sftp.rename(from, to)).await.map(|_| ())
    }

    /// Gives a file another name, in place of what has it: for servers that can `replace`.
    pub(super) async fn rename_over(&self, object: &str, from: &str, to: &str) -> Result<()> {
        let mut body = Vec::with_capacity(8 + from.len() + to.len());
        for name in [from, to] {
            body.extend_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(name.as_bytes());
        }
        let renamed = self.sftp.extended(RENAME, body);
        self.ask(object, async { succeeded(renamed.await?) }).await
    }

    /// Whether no space is left where `path` is, as far as the server can tell.
    pub(super) async fn is_full(&self, path: &str) -> bool {
        if !self.can.tell_space {
            return false;
        }
        self.sftp.statvfs(path).await.is_ok_and(|it| {
            let bytes = it.blocks_avail.saturating_mul(it.fragment_size);
            bytes < MOST || (it.inodes > 0 && it.inodes_avail == 0)
        })
    }

    /// Makes the names in a directory durable, where the server can.
    pub(super) async fn sync_directory(&self, object: &str, path: &str) -> Result<()> {
        match self.directory(path).await {
            Some(handle) => self.ask(object, self.sftp.fsync(handle)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The handle of a directory that can be synced, which one try tells.
    async fn directory(&self, path: &str) -> Option<String> {
        if !self.can.fsync {
            return None;
        }
        let mut directories = self.directories.lock().await;
        if let Some(known) = directories.get(path) {
            return known.clone();
        }
        let opened = self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await;
        let mut handle = opened.ok().map(|opened| opened.handle);
        if let Some(opened) = &handle
            && self.sftp.fsync(opened).await.is_err()
        {
            let _ = self.sftp.close(opened).await;
            handle = None;
        }
        directories.insert(path.to_owned(), handle.clone());
        handle
    }

    /// A directory that is not the one that it was.
    pub(super) async fn forget_directory(&self, path: &str) {
        let forgotten = self.directories.lock().await.remove(path);
        if let Some(handle) = forgotten.flatten() {
            let _ = self.sftp.close(handle).await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("can", &self.can).finish_non_exhaustive()
    }
}

impl client::Handler for Guard {
    type Error = End;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> std::result::Result<bool, End> {
        let key = shown.public_key();
        match self.known.judge(&key) {
            Verdict::Good => {}
            Verdict::Refused(reason) => return Err(End::Refused(reason)),
            Verdict::Unknown => {
                if let Some(server) = self.warning.take() {
                    tracing::warn!(
                        server,
                        fingerprint = known::fingerprint(&key),
                        "the server's host key is not known, so anybody could pose as it; set \
                         host-key: {}",
                        known::line(&key)
                    );
                }
            }
        }
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<End>,
    ) -> std::result::Result<(), End> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the server hung up: {}", info.message), Ok(()))
            }
            DisconnectReason::Error(End::Ssh(error)) => (ended(&error), Err(End::Ssh(error))),
            DisconnectReason::Error(End::Refused(reason)) => {
                (reason.clone(), Err(End::Refused(reason)))
            }
        };
        *self.parting.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        result
    }
}

async fn reach(object: &str, place: &Place, guard: Guard) -> Result<Handle<Guard>> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await;
    let stream = stream.map_err(|error| failure::lost(object, error))?;
    // Requests are small and wait for each other's answers.
    stream.set_nodelay(true).map_err(|error| failure::lost(object, error))?;
    let config = Arc::new(config(&guard.known));
    client::connect_stream(config, Watched::new(stream, SILENCE), guard).await.map_err(|end| {
        match end {
            End::Refused(reason) => Error::Denied { object: object.to_owned(), reason },
            End::Ssh(error) => failure::lost(object, ended(&error)),
        }
    })
}

/// Logs in and begins SFTP.
async fn begin(
    object: &str,
    login: &Login,
    ssh: &mut Handle<Guard>,
) -> Result<(RawSftpSession, Abilities)> {
    login.log_in(object, ssh).await?;
    let mut channel = ssh.channel_open_session().await.map_err(|error| match error {
        russh::Error::ChannelOpenFailure(reason) => refused(object, format!("{reason:?}")),
        error => failure::lost(object, ended(&error)),
    })?;
    let asked = channel.request_subsystem(true, "sftp").await;
    asked.map_err(|error| failure::lost(object, ended(&error)))?;
    await_subsystem(object, &mut channel).await?;
    let sftp = RawSftpSession::new(channel.into_stream());
    sftp.set_timeout(ANSWER_SECONDS);
    let version = sftp.init().await.map_err(|error| refused(object, error.to_string()))?;
    let has = |name: &str| version.extensions.contains_key(name);
    let limits = match has(LIMITS) {
        true => sftp.limits().await.ok(),
        false => None,
    };
    let bytes = |limit: Option<u64>| limit.filter(|it| *it > 0).unwrap_or(LEAST).min(MOST);
    let can = Abilities {
        replace: has(RENAME),
        fsync: has(FSYNC),
        tell_space: has(SPACE),
        read: u32::try_from(bytes(limits.as_ref().map(|it| it.max_read_len))).unwrap_or(1),
        write: usize::try_from(bytes(limits.as_ref().map(|it| it.max_write_len))).unwrap_or(1),
    };
    Ok((sftp, can))
}

async fn await_subsystem(object: &str, channel: &mut Channel<Msg>) -> Result<()> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::Eof) => {
                return Err(refused(object, "it has none for this user".into()));
            }
            None => return Err(failure::lost(object, "the server hung up")),
            Some(_) => {}
        }
    }
}

fn refused(object: &str, reason: String) -> Error {
    let reason = format!("the server gives no SFTP: {}", wire::shortened(reason));
    Error::Denied { object: object.to_owned(), reason }
}

fn config(known: &Known) -> client::Config {
    let keys = known.preferred(&Preferred::DEFAULT.key);
    let id = concat!("SSH-2.0-brooklet_", env!("CARGO_PKG_VERSION"));
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(id)),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        // So that a server that lives is heard of twice before it counts as silent.
        keepalive_interval: Some(SILENCE / 3),
        keepalive_max: 0,
        preferred: Preferred {
            key: Cow::Owned(keys),
            cipher: Cow::Borrowed(ciphers()),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// AES comes first where the processor has it.
fn ciphers() -> &'static [cipher::Name] {
    const WITH_AES: &[cipher::Name] = &[
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ];
    const WITHOUT: &[cipher::Name] = &[
        cipher::CHACHA20_POLY1305,
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ];
    #[cfg(target_arch = "x86_64")]
    let has_aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    if has_aes { WITH_AES } else { WITHOUT }
}

fn ended(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(error) => error.to_string(),
        russh::Error::Disconnect | russh::Error::HUP => "the server hung up".into(),
        error => error.to_string(),
    }
}

/// An answer that is a status, and a good one.
fn succeeded(packet: Packet) -> SftpResult<()> {
    match packet {
        Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
        Packet::Status(status) => Err(status.into()),
        _ => Err(Failure::UnexpectedPacket),
    }
}
