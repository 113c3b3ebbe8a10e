//! The form that sessions have in Redis: what goes into the scripts, and what comes out.

use std::time::Duration;

use bytestring::ByteString;
use redis::{ScriptInvocation, Value};

use crate::session::id::{Holder, SessionKey};
use crate::session::store::{
    Beat, Claim, Estate, Kept, Listed, Look, Page, Record, StoredCall, StoredEvent,
};
use crate::session::tenure::{Replica, Tenure};

/// How the field of a note begins.
const NOTE: &str = "n:";

/// How many events of a session are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// By number.
    pub events: usize,
    /// By their texts' bytes.
    pub bytes: usize,
    /// How long a session lasts at the most.
    pub life: Duration,
}

/// Arguments are added in the order in which the script takes them.
pub(super) fn put_record(call: &mut ScriptInvocation<'_>, record: &Record) {
    let mut pairs: Vec<(String, ByteString)> = Vec::new();
    let mut put = |name: &str, text: &str| pairs.push((name.to_owned(), text.into()));
    put("transport", &record.transport);
    put("epoch", &record.epoch.to_string());
    if let Some(server) = &record.server {
        put("server", server);
    }
    if let Some(holder) = record.holder {
        put("holder", &holder.to_string());
    }
    if let Some(revision) = &record.revision {
        put("revision", revision);
    }
    if let Some(params) = &record.params {
        put("params", params);
    }
    if record.is_ready {
        put("ready", "1");
    }
    for (name, note) in &record.notes {
        put(&format!("{NOTE}{name}"), note);
    }
    put_pairs(call, &pairs);
}

/// The caps and the events.
pub(super) fn put_events(call: &mut ScriptInvocation<'_>, caps: Caps, events: &[StoredEvent]) {
    call.arg(caps.events).arg(caps.bytes).arg(events.len());
    for event in events {
        call.arg(event.seq).arg(event.stream).arg(event.text.as_bytes().as_ref());
    }
}

pub(super) fn put_calls(call: &mut ScriptInvocation<'_>, calls: &[StoredCall]) {
    call.arg(calls.len());
    for it in calls {
        call.arg(it.id.as_bytes().as_ref()).arg(it.stream);
    }
}

/// Everything of a page but its places.
pub(super) fn put_page(call: &mut ScriptInvocation<'_>, caps: Caps, page: &Page) {
    put_events(call, caps, &page.events);
    put_calls(call, &page.begun);
    call.arg(page.ended.len());
    for id in &page.ended {
        call.arg(id.as_bytes().as_ref());
    }
    let (mut set, mut gone) = (Vec::new(), Vec::new());
    for (name, note) in &page.notes {
        let field = format!("{NOTE}{name}");
        // Of two changes of one note the later counts.
        set.retain(|(it, _)| *it != field);
        gone.retain(|it| *it != field);
        match note {
            Some(note) => set.push((field, note.clone())),
            None => gone.push(field),
        }
    }
    if let Some((revision, params)) = &page.agreement {
        set.push(("revision".to_owned(), revision.as_str().into()));
        set.push(("params".to_owned(), params.clone()));
    }
    if page.is_ready {
        set.push(("ready".to_owned(), ByteString::from_static("1")));
    }
    put_pairs(call, &set);
    call.arg(gone.len()).arg(gone);
}

fn put_pairs(call: &mut ScriptInvocation<'_>, pairs: &[(String, ByteString)]) {
    call.arg(pairs.len());
    for (name, text) in pairs {
        call.arg(name).arg(text.as_bytes().as_ref());
    }
}

/// `fence:place` of each former owner.
pub(super) fn spans(spans: &[(u64, u64)]) -> String {
    spans.iter().map(|(fence, seq)| format!("{fence}:{seq},")).collect()
}

/// A replica's sign of life.
pub(super) fn words(beat: &Beat) -> String {
    let draining = u8::from(beat.is_draining);
    format!("{} {draining} {}", beat.number, replica(&beat.replica))
}

pub(super) fn replica(replica: &Replica) -> String {
    format!("{} {}", replica.name, replica.url)
}

pub(super) fn read_beat(text: &str) -> Option<Beat> {
    let mut parts = text.splitn(3, ' ');
    let (number, draining) = (parts.next()?.parse().ok()?, parts.next()?);
    Some(Beat { replica: read_replica(parts.next()?)?, number, is_draining: draining == "1" })
}

pub(super) fn read_replica(text: &str) -> Option<Replica> {
    let (name, url) = text.split_once(' ')?;
    Some(Replica { name: name.into(), url: url.into() })
}

pub(super) fn read_kept(value: Value) -> Option<Kept> {
    match &*text(value)? {
        "done" => Some(Kept::Done),
        "lost" => Some(Kept::Lost),
        "behind" => Some(Kept::Behind),
        "unknown" => Some(Kept::Unknown),
        _ => None,
    }
}

