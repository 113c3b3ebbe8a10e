//! Another list of servers: sessions go on with it, and their clients are told once.

use std::sync::Arc;

use wire::message::Notification;

use crate::backend::change::Change;
use crate::config::ServerConfig;
use crate::relay::Relay;
use crate::relay::conversation::{Conversation, Roster};
use crate::route::merge::List;
use crate::session::Streams as _;

/// The lists of which a client is told that they changed; templates go with resources.
const LISTS: [List; 3] = [List::Tools, List::Prompts, List::Resources];

impl Relay {
    /// Puts another list of servers in force. Calls in flight go on where they are.
    ///
    /// A session of all servers keeps its ties to those that did not change; one of a server that
    /// was changed goes on with the server's next process; one of a server that was removed ends
    /// when its calls have.
    pub fn replace_servers(&self, configs: &[ServerConfig]) -> Change {
        let change = self.backends.replace(configs, &self.context);
        let servers = self.backends.all();
        for conversation in self.sessions.all() {
            let before = conversation.follow(&servers);
            if let Some(before) = before.filter(|_| !change.is_empty()) {
                tell(&conversation, &before);
            }
        }
        change
    }

    /// Ends sessions whose one server was removed, as soon as their calls have ended.
    pub(crate) fn end_orphans(&self) {
        for conversation in self.sessions.all() {
            if conversation.is_orphan() && conversation.session.in_flight() == 0 {
                let session = conversation.session.key;
                tracing::info!(%session, "session ended: its server was removed");
                self.end_here(&conversation);
            }
        }
    }
}

/// Each list at most once; a client that has not finished its handshake has read none yet.
fn tell(conversation: &Arc<Conversation>, before: &Roster) {
    if conversation.session.agreement().is_none() || conversation.is_orphan() {
        return;
    }
    let single = conversation.server().is_some();
    let announced = |list: &List| {
        let capability = format!("{}.listChanged", list.capability());
        before.attachments.first().is_some_and(|it| it.offers(&capability))
    };
    for list in LISTS.into_iter().filter(|list| !single || announced(list)) {
        let note = Notification::new(list.changed().name(), None);
        conversation.session.standalone().emit(note.text().clone());
    }
}
