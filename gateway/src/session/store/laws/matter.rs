//! What the laws are tried on: keys, owners, records and pages.

use bytestring::ByteString;

use crate::session::id::{Holder, Keyring, SessionId, SessionKey};
use crate::session::principal::Principal;
use crate::session::store::{Beat, Page, Record, StoredCall, StoredEvent};
use crate::session::tenure::{Replica, Tenure};

pub(crate) fn key() -> SessionKey {
    Keyring::new(None).key(&Principal::anonymous(), &SessionId::mint())
}

pub(crate) fn holder(of: &str) -> Holder {
    Keyring::new(Some("a secret of the laws")).holder(&Principal::of_credential(of))
}

pub(crate) fn replica(name: &str) -> Replica {
    Replica { name: name.into(), url: format!("http://{name}:9100").into() }
}

pub(crate) fn tenure(name: &str) -> Tenure {
    Tenure::first(replica(name))
}

pub(crate) fn record() -> Record {
    Record {
        transport: "streamable_http".to_owned(),
        server: Some("demo".to_owned()),
        holder: Some(holder("some")),
        epoch: u64::MAX - 7,
        notes: [("kept".to_owned(), "n".into())].into(),
        ..Record::default()
    }
}

pub(crate) fn page() -> Page {
    Page::default()
}

pub(crate) fn note(name: &str, text: Option<&str>) -> (String, Option<ByteString>) {
    (name.to_owned(), text.map(Into::into))
}

pub(crate) fn event(stream: u32, seq: u64) -> StoredEvent {
    StoredEvent { stream, seq, text: ByteString::from(format!("{{\"seq\":{seq}}}")) }
}

pub(crate) fn call(id: &str, stream: u32) -> StoredCall {
    StoredCall { id: id.into(), stream }
}

pub(crate) fn beat(replica: &Replica, number: u64) -> Beat {
    Beat { replica: replica.clone(), number, is_draining: false }
}
