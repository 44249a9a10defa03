//! Steps of the machine's clock: it is set, not just told to run faster. The rule: the wall clock is compared with the time
//! since the machine started, sleep included, and what both gain alike is no step.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// A smaller difference between two looks is the clock being told to run faster or slower.
const STEP_S_MIN: f64 = 2.0;

/// What is known of the clock.
pub(crate) struct Steps {
    /// By how much the wall clock is ahead of the time since the start, in seconds.
    ahead: Option<f64>,
    total: Counter,
    last: Gauge,
}

impl Steps {
    /// Registers them with the recorder in force.
    pub(crate) fn new() -> Self {
        describe_counter!(
            "larder_clock_steps_total",
            "Times that the machine's clock was set by over two seconds."
        );
        describe_gauge!(
            "larder_clock_last_step_seconds",
            "By how much the machine's clock was set last: less than 0 is back."
        );
        let total = counter!("larder_clock_steps_total");
        total.increment(0);
        Self {
            ahead: None,
            total,
            last: gauge!("larder_clock_last_step_seconds"),
        }
    }

    /// Looks; to be called from time to time.
    pub(crate) fn look(&mut self) {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        if let (Some(up), Ok(now)) = (seconds(&uptime), now)
            && let Some(step) = self.compare(now.as_secs_f64(), up)
        {
            tracing::warn!(
                "the clock of this machine was set by {step:.1} s; look whether NTP runs as it should"
            );
            self.total.increment(1);
            self.last.set(step);
        }
    }

    /// By how much it was set since the last look.
    fn compare(&mut self, now: f64, up: f64) -> Option<f64> {
        let ahead = now - up;
        let step = ahead - self.ahead.replace(ahead)?;
        (step.abs() > STEP_S_MIN).then_some(step)
    }
}

/// The first number of /proc/uptime: seconds since the start, sleep included (proc_uptime(5)).
fn seconds(uptime: &str) -> Option<f64> {
    uptime.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_runs() {
        let mut steps = Steps::new();
        assert_eq!(steps.compare(1000.0, 50.0), None, "the first look");
        assert_eq!(
            steps.compare(1005.1, 55.0),
            None,
            "it is told to run faster"
        );
        assert_eq!(
            steps.compare(9005.1, 8055.0),
            None,
            "asleep, or not looked for long"
        );
        assert_eq!(steps.compare(9010.1, 8050.0), Some(10.0));
        assert_eq!(steps.compare(9011.1, 8051.0), None, "once for each step");
        assert_eq!(steps.compare(5412.1, 8052.0), Some(-3600.0));
        assert_eq!(seconds("67.21 130.11\n"), Some(67.21));
    }
}
