//! Requests as bytes: their heads, the origin they name, the addresses that no origin may have, and the connection
//! they come over.

pub mod address;
mod alike;
pub mod conn;
pub mod fields;
pub mod head;
pub mod proxy;
pub mod reference;
pub mod room;
pub mod route;
mod rules;
pub mod walk;
