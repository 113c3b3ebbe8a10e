//! How servers and clients introduce themselves: `initialize` and `server/discover` in one another.
//!
//! Texts in, texts out; each text is the JSON of an object that passed `wire::json::check`.

use wire::revision::Revision;

/// The `DiscoverResult` made of a legacy server's `InitializeResult`, complete with `resultType`
/// and the caching hints, for a gateway that speaks the revisions `supported` (in that order).
///
/// The capabilities lose `tasks` and `experimental`, which mean something else or nothing in
/// 2026-07-28; all others stay, as do the instructions; `serverInfo` moves into `_meta`.
pub fn discover_result(initialize_result: &str, supported: &[Revision]) -> String {
    todo!()
}

/// The params of the `initialize` that stands in for a modern client, made of the `_meta` of one
/// of its requests: its capabilities without `extensions` and `tasks`, its name or else ours, and
/// the newest legacy revision.
pub fn initialize_params(meta: Option<&str>) -> String {
    todo!()
}

/// The `InitializeResult` for a client of a legacy revision, made of a modern server's
/// `DiscoverResult`: capabilities without `extensions`, instructions, and `serverInfo` out of
/// `_meta` (a name of ours when it has none).
pub fn initialize_result(discover_result: &str, revision: Revision) -> String {
    todo!()
}
