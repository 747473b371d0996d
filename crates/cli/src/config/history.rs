//! How much history is kept: `levels`, `snapshot`, `retention` and `l0-retention`; and how often
//! it is verified: `validation`.

use engine::{HistoryOptions, Retention, Validation};

use super::keys;
use super::problem::Problem;
use super::section::Section;

/// Level 9 holds the snapshots.
const MAX_LEVELS: usize = 8;

type Result<T> = std::result::Result<T, Problem>;

/// What the whole file says, or Litestream's defaults.
pub fn read(root: &Section<'_>) -> Result<HistoryOptions> {
    // Both are checked only: compaction always verifies, and retention needs no such interval.
    root.interval("l0-retention-check-interval")?;
    root.flag("verify-compaction")?;

    let mut history = HistoryOptions::default();
    let mut kept = history.retention.levels[0];
    if let Some(l0) = root.duration("l0-retention")? {
        kept = Some(l0).filter(|it| !it.is_zero());
    }
    history.retention.levels = vec![kept];
    if root.node("levels").is_some() {
        history.levels.clear();
        levels(root, &mut history)?;
    }
    if let Some(section) = root.section("retention", &keys::RETENTION)? {
        history.retention.enabled = section.flag("enabled")?.unwrap_or(true);
    }
    snapshot(root, &mut history)?;
    let interval = root.interval("validation-interval")?;
    history.validation = interval.map(|interval| Validation { interval, full: false });
    if let Some(section) = root.section("validation", &keys::VALIDATION)? {
        let full = section.flag("full")?.unwrap_or(false);
        let interval = section.interval("interval")?;
        history.validation = interval.map(|interval| Validation { interval, full });
    }
    Ok(history)
}

/// The `snapshot` section of the file or of a database.
pub fn snapshot(section: &Section<'_>, history: &mut HistoryOptions) -> Result<()> {
    let Some(section) = section.section("snapshot", &keys::SNAPSHOT)? else { return Ok(()) };
    if let Some(interval) = section.interval("interval")? {
        history.snapshot_interval = interval;
    }
    if let Some(retention) = section.interval("retention")? {
        history.retention.snapshots = retention;
    }
    Ok(())
}

fn levels(root: &Section<'_>, history: &mut HistoryOptions) -> Result<()> {
    let nodes = root.list("levels")?.unwrap_or_default();
    if let Some(node) = nodes.get(MAX_LEVELS) {
        return Err(Problem::new(node.line, "levels: there are at most 8")
            .hint("files move up level by level; level 9 holds the snapshots"));
    }
    let Retention { levels: kept, .. } = &mut history.retention;
    for (index, node) in nodes.iter().enumerate() {
        let section = Section::open(node, format!("levels[{index}]"), &keys::LEVEL, root.context)?;
        let retention = section.interval("retention")?;
        let interval = section.interval("interval")?.ok_or_else(|| {
            Problem::new(section.line, format_args!("{} is missing", section.path("interval")))
                .hint("say how often: levels: [{interval: 30s}, {interval: 5m}, {interval: 1h}]")
        })?;
        history.levels.push(interval);
        kept.push(retention);
    }
    Ok(())
}
