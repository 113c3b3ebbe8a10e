//! Buckets of rate limits that all replicas take from.

use std::time::Duration;

use crate::session::bucket::Quota;
use crate::session::redis::{PREFIX, RedisStore, form};
use crate::session::store::StoreError;

impl RedisStore {
    /// One step, and one round trip.
    pub(super) async fn taken(
        &self,
        bucket: String,
        quota: Quota,
        count: u64,
    ) -> Result<Option<Duration>, StoreError> {
        let mut call = self.scripts.take.prepare_invoke();
        call.key(format!("{PREFIX}rl:{{{bucket}}}"));
        call.arg(quota.each_us).arg(quota.fill_us()).arg(count);
        let read = |value| form::text(value)?.parse().ok().map(Duration::from_micros);
        let wait = self.ask("take", &call, read).await?;
        Ok((!wait.is_zero()).then_some(wait))
    }
}
