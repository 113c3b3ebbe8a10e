//! Where a Redis is and the way there: one reading of its URL, and one way to connect, for every
//! program that is given the same settings.

pub mod secret;
pub mod target;
pub mod url;
