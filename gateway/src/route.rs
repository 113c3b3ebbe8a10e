//! Where it goes: many servers seen as one. Pure: lists in, lists and addresses out.

pub mod merge;
pub mod names;
pub mod templates;
