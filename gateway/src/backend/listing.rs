//! What a server tells every client alike: its greeting and lists, asked once by one process.
//!
//! A server may answer by the revision a client asks for and by the capabilities it declares (the
//! reference server "everything" offers some tools only to clients that can sample), so there is a
//! listing for each pair of the two. Whoever comes with the same pair is answered from it, until
//! it has a process of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wire::json;
use wire::message::Response;
use wire::method::Method;
use wire::refusal::{Dispatched, Refusal};

use crate::backend::ending;
use crate::backend::handshake;
use crate::backend::known::Memory;
use crate::backend::members::Members;
use crate::backend::server::Server;
use crate::backend::single::{Single, await_end};
use crate::backend::trouble::Crashes;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::limits::list::{
    CURSOR_BYTES, DECLARED_BYTES, KEPT_PAGES, KEPT_PAGES_BYTES, LISTINGS_MAX,
};

/// The JSON-RPC error of a server that does not have a list.
const METHOD_NOT_FOUND: &str = "-32601";

/// The listings of one server, the one that was used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Listings(Mutex<Vec<Arc<Listing>>>);

/// The greeting and lists that clients of one kind are given.
#[derive(Debug)]
pub struct Listing {
    /// What its process is initialised with; tells one kind of clients from another.
    params: String,
    /// The sessions that are answered from here.
    pub(crate) members: Arc<Members>,
    /// What a merged list gives them when the server is away.
    pub(crate) memory: Arc<Memory>,
    starting: Single,
    crashes: Crashes,
    upstream: Mutex<Option<Arc<Upstream>>>,
    hello: Mutex<Option<ByteString>>,
    pages: Mutex<Pages>,
    asked: Mutex<BTreeMap<Page, Weak<Single>>>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    method: Method,
    /// As JSON text.
    cursor: Option<String>,
}

/// The answers of a server, as long as it does not say that they changed.
#[derive(Debug, Default)]
struct Pages {
    /// How often it had said so.
    changes: u64,
    bytes: usize,
    answers: BTreeMap<Page, Response>,
}

// === impl Server ===

impl Server {
    /// The listing for a client with these `initialize` params; `None` when it has to be told by
    /// a process of its own.
    pub fn listing(&self, params: &str) -> Option<Arc<Listing>> {
        if !self.shares_lists() {
            return None;
        }
        self.listings.find(shared_params(params)?)
    }

    /// The server's answer to `initialize`.
    ///
    /// # Errors
    /// It is not known yet and the server could not be started.
    pub async fn greeting(self: &Arc<Self>, listing: &Listing) -> Result<ByteString, Refusal> {
        if let Some(hello) = listing.hello() {
            return Ok(hello);
        }
        self.lister(listing).await.map(|upstream| upstream.hello())
    }

    /// One page of a list.
    ///
    /// # Errors
    /// It is not known yet and the server could not be asked.
    pub async fn page(
        self: &Arc<Self>,
        listing: &Listing,
        page: &Page,
    ) -> Result<Response, Refusal> {
        let known = || listing.known(page);
        if let Some(response) = known() {
            return Ok(response);
        }
        let asking = listing.asking(page);
        asking.run(known, Box::pin(self.ask_page(listing, page))).await
    }

    /// Asks the process; once more when it ended meanwhile, for a list may be asked for twice.
    async fn ask_page(
        self: &Arc<Self>,
        listing: &Listing,
        page: &Page,
    ) -> Result<Response, Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            let upstream = self.lister(listing).await?;
            let changes = listing.members.changes();
            let (params, limit) = (page.params(), self.facts.patience.idle);
            match upstream.ask(page.method, params.as_deref(), limit).await {
                Ok(response) => {
                    listing.keep(page, &response, changes);
                    return Ok(response);
                }
                Err(_) if tries == 1 && !upstream.takes_messages() => {}
                Err(refusal) if upstream.takes_messages() => return Err(refusal),
                Err(refusal) => return Err(refusal.dispatched(Dispatched::Unknown)),
            }
        }
    }

    /// The process that answers lists for one kind of clients.
    async fn lister(self: &Arc<Self>, listing: &Listing) -> Result<Arc<Upstream>, Refusal> {
        let start = async {
            await_end(&listing.upstream, &listing.crashes).await;
            listing.crashes.allow(&self.config.id, Instant::now())?;
            let owner = || Owner::Lists(listing.members.clone());
            let upstream = self.meet(owner, &listing.params).await?;
            // One of the modern era is asked by nobody who comes later: each has its own.
            if !self.is_modern_only() {
                upstream.introduce().await;
            }
            listing.begin(&upstream);
            self.context.note_lister(&upstream);
            Ok(upstream)
        };
        listing.starting.run(|| listing.process(), Box::pin(start)).await
    }
}

