//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::load::Load;

/// What can be measured, in the order of a full run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Measure {
    /// Commits per second, WAL peak, stalls and bytes under a writer that never pauses.
    Write,
    /// From a lone commit to a restorable object in the replica.
    Latency,
    /// The first snapshot of a large database.
    Snapshot,
    /// The restore of a large database.
    Restore,
    /// What a replicator costs beside one idle database.
    Idle,
    /// What many replicators cost, each beside an idle database.
    Sidecars,
    /// How the cost of capture grows with commits over the same pages.
    Distinct,
    /// Many databases in one process.
    Many,
    /// The restore of a replica after many syncs.
    Syncs,
    /// Bytes uploaded for bytes changed.
    Amplification,
    /// The memory that a sparse database of 20 GB takes.
    Sparse,
    /// First snapshot, restore and lone commits with a replica on S3.
    S3,
    /// Requests to S3, counted.
    Requests,
    /// The upload of a large file to an SFTP server on the loopback, and its download.
    Sftp,
    /// The size of the binary.
    Binary,
}

/// Measures brooklet and Litestream side by side, alternating, and prints a markdown table.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// What to measure; everything when none is named.
    #[arg(value_enum)]
    measures: Vec<MeasureOrAll>,

    /// Size of the large database, in MB (10^6 bytes).
    #[arg(long, default_value_t = 1024)]
    pub(crate) size_mb: u64,

    /// Length of each run under the writer that never pauses, in seconds.
    #[arg(long, default_value_t = 8)]
    pub(crate) seconds: u64,

    /// Runs of each program, alternated; the table shows the median and the extremes.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,

    /// Lone commits timed per program (half as many for Litestream).
    #[arg(long, default_value_t = 40)]
    pub(crate) commits: usize,

    /// The brooklet binary [default: target/release/brooklet; left out when it does not exist].
    #[arg(long)]
    pub(crate) brooklet: Option<PathBuf>,

    /// The Litestream binary [default: litestream in PATH; left out when it does not exist].
    #[arg(long)]
    pub(crate) litestream: Option<PathBuf>,

    /// Where the databases and replicas of the run live, on the disk to be measured.
    #[arg(long, default_value = "target")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The application's side of a measurement, in a process of its own.
    #[command(hide = true)]
    Load(Load),
}

#[derive(Clone, Copy, Debug)]
enum MeasureOrAll {
    All,
    One(Measure),
}

impl ValueEnum for MeasureOrAll {
    fn value_variants<'a>() -> &'a [Self] {
        use Measure::*;
        const ALL: &[MeasureOrAll] = &[
            MeasureOrAll::All,
            MeasureOrAll::One(Write),
            MeasureOrAll::One(Latency),
            MeasureOrAll::One(Snapshot),
            MeasureOrAll::One(Restore),
            MeasureOrAll::One(Idle),
            MeasureOrAll::One(Sidecars),
            MeasureOrAll::One(Distinct),
            MeasureOrAll::One(Many),
            MeasureOrAll::One(Syncs),
            MeasureOrAll::One(Amplification),
            MeasureOrAll::One(Sparse),
            MeasureOrAll::One(S3),
            MeasureOrAll::One(Requests),
            MeasureOrAll::One(Sftp),
            MeasureOrAll::One(Binary),
        ];
        ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::All => Some(clap::builder::PossibleValue::new("all")),
            Self::One(measure) => measure.to_possible_value(),
        }
    }
}

impl Options {
    /// The measures asked for, each once, in the order of a full run.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        let mut named: Vec<Measure> = Vec::new();
        for measure in &self.measures {
            match measure {
                MeasureOrAll::One(one) => named.push(*one),
                MeasureOrAll::All => named.clear(),
            }
        }
        let all = Measure::value_variants().iter().copied();
        all.filter(|one| named.is_empty() || named.contains(one)).collect()
    }
}
