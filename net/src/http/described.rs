//! Stored content as the rules and the heads of answers see it. The rule: whoever answers, a shard or the service, says
//! the same of the same content.

use larder_proto::answer::Facts;
use larder_proto::plan::{Conditions, Plan, Representation, plan};
use larder_proto::time::UnixSecs;
use larder_storage::record::Content;

/// What to send of it. Conditions and ranges are for what a plain request is answered 200 (RFC 9110, sections 13.2.1
/// and 14.2).
pub(crate) fn plan_for(conditions: &Conditions<'_>, content: &Content) -> Plan {
    let record = content.record();
    if record.status != 200 {
        return Plan::Full;
    }
    let representation = Representation {
        length: record.length,
        etag: record.etag.as_deref(),
        last_modified: record.last_modified_unix,
        date: content.date(),
    };
    plan(conditions, &representation)
}

/// What a head says of stored content.
pub(crate) fn facts_of(content: &Content, now: UnixSecs) -> Facts<'_> {
    let record = content.record();
    Facts {
        status: record.status,
        length: record.length,
        etag: record.etag.as_deref(),
        last_modified: record.last_modified.as_deref(),
        content_type: record.content_type.as_deref(),
        extra: &record.extra,
        age_s: content.age_s(now),
        immutable: record.immutable,
    }
}

/// The status of the answer that a plan makes.
pub(crate) fn status_of(plan: &Plan, content: &Content) -> u16 {
    match plan {
        Plan::Full => content.record().status,
        Plan::Partial(_) | Plan::Parts(_) => 206,
        Plan::NotModified => 304,
        Plan::PreconditionFailed => 412,
        Plan::Unsatisfiable => 416,
    }
}
