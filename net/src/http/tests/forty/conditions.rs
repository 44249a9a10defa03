//! Cases 15 to 18: `If-Range` and the preconditions. The rule: in doubt all of it is sent, and what comes first in
//! RFC 9110, section 13.2.2, decides.

use super::{Trial, Want, check, range};
use crate::http::tests::version::Version;
use larder_proto::answer::http_date;

/// Tries rows of fields, cold and warm.
fn table(trial: &Trial<'_>, version: &Version, rows: &[(String, Want<'_>)]) {
    let office = trial.of(version);
    let mut client = office.client();
    for (number, (fields, want)) in rows.iter().enumerate() {
        for _ in 0..2 {
            let path = trial.path(&number.to_string());
            check(&mut client, &path, fields, version, *want);
        }
        check(&mut client, &trial.path("0"), fields, version, *want);
    }
}

fn ranged(fields: &str) -> String {
    format!("{}{fields}\r\n", range("5-9"))
}

const PART: Want<'static> = Want::Part(5, 9);

pub(super) fn if_range_strong(trial: &Trial<'_>) {
    table(
        trial,
        &Version::new(1000, 0),
        &[
            (ranged("If-Range: \"v0\""), PART),
            (ranged("If-Range: \"v1\""), Want::Whole),
            (ranged("If-Range: \"V0\""), Want::Whole),
            (ranged("If-Range: v0"), Want::Whole),
            // Without a range it says nothing.
            ("If-Range: \"v0\"\r\n".to_owned(), Want::Whole),
        ],
    );
}

pub(super) fn if_range_weak(trial: &Trial<'_>) {
    table(
        trial,
        &Version::new(1000, 0),
        &[(ranged("If-Range: W/\"v0\""), Want::Whole)],
    );
    let weak = Version::bare(1000, 0, "ETag: W/\"v0\"\r\nCache-Control: max-age=3600\r\n");
    table(
        trial,
        &weak,
        &[
            (ranged("If-Range: W/\"v0\""), Want::Whole),
            (ranged("If-Range: \"v0\""), Want::Whole),
        ],
    );
}

pub(super) fn if_range_date(trial: &Trial<'_>) {
    let date = |unix| String::from_utf8(http_date(unix).to_vec()).expect("ASCII");
    let now = crate::clock::Clock::start().unix();
    // A date is strong where the object was a second old at least when the answer was made.
    for (age_s, tag, strong) in [
        (0, "", false),
        (1, "", true),
        (3600, "", true),
        (3600, "ETag: \"v0\"\r\n", true),
    ] {
        let modified = date(now - age_s);
        let version = Version::bare(
            1000,
            0,
            &format!(
                "Date: {}\r\nLast-Modified: {modified}\r\nCache-Control: max-age=3600\r\n{tag}",
                date(now)
            ),
        );
        let matched = if strong { PART } else { Want::Whole };
        table(
            trial,
            &version,
            &[
                (ranged(&format!("If-Range: {modified}")), matched),
                (
                    ranged(&format!("If-Range: {}", date(now - age_s - 1))),
                    Want::Whole,
                ),
                (
                    ranged(&format!("If-Range: {}", date(now + 60))),
                    Want::Whole,
                ),
                (ranged("If-Range: yesterday"), Want::Whole),
            ],
        );
    }
}

pub(super) fn in_order(trial: &Trial<'_>) {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let before = "Sun, 06 Nov 1994 08:49:36 GMT";
    let version = Version::bare(
        1000,
        0,
        &format!("ETag: \"v0\"\r\nLast-Modified: {modified}\r\nCache-Control: max-age=3600\r\n"),
    );
    let failed = Want::Status(412);
    let same = Want::Status(304);
    table(
        trial,
        &version,
        &[
            (ranged("If-None-Match: \"v0\""), same),
            (ranged("If-None-Match: W/\"v0\""), same),
            (ranged("If-None-Match: *"), same),
            (ranged("If-None-Match: \"v1\", \"v0\""), same),
            (ranged("If-None-Match: \"v1\""), PART),
            (ranged("If-Match: \"v1\""), failed),
            (ranged("If-Match: W/\"v0\""), failed),
            (ranged("If-Match: \"v0\""), PART),
            (ranged("If-Match: *"), PART),
            (ranged(&format!("If-Unmodified-Since: {before}")), failed),
            (ranged(&format!("If-Unmodified-Since: {modified}")), PART),
            (format!("If-Modified-Since: {modified}\r\n"), same),
            (format!("If-Modified-Since: {before}\r\n"), Want::Whole),
            // If-Match comes first, and makes If-Unmodified-Since count for nothing.
            (ranged("If-Match: \"v1\"\r\nIf-None-Match: \"v0\""), failed),
            (ranged("If-Match: \"v0\"\r\nIf-None-Match: \"v0\""), same),
            (
                ranged(&format!(
                    "If-Match: \"v0\"\r\nIf-Unmodified-Since: {before}"
                )),
                PART,
            ),
            // If-None-Match makes If-Modified-Since count for nothing.
            (
                ranged(&format!(
                    "If-None-Match: \"v1\"\r\nIf-Modified-Since: {modified}"
                )),
                PART,
            ),
            (
                ranged(&format!(
                    "If-None-Match: \"v0\"\r\nIf-Modified-Since: {before}"
                )),
                same,
            ),
            (
                ranged(&format!(
                    "If-Unmodified-Since: {before}\r\nIf-None-Match: \"v0\""
                )),
                failed,
            ),
            // If-Range comes last.
            (ranged("If-Match: \"v1\"\r\nIf-Range: \"v0\""), failed),
            (ranged("If-None-Match: \"v0\"\r\nIf-Range: \"v1\""), same),
            (ranged("If-Match: \"v0\"\r\nIf-Range: \"v1\""), Want::Whole),
            (format!("{}If-None-Match: \"v0\"\r\n", range("5000-")), same),
            (format!("{}If-Match: \"v1\"\r\n", range("5000-")), failed),
            (
                format!("{}If-Range: \"v1\"\r\n", range("5000-")),
                Want::Whole,
            ),
            (
                format!("{}If-Range: \"v0\"\r\n", range("5000-")),
                Want::Beyond,
            ),
        ],
    );
}
