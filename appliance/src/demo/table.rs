//! Where the bytes came from, as a table and as a verdict. The rule: its words are those of the status commands of
//! Delivery Optimization, and what the origin has counted stands beside what the appliance says.

use super::tally::Tally;
use std::time::Duration;

/// A day on which the origin sent more than this share of the content is not "each byte once".
const ONCE_MAX: f64 = 1.005;

/// What one appliance counted while it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Body bytes sent from its memory tier.
    pub(super) memory: u64,
    /// Body bytes sent from its disk.
    pub(super) disk: u64,
    /// Body bytes sent while they came in from the origin, to whoever waited for them.
    pub(super) origin: u64,
    /// Requests answered on shard threads.
    pub(super) on_shard: u64,
    /// Requests answered otherwise.
    pub(super) handed_over: u64,
}

impl Sources {
    /// Reads the figures as Prometheus would.
    pub(super) fn read(metrics: &str) -> Self {
        let value = |name: &str, label: &str| {
            let lines = metrics.lines().filter(|line| !line.starts_with('#'));
            lines
                .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        let bytes = "larder_http_response_bytes_total";
        let served = "larder_http_served_total";
        Self {
            memory: value(bytes, "source=\"memory\""),
            disk: value(bytes, "source=\"disk\""),
            origin: value(bytes, "source=\"origin\""),
            on_shard: value(served, "by=\"shard\""),
            handed_over: value(served, "by=\"handover\""),
        }
    }
}

/// One run of the appliance.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) title: &'static str,
    /// Until the appliance served.
    pub(super) ready: Duration,
    /// Until the clients had everything.
    pub(super) took: Duration,
    /// Body bytes that the origin sent.
    pub(super) origin_bytes: u64,
    /// How many clients there were.
    pub(super) clients: u64,
    /// What the appliance says.
    pub(super) sources: Sources,
    /// What the clients say.
    pub(super) tally: Tally,
}

/// The table, for a terminal.
pub(super) fn render(days: &[Day], content: u64) -> String {
    let mut table = format!("{:<36}", "Where the bytes came from");
    for day in days {
        table.push_str(&format!("{:>24}", day.title));
    }
    table.push('\n');
    table.push_str(&"─".repeat(36 + 24 * days.len()));
    table.push('\n');
    let mut row = |title: &str, cell: &dyn Fn(&Day) -> String| {
        table.push_str(&format!("{title:<36}"));
        for day in days {
            table.push_str(&format!("{:>24}", cell(day)));
        }
        table.push('\n');
    };
    let share = |part: u64, day: &Day| {
        let percent = 100.0 * part as f64 / day.tally.bytes.max(1) as f64;
        format!("{} {percent:>6.1} %", bytes(part))
    };
    row("TotalBytesDownloaded", &|day| share(day.tally.bytes, day));
    row("├─ BytesFromHttp, over the WAN", &|day| {
        share(day.origin_bytes, day)
    });
    row("└─ BytesFromCacheServer", &|day| {
        share(day.tally.bytes.saturating_sub(day.origin_bytes), day)
    });
    row("   ├─ from memory", &|day| {
        share(day.sources.memory, day)
    });
    row("   ├─ from disk", &|day| share(day.sources.disk, day));
    row("   └─ with a download under way", &|day| {
        share(day.sources.origin.saturating_sub(day.origin_bytes), day)
    });
    row("Requests", &|day| day.tally.requests.to_string());
    row("├─ hits", &|day| {
        let percent = 100.0 * day.tally.hits as f64 / day.tally.requests.max(1) as f64;
        format!("{} {percent:>6.1} %", day.tally.hits)
    });
    row("└─ on shard threads", &|day| {
        let all = day.sources.on_shard + day.sources.handed_over;
        let percent = 100.0 * day.sources.on_shard as f64 / all.max(1) as f64;
        format!("{} {percent:>6.1} %", day.sources.on_shard)
    });
    row("Origin bytes / content", &|day| {
        format!("{:.2}", day.origin_bytes as f64 / content.max(1) as f64)
    });
    row("Wrong bytes", &|day| match day.tally.wrong_bytes {
        0 => "none".to_owned(),
        answers => format!("in {answers} answers"),
    });
    row("First byte, median and slowest", &|day| {
        let ms = |share| day.tally.first_byte_at(share).as_secs_f64() * 1e3;
        format!("{:.1} / {:.0} ms", ms(0.5), ms(1.0))
    });
    row("Appliance ready after", &|day| {
        format!("{:.2} s", day.ready.as_secs_f64())
    });
    row("Time, and speed to the clients", &|day| {
        let seconds = day.took.as_secs_f64();
        format!(
            "{seconds:.1} s, {}/s",
            bytes(rate(day.tally.bytes, seconds))
        )
    });
    table
}

