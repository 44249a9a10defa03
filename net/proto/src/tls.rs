//! What is decided about TLS for clients without doing any of it: when a certificate holds, which one a client is
//! shown, and what the first byte of a connection says it speaks.

pub mod first;
pub mod names;
pub mod validity;
