//! Alibaba OSS, by a stand-in for it.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{Place, either_reads_and_continues_what_the_other_wrote};

#[test]
fn either_reads_and_continues_on_oss_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::Oss) else { return };
    std::fs::create_dir_all(server.directory().join("oss/bkt1")).expect("make the bucket");
    let replica = format!(
        "{{type: oss, bucket: bkt1, path: db/app, endpoint: \"http://{}\", region: cn-test, \
         access-key-id: testkey, secret-access-key: testsecret}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("oss", &place);
}
