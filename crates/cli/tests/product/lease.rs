//! One writer at a time, though two are started: the other is refused, or takes over from one that
//! is gone, which finds out before it writes again. (failures.md A5)

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use testkit::oracle::{open_immutable, same_content};
use testkit::server::Kind;
use testkit::tool::{PATIENCE, Replicator};
use testkit::{Layout, Mix, Server, turn, wait};

use crate::stage::Stage;

const TAKEN: Option<i32> = Some(9);

/// A database and a configuration that replicates it under a lease.
struct Site {
    stage: Stage,
    config: PathBuf,
}

impl Site {
    fn new(name: &str, replica: &str) -> Site {
        let stage = Stage::new(name, Mix::Small);
        let config = stage.scratch.path("litestream.yml");
        let text =
            format!("lease-ttl: 6s\ndbs:\n- path: {}\n  replica: {replica}\n", stage.db.display());
        fs::write(&config, text).expect("write a configuration");
        Site { stage, config }
    }

    fn replicate(&self) -> Replicator {
        let mut command = self.stage.tool.command(&["replicate", "-config"]);
        command.env_remove("AWS_CA_BUNDLE").arg(&self.config);
        self.stage.tool.start_command(command, &self.stage.db)
    }

    fn commit(&self, count: u64) {
        let mut app = Connection::open(&self.stage.db).expect("open the database");
        self.stage.workload.commit_many(&mut app, count);
    }

    /// What the replica restores to has the content of this database.
    fn is_restored(&self) -> bool {
        let output = self.stage.scratch.path("restored.db");
        let _ = fs::remove_file(&output);
        let mut command = self.stage.tool.command(&["restore", "-config"]);
        command.env_remove("AWS_CA_BUNDLE").arg(&self.config).arg("-o").arg(&output);
        let done = command.arg(&self.stage.db).output().expect("run restore");
        let read = || same_content(&open_immutable(&output).expect("open"), &self.open());
        done.status.success() && read().is_ok()
    }

    fn open(&self) -> Connection {
        Connection::open(&self.stage.db).expect("open the database")
    }

    fn await_restored(&self, replicator: &mut Replicator) {
        wait::until("this database in the replica", PATIENCE, || {
            assert!(!replicator.has_ended(), "replicate has ended\n{}", replicator.log());
            self.is_restored().then_some(())
        });
    }
}

fn signal(replicator: &Replicator, name: &str) {
    let pid = replicator.pid().to_string();
    let sent = std::process::Command::new("kill").args([name, &pid]).status().expect("run kill");
    assert!(sent.success(), "kill {name} {pid}");
}

fn one_writes_and_the_other_does_not(name: &str, replica: &str) {
    let _turn = turn::shared();
    let first = Site::new(&format!("{name}-first"), replica);
    drop(first.stage.create(Layout::default()));
    first.commit(10);
    let mut living = first.replicate();
    first.await_restored(&mut living);

    // A copy of the database, as on a second machine, where something else is written.
    let second = Site::new(&format!("{name}-second"), replica);
    let copy = "VACUUM INTO ?1";
    first.open().execute(copy, [second.stage.db.display().to_string()]).expect("copy");
    let mut refused = second.replicate();
    assert_eq!(refused.await_exit().code(), TAKEN, "{}", refused.log());
    let owner = format!(":{} has it", living.pid());
    assert!(refused.log().contains(&owner), "{}", refused.log());
    first.commit(5);
    first.await_restored(&mut living);

    // The first one hangs for longer than its lease lasts.
    signal(&living, "-STOP");
    let mut heir = second.replicate();
    second.commit(7);
    second.await_restored(&mut heir);
    first.commit(5);
    signal(&living, "-CONT");
    assert_eq!(living.await_exit().code(), TAKEN, "{}", living.log());
    let owner = format!("{}", heir.pid());
    let told = living.log();
    let told = told.lines().rev().find(|line| line.contains("another writer has the lease"));
    assert!(told.is_some_and(|line| line.contains(&owner)), "{}", living.log());

    second.commit(3);
    heir.stop();
    assert!(second.is_restored(), "the replica is not the heir's database");
    assert!(!first.is_restored());

    // Given back at the end, it is free at once.
    let mut again = second.replicate();
    second.commit(1);
    second.await_restored(&mut again);
    assert!(!again.log().contains("waiting whether it lives\n"), "{}", again.log());
    // The log is that of all its starts; the first one had no local state.
    assert_eq!(again.log().matches("whole image").count(), 1, "{}", again.log());
    again.stop();

    // The first one knows the replica's last transactions, but they are not its own.
    let copy = fs::read_dir(second.stage.local_state().join("ltx/0")).expect("list");
    for file in copy.flatten() {
        let to = first.stage.local_state().join("ltx/0").join(file.file_name());
        fs::copy(file.path(), to).expect("copy the local state");
    }
    let mut back = first.replicate();
    first.await_restored(&mut back);
    assert!(back.log().contains("whole image"), "{}", back.log());
    back.stop();
}

