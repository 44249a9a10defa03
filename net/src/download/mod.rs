//! The sources of one object, together: what a URL is, and how its missing pieces come in.
