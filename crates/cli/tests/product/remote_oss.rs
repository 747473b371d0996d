//! Alibaba OSS, by a stand-in for it.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

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

#[test]
fn a_backup_of_version_3_restores_from_oss() {
    let Some(server) = Server::start(Kind::Oss) else { return };
    let bucket = server.directory().join("oss/bkt1");
    std::fs::create_dir_all(&bucket).expect("make the bucket");
    let replica = format!(
        "{{type: oss, bucket: bkt1, path: old, endpoint: \"http://{}\", region: cn-test, \
         access-key-id: testkey, secret-access-key: testsecret}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    let remote = bucket.join("old").display().to_string();
    a_backup_of_version_3_restores("oss-v3", &place, &remote);
}
