//! SFTP: a directory on any machine that one can log in to.
//!
//! Version 3 of the protocol, which is the one that servers speak, and OpenSSH's extensions where
//! the server has them. (`datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02`,
//! OpenSSH's `PROTOCOL`)
//!
//! Options: `user`, `password`, `key-path` (with its certificate beside it, if there is one),
//! `key-passphrase`, `host-key`, `known-hosts`, `strict-host-key`, `concurrent-writes`, `path`.
//! A server whose host key is neither given nor in a file of known hosts is connected to with a
//! warning, as Litestream does, unless `strict-host-key` is on. A key that differs from the known
//! one is always refused.

mod connection;
mod directory;
mod failure;
mod file;
mod known;
mod login;
mod place;
mod server;
mod watched;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use ltx::Timestamp;
use russh_sftp::protocol::OpenFlags;
use tokio::sync::watch;

use crate::address::{Address, Kind};
use crate::layout::{Layout, TEMP_SUFFIX};
use crate::remote::{Body, Client, Entry, Page, Part, Parts, Put};
use crate::{Environment, Error, Options, Result, Version};
use connection::Connection;
use file::File;
use place::Place;
use server::Server;

/// Parts come one after the other, and many requests are on their way for each: what a part is
/// matters little.
const PART: usize = 4 << 20;
/// Requests for removal that are on their way at once.
const REMOVALS: usize = 32;

/// A replica in a directory of a server.
#[derive(Debug)]
pub(crate) struct Sftp {
    address: Address,
    place: Place,
    server: Server,
    /// Whether the pieces of a file may be on their way at once.
    at_once: bool,
    /// Directories that were seen to be there.
    directories: Mutex<HashSet<String>>,
    leftovers: Arc<Leftovers>,
}

/// An upload in parts.
#[derive(Debug)]
pub(crate) struct Session {
    key: String,
    created: Timestamp,
    file: File,
    temporary: Temporary,
    /// The part that is to be sent next.
    turn: watch::Sender<u32>,
}

/// Temporary files whose uploads failed.
#[derive(Debug, Default)]
struct Leftovers(Mutex<Vec<String>>);

/// A file that has not got its real name yet; dropped, it is a leftover.
#[derive(Debug)]
struct Temporary {
    path: String,
    /// Whether nobody needs to remove it: it has its real name, or is among the leftovers.
    is_settled: AtomicBool,
    leftovers: Arc<Leftovers>,
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options, env: &Environment) -> Result<String> {
    Ok(Place::find(address, options, env)?.spelled())
}

impl Sftp {
    /// The server and the directory of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<Sftp> {
        let place = Place::find(address, options, env)?;
        known::Known::given(options)?;
        Ok(Sftp {
            server: Server::new(address, &place, options, env),
            place,
            address: address.clone(),
            at_once: options.switch("concurrent-writes")?.unwrap_or(true),
            directories: Mutex::default(),
            leftovers: Arc::default(),
        })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url().trim_end_matches('/'))
    }

    /// A connection, once what failed uploads left is removed.
    async fn connection(&self) -> Result<Arc<Connection>> {
        let connection = self.server.connection().await?;
        self.tidy(&connection).await;
        Ok(connection)
    }

    /// Removes leftovers. Those that a broken connection keeps us from removing wait for the next.
    async fn tidy(&self, connection: &Connection) {
        for path in self.leftovers.take() {
            let removed = connection.ask(&path, connection.sftp().remove(&path)).await;
            if removed.is_err_and(|error| error.is_passing()) {
                self.leftovers.add(path);
            }
        }
    }

    /// A new file beside the one that `key` names, in a directory that is there.
    async fn start(&self, key: &str) -> Result<(File, Temporary)> {
        let (connection, object) = (self.connection().await?, self.object(key));
        let path = self.place.path(key);
        let directory = parent(&path);
        self.prepare(&connection, &object, directory).await?;
        let temporary = Temporary {
            path: format!("{path}.{:016x}{TEMP_SUFFIX}", fastrand::u64(..)),
            is_settled: AtomicBool::new(false),
            leftovers: Arc::clone(&self.leftovers),
        };
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        let open = || File::open(Arc::clone(&connection), &object, &temporary.path, flags);
        let file = match open().await {
            // Somebody has removed the directory since we saw it.
            Err(error) if error.is_not_found() => {
                self.forget(&connection, directory).await;
                self.prepare(&connection, &object, directory).await?;
                open().await?
            }
            Err(Error::Io { .. }) if connection.is_full(directory).await => {
                return Err(failure::full(&object));
            }
            opened => opened?,
        };
        Ok((file, temporary))
    }

    /// Makes a directory, or cleans it up, the first time that it is needed.
    async fn prepare(&self, connection: &Connection, object: &str, directory: &str) -> Result<()> {
        if self.seen().contains(directory) {
            return Ok(());
        }
        let names = directory::read(connection, object, directory).await?;
        match names.is_empty() {
            true => directory::make(connection, object, directory).await?,
            false => directory::sweep(connection, directory, &names).await,
        }
        self.seen().insert(directory.to_owned());
        Ok(())
    }

    async fn forget(&self, connection: &Connection, directory: &str) {
        self.seen().remove(directory);
        connection.forget_directory(directory).await;
    }

    fn seen(&self) -> MutexGuard<'_, HashSet<String>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a written file durable and gives it its name.
    async fn commit(&self, key: &str, file: &File, size: u64, at: Option<Timestamp>) -> Result<()> {
        file.seal(size, at).await?;
        let (connection, object, path) =
            (file.connection(), self.object(key), self.place.path(key));
        let directory = parent(&path);
        if connection.can.fsync && connection.can.replace {
            // Nothing of it can fail any more for want of what came before, so that one wait does.
            let (closed, renamed, synced) = futures_util::future::join3(
                file.close(),
                connection.rename_over(&object, file.path(), &path),
                connection.sync_directory(&object, directory),
            )
            .await;
            renamed?;
            closed?;
            return synced;
        }
        file.close().await?;
        match connection.can.replace {
            true => connection.rename_over(&object, file.path(), &path).await?,
            false => self.rename(connection, &object, file.path(), &path).await?,
        }
        connection.sync_directory(&object, directory).await
    }

    /// For servers that cannot replace a file in one step. What has the name is put aside meanwhile,
    /// under a name that nobody cleans up.
    async fn rename(
        &self,
        connection: &Connection,
        object: &str,
        from: &str,
        to: &str,
    ) -> Result<()> {
        let refused = match connection.rename(object, from, to).await {
            Err(error) if !error.is_passing() => error,
            renamed => return renamed,
        };
        let aside = format!("{to}.{:016x}.old", fastrand::u64(..));
        if connection.rename(object, to, &aside).await.is_err() {
            return Err(refused);
        }
        if let Err(error) = connection.rename(object, from, to).await {
            connection.rename(object, &aside, to).await?;
            return Err(error);
        }
        self.leftovers.add(aside);
        self.tidy(connection).await;
        Ok(())
    }

    async fn put_whole(&self, put: &Put<'_>) -> Result<()> {
        let (file, temporary) = self.start(put.key).await?;
        file.write(0, &put.body, self.at_once, || ()).await?;
        self.commit(put.key, &file, put.body.len() as u64, put.created).await?;
        temporary.settle();
        Ok(())
    }
}