pub(super) fn read_look(value: Value) -> Option<Look> {
    if value == Value::Nil {
        return Some(Look::Unknown);
    }
    let owner = text(value)?;
    if owner.is_empty() {
        return Some(Look::Free);
    }
    Tenure::parse(&owner).map(Look::Owned)
}

pub(super) fn read_claim(value: Value) -> Option<Claim> {
    let mut parts = list(value)?.into_iter();
    match &*text(parts.next()?)? {
        "unknown" => Some(Claim::Unknown),
        "other" => Some(Claim::Other(Tenure::parse(&text(parts.next()?)?)?)),
        "taken" => {
            let tenure = Tenure::parse(&text(parts.next()?)?)?;
            let (record, state) = read_record(parts.next()?)?;
            let events = list(parts.next()?)?.into_iter().map(read_event).collect::<Option<_>>()?;
            let mut calls = pairs(parts.next()?)?
                .into_iter()
                .map(|(id, stream)| Some(StoredCall { id, stream: stream.parse().ok()? }));
            let calls = calls.by_ref().collect::<Option<_>>()?;
            let left = Duration::from_millis(text(parts.next()?)?.parse().ok()?);
            let seq = state.spans.last()?.1;
            let State { floor, spans, .. } = state;
            Some(Claim::Taken(
                tenure,
                Box::new(Estate { record, events, calls, floor, seq, spans, left }),
            ))
        }
        _ => None,
    }
}

/// `None` in it: the session has ended meanwhile.
pub(super) fn read_shown(key: SessionKey, value: Value) -> Option<Option<Listed>> {
    let parts = list(value)?;
    if parts.is_empty() {
        return Some(None);
    }
    let mut parts = parts.into_iter();
    let (record, state) = read_record(parts.next()?)?;
    let calls = usize::try_from(whole(&parts.next()?)?).ok()?;
    let events = usize::try_from(whole(&parts.next()?)?).ok()?;
    let left = Duration::from_millis(whole(&parts.next()?)?);
    Some(Some(Listed { key, record, tenure: state.owner, calls, events, left }))
}

/// What stands in a session's hash beside the record.
#[derive(Default)]
struct State {
    owner: Option<Tenure>,
    floor: u64,
    spans: Vec<(u64, u64)>,
}

fn read_record(value: Value) -> Option<(Record, State)> {
    let (mut record, mut state) = (Record::default(), State::default());
    for (name, text) in pairs(value)? {
        match &*name {
            "transport" => record.transport = text.to_string(),
            "server" => record.server = Some(text.to_string()),
            "holder" => record.holder = Some(Holder::parse(&text)?),
            "epoch" => record.epoch = text.parse().ok()?,
            "revision" => record.revision = Some(text.to_string()),
            "params" => record.params = Some(text),
            "ready" => record.is_ready = true,
            "owner" => state.owner = Tenure::parse(&text),
            "floor" => state.floor = text.parse().ok()?,
            "spans" => state.spans = read_spans(&text)?,
            name => {
                if let Some(note) = name.strip_prefix(NOTE) {
                    record.notes.insert(note.to_owned(), text);
                }
            }
        }
    }
    Some((record, state))
}

fn read_spans(text: &str) -> Option<Vec<(u64, u64)>> {
    let span = |part: &str| {
        let (fence, seq) = part.split_once(':')?;
        Some((fence.parse().ok()?, seq.parse().ok()?))
    };
    text.split_terminator(',').map(span).collect()
}

fn read_event(value: Value) -> Option<StoredEvent> {
    let mut parts = list(value)?.into_iter();
    let seq = text(parts.next()?)?.strip_suffix("-0")?.parse().ok()?;
    let fields = pairs(parts.next()?)?;
    let field = |name| fields.iter().find(|(it, _)| it == name).map(|(_, text)| text.clone());
    Some(StoredEvent { stream: field("s")?.parse().ok()?, seq, text: field("d")? })
}

/// A list of names and texts by turns.
fn pairs(value: Value) -> Option<Vec<(ByteString, ByteString)>> {
    let mut texts = list(value)?.into_iter().map(text);
    let mut pairs = Vec::new();
    while let Some(name) = texts.next() {
        pairs.push((name?, texts.next()??));
    }
    Some(pairs)
}

pub(super) fn texts(value: Value) -> Option<Vec<ByteString>> {
    list(value)?.into_iter().map(text).collect()
}

fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

pub(super) fn text(value: Value) -> Option<ByteString> {
    if let Value::SimpleString(text) = value {
        return Some(text.into());
    }
    let Value::BulkString(bytes) = value else { return None };
    ByteString::try_from(bytes).ok()
}

pub(super) fn whole(value: &Value) -> Option<u64> {
    let Value::Int(number) = value else { return None };
    u64::try_from(*number).ok()
}
