//! The client at the other end of the pipe: what was agreed with it, what it is owed, and what
//! it owes us.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request, Response};

/// Calls in flight at once at most; each has a thread.
const CALLS: usize = 64;
/// How long a question to the client may stay open: a person may have to think.
const ANSWER_DEADLINE: Duration = Duration::from_secs(300);

/// The client, shared by the threads that serve it.
pub(super) struct Peer {
    output: Mutex<Box<dyn Write + Send>>,
    state: Mutex<State>,
    /// Told of every change of `state`.
    changed: Condvar,
}

/// How grave a log message is, in the order of RFC 5424 as the protocol names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// Something a client may be able to do for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ability {
    Elicitation,
    Sampling,
    Roots,
}

/// One `tools/call` while it runs.
pub(super) struct Call<'a> {
    pub(super) peer: &'a Peer,
    pub(super) request: &'a Request,
}

/// The call was cancelled or the client left: there is nobody to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// What became of a question to the client.
pub(super) enum Answer {
    /// The JSON text of the result.
    Result(String),
    /// The JSON text of the error.
    Error(String),
    /// None came in time.
    Late,
}

/// Why a call cannot begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    SameId,
    TooMany,
}

struct State {
    initialized: bool,
    abilities: BTreeSet<Ability>,
    level: Level,
    subscriptions: BTreeSet<String>,
    /// Calls in flight, and whether the client cancelled them.
    calls: BTreeMap<Id, bool>,
    /// Questions to the client in flight, and their answers.
    questions: BTreeMap<u64, Option<Response>>,
    last_question: u64,
    closed: bool,
}

