//! Who asks.
//!
//! Tokens are not verified by this version; a session is nevertheless bound to the credential it
//! was opened with, so that a session id alone opens nothing for somebody who presents another.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use crate::session::principal::Principal;

/// The header that carries an API key.
const API_KEY: &str = "x-api-key";

/// The principal of a request: the digest of the credential it presents, or anonymous.
pub fn principal(headers: &HeaderMap) -> Principal {
    let credential = headers.get(AUTHORIZATION).or_else(|| headers.get(API_KEY));
    let Some(credential) = credential else { return Principal::anonymous() };
    let digest = Sha256::digest(credential.as_bytes());
    Principal::of_credential(&digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_credentials_are_different_principals() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            principal(&headers)
        };
        assert_eq!(principal(&HeaderMap::new()), Principal::anonymous());
        assert_eq!(with("authorization", "Bearer a"), with("authorization", "Bearer a"));
        assert_ne!(with("authorization", "Bearer a"), with("authorization", "Bearer b"));
        assert_ne!(with("x-api-key", "a"), Principal::anonymous());
    }
}
