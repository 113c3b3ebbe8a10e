//! Lists that are made of several servers', and names that are looked up in them.

use std::time::Duration;

/// How long a merged list waits for one server of which nothing is known.
///
/// A server that is slower goes on starting, and the client is told by `list_changed` when it
/// is there. Beyond: the list is given without it, and says so.
pub const LIST_WAIT: Duration = Duration::from_secs(10);
/// How long it waits for one whose last list is known. Beyond: the last list is given in its
/// place.
pub const KNOWN_WAIT: Duration = Duration::from_secs(1);
/// Pages asked of one server (a cursor may lead in circles). Beyond: the rest is not asked for.
pub const PAGES_MAX: usize = 100;
/// Items taken of one server. Beyond: the rest is left out.
pub const ITEMS_MAX: usize = 10_000;
/// One item, a tool with its schemas. Beyond: it is left out.
pub const ITEM_BYTES: usize = 1 << 20;
/// Kinds of clients, told apart by revision and capabilities, that one server's lists are kept
/// for. Beyond: what was kept for the one used longest ago goes.
pub const LISTINGS_MAX: usize = 8;
/// The declaration of capabilities that clients are told apart by. Beyond: the session starts a
/// process of its own at once.
pub const DECLARED_BYTES: usize = 16 << 10;
/// A cursor that is looked up. Beyond: the session's own process is asked.
pub const CURSOR_BYTES: usize = 4 << 10;
/// Pages kept for one kind of clients. Beyond: a page is asked for each time.
pub const KEPT_PAGES: usize = 1_000;
/// Bytes of these pages. Beyond: a page is asked for each time.
pub const KEPT_PAGES_BYTES: usize = 16 << 20;
/// Templates that a URI is compared with. Beyond: it is not compared with the rest.
pub const TEMPLATES_MAX: usize = 1_000;
/// A template that is read, and a URI that fits one. Beyond: no URI fits it.
pub const TEMPLATE_BYTES: usize = 8 * 1024;
/// Expressions of a template that is read. Beyond: no URI fits it.
pub const TEMPLATE_EXPRESSIONS: usize = 16;
/// A name in a merged list: the longest that clients of all kinds accept. Beyond: it is
/// shortened, with a digest.
pub const NAME_CHARS: usize = 64;
/// A name that is compared with others, which takes time with the product of both lengths.
/// Beyond: no similar name is offered.
pub const COMPARED_CHARS: usize = 128;
/// Known names that an unknown one is compared with. Beyond: it is not compared with the rest.
pub const COMPARED_NAMES: usize = 2_000;
/// Similar names that the error of an unknown one offers. Beyond: the rest is not offered.
pub const OFFERED_NAMES: usize = 3;
/// What an error repeats of a name or URI. Beyond: it is cut.
pub const SHOWN_CHARS: usize = 200;
