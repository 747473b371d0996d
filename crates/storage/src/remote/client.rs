//! What a server is asked for.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ltx::Timestamp;

use super::{Body, SILENCE};
use crate::address::Kind;
use crate::layout::Layout;
use crate::{Condition, Result, Version};

/// The requests that a kind of server understands, each tried once.
///
/// Names are relative to the replica's root, with slashes and without one in front. Errors name
/// the object in full and tell by their kind whether another try may help.
pub(crate) trait Client: Send + Sync + fmt::Debug + 'static {
    /// An upload in parts.
    type Session: Send + Sync + 'static;

    /// The kind of server.
    fn kind(&self) -> Kind;

    /// The replica's URL, without secrets.
    fn url(&self) -> String;

    /// How levels are named there.
    fn layout(&self) -> Layout;

    /// How large objects are uploaded.
    fn parts(&self) -> Parts;

    /// How long the server may be silent. What fails is tried again for as long.
    fn silence(&self) -> Duration {
        SILENCE
    }

    /// How many names one [`Client::delete`] may hold.
    fn most_deletes(&self) -> usize {
        1000
    }

    /// One page of the names that begin with `prefix`, at any depth. It is empty or ends with a
    /// slash, but for the beginning that all levels have in [`Layout::Hex`]. The
    /// server may leave out those that sort before `from`. `page` is what the page before gave.
    fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        page: Option<&str>,
    ) -> impl Future<Output = Result<Page>> + Send;

    /// An object's bytes from `offset` on: `length` of them, or all.
    ///
    /// A range that begins at or after the object's end is [`crate::Error::Short`].
    fn get(
        &self,
        key: &str,
        offset: u64,
        length: Option<u64>,
    ) -> impl Future<Output = Result<Body>> + Send;

    /// Stores a small object as a whole, in place of an older one. Gives its version where the
    /// server has such; a server that has none and is given a condition refuses as unsupported.
    fn put(&self, put: Put<'_>) -> impl Future<Output = Result<Option<Version>>> + Send;

    /// Begins an upload in parts. Nothing is visible under the name before it is finished.
    fn begin(
        &self,
        key: &str,
        created: Timestamp,
    ) -> impl Future<Output = Result<Self::Session>> + Send;

    /// Uploads one part.
    fn put_part(
        &self,
        session: &Self::Session,
        part: Part,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Makes the object of so many parts and bytes visible.
    fn finish(
        &self,
        session: &Self::Session,
        parts: u32,
        size: u64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Gives an upload up, and takes away what it left.
    fn abort(&self, session: &Self::Session) -> impl Future<Output = Result<()>> + Send;

    /// Removes objects. Missing ones count as removed.
    fn delete(&self, keys: &[String]) -> impl Future<Output = Result<()>> + Send;
}

/// An object to store as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Put<'a> {
    pub(crate) key: &'a str,
    pub(crate) body: Bytes,
    /// The creation time to note with it.
    pub(crate) created: Option<Timestamp>,
    /// When not to.
    pub(crate) condition: Option<&'a Condition>,
}

/// A part of an object.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// From 0.
    pub(crate) number: u32,
    /// Where in the object it begins, in bytes.
    pub(crate) offset: u64,
    pub(crate) body: Bytes,
}

/// How large objects are uploaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// Bytes of a part of an object of no unusual size; smaller objects go out whole.
    pub(crate) size: usize,
    /// How many parts an object may have.
    pub(crate) most: u32,
    /// How many may be on their way at once. With 1 they come in order.
    pub(crate) at_once: usize,
    /// Whether all but the last must have the same size.
    pub(crate) equal: bool,
    /// Whether a part may be sent again after a failure.
    pub(crate) repeatable: bool,
}

/// A part of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Names the next page, if there is one.
    pub(crate) next: Option<String>,
}

/// One name in a listing.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// When it was created, as well as the server knows: as the uploader said, or when it arrived.
    pub(crate) created: Timestamp,
}
