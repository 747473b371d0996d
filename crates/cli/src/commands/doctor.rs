//! `brooklet doctor`.

mod database;
mod disk;
mod finding;
mod place;

use std::path::Path;

use storage::Url;

use crate::args::ConfigArgs;
use crate::config::{Config, Database};
use crate::connect::Replica;
use crate::daemon::claims;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::source::replica;
use crate::{output, places};
use finding::{Finding, Level};

/// Look for trouble before it comes: credentials, permissions, disks, clocks, locks, WAL
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet doctor -config litestream.yml          all databases and replicas of a configuration
  brooklet doctor app.db file:///backup/app       one database and a replica
  brooklet doctor file:///backup/app              a replica alone

Each line is ok, warn or fail, and says what to do. It may run beside replicate. In each replica
a small object is stored, read and removed again, below .brooklet-doctor, where no restore looks.
The exit code is 0 unless something failed; then it is that of the first failure.")]
pub struct Args {
    /// A database file, or a replica's URL [default: all of the configuration file]
    #[arg(value_name = "DB|URL")]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Who is examined.
#[derive(Debug, Default)]
struct Patients {
    findings: Vec<Finding>,
    databases: Vec<Database>,
    /// Replicas without a database.
    replicas: Vec<Replica>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let patients = patients(args)?;
    let mut findings = patients.findings;
    for database in &patients.databases {
        let size = database::examine(database, &mut findings);
        for url in &database.replicas {
            place::examine(url, Some((&database.path, size)), &mut findings);
        }
    }
    for url in &patients.replicas {
        place::examine(url, None, &mut findings);
    }
    if args.json {
        output::json(&findings)?;
    } else {
        findings.iter().try_for_each(output::line)?;
        let count =
            |level: fn(&Level) -> bool| findings.iter().filter(|it| level(&it.level)).count();
        let failed = count(|level| matches!(level, Level::Fail(_)));
        let warned = count(|level| *level == Level::Warn);
        output::line(format_args!(
            "{failed} failed, {warned} warned of, {} in all",
            findings.len()
        ))?;
    }
    let first = findings.iter().find_map(|it| match it.level {
        Level::Fail(exit) => Some(exit),
        _ => None,
    });
    Ok(first.unwrap_or(Exit::Done))
}

fn patients(args: &Args) -> Result<Patients> {
    let Some((first, rest)) = args.names.split_first() else {
        return Ok(of_config(args.config.load()?));
    };
    if Url::is_url(first) && !first.starts_with("sqlite") {
        args.config.unused_with_url()?;
        let replicas = args.names.iter().map(|url| replica(url)).collect::<Result<_>>()?;
        return Ok(Patients { replicas, ..Patients::default() });
    }
    let path = places::absolute(first)?;
    let database = match rest {
        [] => listed(&args.config.load()?, &path)?,
        urls => {
            args.config.unused_with_url()?;
            let replicas = urls.iter().map(|url| replica(url)).collect::<Result<_>>()?;
            Database::new(path, replicas)
        }
    };
    Ok(Patients { databases: vec![database], ..Patients::default() })
}

fn listed(config: &Config, path: &Path) -> Result<Database> {
    config.database(path).ok_or_else(|| {
        let message = format_args!("{} is not in the configuration", path.display());
        Failure::new(Exit::Config, message)
            .hint("brooklet databases lists those that are; or give the replica's URL, too")
    })
}

fn of_config(config: Config) -> Patients {
    let mut patients = Patients { databases: config.databases, ..Patients::default() };
    for directory in &config.directories {
        let root = directory.folder.root.display().to_string();
        patients.findings.push(match directory.databases() {
            Err(failure) => Finding::failure(root, "directory", failure),
            Ok(found) if found.is_empty() && !directory.watch => {
                Finding::fail(root, "directory", Exit::Config, "there is no database in it")
                    .hint("watch: true waits for them")
            }
            Ok(found) => {
                let count = found.len();
                patients.databases.extend(found);
                Finding::ok(root, "directory", format!("{count} databases are in it"))
            }
        });
    }
    if let Err(taken) = claims::check(&patients.databases) {
        patients.findings.push(Finding::failure("the configuration", "places", taken.into()));
    }
    if let Some(exec) = &config.exec {
        patients.findings.push(finding::program(exec));
    }
    patients
}
