//! What a client says about calls: that one of its own is cancelled, how far one of a server's is.

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::Notification;

use crate::relay::conversation::Conversation;

/// The client cancelled a request of its own.
pub(super) fn cancel(conversation: &Conversation, note: &Notification) {
    let params = note.params().unwrap_or_default();
    let Some(id) = json::member(params, "requestId").and_then(Id::parse) else { return };
    if !conversation.session.cancel(&id) {
        return;
    }
    let roster = conversation.roster();
    let upstreams = roster.all().filter_map(|it| it.ready());
    for upstream in upstreams {
        if upstream.cancel(conversation.session.key, &id, note) {
            return;
        }
    }
}

/// The client reports progress on a request that a server put to it.
pub(super) fn pass_progress(conversation: &Conversation, note: &Notification) {
    let params = note.params().unwrap_or_default();
    let Some(token) = json::member(params, "progressToken") else { return };
    let Ok(number) = token.parse() else { return };
    let ask = conversation.session.asks().lock().get(number).cloned();
    let Some(ask) = ask else { return };
    let Some(own) = ask.progress_token else { return };
    let mut edit = Edit::of(note.text());
    edit.replace(token, String::from(own));
    (ask.send)(edit.finish());
}
