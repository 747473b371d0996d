//! Azure Blob, by Azurite.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{Place, either_reads_and_continues_what_the_other_wrote};

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
