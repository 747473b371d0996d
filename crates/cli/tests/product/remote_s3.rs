//! S3, by `SeaweedFS`.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{Place, either_reads_and_continues_what_the_other_wrote};

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
