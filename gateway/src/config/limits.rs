//! Every bound of the gateway with its default, its unit and what happens beyond it.
//!
//! Nothing waits, queues or grows without one of these. A bound that names a setting is the
//! default of that setting; the others are fixed. `docs/limits.md` is made of these files, in the
//! order in which they stand here: the first sentences say what is bounded and why, `Beyond:` says
//! what whoever reaches it sees, and the unit is the type's or the last word of the name. The
//! bounds of what is said, which hold without any gateway around them, are in `wire/src/limits.rs`
//! in the same form.

pub mod client;
pub mod websocket;

pub mod session;
pub mod store;

pub mod rate;

pub mod proxy;

pub mod hop;

pub mod server;

pub mod process;
pub mod remote;

pub mod list;

pub mod bridge;

pub mod operator;
pub mod trace;

pub mod gateway;

pub mod command;
