//! How far a restore is, for somebody who watches the terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::restore::{Plan, Progress, Step};
use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, \
                        {decimal_bytes_per_sec}, {eta} left";
const WAITING: &str = "{msg} {spinner}";

/// A bar on stderr, which is gone when the restore is over.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

/// Nobody watches.
#[derive(Debug)]
pub struct Silent {
    /// Whether a signal came.
    pub stop: Arc<AtomicBool>,
}

impl Bar {
    /// A bar that waits for the plan. A set `stop` cancels the restore.
    pub fn new(stop: Arc<AtomicBool>) -> Bar {
        let bar = Bar { bar: ProgressBar::new(0), stop };
        bar.show(WAITING, "listing the replica");
        bar.bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn show(&self, template: &str, message: &'static str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("##-"));
        }
        self.bar.set_message(message);
    }
}

impl Progress for Bar {
    fn started(&self, plan: &Plan) {
        self.bar.set_length(plan.size());
        self.bar.set_position(0);
        self.show(TEMPLATE, "restoring");
    }

    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn step(&self, step: Step) {
        match step {
            Step::Restoring => self.show(TEMPLATE, "restoring"),
            Step::Syncing => self.show(WAITING, "waiting for the disk"),
            Step::Checking => self.show(WAITING, "checking the database"),
            Step::Publishing => self.show(WAITING, "putting it in place"),
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Silent {
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
