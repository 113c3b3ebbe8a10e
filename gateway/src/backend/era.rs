//! Which era a server speaks: found out when it first matters, kept, and found out again when it
//! proves wrong.

impl Server {
    /// Its modern side; `None`: it speaks the legacy era only, as far as is known or configured.
    ///
    /// # Errors
    /// It could not be reached, so nothing is known.
    ///
    /// # Cancel safety
    /// Cancel-safe: a probe that nobody waits for is abandoned.
    pub async fn modern(self: &Arc<Self>) -> Result<Option<Arc<Modern>>, Refusal>;

    /// What was found out has proved wrong: it is found out again.
    pub fn forget_era(&self);
}
