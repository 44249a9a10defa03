//! Slab files: what lies where, the table at their head, which sectors are free, and how they are found again. The
//! rule: data first, then the header that names it, then the next group; a place is used again only when the disk no
//! longer names what was there.

pub(crate) mod alloc;
pub(crate) mod check;
pub(crate) mod file;
pub(crate) mod layout;
pub(crate) mod scan;
pub(crate) mod table;
