//! The operators' list of sessions, and what counts them.

use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::join_all;
use redis::Cmd;

use crate::config::limits::store::{COUNTED_OUT_AT_ONCE, LIST_AT_ONCE};
use crate::session::id::SessionKey;
use crate::session::redis::{ALL, RedisStore, form, millis, on};
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
            let keys = self.send("list", &page, form::texts).await?;
            if keys.is_empty() {
                break;
            }
            for shown in join_all(keys.iter().map(|key| self.show(key))).await {
                listed.extend(shown?);
            }
        }
        Ok(listed)
    }

    /// Counts sessions in a list, or anew, for `life` from here on.
    pub(super) async fn count_at(
        &self,
        counted: &str,
        keys: &[SessionKey],
        life: Duration,
    ) -> Result<(), StoreError> {
        let mut call = self.scripts.count.prepare_invoke();
        call.key(counted).arg(millis(life)).arg(COUNTED_OUT_AT_ONCE);
        call.arg(keys.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.link.run("count", &call).await.map(drop)
    }

    async fn show(&self, key: &ByteString) -> Result<Option<Listed>, StoreError> {
        let Some(parsed) = SessionKey::parse(key) else {
            // Nobody here wrote it, and it would be met again with each look.
            self.unlist(key).await?;
            return Ok(None);
        };
        let call = on(&self.scripts.show, parsed);
        let shown = self.ask("show", &call, |value| form::read_shown(parsed, value)).await?;
        if shown.is_none() {
            self.unlist(key).await?;
        }
        Ok(shown)
    }

    /// Whatever it is: what stands in the operators' list is nothing that a session rests on.
    pub(super) async fn unlist(&self, member: &str) -> Result<(), StoreError> {
        self.link.query("unlist", &Cmd::zrem(ALL, member)).await.map(drop)
    }
}

fn isize(place: usize) -> isize {
    isize::try_from(place).unwrap_or(isize::MAX)
}
