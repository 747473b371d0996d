//! Google Cloud Storage, by `fake-gcs-server`.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

#[test]
fn either_reads_and_continues_on_google_cloud_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::FakeGcs) else { return };
    let replica = "{url: \"gs://bkt1/db/app\"}".to_owned();
    let environment = [("STORAGE_EMULATOR_HOST", server.host.as_str())];
    let place = Place { replica, environment: &environment, keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("gcs", &place);
}

#[test]
fn a_backup_of_version_3_restores_from_google_cloud() {
    let Some(server) = Server::start(Kind::FakeGcs) else { return };
    let replica = "{url: \"gs://bkt1/old\"}".to_owned();
    let environment = [("STORAGE_EMULATOR_HOST", server.host.as_str())];
    let place = Place { replica, environment: &environment, keeps_times: true };
    let remote = format!(
        ":gcs,anonymous=true,bucket_policy_only=true,endpoint='http://{}/storage/v1/':bkt1/old",
        server.host
    );
    a_backup_of_version_3_restores("gcs-v3", &place, &remote);
}
