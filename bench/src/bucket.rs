//! A bucket on a real S3 server, with a wiretap before it.

use anyhow::Result;
use testkit::Server;
use testkit::server::Kind;

use crate::wiretap::Wiretap;

const NAME: &str = "bench";

/// The server, and what is heard of it.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) tap: Wiretap,
    _server: Server,
}

impl Bucket {
    /// Starts `SeaweedFS`; none if it is not installed, which is said.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(server) = Server::start(Kind::Seaweed) else { return Ok(None) };
        server.create_bucket(NAME);
        Ok(Some(Self { tap: Wiretap::before(&server.host)?, _server: server }))
    }

    /// A replica that nobody has.
    pub(crate) fn fresh_url(&self) -> String {
        format!("s3://{NAME}/{}?endpoint=http://{}", Server::fresh_name(), self.tap.host)
    }
}
