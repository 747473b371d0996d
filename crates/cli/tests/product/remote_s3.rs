//! S3, by `SeaweedFS`.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

#[test]
fn either_reads_and_continues_on_s3_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let replica = format!(
        "{{type: s3, bucket: bkt1, path: db/app, endpoint: \"http://{}\", region: us-east-1, \
         access-key-id: testkey, secret-access-key: testsecret}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("s3", &place);
}

#[test]
fn a_backup_of_version_3_restores_from_s3() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let replica = format!(
        "{{type: s3, bucket: bkt1, path: old, endpoint: \"http://{}\", region: us-east-1, \
         access-key-id: testkey, secret-access-key: testsecret}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    let remote = format!(
        ":s3,provider=Other,access_key_id=testkey,secret_access_key=testsecret,\
         endpoint='http://{}':bkt1/old",
        server.host
    );
    a_backup_of_version_3_restores("s3-v3", &place, &remote);
}
