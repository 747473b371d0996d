//! Numbers of several runs, and how they are shown.

use std::fmt::{self, Display};

/// The same figure measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn last(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let (below, above) = (self.quantile(0.5)?, self.quantile(0.5 + 0.5 / self.0.len() as f64)?);
        // With an even number of samples, the mean of the two in the middle.
        let even = self.0.len().is_multiple_of(2);
        Some(if even { (below + above) / 2.0 } else { below })
    }

    /// The smallest sample that at least this share of all samples does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// `median (min..max)`, or the only value, or a dash.
impl Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(median), Some(min), Some(max)) =
            (self.median(), self.quantile(0.0), self.quantile(1.0))
        else {
            return write!(f, "-");
        };
        if min == max {
            return write!(f, "{}", Figure(median));
        }
        write!(f, "{} ({}..{})", Figure(median), Figure(min), Figure(max))
    }
}

/// A number with three significant digits, or all its integer digits, in groups of three.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure(pub(crate) f64);

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude >= 99.95 {
            return write!(f, "{}", grouped(magnitude.round() as u64));
        }
        let decimals = match magnitude {
            m if m >= 9.995 => 1,
            m if m >= 0.9995 || m == 0.0 => 2,
            m if m >= 0.01 => 3,
            _ => 4,
        };
        write!(f, "{:.decimals$}", self.0)
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_extremes_are_shown() {
        let samples: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(samples.to_string(), "2.00 (1.00..3.00)");
        assert_eq!(Samples::default().to_string(), "-");
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        let samples: Samples = [4.0, 1.0].into_iter().collect();
        assert_eq!(samples.median(), Some(2.5));
        let samples: Samples = [4.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert_eq!(samples.median(), Some(2.5));
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Samples = (1..=100).map(f64::from).collect();
        assert_eq!(samples.quantile(0.99), Some(99.0));
        assert_eq!(samples.quantile(0.5), Some(50.0));
        assert_eq!(samples.quantile(1.0), Some(100.0));
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown: Vec<String> =
            [0.0, 0.0012, 0.22, 1.5, 68.25, 431.0, 163_842.0].map(|n| Figure(n).to_string()).into();
        assert_eq!(shown, ["0.00", "0.0012", "0.220", "1.50", "68.2", "431", "163,842"]);
    }
}