impl Peer {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Self {
        let state = State {
            initialized: false,
            abilities: BTreeSet::new(),
            level: Level::Info,
            subscriptions: BTreeSet::new(),
            calls: BTreeMap::new(),
            questions: BTreeMap::new(),
            last_question: 0,
            closed: false,
        };
        Self { output: Mutex::new(output), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Writes one message as one line. A pipe that broke closes the peer: nobody is left to tell.
    pub(super) fn send(&self, text: &str) {
        let line = format!("{}\n", json::one_line(text));
        let mut output = self.output.lock();
        let written = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        drop(output);
        if written.is_err() {
            self.close();
        }
    }

    pub(super) fn notify(&self, method: &str, params: &str) {
        self.send(Notification::new(method, Some(params)).text());
    }

    /// Sends a log message, if it is grave enough for the client.
    pub(super) fn log(&self, level: Level, text: &str) {
        if level < self.state.lock().level {
            return;
        }
        let (level, data) = (level.as_str(), json::quote(text));
        let params = format!(r#"{{"level":"{level}","logger":"demo","data":{data}}}"#);
        self.notify("notifications/message", &params);
    }

    pub(super) fn set_level(&self, level: Level) {
        self.state.lock().level = level;
    }

    pub(super) fn initialized(&self) -> bool {
        self.state.lock().initialized
    }

    pub(super) fn initialize(&self, abilities: BTreeSet<Ability>) {
        let mut state = self.state.lock();
        state.initialized = true;
        state.abilities = abilities;
    }

    pub(super) fn is_able(&self, ability: Ability) -> bool {
        self.state.lock().abilities.contains(&ability)
    }

    pub(super) fn subscribe(&self, uri: &str) {
        self.state.lock().subscriptions.insert(uri.to_owned());
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        self.state.lock().subscriptions.remove(uri);
    }

    /// Says every `every` that a resource changed, while somebody is subscribed to it. Returns
    /// when the client has left.
    pub(super) fn tick(&self, uri: &str, every: Duration) {
        let mut due = Instant::now() + every;
        let mut state = self.state.lock();
        while !state.closed {
            let timed_out = self.changed.wait_until(&mut state, due).timed_out();
            if timed_out {
                due = Instant::now() + every;
            }
            if timed_out && state.subscriptions.contains(uri) {
                drop(state);
                let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
                self.notify("notifications/resources/updated", &params);
                state = self.state.lock();
            }
        }
    }

    /// Registers a call, so that it can be cancelled from here on.
    pub(super) fn begin(&self, id: &Id) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.calls.contains_key(id) {
            return Err(Refused::SameId);
        }
        if state.calls.len() >= CALLS {
            return Err(Refused::TooMany);
        }
        state.calls.insert(id.clone(), false);
        Ok(())
    }

    pub(super) fn end(&self, id: &Id) {
        self.state.lock().calls.remove(id);
    }

    pub(super) fn cancel(&self, id: &Id) {
        if let Some(cancelled) = self.state.lock().calls.get_mut(id) {
            *cancelled = true;
        }
        self.changed.notify_all();
    }

    /// Takes the client's answer to a question; one to no question is dropped.
    pub(super) fn answer(&self, response: Response) {
        let question = response.id().and_then(Id::as_u64);
        let mut state = self.state.lock();
        if let Some(slot) = question.and_then(|question| state.questions.get_mut(&question)) {
            *slot = Some(response);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends every wait: the client has left.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Call<'_> {
    /// Waits, unless the call is cancelled meanwhile.
    pub(super) fn pause(&self, duration: Duration) -> Result<(), Gone> {
        let deadline = Instant::now() + duration;
        let mut state = self.peer.state.lock();
        while !self.is_gone(&state) {
            if self.peer.changed.wait_until(&mut state, deadline).timed_out() {
                return if self.is_gone(&state) { Err(Gone) } else { Ok(()) };
            }
        }
        Err(Gone)
    }

    /// Tells the client how far the call is, if it asked for that.
    pub(super) fn progress(&self, done: u64, total: u64, message: &str) {
        let token = self.request.progress_token().filter(|token| Id::parse(token).is_some());
        let Some(token) = token else { return };
        let message = json::quote(message);
        let counts = format!(r#""progress":{done},"total":{total},"message":{message}"#);
        let params = format!(r#"{{"progressToken":{token},{counts}}}"#);
        self.peer.notify("notifications/progress", &params);
    }

    /// Asks the client something and waits for its answer, at most five minutes.
    pub(super) fn ask(&self, method: &str, params: Option<&str>) -> Result<Answer, Gone> {
        let question = {
            let mut state = self.peer.state.lock();
            state.last_question += 1;
            let question = state.last_question;
            state.questions.insert(question, None);
            question
        };
        self.peer.send(Request::new(&Id::number(question), method, params).text());
        let answer = self.await_answer(question);
        self.peer.state.lock().questions.remove(&question);
        if matches!(answer, Err(Gone) | Ok(Answer::Late)) {
            let params = format!(r#"{{"requestId":{question}}}"#);
            self.peer.notify("notifications/cancelled", &params);
        }
        answer
    }

    fn await_answer(&self, question: u64) -> Result<Answer, Gone> {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let mut state = self.peer.state.lock();
        loop {
            if self.is_gone(&state) {
                return Err(Gone);
            }
            if let Some(Some(response)) = state.questions.get(&question) {
                let error = || Answer::Error(response.error().unwrap_or("{}").to_owned());
                return Ok(response
                    .result()
                    .map_or_else(error, |it| Answer::Result(it.to_owned())));
            }
            if self.peer.changed.wait_until(&mut state, deadline).timed_out() {
                return Ok(Answer::Late);
            }
        }
    }

    fn is_gone(&self, state: &State) -> bool {
        state.closed || state.calls.get(self.request.id()).copied().unwrap_or(true)
    }
}

impl Level {
    const ALL: [Level; 8] = [
        Level::Debug,
        Level::Info,
        Level::Notice,
        Level::Warning,
        Level::Error,
        Level::Critical,
        Level::Alert,
        Level::Emergency,
    ];

    pub(super) fn parse(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Alert => "alert",
            Level::Emergency => "emergency",
        }
    }
}

impl Ability {
    pub(super) const ALL: [Ability; 3] = [Ability::Elicitation, Ability::Sampling, Ability::Roots];

    /// Its member in the client's `capabilities`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ability::Elicitation => "elicitation",
            Ability::Sampling => "sampling",
            Ability::Roots => "roots",
        }
    }
}
