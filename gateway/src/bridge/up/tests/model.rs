//! A plain account of what has to be said in the course of a call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::config::limits::bridge::QUESTIONS_WINDOW;

/// What is said, as far as it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Progress {
        token: u64,
    },
    Log,
    Answer {
        id: u64,
        code: i64,
    },
    Fail {
        id: u64,
    },
    Suspend {
        turn: u32,
        keys: Vec<String>,
    },
    /// The key whose answer it is; none for an error.
    Reply {
        id: u64,
        answer: Option<String>,
    },
    Call {
        id: u64,
    },
}

/// What the server has said last, as far as it has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Works,
    Answered,
    /// With so many elicitations.
    Refused(usize),
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: Instant,
    /// The client's request, while it is not answered.
    pub(super) listening: Option<u64>,
    pub(super) is_over: bool,
    pub(super) able: bool,
    pub(super) token: bool,
    server: Server,
    /// An answer or refusal that the client has not heard of.
    is_unheard: bool,
    /// What is asked: the server's id, or none, and the key.
    pub(super) open: Vec<(Option<u64>, String)>,
    uses: BTreeMap<&'static str, usize>,
    early: BTreeSet<String>,
    pub(super) window_ends: Option<Instant>,
    pub(super) turn: u32,
    /// The id of the call at the server.
    pub(super) call: u64,
}

pub(super) const UNABLE: i64 = -32021;
pub(super) const UNMET: i64 = -32603;

impl Model {
    /// A call with id 1 at the server, for this request of a client with progress token and log
    /// level.
    pub(super) fn begin(id: u64, able: bool, early: BTreeSet<String>) -> Model {
        Model {
            now: Instant::now(),
            listening: Some(id),
            is_over: false,
            able,
            token: true,
            server: Server::Works,
            is_unheard: false,
            open: Vec::new(),
            uses: BTreeMap::new(),
            early,
            window_ends: None,
            turn: 0,
            call: 1,
        }
    }

    fn key(&mut self, base: &'static str) -> String {
        let uses = self.uses.entry(base).or_default();
        *uses += 1;
        if *uses == 1 { base.to_owned() } else { format!("{base}_{uses}") }
    }

    fn errors(&mut self) -> Vec<Seen> {
        let ids = self.open.drain(..).filter_map(|(id, _)| id);
        ids.map(|id| Seen::Reply { id, answer: None }).collect()
    }

    /// The answer to the request that is listened on; the call is over.
    fn end(&mut self, code: i64) -> Vec<Seen> {
        self.is_over = true;
        let id = self.listening.take().unwrap();
        let fails = code == UNABLE && self.server == Server::Works;
        let mut says = self.errors();
        says.push(if fails { Seen::Fail { id } } else { Seen::Answer { id, code } });
        says
    }

    fn suspend(&mut self) -> Vec<Seen> {
        self.turn += 1;
        self.listening = None;
        self.window_ends = None;
        let keys = self.open.iter().map(|(_, key)| key.clone()).collect();
        vec![Seen::Suspend { turn: self.turn, keys }]
    }

    pub(super) fn ask(&mut self, id: u64, base: &'static str) -> Vec<Seen> {
        if self.is_over || self.server != Server::Works {
            return vec![Seen::Reply { id, answer: None }];
        }
        let key = self.key(base);
        if self.listening.is_some() {
            if !self.able {
                self.open.push((Some(id), key));
                return self.end(UNABLE);
            }
            if self.early.remove(&key) {
                return vec![Seen::Reply { id, answer: Some(key) }];
            }
            self.window_ends.get_or_insert(self.now + QUESTIONS_WINDOW);
        }
        self.open.push((Some(id), key));
        Vec::new()
    }

    pub(super) fn withdraw(&mut self, id: u64) -> Vec<Seen> {
        self.open.retain(|(asked_as, _)| *asked_as != Some(id));
        if self.open.is_empty() {
            self.window_ends = None;
        }
        Vec::new()
    }

    pub(super) fn answer(&mut self, server: Server) -> Vec<Seen> {
        if self.is_over || self.server != Server::Works {
            return Vec::new();
        }
        self.server = server;
        let mut says = self.errors();
        self.is_unheard = self.listening.is_none();
        if !self.is_unheard {
            says.extend(self.conclude());
        }
        says
    }

    fn conclude(&mut self) -> Vec<Seen> {
        self.is_unheard = false;
        self.window_ends = None;
        let Server::Refused(count) = self.server else { return self.end(0) };
        if !self.able {
            return self.end(UNABLE);
        }
        for _ in 0..count {
            let key = self.key("elicitation");
            self.open.push((None, key));
        }
        self.suspend()
    }

    pub(super) fn pass(&mut self) -> Vec<Seen> {
        if self.window_ends.is_some_and(|end| end <= self.now) { self.suspend() } else { vec![] }
    }

    /// `None`: the retry is refused.
    pub(super) fn retry(
        &mut self,
        id: u64,
        turn: u32,
        keys: &[String],
        declines: bool,
    ) -> Option<Vec<Seen>> {
        if self.is_over || self.listening.is_some() || turn != self.turn {
            return None;
        }
        self.listening = Some(id);
        if self.is_unheard {
            return Some(self.conclude());
        }
        let mut says = Vec::new();
        let mut accepted = true;
        for early in [false, true] {
            for (asked_as, key) in std::mem::take(&mut self.open) {
                if early && self.early.remove(&key) || !early && keys.contains(&key) {
                    accepted &= early || !declines;
                    let reply = |id| Seen::Reply { id, answer: Some(key) };
                    says.extend(asked_as.map(reply));
                } else {
                    self.open.push((asked_as, key));
                }
            }
        }
        if let Server::Refused(_) = self.server {
            if !accepted {
                self.open.clear();
                return Some(self.end(UNMET));
            }
            if self.open.is_empty() {
                self.server = Server::Works;
                self.call += 1;
                return Some(vec![Seen::Call { id: self.call }]);
            }
        }
        if self.open.is_empty() {
            return Some(says);
        }
        if self.able {
            self.window_ends = Some(self.now + QUESTIONS_WINDOW);
        } else {
            says.extend(self.end(UNABLE));
        }
        Some(says)
    }
}