// === impl Listings ===

impl Listings {
    /// The listing of this kind of clients. It may take the place of the one that was not used
    /// for the longest time; `None` when all of them have something to do.
    fn find(&self, params: String) -> Option<Arc<Listing>> {
        let mut all = self.0.lock();
        if let Some(at) = all.iter().position(|it| it.params == params) {
            let listing = all.remove(at);
            all.push(listing.clone());
            return Some(listing);
        }
        if all.len() >= LISTINGS_MAX {
            let idle = all.iter().position(|it| it.is_idle())?;
            let gone = all.remove(idle);
            gone.open().into_iter().for_each(|it| drop(it.hibernate("other clients came")));
        }
        let listing = Arc::new(Listing::new(params));
        all.push(listing.clone());
        Some(listing)
    }

    /// Ends one process that has nothing to do; the token fires when it has ended.
    pub(super) fn give_way(&self) -> Option<CancellationToken> {
        let all = self.0.lock();
        let mut open = all.iter().filter_map(|it| it.open());
        open.find_map(|it| it.hibernate("its place is needed"))
    }
}

// === impl Listing ===

impl Listing {
    fn new(params: String) -> Self {
        Self {
            params,
            members: Arc::default(),
            memory: Arc::default(),
            starting: Single::default(),
            crashes: Crashes::default(),
            upstream: Mutex::default(),
            hello: Mutex::default(),
            pages: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The server's answer to `initialize`, when it is known.
    pub fn hello(&self) -> Option<ByteString> {
        self.hello.lock().clone()
    }

    /// A page, when it is known.
    pub fn known(&self, page: &Page) -> Option<Response> {
        self.pages.lock().get(page, self.members.changes())
    }

    /// Looks at what another process of the server says of itself. When that is something else,
    /// what is known here is out of date: it is forgotten and returned, and who was given it is
    /// told.
    pub(super) fn compare(&self, hello: &ByteString) -> Option<ByteString> {
        let told = self.hello.lock().take_if(|told| is_other_server(told, hello))?;
        self.pages.lock().clear();
        let process = self.upstream.lock().take();
        process.into_iter().for_each(|it| it.close("what it said is out of date"));
        ending::tell_lists_changed(hello, &self.members.all());
        Some(told)
    }

    /// Its process, when that can be asked.
    fn process(&self) -> Option<Arc<Upstream>> {
        self.open().filter(|it| it.takes_messages())
    }

    /// Its process, when that has a place: it may be about to end.
    fn open(&self) -> Option<Arc<Upstream>> {
        self.upstream.lock().clone().filter(|it| it.is_open())
    }

    fn is_idle(&self) -> bool {
        !self.starting.is_running() && self.open().is_none_or(|it| it.in_flight() == 0)
    }

    /// Notes that its process was started. A cursor may mean nothing to another process than the
    /// one that gave it, so only lists of one page stay.
    fn begin(&self, upstream: &Arc<Upstream>) {
        let hello = upstream.hello();
        if self.compare(&hello).is_some() {
            tracing::info!(server = upstream.facts.id, "the server is another one than before");
        }
        *self.hello.lock() = Some(hello);
        self.pages.lock().keep_whole_lists();
        *self.upstream.lock() = Some(upstream.clone());
    }

    fn keep(&self, page: &Page, response: &Response, changes: u64) {
        if changes == self.members.changes() {
            self.pages.lock().put(page, response, changes);
        }
    }

    /// Lets one request for a page go on at a time.
    fn asking(&self, page: &Page) -> Arc<Single> {
        let mut asked = self.asked.lock();
        asked.retain(|_, single| single.strong_count() > 0);
        if let Some(single) = asked.get(page).and_then(Weak::upgrade) {
            return single;
        }
        let single = Arc::new(Single::default());
        asked.insert(page.clone(), Arc::downgrade(&single));
        single
    }
}

impl Drop for Listing {
    /// Another may have taken its place while it started a process, which nobody finds any more.
    fn drop(&mut self) {
        let process = self.upstream.get_mut().take().filter(|it| it.is_open());
        process.into_iter().for_each(|it| drop(it.hibernate("other clients came")));
    }
}

// === impl Page ===

impl Page {
    /// The page that a list is asked for by its cursor, which is JSON text.
    pub fn new(method: Method, cursor: Option<String>) -> Self {
        Self { method, cursor }
    }

    /// The page that a request asks for; `None` when it asks for anything else, or for something
    /// besides that only the server understands.
    pub fn of(method: Method, params: Option<&str>) -> Option<Self> {
        if !is_list(method) {
            return None;
        }
        let mut cursor = None;
        for (name, value) in json::members(params.unwrap_or_default()) {
            match name.as_ref() {
                "_meta" => {}
                "cursor" if value.len() <= CURSOR_BYTES && json::string(value).is_some() => {
                    cursor = Some(value.to_owned());
                }
                _ => return None,
            }
        }
        Some(Self { method, cursor })
    }

    /// The params of the request for it.
    pub(super) fn params(&self) -> Option<String> {
        self.cursor.as_ref().map(|cursor| format!(r#"{{"cursor":{cursor}}}"#))
    }
}

/// Whether a method asks for a list.
fn is_list(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::ResourcesTemplatesList
    )
}

// === impl Pages ===

impl Pages {
    fn get(&mut self, page: &Page, changes: u64) -> Option<Response> {
        if self.changes != changes {
            self.clear();
            self.changes = changes;
        }
        self.answers.get(page).cloned()
    }

    fn put(&mut self, page: &Page, response: &Response, changes: u64) {
        if self.changes != changes {
            self.clear();
            self.changes = changes;
        }
        let bytes = response.text().len();
        let fits = self.answers.len() < KEPT_PAGES && self.bytes + bytes <= KEPT_PAGES_BYTES;
        if fits && is_lasting(page, response) && !self.answers.contains_key(page) {
            self.bytes += bytes;
            self.answers.insert(page.clone(), response.clone());
        }
    }

    fn keep_whole_lists(&mut self) {
        let is_whole = |page: &Page, response: &Response| {
            let result = response.result().unwrap_or_default();
            page.cursor.is_none() && json::member(result, "nextCursor").is_none()
        };
        self.answers.retain(|page, response| is_whole(page, response));
        self.bytes = self.answers.values().map(|it| it.text().len()).sum();
    }

    fn clear(&mut self) {
        self.bytes = 0;
        self.answers.clear();
    }
}

/// Whether the server will say the same again: a list, or that it has none of this kind.
fn is_lasting(page: &Page, response: &Response) -> bool {
    let code = response.error().and_then(|error| json::member(error, "code"));
    match code {
        None => response.result().is_some(),
        Some(code) => page.cursor.is_none() && code == METHOD_NOT_FOUND,
    }
}

/// What the shared process is initialised with on behalf of a client with these params; `None`
/// when they are not of a form that can be compared.
fn shared_params(params: &str) -> Option<String> {
    let version = json::member(params, "protocolVersion")?;
    let capabilities = json::member(params, "capabilities")?;
    let fits = json::is_object(capabilities) && capabilities.len() <= DECLARED_BYTES;
    fits.then(|| handshake::params(version, capabilities))
}

/// Whether two answers to `initialize` are of servers with other abilities. Instructions may
/// hold a time or a process id, and do not count.
fn is_other_server(one: &str, two: &str) -> bool {
    let telling = ["protocolVersion", "capabilities", "serverInfo"];
    telling.iter().any(|name| json::member(one, name) != json::member(two, name))
}

#[cfg(test)]
mod tests {
    use wire::id::Id;

    use super::*;

    fn page(cursor: Option<&str>) -> Page {
        Page::new(Method::ToolsList, cursor.map(str::to_owned))
    }

    fn list(result: &str) -> Response {
        Response::success(&Id::number(7), result)
    }

    #[test]
    fn clients_that_declare_the_same_share_a_listing_whatever_their_name() {
        let of = |version: &str, capabilities: &str, name: &str| {
            let params = format!(
                "{{\"protocolVersion\":\"{version}\",\"capabilities\":{capabilities},\
                 \"clientInfo\":{{\"name\":\"{name}\"}}}}"
            );
            shared_params(&params)
        };
        let one = of("2025-06-18", r#"{"roots":{}}"#, "a").unwrap();
        assert_eq!(of("2025-06-18", r#"{"roots":{}}"#, "b").unwrap(), one);
        assert_ne!(of("2025-06-18", "{}", "a").unwrap(), one);
        assert_ne!(of("2025-11-25", r#"{"roots":{}}"#, "a").unwrap(), one);
        assert!(one.contains(r#""capabilities":{"roots":{}}"#) && !one.contains(r#""a""#), "{one}");
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(DECLARED_BYTES));
        for capabilities in ["null", "[]", long.as_str()] {
            assert_eq!(of("2025-06-18", capabilities, "a"), None);
        }
        assert_eq!(shared_params(r#"{"protocolVersion":"2025-06-18"}"#), None);
    }

    #[test]
    fn a_page_is_known_by_its_cursor_and_nothing_else() {
        let of = |params: &str| Page::of(Method::ToolsList, Some(params));
        assert_eq!(Page::of(Method::ToolsList, None), Some(page(None)));
        assert_eq!(of("{}"), Some(page(None)));
        assert_eq!(of(r#"{"_meta":{"progressToken":1}}"#), Some(page(None)));
        assert_eq!(of(r#"{"cursor":"x"}"#), Some(page(Some("\"x\""))));
        assert_eq!(of(r#"{"cursor":""}"#), Some(page(Some("\"\""))));
        for foreign in [r#"{"cursor":1}"#, r#"{"filter":"x"}"#, r#"{"cursor":"x","filter":1}"#] {
            assert_eq!(of(foreign), None, "{foreign}");
        }
        assert_eq!(of(&format!(r#"{{"cursor":"{}"}}"#, "x".repeat(CURSOR_BYTES))), None);
        assert_eq!(Page::of(Method::ToolsCall, None), None);
        assert_eq!(page(Some("\"x\"")).params().unwrap(), r#"{"cursor":"x"}"#);
    }

    #[test]
    fn what_the_server_says_has_changed_is_not_kept() {
        let listing = Listing::new(String::new());
        let before = listing.members.changes();
        listing.keep(&page(None), &list("{}"), before);
        assert!(listing.known(&page(None)).is_some());
        listing.members.note_change();
        assert!(listing.known(&page(None)).is_none());
        listing.keep(&page(None), &list("{}"), before);
        assert!(listing.known(&page(None)).is_none(), "it was asked before the change");
    }

    #[test]
    fn only_what_lasts_is_kept() {
        let (mut pages, id) = (Pages::default(), Id::number(1));
        let has_none = Response::failure(Some(&id), -32601, "Method not found", None);
        let failed = Response::failure(Some(&id), -32603, "failed", None);
        pages.put(&page(None), &failed, 0);
        assert!(pages.get(&page(None), 0).is_none());
        pages.put(&page(Some("\"x\"")), &has_none, 0);
        assert!(pages.get(&page(Some("\"x\"")), 0).is_none());
        pages.put(&page(None), &has_none, 0);
        assert_eq!(pages.get(&page(None), 0).unwrap(), has_none);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pages = Pages::default();
        for number in 0..=KEPT_PAGES {
            pages.put(&page(Some(&number.to_string())), &list("{}"), 0);
        }
        assert_eq!(pages.answers.len(), KEPT_PAGES);
        pages.clear();
        let large = list(&format!(r#"{{"x":"{}"}}"#, "x".repeat(KEPT_PAGES_BYTES / 2)));
        pages.put(&page(Some("1")), &large, 0);
        pages.put(&page(Some("2")), &large, 0);
        assert_eq!((pages.answers.len(), pages.bytes), (1, large.text().len()));
    }

    #[test]
    fn another_process_knows_no_cursor_of_the_last_one() {
        let mut pages = Pages::default();
        let prompts = Page::new(Method::PromptsList, None);
        pages.put(&page(None), &list(r#"{"tools":[],"nextCursor":"x"}"#), 0);
        pages.put(&page(Some("\"x\"")), &list(r#"{"tools":[]}"#), 0);
        pages.put(&prompts, &list(r#"{"prompts":[]}"#), 0);
        pages.keep_whole_lists();
        assert_eq!(pages.answers.keys().collect::<Vec<_>>(), [&prompts]);
        assert_eq!(pages.bytes, list(r#"{"prompts":[]}"#).text().len());
    }

    #[test]
    fn the_kinds_of_clients_are_bounded_and_the_last_used_stay() {
        let listings = Listings::default();
        let first = listings.find("0".to_owned()).unwrap();
        let second = listings.find("1".to_owned()).unwrap();
        for number in 2..LISTINGS_MAX {
            listings.find(number.to_string()).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &listings.find("0".to_owned()).unwrap()));
        listings.find("another".to_owned()).unwrap();
        assert!(Arc::ptr_eq(&first, &listings.find("0".to_owned()).unwrap()));
        assert!(!Arc::ptr_eq(&second, &listings.find("1".to_owned()).unwrap()));
        assert_eq!(listings.0.lock().len(), LISTINGS_MAX);
    }

    #[test]
    fn a_greeting_is_compared_by_what_the_server_can_do() {
        let hello = |version: &str, instructions: &str| {
            ByteString::from(format!(
                "{{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{{}},\
                 \"serverInfo\":{{\"version\":\"{version}\"}},\
                 \"instructions\":\"{instructions}\"}}"
            ))
        };
        let listing = Listing::new(String::new());
        *listing.hello.lock() = Some(hello("1", "at noon"));
        assert_eq!(listing.compare(&hello("1", "at one")), None);
        assert_eq!(listing.hello(), Some(hello("1", "at noon")));
        assert_eq!(listing.compare(&hello("2", "at noon")), Some(hello("1", "at noon")));
        assert_eq!(listing.hello(), None);
    }
}
