//! On whose behalf a session speaks.

use std::borrow::Cow;
use std::fmt;

/// The identity a session is bound to.
///
/// Two requests belong together only when their principals are equal: the store key of a session
/// is derived from the principal, so that another principal's session is simply unknown
/// (MCP security best practices, "session hijacking").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal(Cow<'static, str>);

impl Principal {
    /// The principal of a request that presents no credential.
    pub fn anonymous() -> Self {
        Self(Cow::Borrowed("anonymous"))
    }

    /// A principal known by the digest of the credential it presents.
    pub fn of_credential(digest_hex: &str) -> Self {
        Self(format!("credential:{digest_hex}").into())
    }

    /// Whether no credential was presented.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::anonymous()
    }

    /// The bytes that go into a session's key.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.split(':').next().unwrap_or_default();
        write!(f, "Principal({kind})")
    }
}
