//! May it pass: who asks, from which page, from where, and how often.

pub mod address;
pub mod identity;
pub mod limits;
pub mod origin;
