//! A session together with the servers it talks to, and what it knows of their names.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::backend::attachment::Attachment;
use crate::backend::known::Items;
use crate::backend::server::Server;
use crate::route::merge::List;
use crate::route::names::Names;
use crate::route::templates::Template;
use crate::session::Session;

/// Which servers a session reaches.
#[derive(Debug)]
pub enum Scope {
    /// One server, names untouched.
    One(Arc<Server>),
    /// All servers, as one.
    All(Vec<Arc<Server>>),
}

/// A session and its servers.
#[derive(Debug)]
pub struct Conversation {
    /// The session.
    pub session: Arc<Session>,
    attachments: Vec<Arc<Attachment>>,
    is_single: bool,
    catalogue: Mutex<Catalogue>,
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
    /// A conversation in which no server was reached yet.
    pub fn new(session: Arc<Session>, scope: &Scope) -> Self {
        let attach = |server: &Arc<Server>| Arc::new(Attachment::new(server.clone(), &session));
        let (attachments, is_single) = match scope {
            Scope::One(server) => (vec![attach(server)], true),
            Scope::All(servers) => (servers.iter().map(attach).collect(), false),
        };
        Self { session, attachments, is_single, catalogue: Mutex::default() }
    }

    /// Its servers, in the order of the configuration.
    pub fn attachments(&self) -> &[Arc<Attachment>] {
        &self.attachments
    }

    /// The server of a conversation with one server.
    pub fn only_server(&self) -> Option<&Arc<Attachment>> {
        self.attachments.first().filter(|_| self.is_single)
    }

    /// What the merged lists told.
    pub fn catalogue(&self) -> &Mutex<Catalogue> {
        &self.catalogue
    }
}

impl Borrow<Arc<Session>> for Conversation {
    fn borrow(&self) -> &Arc<Session> {
        &self.session
    }
}
