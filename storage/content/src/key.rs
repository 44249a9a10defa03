//! Which URLs name the same content.
