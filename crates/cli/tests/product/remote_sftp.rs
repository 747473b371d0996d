//! SFTP, by OpenSSH.

use testkit::Server;
use testkit::server::Kind;

use crate::remote::{
    Place, a_backup_of_version_3_restores, either_reads_and_continues_what_the_other_wrote,
};

#[test]
fn either_reads_and_continues_on_sftp_what_the_other_wrote() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let data = server.directory().join("sftp/data/db/app");
    let replica = format!("{{url: \"sftp://sftptest:s3cret@{}{}\"}}", server.host, data.display());
    let place = Place { replica, environment: &[], keeps_times: true };
    either_reads_and_continues_what_the_other_wrote("sftp", &place);
}

#[test]
fn a_backup_of_version_3_restores_from_sftp() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let data = server.directory().join("sftp/data/old");
    let replica = format!("{{url: \"sftp://sftptest:s3cret@{}{}\"}}", server.host, data.display());
    let place = Place { replica, environment: &[], keeps_times: true };
    a_backup_of_version_3_restores("sftp-v3", &place, &data.display().to_string());
}
