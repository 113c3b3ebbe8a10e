//! May it pass: who asks, and from which page.

pub mod identity;
pub mod origin;
