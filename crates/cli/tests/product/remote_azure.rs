//! Azure Blob, by Azurite.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

#[test]
fn either_reads_and_continues_on_azure_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::Azurite) else { return };
    let replica = format!(
        "{{type: abs, bucket: bkt1, path: db/app, endpoint: \"http://{}/testacct\", \
         account-name: testacct, account-key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("azure", &place);
}

#[test]
fn a_backup_of_version_3_restores_from_azure() {
    let Some(server) = Server::start(Kind::Azurite) else { return };
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let replica = format!(
        "{{type: abs, bucket: bkt1, path: old, endpoint: \"http://{}/testacct\", \
         account-name: testacct, account-key: {key}}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    let remote = format!(
        ":azureblob,account=testacct,key='{key}',endpoint='http://{}/testacct':bkt1/old",
        server.host
    );
    a_backup_of_version_3_restores("azure-v3", &place, &remote);
}
