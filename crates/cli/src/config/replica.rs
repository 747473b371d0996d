//! `replica` and `replicas`: where a database is replicated to.

use std::time::Duration;

use super::keys;
use super::place;
use super::problem::Problem;
use super::section::Section;
use crate::connect;
use crate::secret::Secret;

type Result<T> = std::result::Result<T, Problem>;

/// As in Litestream's library.
const LEASE_TTL: Duration = Duration::from_secs(30);

/// One replica.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub replica: connect::Replica,
    /// How long a change may wait for its upload.
    pub sync_interval: Option<Duration>,
    /// How often it is proven.
    pub validation_interval: Option<Duration>,
    /// Keys of encrypted v0.3 backups there.
    pub identities: Vec<Secret>,
}

/// The replicas of an element of `dbs`: at least one.
pub fn read(section: &Section<'_>, root: &Section<'_>) -> Result<Vec<Entry>> {
    match (section.section("replica", &keys::REPLICA)?, section.list("replicas")?) {
        (Some(_), Some(_)) => {
            let (one, many) = (section.path("replica"), section.path("replicas"));
            let message = format_args!("{one} and {many} cannot both be set");
            Err(Problem::new(section.line, message).hint("list all under replicas"))
        }
        (Some(one), None) => Ok(vec![Entry::read(&one, root)?]),
        (None, Some(many)) if !many.is_empty() => {
            let mut replicas: Vec<Entry> = Vec::new();
            for (index, node) in many.iter().enumerate() {
                let name = section.path(&format!("replicas[{index}]"));
                let one = Section::open(node, name, &keys::REPLICA, section.context)?;
                replicas.push(Entry::read(&one, root)?);
            }
            Ok(replicas)
        }
        _ => {
            let message = format_args!("{} is missing", section.path("replica"));
            Err(Problem::new(section.line, message)
                .hint("say where to replicate to: replica: {url: file:///backup/app}"))
        }
    }
}

impl Entry {
    fn read(section: &Section<'_>, root: &Section<'_>) -> Result<Entry> {
        check_moot(section)?;
        let own = identities(section)?;
        Ok(Entry {
            replica: connect::Replica {
                lease: lease(section, root)?,
                ..place::read(section, root)?
            },
            sync_interval: section.interval("sync-interval")?,
            validation_interval: section.interval("validation-interval")?,
            identities: if own.is_empty() { identities(root)? } else { own },
        })
    }
}

/// How long whoever writes there may be gone before another may; none if nobody asks.
pub fn lease(section: &Section<'_>, root: &Section<'_>) -> Result<Option<Duration>> {
    let of = |section: &Section<'_>| Ok((section.flag("lease")?, section.interval("lease-ttl")?));
    let ((wanted, time), (by_all, time_of_all)) = (of(section)?, of(root)?);
    let wanted = wanted.or(by_all).unwrap_or(false);
    Ok(wanted.then(|| time.or(time_of_all).unwrap_or(LEASE_TTL)))
}

/// Keys whose value is checked and nothing else.
pub fn check_moot(section: &Section<'_>) -> Result<()> {
    section.integer("max-sync-ltx-files")?;
    section.flag("auto-recover")?;
    Ok(())
}

/// `age: identities`: old backups may be read, new ones are never encrypted so.
pub fn identities(section: &Section<'_>) -> Result<Vec<Secret>> {
    let Some(age) = section.section("age", &keys::AGE)? else { return Ok(Vec::new()) };
    let texts = age.texts("identities")?;
    Ok(texts.into_iter().map(|it| Secret::new(it.text)).collect())
}
