//! What is said.
//!
//! `gateway/src/config/limits.rs` explains the form.

/// Objects and arrays of a JSON text that may be open at once. Setting `limits.json_depth`.
/// Beyond: 400, -32700.
pub const JSON_DEPTH: usize = 128;
/// What that setting counts as at most, so that the scanner's stack is small whatever is
/// configured. Beyond: a larger value counts as this one.
pub const JSON_DEPTH_CEILING: usize = 512;
/// Members of all objects of a JSON text together. Setting `limits.json_keys`. Beyond: 413
/// `REQUEST_TOO_LARGE`.
pub const JSON_KEYS: usize = 10_000;
/// A numeric id, as it is written. Beyond: 400, -32600.
pub const ID_NUMBER_CHARACTERS: usize = 32;
/// A string id, decoded. Beyond: 400, -32600.
pub const ID_STRING_BYTES: usize = 256;
/// The name of a method, decoded. Beyond: 400, -32600.
pub const METHOD_BYTES: usize = 1024;
/// Messages of a batch. Beyond: 400, -32600.
pub const BATCH_MESSAGES: usize = 50;
/// What is kept of a server's line that is too long, to find the id it answers. Beyond: an id that
/// comes later is not found, and the call times out.
pub const LINE_HEAD_BYTES: usize = 4096;
