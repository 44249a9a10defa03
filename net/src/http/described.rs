//! Stored content as the rules and the heads of answers see it. The rule: whoever answers, a shard or the service, says
//! the same of the same content.

use larder_proto::answer::Facts;
use larder_proto::plan::{Plan, Representation};
use larder_proto::time::UnixSecs;
use larder_storage::record::Content;

/// What a plan is made for.
pub(super) fn representation_of(content: &Content) -> Representation<'_> {
    let record = content.record();
    Representation {
        length: record.length,
        etag: record.etag.as_deref(),
        last_modified: record.last_modified_unix,
        date: content.date(),
    }
}

/// What a head says of stored content.
pub(super) fn facts_of(content: &Content, now: UnixSecs) -> Facts<'_> {
    let record = content.record();
    Facts {
        length: record.length,
        etag: record.etag.as_deref(),
        last_modified: record.last_modified.as_deref(),
        content_type: record.content_type.as_deref(),
        extra: &record.extra,
        age_s: age_s(content, now),
        immutable: record.immutable,
    }
}

/// RFC 9111, section 4.2.3, with the origin's `Date` for the moment of the response: never less than the real age as
/// long as the origin's clock is right, and never less than the origin's path said.
pub(super) fn age_s(content: &Content, now: UnixSecs) -> u64 {
    now.saturating_sub(content.date())
        .max(content.age_at_receipt_s())
}

/// The status of the answer that a plan makes.
pub(super) fn status_of(plan: &Plan) -> u16 {
    match plan {
        Plan::Full => 200,
        Plan::Partial(_) | Plan::Parts(_) => 206,
        Plan::NotModified => 304,
        Plan::PreconditionFailed => 412,
        Plan::Unsatisfiable => 416,
    }
}
