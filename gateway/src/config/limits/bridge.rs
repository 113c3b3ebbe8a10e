//! Between the eras.

use std::time::Duration;

/// How long a question of a legacy server waits for others, so that a modern client gets them
/// together. Beyond: it goes, and the next question waits for the next turn.
pub const QUESTIONS_WINDOW: Duration = Duration::from_millis(30);
/// Questions a legacy server asks a modern client in the course of one call. Beyond: the
/// server's request is refused.
pub const QUESTIONS_MAX: usize = 256;
/// How often a modern server may ask for input in one call of a legacy client. Beyond: the call
/// fails.
pub const ROUNDS_MAX: u32 = 10;
/// What it may ask for at once. Beyond: `BACKEND_PROTOCOL`.
pub const INPUTS_MAX: usize = 64;
/// How long a call rests that a modern server wants to be asked again without any input;
/// doubled with each further time. Beyond: it is asked again.
pub const STATE_WAIT: Duration = Duration::from_millis(50);
/// How long it rests at the most. Beyond: it is asked again.
pub const STATE_WAIT_MAX: Duration = Duration::from_millis(250);
/// Resources of one modern server that a legacy session is subscribed to. Beyond: `OVERLOADED`.
pub const URIS_MAX: usize = 1024;
/// How long a modern server may take to acknowledge a listen. Beyond: another is opened.
pub const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(30);
/// How long it is waited before a listen that ended is opened again; doubled with each further
/// time that it fails. Beyond: it is opened.
pub const LISTEN_WAIT: Duration = Duration::from_secs(1);
/// How long it is waited at the most. Beyond: it is opened.
pub const LISTEN_WAIT_MAX: Duration = Duration::from_secs(60);
/// Calls that wait until their modern clients come back with what a legacy server asked for.
/// Beyond: the call is cancelled, `OVERLOADED`.
pub const SUSPENDED_MAX: usize = 10_000;
/// Those of one principal. Beyond: as with all of them.
pub const SUSPENDED_SHARE: usize = 2_000;
/// How long such a call waits. Beyond: it is cancelled, and its `requestState` is refused.
pub const SUSPENDED_TTL: Duration = Duration::from_secs(10 * 60);
/// Tasks of one server that one client knows of. Beyond: the oldest is forgotten, and what it
/// asks is not heard of any more.
pub const TASKS_MAX: usize = 1024;
/// Ends of calls that a modern server answered at once, kept for a legacy client that wanted a
/// task. Beyond: the oldest is forgotten.
pub const TASK_ENDS_MAX: usize = 32;
/// How long `tasks/result` waits between two looks at a modern task, where the server does not
/// say. Beyond: it looks again.
pub const POLL_WAIT: Duration = Duration::from_secs(1);
/// The least it waits, whatever the server says. Beyond: as the server says.
pub const POLL_WAIT_MIN: Duration = Duration::from_millis(50);
/// The most it waits, whatever the server says. Beyond: it looks again.
pub const POLL_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long `tasks/get` waits for what a task asks or for its end, once the server has said
/// that there is one. Beyond: the task is shown as working.
pub const TASK_NEWS_WAIT: Duration = Duration::from_secs(2);
/// How long a session that was opened in a modern client's stead beside another one may be
/// idle. Beyond: it ends.
pub const SURPLUS_IDLE: Duration = Duration::from_secs(60);
/// Subscriptions of one modern client to what legacy servers say unasked. Beyond: `OVERLOADED`.
pub const SUBSCRIPTIONS_MAX: usize = 256;
/// Notifications that wait for a subscription's reader. Beyond: the subscription ends, so that
/// its client knows that it missed something.
pub const NOTES_MAX: usize = 64;
/// Resources that one of them names. Beyond: `INVALID_PARAMS`.
pub const LISTEN_URIS_MAX: usize = 1024;
/// Of these, those that a server is asked for at once. Beyond: the next waits for an answer.
pub const SUBSCRIBING_MAX: usize = 8;
/// How long the list of tools, once looked at for a call's headers, is good for another look.
/// Beyond: headers that contradict it have it listed again.
pub const PARAMS_LOOK_AGAIN: Duration = Duration::from_secs(3);
/// Levels of a call's params, compared with those of a retry by what they mean. Beyond: deeper
/// ones are compared as they are written.
pub const PARAMS_DEPTH: usize = 32;