/// What is not as it should be, in words; nothing where all is.
pub(super) fn judge(days: &[Day], content: u64) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, day) in days.iter().enumerate() {
        let mut said = day.tally.faults.iter();
        faults.extend(said.by_ref().take(5).map(|s| format!("{}: {s}", day.title)));
        if said.len() > 0 {
            faults.push(format!("{}: and {} faults more", day.title, said.len()));
        }
        let wanted = content * day.clients;
        if day.tally.bytes != wanted {
            faults.push(format!(
                "{}: the clients have {} bytes of {wanted}",
                day.title, day.tally.bytes
            ));
        }
        let ratio = day.origin_bytes as f64 / content.max(1) as f64;
        if number == 0 && !(1.0..=ONCE_MAX).contains(&ratio) {
            faults.push(format!(
                "{}: the origin sent {} bytes for {content} of content",
                day.title, day.origin_bytes
            ));
        }
        if number > 0 && day.origin_bytes > 0 {
            faults.push(format!(
                "{}: the origin sent {} bytes again",
                day.title, day.origin_bytes
            ));
        }
        if number > 0 && day.sources.disk == 0 {
            faults.push(format!("{}: nothing was served from disk", day.title));
        }
    }
    faults
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

/// A number of bytes for people, in decimal units.
pub(super) fn bytes(count: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|(_, size)| count as f64 >= *size) {
        Some((unit, size)) => format!("{:.2} {unit}", count as f64 / size),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE larder_http_response_bytes_total counter\n\
        larder_http_response_bytes_total{source=\"memory\"} 700\n\
        larder_http_response_bytes_total{source=\"disk\"} 200\n\
        larder_http_response_bytes_total{source=\"origin\"} 1100\n\
        larder_http_served_total{by=\"shard\"} 20\n\
        larder_http_served_total{by=\"handover\"} 1\n";

    fn day() -> Day {
        Day {
            title: "first day",
            ready: Duration::from_millis(20),
            took: Duration::from_secs(1),
            origin_bytes: 200,
            clients: 10,
            sources: Sources::read(METRICS),
            tally: Tally {
                requests: 20,
                bytes: 2000,
                hits: 15,
                ..Tally::default()
            },
        }
    }

    #[test]
    fn figures_are_read_as_prometheus_reads_them() {
        let sources = Sources {
            memory: 700,
            disk: 200,
            origin: 1100,
            on_shard: 20,
            handed_over: 1,
        };
        assert_eq!(Sources::read(METRICS), sources);
    }

    #[test]
    fn two_good_days_are_good() {
        let mut second = day();
        second.origin_bytes = 0;
        let days = [day(), second];
        assert_eq!(judge(&days, 200), Vec::<String>::new());
        let table = render(&days, 200);
        for words in [
            "BytesFromHttp",
            "200 B   10.0 %",
            "1.80 kB   90.0 %",
            "1.00",
            "none",
        ] {
            assert!(table.contains(words), "no {words:?} in\n{table}");
        }
    }

    #[test]
    fn each_thing_that_is_not_in_order_is_said() {
        let good = {
            let mut second = day();
            second.origin_bytes = 0;
            [day(), second]
        };
        type Damage = fn(&mut [Day; 2]);
        let broken: [(&str, Damage); 5] = [
            ("200 of content", |days| days[0].origin_bytes = 202),
            ("again", |days| days[1].origin_bytes = 1),
            ("of 2000", |days| days[0].tally.bytes -= 1),
            ("from disk", |days| days[1].sources.disk = 0),
            ("byte 7 is wrong", |days| {
                days[1].tally.faults.push("byte 7 is wrong".to_owned());
            }),
        ];
        for (said, damage) in broken {
            let mut days = good.clone();
            damage(&mut days);
            let faults = judge(&days, 200);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(said), "{faults:?}");
        }
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1500), "1.50 kB");
        assert_eq!(bytes(2_560_000_000), "2.56 GB");
    }
}
