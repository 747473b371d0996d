//! Replicas on real servers: either program writes, reads and takes over, by the same
//! configuration file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Tool, turn, wait};

use crate::stage::Stage;

/// A replica on a server, as a configuration names it.
pub(crate) struct Place<'a> {
    /// The mapping under `replica:`, in one line.
    pub(crate) replica: String,
    /// What the environment holds for both programs.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Whether a moment between two commits can be restored by Litestream, too.
    pub(crate) keeps_times: bool,
}

/// Both programs with the same configuration.
struct Pair<'a> {
    stage: Stage,
    config: PathBuf,
    place: &'a Place<'a>,
}

impl Pair<'_> {
    fn command(&self, tool: &Tool, arguments: &[&str]) -> Command {
        let mut command = tool.command(arguments);
        // What this machine says of authorities is none of the test's business.
        command.env_remove("AWS_CA_BUNDLE").envs(self.place.environment.iter().copied());
        command.arg("-config").arg(&self.config);
        command
    }

    /// Replicates until transaction `n` is in the replica.
    fn replicate(&self, tool: &Tool, commits: u64) -> u64 {
        let mut app = Connection::open(&self.stage.db).expect("open the database");
        let command = self.command(tool, &["replicate"]);
        let mut replicator = tool.start_command(command, &self.stage.db);
        let n = self.stage.workload.commit_many(&mut app, commits);
        wait::until(&format!("transaction {n}"), PATIENCE, || {
            assert!(!replicator.has_ended(), "replicate has ended\n{}", replicator.log());
            self.restored(&self.stage.tool, &[]).filter(|restored| *restored == n)
        });
        replicator.stop();
        n
    }

    /// The transaction that a restore gives, its content proven.
    fn restored(&self, tool: &Tool, more: &[&str]) -> Option<u64> {
        let output = self.stage.scratch.path("restored.db");
        let _ = std::fs::remove_file(&output);
        let mut command = self.command(tool, &["restore"]);
        let done = command.args(more).arg("-o").arg(&output).arg(&self.stage.db).output();
        let done = done.expect("run restore");
        if !done.status.success() {
            println!("{tool:?}: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
        Some(self.stage.oracle().check_file(&output).expect("a committed state"))
    }
}

/// Each writes and takes over from the other; both read what is there, at the end and in between.
pub(crate) fn either_reads_and_continues_what_the_other_wrote(name: &str, place: &Place<'_>) {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new(name, Mix::Small);
    drop(stage.create(Layout::default()));
    let config = stage.scratch.path("litestream.yml");
    let text = format!("dbs:\n- path: {}\n  replica: {}\n", stage.db.display(), place.replica);
    std::fs::write(&config, text).expect("write a configuration");
    let pair = Pair { stage, config, place };
    let brooklet = pair.stage.tool.clone();
    let mut moments = Vec::new();
    for writer in [&brooklet, &litestream, &brooklet] {
        let n = pair.replicate(writer, 5);
        let moment = SystemTime::now();
        moments.push((n, moment));
        for reader in [&litestream, &brooklet] {
            assert_eq!(pair.restored(reader, &[]), Some(n), "{writer:?} wrote, {reader:?} reads");
        }
        // Times of some servers are whole seconds.
        let later = moment + Duration::from_millis(1500);
        wait::until("the next second", PATIENCE, || (SystemTime::now() > later).then_some(()));
    }
    for (n, moment) in moments {
        let moment = jiff::Timestamp::try_from(moment).expect("a moment").to_string();
        let at = ["-timestamp", moment.as_str()];
        assert_eq!(pair.restored(&brooklet, &at), Some(n), "ours at {moment}");
        if place.keeps_times {
            assert_eq!(pair.restored(&litestream, &at), Some(n), "theirs at {moment}");
        }
    }
}

/// What rclone puts at `remote` of a backup that Litestream 0.3 made, restores from `place`.
pub(crate) fn a_backup_of_version_3_restores(name: &str, place: &Place<'_>, remote: &str) {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new(name, Mix::Small);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let backup = root.join("tests/vectors/v0.3.13-plain/replica");
    let mut upload = Command::new(root.join("tools/servers.sh"));
    let uploaded = upload.arg("upload").arg(&backup).arg(remote).output().expect("run rclone");
    assert!(uploaded.status.success(), "{}", String::from_utf8_lossy(&uploaded.stderr));

    let config = stage.scratch.path("litestream.yml");
    let text = format!("dbs:\n- path: {}\n  replica: {}\n", stage.db.display(), place.replica);
    std::fs::write(&config, text).expect("write a configuration");
    let pair = Pair { stage, config, place };
    let output = pair.stage.scratch.path("restored.db");
    let mut command = pair.command(&pair.stage.tool, &["restore"]);
    let done = command.arg("-o").arg(&output).arg(&pair.stage.db).output().expect("run restore");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let theirs = pair.stage.scratch.path("theirs.db");
    litestream.restore(&testkit::Replica::new(backup), None, &theirs).expect("restore");
    let read = |path: &Path| std::fs::read(path).expect("read");
    assert!(read(&output) == read(&theirs), "{name}: it restores to something else");
}