fn file(replica: &Path) -> String {
    format!("{{path: {}, lease: true}}", replica.display())
}

#[test]
fn a5_one_of_two_writers_of_a_directory_writes() {
    let scratch = testkit::Scratch::new("lease");
    one_writes_and_the_other_does_not("lease-file", &file(&scratch.path("replica")));
}

#[test]
fn a5_one_of_two_writers_of_a_bucket_writes() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    one_writes_and_the_other_does_not("lease-s3", &bucket(&server));
}

fn bucket(server: &Server) -> String {
    format!(
        "{{type: s3, bucket: bkt1, path: db/app, endpoint: \"http://{}\", region: us-east-1, \
         access-key-id: testkey, secret-access-key: testsecret, lease: true}}",
        server.host
    )
}

#[test]
fn a5_a_lease_on_a_storage_that_ignores_conditions_is_refused() {
    let Some(server) = Server::start(Kind::RcloneS3) else { return };
    server.create_bucket("bkt1");
    let _turn = turn::shared();
    let site = Site::new("lease-careless", &bucket(&server));
    drop(site.stage.create(Layout::default()));
    let mut refused = site.replicate();
    assert_eq!(refused.await_exit().code(), Some(2), "{}", refused.log());
    assert!(refused.log().contains("does not keep to conditions"), "{}", refused.log());
}

/// The application that it runs is ended, too: nobody would replicate what it writes.
#[test]
fn a5_whoever_loses_its_lease_ends_its_application() {
    let _turn = turn::shared();
    let scratch = testkit::Scratch::new("lease-exec");
    let site = Site::new("lease-exec", &file(&scratch.path("replica")));
    drop(site.stage.create(Layout::default()));
    site.commit(1);
    let ended = site.stage.scratch.path("ended");
    let program = format!(
        "sh -c 'trap \"touch {}; exit 0\" TERM; while :; do sleep 0.1; done'",
        ended.display()
    );
    let mut command = site.stage.tool.command(&["replicate", "-exec", &program, "-config"]);
    command.arg(&site.config);
    let mut replicator = site.stage.tool.start_command(command, &site.stage.db);
    site.await_restored(&mut replicator);
    let lease = scratch.path("replica/lock.json");
    let taken = r#"{"generation":99,"owner":"another:1","expires_at":"9999-01-01T00:00:00Z"}"#;
    fs::write(&lease, taken).expect("take the lease");
    assert_eq!(replicator.await_exit().code(), TAKEN, "{}", replicator.log());
    assert!(replicator.log().contains("another:1"), "{}", replicator.log());
    assert!(ended.exists(), "the application was not asked to end");
    assert_eq!(fs::read_to_string(&lease).expect("read the lease"), taken, "it is left alone");
}
