//! What a client is owed for a request that is carried, and what it is told when that is lost.

use axum::response::Response;
use wire::id::Id;
use wire::message::{Body as Said, Malformed, Message};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::http::reply;

/// What a client is owed that nobody may owe it twice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owed<'a> {
    /// Nothing: a request may be carried again.
    Nothing,
    /// The answer to a request.
    Answer(&'a Id),
    /// The answers to those of a batch.
    Answers(&'a [Result<Message, Malformed>]),
    /// Answers on another stream.
    Elsewhere,
    /// Nothing, to what may not be delivered twice: the answer to a request of a server, or a
    /// notification that no revision knows. Those that they know mean the same twice.
    Receipt,
}

impl<'a> Owed<'a> {
    /// What a client is owed for what it said.
    pub(super) fn of(said: &'a Said) -> Self {
        match said {
            Said::One(Message::Request(request)) => Self::Answer(request.id()),
            Said::One(message) if is_delivered_once(message) => Self::Receipt,
            Said::One(Message::Notification(_) | Message::Response(_)) => Self::Nothing,
            Said::Batch(messages) => Self::Answers(messages),
        }
    }

    /// The ids of the requests that are owed answers.
    pub(super) fn ids(self) -> Vec<&'a Id> {
        match self {
            Self::Nothing | Self::Elsewhere | Self::Receipt => Vec::new(),
            Self::Answer(id) => vec![id],
            Self::Answers(messages) => {
                let requests = messages.iter().filter_map(|it| match it {
                    Ok(Message::Request(request)) => Some(request.id()),
                    Ok(Message::Notification(_) | Message::Response(_)) | Err(_) => None,
                });
                requests.collect()
            }
        }
    }

    /// Whether answers are owed.
    pub(super) fn is_any(self) -> bool {
        match self {
            Self::Nothing | Self::Receipt => false,
            Self::Answer(_) | Self::Elsewhere => true,
            Self::Answers(_) => !self.ids().is_empty(),
        }
    }

    /// Whether there is something among what is carried that may not be delivered twice, besides
    /// requests.
    fn needs_receipt(self) -> bool {
        match self {
            Self::Nothing | Self::Answer(_) | Self::Elsewhere => false,
            Self::Receipt => true,
            Self::Answers(messages) => messages.iter().flatten().any(is_delivered_once),
        }
    }

    pub(super) fn first(self) -> Option<&'a Id> {
        self.ids().first().copied()
    }
}

fn is_delivered_once(message: &Message) -> bool {
    match message {
        Message::Request(_) => false,
        Message::Notification(note) => note.method() == Method::Other,
        Message::Response(_) => true,
    }
}

/// The answer to a request that may have been carried out; `None` where it may be carried again.
pub(super) fn lost(owed: Owed<'_>) -> Option<Response> {
    let what = "the replica that served this session went away with the request; it may have been \
                carried out";
    let refusal = Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown);
    match owed {
        Owed::Nothing => None,
        Owed::Answer(id) => Some(reply::refuse(&refusal, Some(id))),
        Owed::Answers(_) => {
            let ids = owed.ids();
            if ids.is_empty() {
                return owed.needs_receipt().then(|| reply::refuse(&refusal, None));
            }
            Some(reply::refuse_all(&refusal, &ids))
        }
        Owed::Receipt => Some(reply::refuse(&refusal, None)),
        // The answer may come on the stream: the client must not take this for its acceptance.
        Owed::Elsewhere => Some(reply::went_away(&refusal)),
    }
}

#[cfg(test)]
mod tests {
    use wire::json::JsonLimits;

    use super::*;

    #[test]
    fn what_may_not_be_delivered_twice_is_not_carried_again_after_it_was_lost() {
        let known = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let other = r#"{"jsonrpc":"2.0","method":"notifications/of_our_own"}"#;
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
        for (text, is_carried_again) in [
            (known.to_owned(), true),
            (other.to_owned(), false),
            (answer.to_owned(), false),
            (call.to_owned(), false),
            (format!("[{known}]"), true),
            (format!("[{known},{other}]"), false),
            (format!("[{known},{answer}]"), false),
            (format!("[{known},{call}]"), false),
        ] {
            let said = Said::parse(bytes::Bytes::from(text.clone()), &JsonLimits::default());
            let said = said.unwrap();
            assert_eq!(lost(Owed::of(&said)).is_none(), is_carried_again, "{text}");
        }
    }
}
