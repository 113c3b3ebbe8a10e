//! What is said on the wire: messages, revisions, refusals and framings. No IO and no clock.
//!
//! The promise: a payload is validated in one pass and otherwise untouched. `params`, `result` and
//! `error` are never parsed into values and never written out again; what must change (an id, a
//! progress token, a name) is spliced, and every other byte stays as it was sent. No input makes
//! this crate panic, and each input costs time and memory in proportion to its size.
//!
//! Read in this order:
//! - [`limits`]: how much is accepted;
//! - [`json`]: what text is accepted, and how to look into it;
//! - [`edit`]: how to change a part of it;
//! - [`id`], [`revision`], [`method`](mod@method): the small words;
//! - [`message`]: requests, notifications, responses and batches;
//! - [`refusal`]: the errors we answer with;
//! - [`modern`]: what only revision 2026-07-28 has;
//! - [`sse`], [`lines`]: the framings.

pub mod limits;

pub mod json;

pub mod edit;

pub mod id;
pub mod revision;

pub mod method;

pub mod message;

pub mod refusal;

pub mod modern;

pub mod sse;

pub mod lines;
