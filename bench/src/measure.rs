//! The measurements: one file each, each gives rows of the table.

mod amplification;
mod binary;
mod distinct;
mod idle;
mod latency;
mod many;
mod requests;
mod restore;
mod s3;
mod sftp;
mod sidecars;
mod snapshot;
mod sparse;
mod syncs;
mod write;

use std::time::Duration;

use anyhow::Result;

use crate::ground::Ground;
use crate::options::Measure;
use crate::table::Row;

/// How long a program may take until a database is in its replica.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes in a megabyte, as all figures count them.
const MB: f64 = 1e6;

pub(crate) fn run(measure: Measure, ground: &Ground) -> Result<Vec<Row>> {
    match measure {
        Measure::Write => write::run(ground),
        Measure::Latency => latency::run(ground),
        Measure::Snapshot => snapshot::run(ground),
        Measure::Restore => restore::run(ground),
        Measure::Idle => idle::run(ground),
        Measure::Sidecars => sidecars::run(ground),
        Measure::Distinct => distinct::run(ground),
        Measure::Many => many::run(ground),
        Measure::Syncs => syncs::run(ground),
        Measure::Amplification => amplification::run(ground),
        Measure::Sparse => sparse::run(ground),
        Measure::S3 => s3::run(ground),
        Measure::Requests => requests::run(ground),
        Measure::Sftp => sftp::run(ground),
        Measure::Binary => binary::run(ground),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
