//! Byte ranges (RFC 9110, section 14). The rule: what is answered is never more than the object, whatever is asked.

use larder_content::Span;

/// Most ranges of one request that are honoured; more are answered with the whole object.
pub const RANGES_MAX: usize = 16;

/// What a `Range` field asks of an object whose length is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// Nothing to honour: no field, an unknown unit, an empty object, too many ranges or more bytes than there are.
    None,
    /// One stretch, not empty.
    One(Span),
    /// Several stretches, apart from each other, at most [`RANGES_MAX`], in the order asked for.
    Many(Vec<Span>),
    /// Nothing that can be satisfied, or nonsense: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for an object of `length` bytes.
#[must_use]
pub fn parse_range(value: Option<&[u8]>, length: u64) -> Ranges {
    let _ = (value, length);
    Ranges::None
}

/// Before the length is known: where the first range with a first byte begins, and one past its end where it is
/// closed. `None` where there is none (a suffix, no field, nonsense).
#[must_use]
pub fn first_wanted(value: Option<&[u8]>) -> Option<(u64, Option<u64>)> {
    let _ = value;
    None
}
