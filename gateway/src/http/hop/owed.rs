//! What a client is owed for a request that is carried, and what it is told when that is lost.

use axum::response::Response;
use wire::id::Id;
use wire::message::{Malformed, Message};
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
    /// Nothing, to what may not be delivered twice: the answer to a request of a server.
    Receipt,
}

impl<'a> Owed<'a> {
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

    /// Whether answers to requests of servers are among what is carried.
    fn brings_answers(self) -> bool {
        match self {
            Self::Nothing | Self::Answer(_) | Self::Elsewhere => false,
            Self::Receipt => true,
            Self::Answers(messages) => {
                messages.iter().any(|it| matches!(it, Ok(Message::Response(_))))
            }
        }
    }

    pub(super) fn first(self) -> Option<&'a Id> {
        self.ids().first().copied()
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
                return owed.brings_answers().then(|| reply::refuse(&refusal, None));
            }
            Some(reply::refuse_all(&refusal, &ids))
        }
        Owed::Receipt => Some(reply::refuse(&refusal, None)),
        // The answer may come on the stream: the client must not take this for its acceptance.
        Owed::Elsewhere => Some(reply::went_away(&refusal)),
    }
}
