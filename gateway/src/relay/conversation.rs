//! A session together with the servers it talks to, and what it knows of their names.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::backend::attachment::Attachment;
use crate::backend::known::Items;
use crate::backend::server::Server;
use crate::route::merge::List;
use crate::route::names::Names;
use crate::route::templates::Template;
use crate::session::Session;
use crate::session::id::Holder;

/// A session and its servers.
#[derive(Debug)]
pub struct Conversation {
    /// The session.
    pub session: Arc<Session>,
    /// The one server it is held with, names untouched; none for all servers as one.
    server: Option<String>,
    /// Whose it is: what sessions of one principal share is found by it.
    holder: Holder,
    roster: RwLock<Arc<Roster>>,
}

/// The servers of a session between two reloads, and what their lists told. A request is carried
/// through with one roster: places in it never change their meaning.
#[derive(Debug, Default)]
pub struct Roster {
    /// Its servers, in the order of the configuration.
    pub attachments: Vec<Arc<Attachment>>,
    /// What the merged lists told.
    pub catalogue: Mutex<Catalogue>,
    /// Ties to servers that a reload took away and that may still answer.
    former: Vec<Arc<Attachment>>,
}

/// What the merged lists told, so that names lead back to servers.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Tools and prompts.
    pub names: BTreeMap<List, Names>,
    /// Resources: the server of each URI.
    pub uris: BTreeMap<String, usize>,
    /// Resource templates, in the order of the servers.
    pub templates: Vec<OwnedTemplate>,
    /// What the client was given of each list, by server.
    pub given: BTreeMap<List, Vec<(usize, Items)>>,
}

/// A resource template and the server that has it.
#[derive(Debug)]
pub struct OwnedTemplate {
    /// As the server wrote it: a completion names it so.
    pub text: String,
    /// Read; `None` when no URI can be told to fit.
    pub template: Option<Template>,
    /// The server's place.
    pub place: usize,
}

impl OwnedTemplate {
    /// Whether this is the template, or one the URI fits.
    pub fn covers(&self, uri: &str) -> bool {
        self.text == uri || self.template.as_ref().is_some_and(|it| it.fits(uri))
    }
}

impl Catalogue {
    /// What the client was given of one server's list; `None` before it asked.
    pub fn given_of(&self, list: List, place: usize) -> Option<Items> {
        let given = self.given.get(&list)?.iter().find(|(server, _)| *server == place)?;
        Some(given.1.clone())
    }
}

impl Conversation {
    /// A conversation in which no server was reached yet; with the one of `servers` that `server`
    /// names, or with all of them.
    pub fn new(
        session: Arc<Session>,
        holder: Holder,
        server: Option<String>,
        servers: &[Arc<Server>],
    ) -> Self {
        let conversation = Self { session, server, holder, roster: RwLock::default() };
        conversation.follow(servers);
        conversation
    }

    /// Its servers at this moment.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.read().clone()
    }

    /// The id of the one server it is held with.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The server of a conversation with one server.
    pub fn only_server(&self) -> Option<Arc<Attachment>> {
        self.server.as_ref()?;
        self.roster.read().attachments.first().cloned()
    }

    /// Whether the one server it is held with was taken out of the configuration.
    pub fn is_orphan(&self) -> bool {
        self.server.is_some() && self.roster.read().attachments.is_empty()
    }

    /// Goes on with another list of servers. Ties to servers that are in both lists stay as they
    /// are. Returns the roster before, when it was another.
    pub fn follow(&self, servers: &[Arc<Server>]) -> Option<Arc<Roster>> {
        let own =
            |server: &&Arc<Server>| self.server.as_ref().is_none_or(|id| *id == server.config.id);
        let wanted: Vec<_> = servers.iter().filter(own).collect();
        let mut current = self.roster.write();
        let before = current.clone();
        let ties = before.attachments.iter();
        let is_same = before.attachments.len() == wanted.len()
            && ties.zip(&wanted).all(|(tie, server)| Arc::ptr_eq(&tie.server, server));
        if is_same {
            return None;
        }
        let attachments: Vec<_> = wanted.iter().map(|server| self.tie(&before, server)).collect();
        let is_former = |tie: &&Arc<Attachment>| !attachments.iter().any(|it| Arc::ptr_eq(it, tie));
        let left = before.attachments.iter().filter(is_former);
        let former =
            before.former.iter().chain(left).filter(|tie| tie.is_used()).cloned().collect();
        *current = Arc::new(Roster { attachments, former, catalogue: Mutex::default() });
        Some(before)
    }

    fn tie(&self, before: &Roster, server: &Arc<Server>) -> Arc<Attachment> {
        let mut ties = before.attachments.iter();
        if let Some(tie) = ties.clone().find(|tie| Arc::ptr_eq(&tie.server, server)) {
            return tie.clone();
        }
        let tie = Attachment::new(server.clone(), &self.session, self.holder);
        if let Some(former) = ties.find(|tie| tie.server.config.id == server.config.id) {
            tie.inherit(former);
        }
        Arc::new(tie)
    }
}

impl Roster {
    /// Its servers, and those that were taken away and may still answer.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Attachment>> {
        self.attachments.iter().chain(&self.former)
    }
}

impl Borrow<Arc<Session>> for Conversation {
    fn borrow(&self) -> &Arc<Session> {
        &self.session
    }
}
