//! The HTTP client towards the origins.
