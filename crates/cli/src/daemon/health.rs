//! What is wrong with the databases, as far as somebody should look at it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use engine::{DatabaseState, DatabaseStatus, ReplicaStatus};

use super::fleet::{Fleet, Member, Standing};
use crate::go_duration;

/// How much is borne.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// How old the oldest commit may be that is not in a replica; unless told otherwise, [`LAG`] and
    /// its `sync-interval`.
    pub lag: Option<Duration>,
    /// How long ago it may have been proven that a replica can be restored.
    pub verified: Option<Duration>,
    /// How old the newest snapshot may be.
    pub snapshot: Option<Duration>,
}

/// How much later than it has to be a commit may be in a replica.
pub const LAG: Duration = Duration::from_secs(30);

impl Thresholds {
    fn lag(&self, database: &DatabaseStatus) -> Duration {
        self.lag.unwrap_or(LAG + database.sync_interval)
    }
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The database that has it.
    pub path: PathBuf,
    /// Whether commits are missing in a replica; else they are there, but something is not proven.
    pub behind: bool,
    /// In words.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// All problems of all databases of a running program.
pub fn of(fleet: &Fleet, thresholds: &Thresholds) -> Vec<Problem> {
    let mut problems: Vec<Problem> = fleet.members().iter().filter_map(not_running).collect();
    problems.extend(self::problems(&fleet.statuses(), thresholds, SystemTime::now()));
    problems
}

/// One that is not replicated. Whoever stopped it may have forgotten it since.
fn not_running(member: &Member) -> Option<Problem> {
    let path = member.database.path.clone();
    let what = match member.standing {
        Standing::Running => return None,
        Standing::Stopped => "stopped, until brooklet start".to_owned(),
        Standing::Coming => {
            let why = member.obstacle.as_deref().unwrap_or("it is being let go");
            format!("not replicated as the configuration says: {why}")
        }
    };
    Some(Problem { path, behind: member.standing == Standing::Coming, what })
}

/// All problems of those that are replicated.
fn problems(
    databases: &[DatabaseStatus],
    thresholds: &Thresholds,
    now: SystemTime,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for database in databases.iter().filter(|database| !database.absent) {
        let mut add = |behind, what| {
            problems.push(Problem { path: database.path.clone(), behind, what });
        };
        if let Some(what) = not_captured(database, thresholds) {
            add(true, what);
        }
        for replica in &database.replicas {
            if let Some(what) = not_replicated(replica, thresholds.lag(database)) {
                add(true, format!("{}: {what}", replica.url));
            }
            let unproven = not_proven(replica, thresholds, now);
            unproven.into_iter().for_each(|what| add(false, format!("{}: {what}", replica.url)));
        }
    }
    problems
}

/// Whether everything has begun well, or fails in a way that somebody was told of: a supervisor
/// need not wait any longer.
pub fn has_begun(database: &DatabaseStatus) -> bool {
    database.absent
        || database.unseen_for.is_some()
        || matches!(database.state, DatabaseState::Snapshotting { .. })
}

fn not_captured(database: &DatabaseStatus, thresholds: &Thresholds) -> Option<String> {
    let borne = database.look_every + thresholds.lag(database);
    match (&database.state, database.unseen_for) {
        (DatabaseState::Failing { error }, _) => {
            Some(format!("commits cannot be captured: {error}"))
        }
        (DatabaseState::Snapshotting { .. }, _) => None,
        (_, Some(unseen)) if unseen > borne => {
            Some(format!("not looked at for {}", seconds(unseen)))
        }
        _ => None,
    }
}

fn not_replicated(replica: &ReplicaStatus, lag: Duration) -> Option<String> {
    let why = || match &replica.last_error {
        Some(error) => format!(": {error}"),
        None => String::new(),
    };
    if replica.holds_lease == Some(false) {
        return Some(format!("its lease is not ours{}", why()));
    }
    if replica.lag > lag {
        return Some(format!("{} behind{}", seconds(replica.lag), why()));
    }
    replica.covered_until.is_none().then(|| format!("not synced yet{}", why()))
}

fn not_proven(replica: &ReplicaStatus, thresholds: &Thresholds, now: SystemTime) -> Vec<String> {
    let old = |moment: Option<SystemTime>, most: Option<Duration>| {
        let age = moment.map(|it| now.duration_since(it).unwrap_or_default());
        most.filter(|most| age.is_none_or(|age| age > *most)).map(|_| age)
    };
    let mut unproven = Vec::new();
    if let Some(error) = &replica.verify_error {
        unproven.push(format!("the last verification failed: {error}"));
    }
    if let Some(age) = old(replica.verified_at, thresholds.verified) {
        unproven.push(match age {
            Some(age) => format!("verified {} ago", seconds(age)),
            None => "never verified since the start".to_owned(),
        });
    }
    let snapshot_at = replica.contents.and_then(|it| it.snapshot_at);
    if let Some(age) = old(snapshot_at, thresholds.snapshot) {
        unproven.push(match age {
            Some(age) => format!("the newest snapshot is {} old", seconds(age)),
            None => "there is no snapshot".to_owned(),
        });
    }
    unproven
}

fn seconds(duration: Duration) -> String {
    go_duration::format(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn database(change: impl FnOnce(&mut DatabaseStatus)) -> DatabaseStatus {
        let replica = ReplicaStatus {
            url: "file:///r".into(),
            covered_until: Some(NOW),
            ..ReplicaStatus::default()
        };
        let mut database = DatabaseStatus {
            path: "/app.db".into(),
            replicas: vec![replica],
            state: DatabaseState::Replicating,
            unseen_for: Some(Duration::ZERO),
            look_every: Duration::from_secs(17),
            ..DatabaseStatus::default()
        };
        change(&mut database);
        database
    }

    fn told(
        thresholds: Thresholds,
        change: impl FnOnce(&mut DatabaseStatus),
    ) -> Vec<(bool, String)> {
        let now = NOW + Duration::from_secs(100);
        let problems = problems(&[database(change)], &thresholds, now);
        problems.into_iter().map(|it| (it.behind, it.what)).collect()
    }

    #[test]
    fn what_works_or_is_not_there_is_no_problem() {
        assert_eq!(told(Thresholds::default(), |_| ()), []);
        let absent = |it: &mut DatabaseStatus| {
            it.absent = true;
            it.replicas[0].covered_until = None;
        };
        assert_eq!(told(Thresholds::default(), absent), []);
    }

    #[test]
    fn commits_that_are_missing_in_a_replica_are_a_problem() {
        let text = |problems: Vec<(bool, String)>| {
            assert!(problems.iter().all(|(behind, _)| *behind));
            problems.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("; ")
        };
        let told = |change: fn(&mut DatabaseStatus)| text(told(Thresholds::default(), change));
        assert_eq!(
            told(|it| {
                it.replicas[0].lag = Duration::from_millis(31_500);
                it.replicas[0].last_error = Some("no route".into());
            }),
            "file:///r: 31s behind: no route"
        );
        assert_eq!(told(|it| it.replicas[0].lag = LAG), "");
        let slow = |it: &mut DatabaseStatus| {
            it.sync_interval = Duration::from_secs(600);
            it.replicas[0].lag = it.sync_interval;
        };
        assert_eq!(told(slow), "", "it is told to wait so long");
        let strict = Thresholds { lag: Some(LAG), ..Thresholds::default() };
        assert_eq!(text(self::told(strict, slow)), "file:///r: 10m0s behind");
        assert_eq!(told(|it| it.replicas[0].covered_until = None), "file:///r: not synced yet");
        assert_eq!(
            told(|it| it.state = DatabaseState::Failing { error: "no".into() }),
            "commits cannot be captured: no"
        );
        assert_eq!(
            told(|it| it.unseen_for = Some(Duration::from_secs(60))),
            "not looked at for 1m0s"
        );
        assert_eq!(told(|it| it.unseen_for = Some(Duration::from_secs(47))), "");
    }

    #[test]
    fn what_is_not_proven_is_told_apart() {
        let hour = Some(Duration::from_secs(3600));
        let wanted = Thresholds { verified: hour, snapshot: hour, ..Thresholds::default() };
        assert_eq!(
            told(wanted, |it| it.replicas[0].verify_error = Some("a hole".into())),
            [
                (false, "file:///r: the last verification failed: a hole".to_owned()),
                (false, "file:///r: never verified since the start".to_owned()),
                (false, "file:///r: there is no snapshot".to_owned()),
            ]
        );
        let proven = |it: &mut DatabaseStatus| {
            it.replicas[0].verified_at = Some(NOW);
            it.replicas[0].contents =
                Some(engine::Contents { snapshot_at: Some(NOW), ..Default::default() });
        };
        assert_eq!(told(wanted, proven), []);
        let minute = Some(Duration::from_secs(60));
        let strict = Thresholds { verified: minute, snapshot: minute, ..Thresholds::default() };
        assert_eq!(told(strict, proven).len(), 2);
    }
}
