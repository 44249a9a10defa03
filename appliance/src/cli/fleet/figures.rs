//! What the figures of an appliance tell of it from afar. The rule: what they do not hold is not known, and never taken
//! for good.

use serde::Serialize;

const DAY_S: i64 = 86_400;

/// Figures that are 0 where all is well, and what is to be said where not.
const BAD_OVER_ZERO: [(&str, &str); 3] = [
    (
        "larder_store_degraded",
        "its store does not work as it should",
    ),
    ("larder_shards_stuck", "shard threads hang"),
    (
        "larder_proxy_drops_ranges",
        "the upstream proxy takes out byte ranges",
    ),
];

/// Figures that are 1 where all is well.
const BAD_AT_ZERO: [(&str, &str); 2] = [
    (
        "larder_config_last_reload_successful",
        "its configuration file has a mistake",
    ),
    (
        "larder_coordinator_reachable",
        "its coordinator does not answer",
    ),
];

/// What was seen of an appliance.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(super) struct Seen {
    pub(super) version: Option<String>,
    pub(super) site: Option<String>,
    /// Twelve hexadecimal digits; see [`crate::config::Checked::hash`].
    pub(super) config_hash: Option<String>,
    /// Bytes from the store of all bytes given to clients since its start; None where nothing was given.
    pub(super) hit_ratio: Option<f64>,
    /// Whole days until the first of its certificates expires, less than 0 where one has.
    pub(super) certificate_days: Option<i64>,
    /// What does not work as it should.
    pub(super) degraded: Vec<String>,
}

/// One line of the figures.
struct Sample<'t> {
    name: &'t str,
    labels: &'t str,
    value: f64,
}

impl<'t> Sample<'t> {
    /// None for a comment and for what is no such line.
    fn read(line: &'t str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        if line.starts_with('#') {
            return None;
        }
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        Some(Self {
            name,
            labels: labels.strip_suffix('}')?,
            value: value.parse().ok()?,
        })
    }

    /// The value of a label, as it is written.
    fn label(&self, name: &str) -> Option<String> {
        let mut rest = self.labels;
        loop {
            let (key, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match letters.next()?.1 {
                        'n' => value.push('\n'),
                        other => value.push(other),
                    },
                    (_, letter) => value.push(letter),
                }
            };
            if key.trim_start_matches(',') == name {
                return Some(value);
            }
            rest = &after[end + 1..];
        }
    }
}

/// The nearest whole number; None where there is none.
fn whole(value: f64) -> Option<i64> {
    format!("{value:.0}").parse().ok()
}

/// Reads figures in Prometheus' form; `now` is in seconds since 1970. None where they are not those of a larder.
pub(super) fn read(text: &str, now: u64) -> Option<Seen> {
    let samples: Vec<_> = text.lines().filter_map(Sample::read).collect();
    let named = |name: &'static str| samples.iter().filter(move |sample| sample.name == name);
    let build = named("larder_build_info").next()?;
    let bytes = |from_store: bool| -> f64 {
        let is_from_store =
            |sample: &&Sample<'_>| sample.label("source").as_deref() != Some("origin");
        let sent = named("larder_http_response_bytes_total");
        sent.filter(|sample| is_from_store(sample) == from_store)
            .map(|sample| sample.value)
            .sum()
    };
    let (hits, misses) = (bytes(true), bytes(false));
    let ends = named("larder_tls_certificate_not_after_seconds");
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let days = ends.filter_map(|end| Some((whole(end.value)? - now).div_euclid(DAY_S)));
    let is_bad = |list: &[(&'static str, &str)], bad: fn(f64) -> bool| {
        let wrong = list
            .iter()
            .filter(|(name, _)| named(name).any(|sample| bad(sample.value)));
        wrong
            .map(|(_, words)| (*words).to_owned())
            .collect::<Vec<_>>()
    };
    let mut degraded = is_bad(&BAD_OVER_ZERO, |value| value > 0.0);
    degraded.extend(is_bad(&BAD_AT_ZERO, |value| value == 0.0));
    Some(Seen {
        version: build.label("version"),
        site: build.label("site").filter(|site| !site.is_empty()),
        config_hash: named("larder_config_hash")
            .next()
            // It is below 2^48, so that a float holds it to the last bit.
            .and_then(|sample| whole(sample.value))
            .map(|hash| format!("{hash:012x}")),
        hit_ratio: (hits + misses > 0.0).then(|| hits / (hits + misses)),
        certificate_days: days.min(),
        degraded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: &str = "# HELP larder_build_info 1\n\
        larder_build_info{version=\"0.1.0\",site=\"a \\\"b\\\", c=\",driver=\"io_uring\"} 1\n\
        larder_config_hash 281474976710655\n\
        larder_http_response_bytes_total{source=\"memory\"} 60\n\
        larder_http_response_bytes_total{source=\"disk\"} 30\n\
        larder_http_response_bytes_total{source=\"origin\"} 10\n\
        larder_tls_certificate_not_after_seconds{name=\"a\"} 1000000\n\
        larder_tls_certificate_not_after_seconds{name=\"b\"} 900000\n\
        larder_store_degraded 1\n\
        larder_coordinator_reachable 0\n\
        larder_config_last_reload_successful 1\n";

    #[test]
    fn all_that_a_line_shows_is_in_the_figures() {
        let seen = read(FIGURES, 100_000).expect("a larder");
        assert_eq!(seen.version.as_deref(), Some("0.1.0"));
        assert_eq!(seen.site.as_deref(), Some("a \"b\", c="));
        assert_eq!(seen.config_hash.as_deref(), Some("ffffffffffff"));
        assert_eq!(seen.hit_ratio, Some(0.9));
        assert_eq!(seen.certificate_days, Some(9));
        let degraded = [BAD_OVER_ZERO[0].1, BAD_AT_ZERO[1].1];
        assert_eq!(seen.degraded, degraded);
        assert_eq!(
            read(FIGURES, 900_001).expect("a larder").certificate_days,
            Some(-1)
        );
    }

    #[test]
    fn what_is_no_larder_is_not_taken_for_one() {
        assert_eq!(read("<html>\nup 1\n", 0), None);
        let bare = read("larder_build_info 1", 0).expect("a larder");
        assert_eq!(bare, Seen::default());
    }
}
