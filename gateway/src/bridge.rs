//! What is said in one era, said in the other (`docs/decisions/0006-two-eras.md`).
//!
//! Pure: what goes in is messages and the time, what comes out is messages and when to be woken.
//!
//! Read in this order:
//! - `meta`: what the modern era writes into `_meta`, and how it is taken out;
//! - [`hello`]: how a server introduces itself, and how a client does;
//! - `outcome`: a legacy response as a modern one;
//! - `inputs`: what a server asks the client in the course of a call;
//! - `client`: whom an answer is for;
//! - [`up`]: one call of a modern client on a legacy server;
//! - [`seal`]: what a client brings back to a call that waits for it;
//! - [`listen`]: what a client wants to hear unasked;
//! - [`down`]: one call of a legacy client on a modern server, and what belongs to its session;
//! - [`tasks`]: calls that go on after their answer.

mod meta;

pub mod hello;
pub mod listen;

mod outcome;

mod inputs;

mod client;

pub mod up;

pub mod seal;

pub mod down;

pub mod tasks;
