//! The operators' list of sessions.

use bytestring::ByteString;
use futures_util::future::join_all;
use redis::Cmd;

use crate::config::limits::store::LIST_AT_ONCE;
use crate::session::id::SessionKey;
use crate::session::redis::{ALL, RedisStore, form, on};
use crate::session::store::{Listed, StoreError};

impl RedisStore {
    /// Up to `max` sessions.
    pub(super) async fn listed(&self, max: usize) -> Result<Vec<Listed>, StoreError> {
        // What a killed replica left is in the list until somebody looks, and is taken out
        // here: each look shows a session or makes the list shorter.
        let mut listed = Vec::new();
        while listed.len() < max {
            let (from, count) = (listed.len(), (max - listed.len()).min(LIST_AT_ONCE));
            let page = Cmd::zrange(ALL, isize(from), isize(from + count - 1));
            let keys = self.send(&page, form::texts).await?;
            if keys.is_empty() {
                break;
            }
            for shown in join_all(keys.iter().map(|key| self.show(key))).await {
                listed.extend(shown?);
            }
        }
        Ok(listed)
    }

    async fn show(&self, key: &ByteString) -> Result<Option<Listed>, StoreError> {
        let Some(parsed) = SessionKey::parse(key) else {
            // Nobody here wrote it, and it would be met again with each look.
            self.unlist(key).await?;
            return Ok(None);
        };
        let call = on(&self.scripts.show, parsed);
        let shown = self.ask(&call, |value| form::read_shown(parsed, value)).await?;
        if shown.is_none() {
            self.unlist(key).await?;
        }
        Ok(shown)
    }

    /// Whatever it is: what stands in the operators' list is nothing that a session rests on.
    pub(super) async fn unlist(&self, member: &str) -> Result<(), StoreError> {
        self.link.query(&Cmd::zrem(ALL, member)).await.map(drop)
    }
}

fn isize(place: usize) -> isize {
    isize::try_from(place).unwrap_or(isize::MAX)
}
