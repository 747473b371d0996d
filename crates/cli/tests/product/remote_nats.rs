//! NATS, by its own server.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{Place, either_reads_and_continues_what_the_other_wrote};

#[test]
fn either_reads_and_continues_on_nats_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    server.create_object_store("app");
    // Litestream takes no login from the URL of a configuration.
    let replica = format!(
        "{{url: \"nats://natsuser:natspass@{}/app\", username: natsuser, password: natspass}}",
        server.host
    );
    let place = Place { replica, environment: &[], keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("nats", &place);
}
