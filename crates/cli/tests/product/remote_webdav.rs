//! `WebDAV`, by Apache. (Litestream's client and Digest authentication by `wsgidav` do not agree.)

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

#[test]
fn either_reads_and_continues_on_webdav_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::ApacheDav) else { return };
    let replica = format!("{{url: \"webdav://davuser:davpass@{}/my%20db/app\"}}", server.host);
    // The server's own times are all that Litestream has to go by.
    let place = Place { replica, environment: &[], keeps_times: false };
    either_reads_and_continues_what_the_other_wrote("webdav", &place);
}

#[test]
fn a_backup_of_version_3_restores_from_webdav() {
    let Some(server) = Server::start(Kind::ApacheDav) else { return };
    let replica = format!("{{url: \"webdav://davuser:davpass@{}/old\"}}", server.host);
    let place = Place { replica, environment: &[], keeps_times: false };
    let login = "ZGF2dXNlcjpkYXZwYXNz";
    let remote =
        format!(":webdav,headers='Authorization,Basic {login}',url='http://{}/':old", server.host);
    a_backup_of_version_3_restores("webdav-v3", &place, &remote);
}