impl Client for Sftp {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::Sftp
    }

    fn url(&self) -> String {
        self.address.to_string()
    }

    fn layout(&self) -> Layout {
        Layout::Ltx
    }

    fn parts(&self) -> Parts {
        // What a lost connection had written may be lost with it, if the server went down: then all
        // of the object is sent again.
        let at_once = if self.at_once { 2 } else { 1 };
        Parts { size: PART, most: u32::MAX, at_once, equal: true, repeatable: false }
    }

    async fn list(&self, prefix: &str, _from: Option<&str>, _page: Option<&str>) -> Result<Page> {
        let (connection, object) = (self.connection().await?, self.object(prefix));
        let directory = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut entries = directory::walk(&connection, &self.place, &object, directory).await?;
        entries.retain(|entry: &Entry| entry.name.starts_with(prefix));
        Ok(Page { entries, next: None })
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let (connection, object) = (self.connection().await?, self.object(key));
        let file = File::open(connection, &object, &self.place.path(key), OpenFlags::READ).await?;
        let (size, first) = file.begin(offset, length).await?;
        if offset >= size {
            return Err(Error::Short { object, offset, wanted: length.unwrap_or(0) });
        }
        let end = length.map_or(size, |length| size.min(offset.saturating_add(length)));
        let rest = Arc::new(file).read(offset + first.len() as u64, end);
        let bytes = stream::once(std::future::ready(Ok(first))).chain(rest);
        Ok(Body::new(object, Some(size), bytes))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        if put.condition.is_some() {
            let reason = "SFTP has no conditional writes".into();
            return Err(Error::Unsupported { url: self.url(), reason });
        }
        let result = self.put_whole(&put).await;
        if result.is_err()
            && let Some(connection) = self.server.living().await
        {
            self.tidy(&connection).await;
        }
        result.map(|()| None)
    }

    async fn begin(&self, key: &str, created: Timestamp) -> Result<Session> {
        let (file, temporary) = self.start(key).await?;
        let (key, turn) = (key.to_owned(), watch::Sender::new(0));
        Ok(Session { key, created, file, temporary, turn })
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        // Some servers take a file's bytes only in their order.
        let mut turns = session.turn.subscribe();
        let _ = turns.wait_for(|turn| *turn >= part.number).await;
        let on_sent = || {
            session.turn.send_replace(part.number + 1);
        };
        session.file.write(part.offset, &part.body, self.at_once, on_sent).await
    }

    async fn finish(&self, session: &Session, _parts: u32, size: u64) -> Result<()> {
        self.commit(&session.key, &session.file, size, Some(session.created)).await?;
        session.temporary.settle();
        Ok(())
    }

    async fn abort(&self, session: &Session) -> Result<()> {
        let _ = session.file.close().await;
        session.temporary.give_up();
        if let Some(connection) = self.server.living().await {
            self.tidy(&connection).await;
        }
        Ok(())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let connection = self.connection().await?;
        let remove = |key: &String| {
            let (object, path) = (self.object(key), self.place.path(key));
            let connection = &connection;
            async move { connection.ask(&object, connection.sftp().remove(path)).await }
        };
        let mut removals = stream::iter(keys).map(remove).buffer_unordered(REMOVALS);
        while let Some(removed) = removals.next().await {
            match removed {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Leftovers {
    fn add(&self, path: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Temporary {
    /// It has its real name. Tells whether it had none before.
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Ordering::Relaxed)
    }

    /// It will never have one.
    fn give_up(&self) {
        if self.settle() {
            self.leftovers.add(self.path.clone());
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
        None => ".",
    }
}
