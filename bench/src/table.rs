//! The table that a run prints.

use std::fmt::{self, Display};

use crate::ground::Ground;
use crate::program::Who;
use crate::samples::{Figure, Samples};

/// One figure for each contestant, over several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    brooklet: Samples,
    litestream: Samples,
    machine: Samples,
}

impl Series {
    pub(crate) fn of(&self, who: Who) -> &Samples {
        match who {
            Who::Brooklet => &self.brooklet,
            Who::Litestream => &self.litestream,
            Who::Machine => &self.machine,
        }
    }

    pub(crate) fn push(&mut self, who: Who, value: f64) {
        match who {
            Who::Brooklet => self.brooklet.push(value),
            Who::Litestream => self.litestream.push(value),
            Who::Machine => self.machine.push(value),
        }
    }
}

/// What the project wants to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// Shown for what it tells; no target.
    Open,
    AtLeast(f64),
    AtMost(f64),
    /// At most this share of Litestream's figure.
    ShareOfLitestream(f64),
    /// At most this share of the machine's own.
    ShareOfMachine(f64),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    series: Series,
    reach: Reach,
    limit: &'static str,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, series: Series) -> Self {
        Self { what: what.into(), unit, series, reach: Reach::Open, limit: "" }
    }

    pub(crate) fn reach(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Says what the machine's own figure is, e.g. `cp + fsync`.
    pub(crate) fn limit(self, limit: &'static str) -> Self {
        Self { limit, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.series.brooklet.median()? / self.series.litestream.median()?)
    }

    fn reached(&self) -> Option<bool> {
        let ours = self.series.brooklet.median()?;
        match self.reach {
            Reach::Open => None,
            Reach::AtLeast(least) => Some(ours >= least),
            Reach::AtMost(most) => Some(ours <= most),
            Reach::ShareOfLitestream(share) => Some(self.ratio()? <= share),
            Reach::ShareOfMachine(share) => Some(ours / self.series.machine.median()? <= share),
        }
    }

    fn wanted(&self) -> String {
        let target = match self.reach {
            Reach::Open => return "-".to_owned(),
            Reach::AtLeast(least) => format!(">= {least}"),
            Reach::AtMost(most) => format!("<= {most}"),
            Reach::ShareOfLitestream(share) => format!("<= {share} x"),
            Reach::ShareOfMachine(share) => format!("<= {share} x the machine's"),
        };
        match self.reached() {
            Some(true) => format!("{target}: yes"),
            Some(false) => format!("{target}: **no**"),
            None => target,
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, series, .. } = self;
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let ratio = self
            .ratio()
            .filter(|ratio| ratio.is_finite())
            .map_or_else(|| "-".to_owned(), |ratio| Figure(ratio).to_string());
        let machine = match (series.machine.is_empty(), self.limit) {
            (true, _) => "-".to_owned(),
            (false, "") => series.machine.to_string(),
            (false, limit) => format!("{} {limit}", series.machine),
        };
        let (ours, theirs, wanted) = (&series.brooklet, &series.litestream, self.wanted());
        write!(f, "| {what}{unit} | {ours} | {theirs} | {ratio} | {wanted} | {machine} |")
    }
}

/// All rows, under a line that says where and how they were measured.
#[derive(Debug)]
pub(crate) struct Table {
    circumstances: String,
    litestream: String,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(ground: &Ground) -> Self {
        let litestream = ground.litestream_version();
        Self { circumstances: ground.circumstances(), litestream, rows: Vec::new() }
    }

    pub(crate) fn extend(&mut self, rows: Vec<Row>) {
        for row in &rows {
            eprintln!("  {row}");
        }
        self.rows.extend(rows);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.circumstances)?;
        let litestream = &self.litestream;
        writeln!(f, "| what | brooklet | {litestream} | ratio | reach | machine's own |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(ours: f64, theirs: f64) -> Series {
        let mut series = Series::default();
        series.push(Who::Brooklet, ours);
        series.push(Who::Litestream, theirs);
        series
    }

    #[test]
    fn a_row_says_whether_its_reach_is_reached() {
        let row = Row::new("restore", "s", series(1.0, 8.0)).reach(Reach::ShareOfLitestream(0.2));
        assert_eq!(row.to_string(), "| restore, s | 1.00 | 8.00 | 0.125 | <= 0.2 x: yes | - |");
        let row = Row::new("peak", "MB", series(70.0, 90.0)).reach(Reach::AtMost(64.0));
        assert_eq!(row.to_string(), "| peak, MB | 70.0 | 90.0 | 0.778 | <= 64: **no** | - |");
    }

    #[test]
    fn a_missing_program_leaves_dashes() {
        let mut lone = Series::default();
        lone.push(Who::Litestream, 431.0);
        lone.push(Who::Machine, 2.0);
        let row = Row::new("stall", "ms", lone).reach(Reach::AtMost(50.0)).limit("bare");
        assert_eq!(row.to_string(), "| stall, ms | - | 431 | - | <= 50 | 2.00 bare |");
    }
}
