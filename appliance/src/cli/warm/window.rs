//! When a warm may ask for something. The rule: the begin belongs to the window and the end does not, and a window that
//! ends before it begins goes on past midnight.

use std::str::FromStr;

const DAY_MINUTES: u32 = 24 * 60;

/// A part of each day, in local time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    begin_minute: u32,
    end_minute: u32,
}

impl Window {
    /// How many seconds are left until it is open, at this second of the day; 0 while it is.
    pub(super) const fn opens_in_secs(self, second_of_day: u32) -> u32 {
        let day = DAY_MINUTES * 60;
        let (begin, end) = (self.begin_minute * 60, self.end_minute * 60);
        let since = (second_of_day % day + day - begin) % day;
        if since < (end + day - begin) % day {
            0
        } else {
            day - since
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let digits = |text: &str| (text.len() <= 2).then(|| text.parse::<u32>().ok())?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            let minute = hours * 60 + minutes;
            (minutes < 60 && minute <= DAY_MINUTES).then_some(minute % DAY_MINUTES)
        };
        let both = text.split_once('-');
        let both = both.and_then(|(begin, end)| Some((minute(begin)?, minute(end)?)));
        match both {
            Some((begin, end)) if begin == end => {
                Err(format!("{text:?} is open never or always; leave it out"))
            }
            Some((begin_minute, end_minute)) => Ok(Self {
                begin_minute,
                end_minute,
            }),
            None => Err(format!("{text:?} is no window; write it as 22:00-06:00")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_each_day_and_may_cross_midnight() {
        let cases = [
            // Window, time of day, hours, minutes and seconds until it is open.
            ("22:00-06:00", (21, 59, 59), (0, 0, 1)),
            ("22:00-06:00", (22, 0, 0), (0, 0, 0)),
            ("22:00-06:00", (23, 59, 59), (0, 0, 0)),
            ("22:00-06:00", (0, 0, 0), (0, 0, 0)),
            ("22:00-06:00", (5, 59, 59), (0, 0, 0)),
            ("22:00-06:00", (6, 0, 0), (16, 0, 0)),
            ("12:30-13:00", (12, 29, 0), (0, 1, 0)),
            ("12:30-13:00", (12, 30, 0), (0, 0, 0)),
            ("12:30-13:00", (12, 59, 59), (0, 0, 0)),
            ("12:30-13:00", (13, 0, 0), (23, 30, 0)),
            ("12:30-13:00", (23, 59, 59), (12, 30, 1)),
            ("00:00-06:00", (23, 0, 0), (1, 0, 0)),
            ("00:00-06:00", (0, 0, 0), (0, 0, 0)),
            ("20:00-24:00", (23, 59, 59), (0, 0, 0)),
            ("20:00-24:00", (0, 0, 0), (20, 0, 0)),
            ("6:00-5:59", (5, 59, 0), (0, 1, 0)),
            // A second that a clock adds to a day.
            ("22:00-06:00", (24, 0, 0), (0, 0, 0)),
        ];
        for (window, at, left) in cases {
            let secs = |(h, m, s): (u32, u32, u32)| h * 3600 + m * 60 + s;
            let parsed: Window = window.parse().expect(window);
            assert_eq!(
                parsed.opens_in_secs(secs(at)),
                secs(left),
                "{window} at {at:?}"
            );
        }
    }

    #[test]
    fn what_is_no_window_is_told() {
        for text in [
            "",
            "22:00",
            "22-06",
            "22:00-25:00",
            "22:60-06:00",
            "a:b-c:d",
            "24:01-06:00",
            "22:00-06:00-08:00",
        ] {
            let error = text.parse::<Window>().expect_err(text);
            assert!(error.contains("write it as"), "{error}");
        }
        for text in ["06:00-06:00", "00:00-24:00"] {
            let error = text.parse::<Window>().expect_err(text);
            assert!(error.contains("leave it out"), "{error}");
        }
    }
}
